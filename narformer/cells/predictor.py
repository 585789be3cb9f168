"""Accuracy of cells: a Gaussian process over `cell_statistics` (process.py), in NumPy alone.

What is modelled is the rank of a cell's accuracy among the training cells, as a normal score, so that a few failed
trainings do not rule the fit; held-out cells then tell which accuracies, and how wide an interval, belong to a score.
A network whose input does not reach its output answers alike to every picture: it is last, whatever was trained on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from narformer.cells.card import CellCard
from narformer.cells.cell import EDGES_201, Cell, known_space, parse_cell, pruned
from narformer.cells.networks import distinct_networks, reaches_output
from narformer.cells.process import GaussianProcess
from narformer.cells.statistics import CORRELATION_STATISTICS, GRADIENT_STATISTICS, cell_statistics
from narformer.cells.table import CellTable, cell_table
from narformer.errors import ConfigError
from narformer.prediction.estimate import Estimate, Estimates

Array = npt.NDArray[np.float64]
PRETRAINED = Path(__file__).parents[1] / "pretrained"
GRID = 49  # points of the map from score to accuracy
UNREACHED = -10.0  # score of a network that passes nothing on; below the normal scores of any number of cells


def predict_cell(space: str, cells: str | Sequence[str], predictor: str | Path | None = None) -> Estimates:
    """Accuracy in percent of cells, without training them: an Estimate a cell, in order.

    space: nasbench101 or nasbench201. cells: one or several, as text: the arch string of NAS-Bench-201, or
    UPPER_TRIANGLE,op;op;... for NAS-Bench-101. predictor: path of one of your own (.npz).
    Raises ConfigError for an unknown space, DataError for a text that is no cell of it.

    >>> import narformer
    >>> (cell,) = narformer.predict_cell("nasbench101", "101,input;conv3x3-bn-relu;output")
    >>> cell.quantity, cell.unit, 85 < cell.low < cell.accuracy < cell.high
    ('accuracy', '%', True)
    """
    texts = [cells] if isinstance(cells, str) else cells
    loaded = CellPredictor.load(predictor or known_space(space))
    return loaded.predict([parse_cell(space, text) for text in texts])


def predictor_statistics(table: CellTable) -> tuple[Array, npt.NDArray[np.int64]]:
    """What the process reads of each cell, (n, S), and the group of each column: composition, gradients, correlations.

    NAS-Bench-201's cells add a fourth: the operation of each of the six edges. Cells that are one network
    (`cells/networks.py`) have the same statistics, those of the cell that represents it.
    """
    networks, row = distinct_networks(table)
    statistics, groups = statistics_as_written(networks)
    return statistics[row], groups


def statistics_as_written(table: CellTable) -> tuple[Array, npt.NDArray[np.int64]]:
    """The same of each cell itself, whatever network it is."""
    statistics = cell_statistics(table)
    width = statistics.shape[1]
    groups = np.zeros(width, dtype=np.int64)
    last = width - (table.space == "nasbench101")  # the parameters are composition
    signals = last - CORRELATION_STATISTICS
    groups[signals:last] = 2
    groups[signals - GRADIENT_STATISTICS : signals] = 1
    if table.space != "nasbench201":
        return statistics, groups
    edges = table.codes[:, 1 : 1 + len(EDGES_201), None] == np.arange(1, 6)
    edges = edges.reshape(len(table), -1).astype(np.float64)
    return np.column_stack([statistics, edges]), np.concatenate([groups, np.full(edges.shape[1], 3)])


class CellPredictor:
    """Accuracy of cells of one space.

    `fit` learns from a table and accuracies, `load` takes a shipped one; `predict` gives Estimates, `score` numbers
    for ranking whole spaces.

    >>> import narformer
    >>> narformer.CellPredictor.load("nasbench201").space
    'nasbench201'
    """

    def __init__(self, space: str, process: GaussianProcess, scores: Array, quantiles: Array, card: CellCard) -> None:
        self.space, self.process, self.card = space, process, card
        self._scores, self._quantiles = scores, quantiles

    @classmethod
    def fit(
        cls, table: CellTable, accuracy: Array, held_out: CellTable, held_out_accuracy: Array, card: CellCard
    ) -> CellPredictor:
        """Learn from cells and their accuracy in percent; held-out cells set the map to accuracies, and intervals."""
        statistics, groups = predictor_statistics(table)
        reached = reaches_output(table)
        process = GaussianProcess(groups).fit(statistics[reached], accuracy[reached])
        predictor = cls(table.space, process, np.zeros(0), np.zeros((3, 0)), card)
        predictor._scores, predictor._quantiles = _quantile_map(predictor.score(held_out), held_out_accuracy)
        return predictor

    def score(self, table: CellTable, show: Callable[[int, int], None] = lambda _done, _all: None) -> Array:
        """Scores (n,): the higher, the more accurate; one for cells that are one network.

        Raises ConfigError for cells of another space.
        """
        if table.space != self.space:
            raise ConfigError(f"this predictor is for {self.space}, the cells are of {table.space}")
        networks, row = distinct_networks(table)
        scores = np.empty(len(networks))
        step = 16_384
        for start in range(0, len(networks), step):
            part = slice(start, start + step)
            scores[part] = self.process.predict(statistics_as_written(networks.rows(part))[0])
            show(min(start + step, len(networks)), len(networks))
        scores[~reaches_output(networks)] = UNREACHED
        return scores[row]

    def accuracies(self, scores: Array) -> Array:
        """Accuracy in percent, low and high of scores: (n,) -> (n, 3).

        Beyond the best held-out cells all three go on rising as their median does over the last unit of the score.
        """
        last = self._scores[-1]
        slope = self._quantiles[0, -1] - np.interp(last - 1, self._scores, self._quantiles[0])
        beyond = slope * np.maximum(scores - last, 0)
        return np.column_stack([np.minimum(np.interp(scores, self._scores, q) + beyond, 100) for q in self._quantiles])

    def predict(self, cells: Sequence[Cell]) -> Estimates:
        """An estimate a cell, in order; one for cells that are one network.

        Raises DataError for cells of several spaces, or whose input does not reach the output where the space has no
        such cells; ConfigError for another space.
        """
        table = cell_table(cells)
        for cell in cells:
            if cell.space == "nasbench101":
                pruned(cell)  # raises where the input does not reach the output
        numbers = self.accuracies(self.score(table)).round(3).tolist()
        error = None if self.card.test is None else self.card.test.median_absolute_error
        return Estimates(
            Estimate(str(cell), self.space, value, low, high, quantity="accuracy", unit="%", held_out_error=error)
            for cell, (value, low, high) in zip(cells, numbers, strict=True)
        )

    def save(self, path: Path) -> None:
        """Write `path` (.npz, the numbers) and its card (.json) beside it."""
        process = self.process
        np.savez_compressed(
            path,
            mean=process.mean,
            scale=process.scale,
            train=process.train,
            dual=process.dual,
            groups=process.groups,
            scores=self._scores,
            quantiles=self._quantiles,
        )
        path.with_suffix(".json").write_text(json.dumps(self.card.to_json(), indent=1) + "\n")

    @classmethod
    def load(cls, space_or_path: str | Path) -> CellPredictor:
        """The shipped predictor of a space, or one from a file. Raises ConfigError where there is none."""
        path = Path(space_or_path)
        if path.suffix != ".npz":
            path = PRETRAINED / f"cells-{space_or_path}.npz"
        try:
            card = CellCard.from_json(json.loads(path.with_suffix(".json").read_text()))
            with np.load(path) as numbers:
                process = GaussianProcess(numbers["groups"])
                process.mean, process.scale = numbers["mean"], numbers["scale"]
                process.train, process.dual = numbers["train"], numbers["dual"]
                return cls(card.space, process, numbers["scores"], numbers["quantiles"], card)
        except FileNotFoundError as error:
            shipped = ", ".join(sorted(p.stem.removeprefix("cells-") for p in PRETRAINED.glob("cells-*.npz")))
            raise ConfigError(f"no cell predictor {str(space_or_path)!r}; shipped are {shipped or 'none'}") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}: not a cell predictor that can be read ({error})") from error


def _quantile_map(scores: Array, accuracy: Array) -> tuple[Array, Array]:
    """Median and the 5 % and 95 % quantiles of accuracy near each of some scores, all rising with the score.

    Near: as many held-out cells of higher rank as of lower, 60 in all or a thirtieth of them, down to 20 at both ends,
    where the best and the worst cells are; the score they stand at is their median. Returns (G,), (3, G).
    """
    order = np.argsort(scores, kind="stable")
    scores, accuracy = scores[order], accuracy[order]
    count = len(scores)
    widest = min(count, max(60, count // 30))
    ends = np.array([0, 4, 8, 16, 32, 64])
    inner = np.linspace(0, count - 1, GRID).round().astype(int)
    centres = np.unique(np.clip(np.concatenate([inner, ends, count - 1 - ends]), 0, count - 1))
    rows: dict[float, Array] = {}
    for centre in centres:
        window = int(np.clip(2 * min(centre, count - 1 - centre) + 1, min(20, count), widest))
        start = min(max(centre - window // 2, 0), count - window)
        near = slice(start, start + window)
        rows[float(np.median(scores[near]))] = np.quantile(accuracy[near], (0.5, 0.05, 0.95))
    rising = np.maximum.accumulate(np.array(list(rows.values())).T, axis=1)
    return np.array(list(rows)), rising
