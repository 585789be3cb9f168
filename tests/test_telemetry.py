"""Nothing that narformer runs reports to its makers what it is used for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CODE = """
import os, sys
import narformer
from narformer.measurement.runtimes.registry import runtime

narformer.predict(sys.argv[1], measured=False)
runtime("onnxruntime").version()
assert "ORT_DISABLE_TELEMETRY" not in os.environ, "what else the process starts is as it was"
"""


def test_onnxruntime_writes_nothing_down_to_send(resnet18: Path, tmp_path: Path) -> None:
    """Its builds that report, those of 1.32 for Linux among them, keep what they will send in the user's cache."""
    env = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    env |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", CODE, str(resnet18)], env=env, check=True)
    assert not [path for path in tmp_path.rglob("*") if "onnxruntime" in str(path).lower()]
