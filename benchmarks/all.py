"""Every speed that matters, against a named baseline: one table.

    python benchmarks/all.py [--json]

Each benchmark runs in a process of its own; both sides of a row run in turns in that one. Minutes, on two cores.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.progress import track
from table import Row, main

BENCHMARKS = ("frontend", "predict", "cold_start", "cells", "training_step", "token_cache")


def rows() -> list[Row]:
    names: Iterable[str] = BENCHMARKS
    if sys.stderr.isatty():
        names = track(BENCHMARKS, "benchmarks", console=Console(stderr=True), transient=True)
    made: list[Row] = []
    for name in names:
        script = Path(__file__).with_name(f"{name}.py")
        done = subprocess.run([sys.executable, script, "--json"], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{script.name} failed")
        made += [Row(**row) for row in json.loads(done.stdout)]
    return made


if __name__ == "__main__":
    main(__doc__, rows)
