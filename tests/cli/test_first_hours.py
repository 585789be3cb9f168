"""Twenty-five mistakes of somebody's first hours with the command line: one line each that says what to write."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
BOARD = "adapt --device board --csv"
HEADER = "model,latency_ms\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with two networks and tables of times, and nothing else of the user's."""
    for name in ("resnet18", "mobilenet_v2"):
        shutil.copy(f"examples/{name}.onnx", tmp_path / f"{name}.onnx")
    rows = "resnet18.onnx,31\nmobilenet_v2.onnx,9\n"
    (tmp_path / "one.csv").write_text(f"{HEADER}resnet18.onnx,31\n")
    (tmp_path / "units.csv").write_text(f"{HEADER}resnet18.onnx,31 ms\n")
    (tmp_path / "europe.csv").write_text((HEADER + rows).replace(",", ";"))
    (tmp_path / "other.csv").write_text(f"file,ms\n{rows}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NARFORMER_DEVICES", str(tmp_path / "devices"))
    return tmp_path


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("predict resnet18", "resnet18: no such file; did you mean resnet18.onnx?"),
        ("predict ResNet18.onnx", "ResNet18.onnx: no such file; did you mean resnet18.onnx?"),
        ("predict ./resnet_18.onnx", "resnet_18.onnx: no such file; did you mean resnet18.onnx?"),
        ("inspect resnet18.onnx.", "resnet18.onnx.: no such file; did you mean resnet18.onnx?"),
        ("predict transformer.onnx", "transformer.onnx: no such file"),
        ("predict resnet18.onnx rtx5090", "rtx5090: no such file; a target is given with --device"),
        ("resnet18.onnx", "no such command 'resnet18.onnx'; did you mean `narformer predict resnet18.onnx`?"),
        ("predict resnet18.onnx -d rtx4090,rtx5090", "several are given one by one, as in --device A --device B"),
        ("predict resnet18.onnx -d toaster", " more; `narformer devices` lists all"),
        ("predict resnet18.onnx -d adreno-640 -b 1e3", "--batch-size '1e3': write whole numbers of at least 1"),
        ("predict resnet18.onnx -d adreno-640 --max-ms 15ms", "invalid value for '--max-ms': Input should be a valid"),
        ("predict resnet18.onnx --input-shape pixels=1,3,9,9", "no input 'pixels'; the inputs are input"),
        ("predict resnet18.onnx --dim sequence=128", "no size is called 'sequence'; no size of an input has a name"),
        ("predict resnet18.onnx --predictor resnet18.onnx", "a predictor is NAME.onnx beside NAME.json and NAME.npz"),
        ("predict resnet18.onnx --server localhost:8000", "is not the address of a service; write http://HOST:PORT"),
        ("explain resnet18.onnx --by layer", "'layer' is not one of 'operator', 'module'"),
        ("explain resnet18.onnx --by module", "no node has a module: neither names of nodes and weights"),
        (
            "explain resnet18.onnx -d adreno-640 --depth 2",
            "--depth 2 says how many levels of modules to show",
        ),
        (
            "explain resnet18.onnx --server http://127.0.0.1:9",
            "no such option: --server. See `narformer explain --help`",
        ),
        ("predict resnet18.onnx --output x", "no such option: --output. See `narformer predict --help`"),
        ("embed resnet18.onnx --output x", "no such option: --output; did you mean --out? See"),
        ("serve --allow-origin page.example", "--allow-origin page.example: write it as browsers do: https://HOST"),
        ("serve --allow-host https://page.example", "--allow-host https://page.example: write the name alone, without"),
        ("serve resnet18.onnx", "got unexpected extra argument(s) (resnet18.onnx). See `narformer serve --help`"),
        ("compare resnet18.onnx", "resnet18.onnx: compared with what? Give two networks or more"),
        ("choose --target rtx4090 --top1 0.8", "top1 0.8: accuracy is in percent; write 80 for 80 %"),
        (
            "measure resnet18.onnx --device rtx4090",
            "--device rtx4090: give a whole target, as `narformer devices",
        ),
        ("adapt --device rtx4090 --csv one.csv", "knows this target already; choose another name"),
        (f"{BOARD} one.csv", "board: only 1 measured; at least 3 networks are needed, 20 are good"),
        (f"{BOARD} units.csv", "units.csv, row 2, latency_ms: '31 ms' is not a positive number of milliseconds"),
        (f"{BOARD} europe.csv", "no column model, latency_ms; its columns are separated otherwise; write commas"),
        (f"{BOARD} other.csv", "no column model, latency_ms; is it the right file?"),
        ("validate --device adreno-640", "adreno-640: not an adapted device"),
        ("rank nasbench201 --max-ms 5", "--max-ms, --plot and --candidates are about latency: give --device too"),
        ("rank nasbench201 --candidates 5", "--max-ms, --plot and --candidates are about latency"),
    ],
)
@pytest.mark.usefixtures("here")
def test_it_is_one_line_that_says_what_to_write(run: Run, line: str, told: str) -> None:
    result = run(*line.split())
    assert result.code == 2
    assert told in result.err
    lines = [line for line in result.err.splitlines() if not line.startswith("narformer: note: ")]
    assert [line.startswith("narformer: ") for line in lines] == [True]


@pytest.mark.parametrize("line", ["predict|", "predict|resnet18.onnx|--device|", "inspect||resnet18.onnx"])
@pytest.mark.usefixtures("here")
def test_a_variable_that_is_not_set_is_no_directory(run: Run, line: str) -> None:
    """`narformer predict "$MODEL"` predicted whatever lies in the current directory."""
    code, out, err = run(*line.split("|"))
    assert (code, out, err) == (2, "", "narformer: an argument is empty; is a variable of the shell not set?\n")


def test_a_table_that_a_spreadsheet_saved_is_read(run: Run, here: Path) -> None:
    (here / "mark.csv").write_bytes(b"\xef\xbb\xbfmodel,latency_ms\r\nresnet18.onnx,31\r\nmobilenet_v2.onnx,9\r\n")
    assert "board: only 2 measured" in run(*BOARD.split(), "mark.csv").err


def test_what_an_adapted_device_cannot_explain_is_told_without_all_targets(run: Run, here: Path) -> None:
    rows = "resnet18.onnx,31,1\nmobilenet_v2.onnx,9,1\nmobilenet_v2.onnx,17,2\n"
    (here / "times.csv").write_text(f"model,latency_ms,batch_size\n{rows}")
    assert run(*BOARD.split(), "times.csv").code == 0
    code, _, err = run("explain", "resnet18.onnx", "-d", "board")
    assert (code, len(err) < 400, "`narformer devices` lists all" in err) == (2, True, True)
