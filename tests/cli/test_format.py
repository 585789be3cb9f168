"""--format: the same names everywhere, and no table wider than the terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from narformer.cells.table import enumerate_space

Run = Callable[..., Any]
ONE = ("-d", "adreno640")


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "examples/resnet18.onnx", *ONE),
        ("explain", "examples/resnet18.onnx", *ONE),
        ("inspect", "examples"),
        ("devices",),
        ("predict-cell", "nasbench101", "101,input;conv3x3-bn-relu;output"),
        ("families", "list"),
        ("evaluate", "--list"),
    ],
    ids=lambda a: a[0],
)
def test_every_form_has_the_same_names(run: Run, arguments: tuple[str, ...]) -> None:
    data = json.loads(run(*arguments, "--format", "json").out)
    assert data == json.loads(run(*arguments, "--json").out)
    first = data if isinstance(data, dict) else data[0]
    rows = list(csv.DictReader(io.StringIO(run(*arguments, "--format", "csv").out)))
    assert len(rows) > 0
    markdown = run(*arguments, "--format", "markdown").out.splitlines()
    assert len(markdown) == len(rows) + 2
    names = {name.strip() for name in markdown[0].strip("|").split("|")}
    assert names <= set(rows[0])
    flat = {name for name, value in first.items() if not isinstance(value, list | dict)}
    assert flat - {"device"} <= set(rows[0])  # `device` is what `target` was called


@pytest.mark.parametrize("command", ["predict", "explain", "inspect", "devices"])
def test_json_and_another_form_exclude_each_other(run: Run, command: str) -> None:
    models = [] if command == "devices" else ["examples/resnet18.onnx"]
    result = run(command, *models, "--json", "--format", "markdown")
    assert (result.code, result.out) == (2, "")
    assert result.err == "narformer: --json and --format markdown exclude each other\n"


def test_a_csv_of_many_files_comes_row_by_row(run: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(run("predict", "examples", *ONE, "--format", "csv").out)))
    assert [Path(row["model"]).name for row in rows] == ["mobilenet_v2.onnx", "resnet18.onnx"]
    assert all(len(row["hash"]) == 64 for row in rows)


def test_explain_takes_several_files_and_targets(run: Run) -> None:
    found = json.loads(run("explain", "examples", "-d", "adreno640", "-d", "rtx4090:pytorch-2.9:fp16", "--json").out)
    assert [(Path(each["model"]).name, each["target"]) for each in found] == [
        ("mobilenet_v2.onnx", "adreno-640:tflite-2.1:fp32"),
        ("mobilenet_v2.onnx", "rtx4090:pytorch-2.9:fp16"),
        ("resnet18.onnx", "adreno-640:tflite-2.1:fp32"),
        ("resnet18.onnx", "rtx4090:pytorch-2.9:fp16"),
    ]
    result = run("explain", "examples", "--plot", "x.svg")
    assert (result.code, "--plot draws one network on one target" in result.err) == (2, True)


@pytest.mark.parametrize("command", ["explain", "inspect", "predict"])
def test_a_bad_file_does_not_hide_the_others(run: Run, command: str, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"rubbish")
    result = run(command, tmp_path, "examples/resnet18.onnx", *([] if command == "inspect" else ONE))
    assert result.code == 2
    assert "resnet18.onnx" in result.out
    assert result.err.count("\n") == 1
    assert "bad.onnx: not an ONNX model" in result.err
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no .onnx files below this directory" in run(command, empty).err


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "examples/resnet18.onnx", "--no-store"),
        ("predict", "examples/resnet18.onnx", "-b", "64", "--no-store", "--max-ms", "5"),
        ("explain", "examples/mobilenet_v2.onnx", "-d", "rtx4090"),
        ("inspect", "examples"),
        ("compare", "examples/resnet18.onnx", "examples/mobilenet_v2.onnx", "--no-store"),
        ("devices",),
    ],
    ids=lambda a: a[0],
)
def test_lines_fit_the_terminal_and_words_are_whole(
    run: Run, monkeypatch: pytest.MonkeyPatch, columns: int, arguments: tuple[str, ...]
) -> None:
    wide = run(*arguments)
    monkeypatch.setenv("COLUMNS", str(columns))
    narrow = run(*arguments)
    assert narrow.code == wide.code
    assert max(map(len, narrow.out.splitlines())) <= columns
    words = set(wide.out.split())
    assert {word for word in narrow.out.split() if not word.startswith("…")} <= words


def test_neighbours_and_vectors_as_their_pages_show_them(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, resnet18: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("families", "sample", "resnet", "--count", 4, "--out", "mine").code == 0
    arguments = ("neighbours", resnet18, "--dataset", "mine", "--count", 3)
    (entry,) = json.loads(run(*arguments, "--json").out)
    distances = [near["distance"] for near in entry["neighbours"]]
    assert len(distances) == 3
    assert distances == sorted(distances)
    rows = list(csv.DictReader(io.StringIO(run(*arguments, "--format", "csv").out)))
    assert [row["neighbour"] for row in rows] == [near["id"] for near in entry["neighbours"]]
    assert {(row["hash"], row["target"], row["latency_ms"]) for row in rows} == {(entry["hash"], "", "")}
    assert run(*arguments).out.splitlines()[0] == str(resnet18)
    (vector,) = json.loads(run("embed", resnet18, "--json").out)
    assert (vector["hash"], Path(vector["model"])) == (entry["hash"], resnet18)
    assert run("embed", resnet18, resnet18.parent, "--out", "vectors.npy").code == 0
    assert np.load("vectors.npy").shape == (3, len(vector["vector"]))
    title, *rows = run("embed", resnet18, "mine", resnet18).out.splitlines()
    assert title.split() == ["network", "most", "alike", "cosine"]
    name, alike, cosine = rows[0].split()
    assert (name, cosine) == (str(resnet18), "1.000")
    assert alike in (str(resnet18), "mine/onnx/resnet/resnet18_0_0.onnx")  # the file given twice, and the same network
    assert f"6 networks: vectors of {len(vector['vector'])} numbers" in rows[-1]
    assert run("embed", resnet18).out.startswith(f"{resnet18}: vectors of ")


def test_a_fit_of_cells_tells_its_errors_in_every_form(run: Run, tmp_path: Path) -> None:
    table = enumerate_space("nasbench201").rows(np.arange(0, 15625, 125))
    rows = [f"{row},{table.cell(row)},{90 + row % 5}" for row in range(125)]
    (tmp_path / "mine.csv").write_text("\n".join(["index,arch,cifar10_test_accuracy", *rows]) + "\n")
    arguments = ("fit-cells", "nasbench201", "--file", tmp_path / "mine.csv", "--out", tmp_path / "mine.npz")
    card = json.loads(run(*arguments, "--json").out)
    assert card == json.loads((tmp_path / "mine.json").read_text())
    assert card["test"]["cells"] == 25
    first, *_ = csv.DictReader(io.StringIO(run(*arguments, "--format", "csv").out))
    assert (first["space"], first["held_out"], first["cells"]) == ("nasbench201", "test", "25")
    assert float(first["coverage"]) == card["test"]["coverage"]
    told = run(*arguments).out
    assert f"{tmp_path}/mine.npz: nasbench201" in told
    assert f"{card['test']['median_absolute_error']:.2f} points" in told
