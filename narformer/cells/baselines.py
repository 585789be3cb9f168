"""Models of cells that are fitted at once: ours, and the baselines that it is compared with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from narformer.cells.dataset import CellDataset
from narformer.cells.networks import reaches_output
from narformer.cells.predictor import UNREACHED, predictor_statistics, statistics_as_written
from narformer.cells.process import GaussianProcess, normal_scores
from narformer.cells.statistics import CORRELATION_STATISTICS, GRADIENT_STATISTICS
from narformer.cells.table import CellTable
from narformer.metrics import kendall_tau

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
FITTED = ("process_and_forest", "gaussian_process", "random_forest", "boosted_trees", "path_forest")
FOREST_WEIGHTS = (0.0, 0.25, 0.5)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A model of FITTED on the cells of a dataset; what it reads of them is computed once.

    Ours read the network of a cell and all its statistics; baselines the cell as it is written: trees on ranks, on
    composition and paths, or on path encodings.
    """

    model: str
    dataset: CellDataset

    @cached_property
    def _statistics(self) -> tuple[Array, npt.NDArray[np.int64]]:
        return (predictor_statistics if self._ours else statistics_as_written)(self.dataset.table)

    @property
    def _ours(self) -> bool:
        return self.model in ("process_and_forest", "gaussian_process")

    @cached_property
    def _inputs(self) -> Array:
        if self.model == "path_forest":
            return path_encoding(self.dataset.table)
        statistics, groups = self._statistics
        return statistics[:, _plain_columns(groups)]

    def scores(self, fit: Rows, test: Rows, seed: int) -> Array:
        """Of the rows `test`, higher for what is thought more accurate, learned from the rows `fit`."""
        accuracy = self.dataset.accuracy
        if self._ours:
            reached = reaches_output(self.dataset.table)
            scores = np.full(len(test), UNREACHED)
            learned = Learned(*self._statistics, accuracy, fit[reached[fit]], seed)
            scores[reached[test]] = learned.scores(test[reached[test]], self.model == "process_and_forest")
            return scores
        from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

        trees: Any
        if self.model == "boosted_trees":
            trees = HistGradientBoostingRegressor(
                learning_rate=0.05, max_iter=200, max_leaf_nodes=8, min_samples_leaf=5, random_state=seed
            )
        else:
            trees = RandomForestRegressor(300, max_features=0.4, n_jobs=-1, random_state=seed)
        trees.fit(self._inputs[fit], normal_scores(accuracy[fit]))
        return np.asarray(trees.predict(self._inputs[test]))


@dataclass(frozen=True, eq=False)
class Learned:
    """Ours, learned from the rows `fit`. statistics (n, S), in groups (S,); accuracy in percent (n,)."""

    statistics: Array
    groups: npt.NDArray[np.int64]
    accuracy: Array
    fit: Rows
    seed: int

    def scores(self, test: Rows, with_forest: bool) -> Array:
        """By the process alone, or with the forest's share that suits the training cells."""
        if not with_forest:
            return self._process(test)
        weight = self._forest_weight()
        return (1 - weight) * self._process(test) + weight * self._forest(test)

    def _process(self, test: Rows) -> Array:
        process = GaussianProcess(self.groups).fit(self.statistics[self.fit], self.accuracy[self.fit])
        return process.predict(self.statistics[test])

    def _forest(self, test: Rows) -> Array:
        """By extremely randomised trees (Geurts et al., 2006)."""
        from sklearn.ensemble import ExtraTreesRegressor

        trees = ExtraTreesRegressor(300, max_features=0.5, n_jobs=-1, random_state=self.seed)
        trees.fit(self.statistics[self.fit], normal_scores(self.accuracy[self.fit]))
        return np.asarray(trees.predict(self.statistics[test]))

    def _forest_weight(self) -> float:
        """The forest's share of the mean: the best of FOREST_WEIGHTS on validation cells, three folds of training ones.

        One fold beyond 2,000 cells. Test cells have no part in it.
        """
        folds = np.array_split(self.fit, 3)[: 3 if len(self.fit) <= 2000 else 1]
        taus = np.zeros(len(FOREST_WEIGHTS))
        for fold in folds:
            rest = replace(self, fit=np.setdiff1d(self.fit, fold))
            process, forest = rest._process(fold), rest._forest(fold)
            taus += [kendall_tau((1 - w) * process + w * forest, self.accuracy[fold]) for w in FOREST_WEIGHTS]
        return FOREST_WEIGHTS[int(taus.argmax())]


def _plain_columns(groups: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Composition, paths and size, and the operations of edges: what needs no theory of signals."""
    assert (groups == 2).sum() == CORRELATION_STATISTICS
    assert (groups == 1).sum() == GRADIENT_STATISTICS
    return np.asarray((groups == 0) | (groups == 3))


def path_encoding(table: CellTable) -> Array:
    """Which sequences of operations lead from input to output, a column a sequence (White et al., 2021)."""
    places = table.codes.shape[1]
    found: list[set[tuple[int, ...]]] = []
    for codes, adjacency in zip(table.codes.tolist(), table.adjacency, strict=True):
        paths: list[set[tuple[int, ...]]] = [set() for _ in range(places)]
        paths[0].add(())
        for node in range(1, places):
            for producer in np.flatnonzero(adjacency[:, node]):
                step = (codes[node],) if node < places - 1 else ()
                paths[node] |= {path + step for path in paths[producer]}
        found.append(paths[-1])
    columns = {path: k for k, path in enumerate(sorted(set().union(*found)))}
    encoded = np.zeros((len(table), len(columns)))
    for row, present in enumerate(found):
        encoded[row, [columns[p] for p in present]] = 1
    return encoded
