"""Terminals and files that cannot show every character: what is written there can be read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from narformer.families.registry import build

MAIN = "import sys; from narformer.cli.main import main; sys.argv[0] = 'narformer'; main()"


@pytest.fixture
def model(tmp_path: Path) -> str:
    name = "vis\u00e0ge \u00d7 2.onnx"
    cell = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    (tmp_path / name).write_bytes(build("nasbench201", cell).SerializeToString())
    return name


def run(encoding: str, *arguments: str, folder: Path) -> tuple[int, str, str]:
    environment = {
        **os.environ,
        "PYTHONIOENCODING": encoding,
        "COLUMNS": "200",
        "XDG_DATA_HOME": str(folder),
        "PYTHONUTF8": "1",  # of arguments and files: it is the output that is at stake
    }
    command = [sys.executable, "-c", MAIN, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True)
    assert b"Traceback" not in done.stderr, done.stderr.decode(errors="replace")
    return done.returncode, done.stdout.decode(encoding.partition(":")[0]), done.stderr.decode("latin-1")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "ascii:strict"])
def test_commands_print_what_the_terminal_can_show(encoding: str, model: str, tmp_path: Path) -> None:
    code, out, _ = run(encoding, "predict", model, "--no-store", folder=tmp_path)
    assert code == 0
    assert ("vis\u00e0ge \u00d7" if encoding == "latin-1" else "vis?ge x") in out
    assert " - " in out  # of an interval, where UTF-8 has an en dash
    assert run(encoding, "inspect", model, folder=tmp_path)[0] == 0
    assert run(encoding, "devices", folder=tmp_path)[0] == 0
    assert run(encoding, "--help", folder=tmp_path)[0] == 0
    code, _, err = run(encoding, "predict", "\u65e5\u672c.onnx", folder=tmp_path)
    assert code == 2
    assert "narformer: ??.onnx: no such file" in err


def test_measured_spreads_are_shown(model: str, tmp_path: Path) -> None:
    assert run("ascii", "measure", model, "--budget", "0.02", folder=tmp_path)[0] == 0
    code, out, _ = run("ascii", "store", "list", folder=tmp_path)
    assert code == 0
    assert "+/-" in out


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes there")
def test_a_name_that_is_no_text_is_written_as_it_is(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONUTF8": "1"}
    command = [sys.executable.encode(), b"-c", MAIN.encode(), b"measure", b"\xff.onnx"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode == 2
    assert done.stderr.startswith(b"narformer: \xff.onnx: no such file")
