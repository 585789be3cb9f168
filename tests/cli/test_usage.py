"""Help, completion, quiet, and command lines that cannot be read: one line that says what to write instead."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import typer

from narformer.cli import completion
from narformer.cli import main as command_line
from narformer.cli.main import app
from narformer.cli.notes import be_quiet

Run = Callable[..., Any]
COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", ["", *COMMANDS, "store list", "families sample"])
def test_h_is_help_everywhere(run: Run, command: str) -> None:
    result = run(*command.split(), "-h")
    assert (result.code, result.err) == (0, "")
    assert "Usage: narformer" in result.out
    assert "--quiet" in result.out or not command or command in ("store", "families", "fleet")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "predict x.onnx --batchsize 3",
            "no such option: --batchsize; did you mean --batch-size? See `narformer predict",
        ),
        ("predict x.onnx --format jsn", "'jsn' is not one of 'table', 'json', 'csv', 'markdown'. See"),
        ("predcit x.onnx", "no such command 'predcit'. Did you mean 'predict'"),
        ("store lst", "no such command 'lst'. Did you mean 'list'"),
        ("predict", "missing argument 'MODEL...'. See `narformer predict --help`"),
        ("choose", "missing option '--target'"),
    ],
)
def test_a_misspelt_line_is_one_line(run: Run, line: str, told: str) -> None:
    result = run(*line.split())
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("narformer: ")
    assert told in result.err
    assert len(result.err.splitlines()) == 1


def test_a_target_is_asked_for_with_either_name(run: Run) -> None:
    one, other = (
        run("predict", "examples/resnet18.onnx", name, "rtx5090", "--json") for name in ("--device", "--target")
    )
    assert one == other
    assert one.code == 0


def test_quiet_keeps_back_notes_but_no_errors(run: Run, tmp_path: Path) -> None:
    x, y = (onnx.helper.make_tensor_value_info(name, 1, [1, 3, 8, 8]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    old = tmp_path / "old.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 6)]), old)
    loud, still = run("inspect", old), run("inspect", old, "--quiet")
    assert "narformer: note: " in loud.err
    assert (still.code, still.err) == (0, "")
    assert still.out == loud.out
    assert "narformer: note: " in run("inspect", old).err  # the next command is not quiet
    assert run("--quiet", "inspect", old).err == ""
    assert "no such file" in run("inspect", "nowhere.onnx", "-q").err


def test_a_shell_completes_commands_options_and_hardware() -> None:
    """As bash asks it: in another process, with what is written so far in two variables."""

    def completed(line: str) -> list[str]:
        code = "from narformer.cli.main import main; main()"
        asked = {
            "_NARFORMER_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split(" ")) - 1),
        }
        done = subprocess.run([sys.executable, "-c", code], env=asked, capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert "predict-cell" in completed("narformer pred")
    assert completed("narformer predict --batch") == ["--batch-size"]
    assert completed("narformer predict model.onnx --device rtx40") == ["rtx4090"]


def test_completion_knows_what_can_be_chosen() -> None:
    from narformer.measurement.runtimes.registry import RUNTIMES

    assert completion.runtime_names("") == list(RUNTIMES)
    assert "tally2" in completion.predictor_names("ta")


def test_a_table_of_which_rows_are_left_out_is_a_note_and_no_line_of_code(capsys: pytest.CaptureFixture[str]) -> None:
    be_quiet(False)
    package = Path(command_line.__file__).parents[1]
    command_line._note("t.csv: left out", UserWarning, str(package / "datasets" / "timm.py"), 3)
    command_line._note("of somebody", UserWarning, "/else/where.py", 3)
    err = capsys.readouterr().err
    assert "narformer: note: t.csv: left out\n" in err
    assert "/else/where.py:3: UserWarning: of somebody" in err
