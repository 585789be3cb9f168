"""Plots: what cannot be drawn is told before the work, not after it."""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from narformer.evaluation.explanation_page import layout

Run = Callable[..., Any]

COMMANDS = (
    ("explain", "examples/resnet18.onnx"),
    ("rank", "nasbench201", "--device", "adreno640"),
    ("validate", "--device", "mine"),
)


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """No predictor may be loaded and no space scored."""

    def work(*_: object) -> None:
        raise AssertionError("work began before the plot was checked")

    monkeypatch.setattr("narformer.prediction.predictor.Predictor.load", work)
    monkeypatch.setattr("narformer.cells.ranking.rank_space", work)
    monkeypatch.setattr("narformer.adaptation.device.adapted_device", work)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
@pytest.mark.usefixtures("idle")
def test_a_plot_that_cannot_be(run: Run, command: tuple[str, ...], tmp_path: Path) -> None:
    result = run(*command, "--plot", tmp_path / "plot.docx")
    assert (result.code, "plot.docx: plots are written as .svg or .png" in result.err) == (2, True)
    result = run(*command, "--plot", tmp_path / "nowhere" / "plot.svg")
    assert (result.code, "there is no directory" in result.err) == (2, True)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
@pytest.mark.usefixtures("idle")
def test_without_matplotlib(
    run: Run, command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run(*command, "--plot", tmp_path / "plot.svg")
    assert (result.code, "pip install '.[plot]'" in result.err) == (2, True)


def test_the_same_plot_is_the_same_file(run: Run, tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        assert run("explain", "examples/resnet18.onnx", "--plot", tmp_path / name).code == 0
    first, second = ((tmp_path / name).read_text() for name in ("one.svg", "two.svg"))
    assert first == second
    assert "<dc:date>" not in first


def test_a_page_has_all_nodes_and_needs_nothing_else(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = run("explain", "examples/resnet18.onnx", "-d", "cortex-a76", "-d", "adreno-640", "--html", page)
    assert (result.code, f"page: {page}" in result.out) == (0, True)
    text = page.read_text()
    nodes = len(json.loads(run("explain", "examples/resnet18.onnx", "-d", "adreno-640", "--json").out)["nodes"])
    assert [text.count(f'<g class="node" id="n{number}-') for number in (0, 1)] == [nodes, nodes]
    for word in ("<script", "<link", "@import", "src=", "url("):
        assert word not in text
    assert set(re.findall(r"https?://[^\"]*", text)) == {"http://www.w3.org/2000/svg"}  # a name, nothing is loaded
    ElementTree.fromstring(text.partition("\n")[2].replace('<meta charset="utf-8">', ""))  # every tag is closed
    result = run("explain", "examples/resnet18.onnx", "--html", tmp_path / "nowhere" / "page.html")
    assert (result.code, "cannot be written" in result.err) == (2, True)


def test_every_line_of_a_drawn_graph_goes_down_and_no_two_nodes_share_a_place() -> None:
    generator = random.Random(0)
    sources = [sorted({generator.randrange(k) for _ in range(generator.randrange(3))}) if k else [] for k in range(300)]
    places = layout(sources)
    assert len(set(places)) == len(places)
    assert all(places[read].row < places[k].row for k, each in enumerate(sources) for read in each)


def test_the_number_of_a_node_is_the_same_in_table_and_data(run: Run) -> None:
    explained = json.loads(run("explain", "examples/resnet18.onnx", "-d", "adreno-640", "--json").out)
    slowest = max(explained["nodes"], key=lambda node: node["ms"])
    lines = run("explain", "examples/resnet18.onnx", "-d", "adreno-640").out.splitlines()
    first = lines[next(k for k, line in enumerate(lines) if line.startswith("slowest nodes")) + 1].split()
    assert first[:2] == [slowest["node"], str(slowest["index"])]
    assert explained["nodes"][slowest["index"]] == slowest
