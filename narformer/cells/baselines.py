"""Models of cells that are fitted at once: ours, and the baselines that it is compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from narformer.cells.networks import reaches_output
from narformer.cells.predictor import UNREACHED
from narformer.cells.process import GaussianProcess, normal_scores
from narformer.cells.statistics import CORRELATION_STATISTICS, GRADIENT_STATISTICS
from narformer.cells.table import CellTable
from narformer.metrics import kendall_tau

Array = npt.NDArray[np.float64]
FITTED = ("process_and_forest", "gaussian_process", "random_forest", "boosted_trees", "path_forest")
FOREST_WEIGHTS = (0.0, 0.25, 0.5)


def fitted(
    model: str,
    table: CellTable,
    statistics: Array,
    groups: npt.NDArray[np.int64],
    accuracy: Array,
    fit: npt.NDArray[np.int64],
    test: npt.NDArray[np.int64],
    seed: int,
) -> Array:
    """Ours on all statistics; the baselines are trees on ranks, on composition and paths, or on path encodings."""
    if "process" in model:
        reached = reaches_output(table)
        fit, scored = fit[reached[fit]], reached[test]
        scores = np.full(len(test), UNREACHED)
        scores[scored] = _ours(model, statistics, groups, accuracy, fit, test[scored], seed)
        return scores
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

    inputs = path_encoding(table) if model == "path_forest" else statistics[:, _plain_columns(table, groups)]
    trees: Any
    if model == "boosted_trees":
        trees = HistGradientBoostingRegressor(
            learning_rate=0.05, max_iter=200, max_leaf_nodes=8, min_samples_leaf=5, random_state=seed
        )
    else:
        trees = RandomForestRegressor(300, max_features=0.4, n_jobs=-1, random_state=seed)
    trees.fit(inputs[fit], normal_scores(accuracy[fit]))
    return np.asarray(trees.predict(inputs[test]))


def _ours(
    model: str,
    statistics: Array,
    groups: npt.NDArray[np.int64],
    accuracy: Array,
    fit: npt.NDArray[np.int64],
    test: npt.NDArray[np.int64],
    seed: int,
) -> Array:
    """Scores of test cells, by the process alone or with the forest's share that suits the training cells."""
    if model == "gaussian_process":
        return GaussianProcess(groups).fit(statistics[fit], accuracy[fit]).predict(statistics[test])
    weight = _forest_weight(statistics, groups, accuracy, fit, seed)
    process, forest = _process_and_forest(statistics, groups, accuracy, fit, test, seed)
    return (1 - weight) * process + weight * forest


def _process_and_forest(
    statistics: Array,
    groups: npt.NDArray[np.int64],
    accuracy: Array,
    fit: npt.NDArray[np.int64],
    test: npt.NDArray[np.int64],
    seed: int,
) -> tuple[Array, Array]:
    """Scores of the test cells by the Gaussian process and by extremely randomised trees (Geurts et al., 2006)."""
    from sklearn.ensemble import ExtraTreesRegressor

    trees = ExtraTreesRegressor(300, max_features=0.5, n_jobs=-1, random_state=seed)
    trees.fit(statistics[fit], normal_scores(accuracy[fit]))
    process = GaussianProcess(groups).fit(statistics[fit], accuracy[fit]).predict(statistics[test])
    return process, np.asarray(trees.predict(statistics[test]))


def _forest_weight(
    statistics: Array, groups: npt.NDArray[np.int64], accuracy: Array, fit: npt.NDArray[np.int64], seed: int
) -> float:
    """The forest's share of the mean: the best of FOREST_WEIGHTS on validation cells, three folds of the training ones.

    One fold beyond 2,000 cells. Test cells have no part in it.
    """
    folds = np.array_split(fit, 3)[: 3 if len(fit) <= 2000 else 1]
    taus = np.zeros(len(FOREST_WEIGHTS))
    for fold in folds:
        rest = np.setdiff1d(fit, fold)
        process, forest = _process_and_forest(statistics, groups, accuracy, rest, fold, seed)
        taus += [kendall_tau((1 - w) * process + w * forest, accuracy[fold]) for w in FOREST_WEIGHTS]
    return FOREST_WEIGHTS[int(taus.argmax())]


def _plain_columns(table: CellTable, groups: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
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
