"""Cold start: the whole command, from nothing to the printed table, against what its baselines need before they begin.

python benchmarks/cold_start.py [--json]
"""

from __future__ import annotations

import os
import statistics
import sys
from pathlib import Path

from table import Row, main

FILE = Path(__file__).resolve().parents[1] / "examples" / "resnet18.onnx"
ROUNDS = 7
COMMAND = ["-c", "from narformer.cli.main import main; main()", "predict", str(FILE)]
BASELINES = {
    "`import torch` alone": ["-c", "import torch"],
    "`import numpy, onnx, onnxruntime` alone": ["-c", "import numpy, onnx, onnxruntime"],
}


def run(arguments: list[str]) -> tuple[float, float]:
    """Seconds of processor time, which on an idle machine are those on the clock, and peak megabytes."""
    child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.execv(sys.executable, [sys.executable, *arguments])
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"python {' '.join(arguments)}: failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def rows() -> list[Row]:
    sides = {"": COMMAND, **BASELINES}
    for arguments in sides.values():
        run(arguments)
    taken = [{name: run(arguments) for name, arguments in sides.items()} for _ in range(ROUNDS)]
    mine = statistics.median(round[""][0] for round in taken)
    made = []
    for name in BASELINES:
        ratio = statistics.median(round[name][0] / round[""][0] for round in taken)
        other = statistics.median(round[name][0] for round in taken)
        peaks = [max(round[side][1] for round in taken) for side in ("", name)]
        what = "cold start: `narformer predict resnet18.onnx`"
        made.append(Row(what, name, "ms", 1000 * mine, 1000 * other, ratio, ROUNDS, *peaks))
    return made


if __name__ == "__main__":
    main(__doc__, rows)
