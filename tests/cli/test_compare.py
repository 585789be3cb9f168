"""`narformer compare` as a user meets it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def pair(resnet18: Path) -> tuple[Path, Path]:
    return resnet18, resnet18.with_name("mobilenet_v2.onnx")


def test_a_table_says_which_is_faster_where_and_why(run: Run, pair: tuple[Path, Path]) -> None:
    result = run("compare", *pair, "-d", "adreno640", "-d", "myriadvpu")
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0] == f"first:  {pair[0]}"
    assert next(line for line in lines if line.startswith("adreno-640:")).split()[-1] == "second"
    assert result.out.count("why, on ") == 2
    assert any(line.startswith("depthwise") for line in lines)
    assert any(line.startswith("Conv 3x3 64 → 64, 56x56") for line in lines)


def test_data_have_the_same_names_in_every_form(run: Run, pair: tuple[Path, Path]) -> None:
    arguments = ("compare", *pair, "-d", "rtx4090", "-b", 64)
    entries = json.loads(run(*arguments, "--json").out)
    rows = list(csv.DictReader(io.StringIO(run(*arguments, "--format", "csv").out)))
    markdown = run(*arguments, "--format", "markdown").out.splitlines()
    assert len(entries) == len(rows) == len(markdown) - 2 > 1
    assert list(rows[0]) == [name for name in entries[0] if name not in ("kinds", "kernels")]
    assert {name.strip() for name in markdown[0].strip("|").split("|")} <= set(rows[0])
    assert {"target", "batch_size", "ratio", "low", "high", "faster", "source", "warnings"} <= set(rows[0])
    for entry in entries:
        assert entry["batch_size"] == 64
        assert entry["ratio"] == pytest.approx(entry["second_ms"] / entry["first_ms"])
        assert sum(kind["difference_ms"] for kind in entry["kinds"]) == pytest.approx(
            entry["second_ms"] - entry["first_ms"], rel=1e-3, abs=1e-4
        )


def test_a_directory_is_its_files(run: Run, pair: tuple[Path, Path]) -> None:
    entries = json.loads(run("compare", pair[0], pair[0].parent, "-d", "adreno640", "--json").out)
    assert [Path(entry["second"]).name for entry in entries] == ["mobilenet_v2.onnx", "resnet18.onnx"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "compared with what? Give two networks or more"),
        (["nowhere.onnx"], "nowhere.onnx: no such file"),
        (["examples/mobilenet_v2.onnx", "-d", "adreno460"], "did you mean adreno"),
        (["examples/mobilenet_v2.onnx", "--json", "--format", "csv"], "--json and --format csv exclude each other"),
    ],
)
def test_mistakes_are_one_line(run: Run, resnet18: Path, more: list[str], message: str) -> None:
    result = run("compare", resnet18, *more)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert message in result.err
