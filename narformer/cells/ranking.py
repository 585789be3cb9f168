"""Whole spaces of cells: accuracy of each, latency of many, and the cells that no other beats in both."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from narformer.adaptation.predictor import default_predictor
from narformer.cells.cell import Cell, known_space
from narformer.cells.predictor import CellPredictor
from narformer.cells.skeleton import to_onnx
from narformer.cells.table import CellTable, enumerate_space
from narformer.figures import milliseconds
from narformer.frontends.onnx import read_onnx
from narformer.plotting import new_figure, readable_axis, save_plot
from narformer.prediction.headline import one_target
from narformer.prediction.predictor import Predictor
from narformer.processes import in_order_with
from narformer.records import Answers
from narformer.tables import Column, Table

Array = npt.NDArray[np.float64]
Show = Callable[[int, int], None]
CANDIDATES = 2000  # cells whose latency is predicted


@dataclass(frozen=True)
class RankedCell:
    """A cell of a ranking: accuracy in percent and its 90 % interval, and latency_ms on a target.

    latency_ms: None where it was not asked for, or not predicted for this cell.

    >>> import narformer
    >>> narformer.RankedCell("101,input;conv3x3-bn-relu;output", 94.1, 93.5, 94.6).to_dict()
    {'cell': '101,input;conv3x3-bn-relu;output', 'accuracy': 94.1, 'low': 93.5, 'high': 94.6}
    """

    cell: str
    accuracy: float
    low: float
    high: float
    target: str = ""
    latency_ms: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON's types; without target and latency where it is not known."""
        told = {"cell": self.cell, "accuracy": self.accuracy, "low": self.low, "high": self.high}
        return told if self.latency_ms is None else {**told, "target": self.target, "latency_ms": self.latency_ms}


class RankedCells(Answers[RankedCell]):
    """Cells of a ranking, which turn into JSON, CSV, Markdown, pandas and a notebook's table.

    >>> import narformer
    >>> print(narformer.RankedCells([narformer.RankedCell("a cell", 94.1, 93.5, 94.6)]).to_csv(), end="")
    cell,accuracy,low,high
    a cell,94.1,93.5,94.6
    """

    def table(self) -> Table:
        """The cells as people read them."""
        columns = [Column("cell"), Column("accuracy", right=True), Column("90% interval", right=True)]
        timed = any(each.target for each in self)
        rows = []
        for each in self:
            latency = "" if each.latency_ms is None else f"{milliseconds(each.latency_ms)} ms"
            told = [each.cell, f"{each.accuracy:.2f} %", f"{each.low:.2f} – {each.high:.2f} %"]
            rows.append((*told, latency) if timed else tuple(told))
        return Table((*columns, *([Column("latency", right=True)] if timed else [])), tuple(rows))


