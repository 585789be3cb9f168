"""Plots: what cannot be drawn is told before the work, not after it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
    assert (result.code, "pip install 'narformer[plot]'" in result.err) == (2, True)


def test_the_same_plot_is_the_same_file(run: Run, tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        assert run("explain", "examples/resnet18.onnx", "--plot", tmp_path / name).code == 0
    first, second = ((tmp_path / name).read_text() for name in ("one.svg", "two.svg"))
    assert first == second
    assert "<dc:date>" not in first
