"""Many files in one call: the same answers in the same order from one process and from several, whatever goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from narformer.cli import many
from narformer.errors import DataError, UserError
from narformer.families.registry import sample
from narformer.frontends.sizes import Sizes

Run = Callable[..., Any]
QUESTION = many.Question(None, Sizes(), None, None, measured=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Six networks, each under eight names, and one file that is none."""
    home = tmp_path_factory.mktemp("files")
    variants = [variant.build().SerializeToString() for variant in sample("alexnet", 6)]
    paths = [home / f"{number:02d}.onnx" for number in range(48)]
    for number, path in enumerate(paths):
        path.write_bytes(variants[number % 6])
    paths[20].write_bytes(b"rubbish")
    return paths


def test_several_processes_answer_as_one_does(files: list[Path]) -> None:
    alone = list(many.answers(files, QUESTION, jobs=1))
    together = list(many.answers(files, QUESTION, jobs=2))
    assert [answer.path for answer in together] == [str(path) for path in files]
    assert together == alone
    assert [(answer.path, bool(answer.estimates)) for answer in together if answer.errors] == [(str(files[20]), False)]


def test_few_files_start_no_process(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("concurrent.futures.ProcessPoolExecutor", None)
    assert len(list(many.answers(files[: many.FEW - 1], QUESTION, jobs=2))) == many.FEW - 1
    with pytest.raises(TypeError):
        list(many.answers(files, QUESTION, jobs=2))


def test_what_cannot_be_opened_is_told_before_processes_start(files: list[Path]) -> None:
    question = many.Question(None, Sizes(), "nobody", None, measured=False)
    with pytest.raises(DataError, match="no such predictor"):
        next(many.answers(files, question, jobs=2))


def test_a_process_that_is_killed_is_told(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "_answers", _kill_itself)
    with pytest.raises(UserError, match=r"00\.onnx or a file soon after it: the process that read it was killed"):
        list(many.answers(files, QUESTION, jobs=2))


def _kill_itself(reader: many.Reader, paths: list[Path]) -> list[many.Answer]:
    os.kill(os.getpid(), signal.SIGKILL)
    return []


def test_the_command_prints_all_but_the_broken_one(run: Run, files: list[Path]) -> None:
    code, out, err = run("predict", *files, "--json", "--jobs", 2, "--device", "myriadvpu")
    assert code == 2
    assert [row["model"] for row in json.loads(out)] == [str(path) for path in files if path != files[20]]
    assert err.splitlines() == [f"narformer: {files[20]}: not an ONNX model, or cut short; export or copy it again"]
    code, out, _ = run("predict", *files[:2], files[20], "--max-ms", "1e-3")
    assert code == 2  # a file that could not be read is worse than one that is too slow
    assert [line for line in out.splitlines() if ".onnx" in line] == [str(path) for path in files[:2]]


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    """What is started in the background of a shell ignores SIGINT, and so would all that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_it_at_once(files: list[Path], hears_ctrl_c: None) -> None:
    command = [sys.executable, "-c", "from narformer.cli.main import main; main()", "predict", *map(str, files * 40)]
    with subprocess.Popen(
        [*command, "--jobs", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of its processes
        process.stdout.read()
        assert process.wait(timeout=30) == 130
        assert b"Traceback" not in process.stderr.read()
    deadline = time.monotonic() + 10
    while _group_lives(process.pid):
        assert time.monotonic() < deadline, "a process is left behind"
        time.sleep(0.05)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