@dataclass(frozen=True, eq=False)
class Ranking:
    """A scored space: scores (n,), accuracy in percent with its interval (n, 3), latency in ms (n,) or NaN.

    target: what the latencies are of; empty where none were asked for.

    >>> from narformer.cells.cell import parse_cell
    >>> from narformer.cells.table import cell_table
    >>> cells = [parse_cell("nasbench101", f"101,input;{op};output") for op in ("conv1x1-bn-relu", "conv3x3-bn-relu")]
    >>> accuracy = np.array([[90.0, 89.0, 91.0], [93.0, 92.0, 94.0]])
    >>> ranking = Ranking(cell_table(cells), np.array([0.1, 0.9]), accuracy, np.array([5.0, 7.0]), "my-board")
    >>> ranking.best(1), ranking.best(1, max_ms=6.0), ranking.pareto()
    ([1], [0], [0, 1])
    """

    table: CellTable
    scores: Array
    accuracy: Array
    latency: Array
    target: str = ""

    def __repr__(self) -> str:
        return f"Ranking({self.table.space}, {len(self.table):,} cells{', ' + self.target if self.target else ''})"

    def best(self, top: int, max_ms: float | None = None) -> list[int]:
        """Rows of the highest scores, best first; with `max_ms` among those known to be fast enough."""
        rows = np.argsort(-self.scores, kind="stable")
        if max_ms is not None:
            rows = rows[self.latency[rows] <= max_ms]
        return [int(r) for r in rows[:top]]

    def pareto(self) -> list[int]:
        """Rows with a latency that no other row beats in both latency and score, fastest first."""
        rows = np.flatnonzero(np.isfinite(self.latency))
        rows = rows[np.lexsort((-self.scores[rows], self.latency[rows]))]
        before = np.concatenate([[-np.inf], np.maximum.accumulate(self.scores[rows])[:-1]])
        return [int(r) for r in rows[self.scores[rows] > before]]

    def entries(self, rows: Iterable[int]) -> RankedCells:
        """Cell, accuracy with its interval, and latency of rows."""
        return RankedCells(self._entry(row) for row in rows)

    def _entry(self, row: int) -> RankedCell:
        accuracy, low, high = self.accuracy[row].round(3).tolist()
        latency = round(float(self.latency[row]), 4) if np.isfinite(self.latency[row]) else None
        return RankedCell(str(self.table.cell(row)), accuracy, low, high, self.target, latency)

    def plot(self, path: Path, max_ms: float | None = None) -> None:
        """Predicted accuracy against predicted latency, the Pareto front as a line, and the limit as another."""
        figure, (axis,) = new_figure(7.5, 5, dpi=110)
        known = np.isfinite(self.latency)
        axis.plot(self.latency[known], self.accuracy[known, 0], ".", ms=3, color="0.65", label="cells")
        front = self.pareto()
        axis.plot(
            self.latency[front],
            self.accuracy[front, 0],
            "o-",
            ms=3.5,
            lw=1.4,
            color="#0b6e4f",
            drawstyle="steps-post",  # between two cells there is none that is better
            label="Pareto front",
        )
        if max_ms is not None:
            axis.axvline(max_ms, color="#b23a48", lw=1.2, ls="--", label=f"limit {max_ms:g} ms")
        axis.set(xscale="log", xlabel="predicted latency, ms", ylabel="predicted accuracy, %")
        axis.set_title(f"Cells of {self.table.space} on {self.target}", fontsize=11)
        readable_axis(axis.xaxis)
        axis.grid(color="0.92", which="both", lw=0.6)
        axis.set_axisbelow(True)
        low = np.quantile(self.accuracy[known, 0], 0.1)
        axis.set_ylim(low - 1, self.accuracy[known, 0].max() + 0.5)
        axis.legend(framealpha=0.9, edgecolor="0.9", loc="lower right", markerscale=1.5)
        save_plot(figure, path)


def rank(space: str, target: str | None = None, candidates: int = CANDIDATES) -> Ranking:
    """Every cell of a space, scored without training: `best(top)`, `pareto()` and `entries(rows)` tell of them.

    space: nasbench101 or nasbench201. target: where the latency of each cell's network is predicted as well; for spaces
    larger than `candidates` for the half of so many with the highest accuracy, and as many others at random.
    Raises ConfigError for an unknown space, UnknownDeviceError for an unknown target.

    >>> import narformer
    >>> ranking = narformer.rank("nasbench201")
    >>> ranking
    Ranking(nasbench201, 15,625 cells)
    >>> best = ranking.entries(ranking.best(1))
    >>> best[0].low < best[0].accuracy < best[0].high
    True
    """
    return rank_space(known_space(space), target, candidates)


def rank_space(space: str, device: str | None, candidates: int, show: Show = lambda _done, _all: None) -> Ranking:
    """Score all cells of a space; predict latency on a target of at most `candidates`: half the best, half at random.

    device: a target, or a piece of hardware, of whose targets the newest is taken.
    Raises UnknownDeviceError, before anything is computed, for a device that the default predictor does not know.
    """
    if device is not None:
        device, _ = one_target(device, default_predictor().targets)
    table = enumerate_space(space)
    predictor = CellPredictor.load(space)
    scores = predictor.score(table, show)
    latency = np.full(len(table), np.nan)
    if device is not None:
        rows = np.arange(len(table))
        if len(rows) > candidates:
            best = np.argsort(-scores, kind="stable")[: candidates // 2]
            others = np.setdiff1d(rows, best)
            rows = np.concatenate([best, np.random.default_rng(0).permutation(others)[: candidates - len(best)]])
        latency[rows] = _latencies(table, rows, device, show)
    return Ranking(table, scores, predictor.accuracies(scores), latency, device or "")


def _latencies(table: CellTable, rows: npt.NDArray[np.int64], device: str, show: Show) -> Array:
    parts = np.array_split(rows, max(1, len(rows) // 100))
    jobs = [(device, [table.cell(int(r)) for r in part]) for part in parts]
    found: list[list[float]] = []
    for answers in in_order_with(default_predictor, _predicted, jobs):
        found.append(answers)
        show(len(found), len(jobs))
    return np.concatenate(found)


def _predicted(predictor: Predictor, job: tuple[str, list[Cell]]) -> list[float]:
    device, cells = job
    graphs = [read_onnx(to_onnx(cell)) for cell in cells]
    return [e.latency_ms for e in predictor.predict(graphs, [device])]
