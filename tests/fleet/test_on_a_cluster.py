"""The tests of `cluster`, in a process of their own.

A cluster of Ray that gives up, on a machine that is starved or stops for a minute, ends every process that is connected
to it without a word, or lets it wait for ever. Neither may happen to the process that runs all other tests.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ATTEMPTS = 2
SECONDS = 240  # of an attempt; on two busy cores it takes 70
SUMMARY = re.compile(r"^.* in [0-9.]+s\b.*$", re.MULTILINE)  # pytest's last line: without it the process was ended
CLUSTER = Path(__file__).parent / "cluster"


@pytest.mark.parametrize("name", sorted(path.name for path in CLUSTER.glob("test_*.py")))
def test_on_a_cluster(name: str, tmp_path: Path) -> None:
    """Skips where Ray is not installed, and where no attempt came to an end."""
    pytest.importorskip("ray.cluster_utils", reason="needs Ray: pip install 'narformer[fleet]'")
    told = ""
    for attempt in range(ATTEMPTS):
        code, told = _run(CLUSTER / name, tmp_path / str(attempt))
        if code is not None and SUMMARY.search(told):
            assert code == 0, told
            return
    pytest.skip(f"a cluster of Ray does not stay alive on this machine: {told[-500:]}")


def _run(path: Path, folder: Path) -> tuple[int | None, str]:
    """pytest's exit code, or None where it was ended for want of time; and what it printed."""
    folder.mkdir()
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--basetemp={folder / 'files'}", str(path)]
    with (folder / "told").open("w+") as told:  # a pipe would be held open by what outlives the process
        try:
            code: int | None = subprocess.run(
                command,
                env=environment | {"NARFORMER_TEST_CLUSTER": "1"},
                cwd=CLUSTER.parents[2],
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=subprocess.STDOUT,
                timeout=SECONDS,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            code = None
        told.seek(0)
        return code, told.read()
