"""Protocols of accuracy: learn from a few hundred cells, rank all others; Kendall's tau, mean and spread over draws.

Each draw (seed) takes its training cells at random from the table; tau is over every other row. NAS-Bench-101's labels
here are one validation run a cell, so tau has a lower ceiling than published ones, which average three.
A trained model's tau is its last epoch's; beside it stand those of epochs chosen on validation and on test cells.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from narformer.cells.dataset import CellDataset
from narformer.cells.nasbench101 import load_nasbench101
from narformer.cells.nasbench201 import load_nasbench201
from narformer.cells.networks import reaches_output
from narformer.cells.predictor import UNREACHED, predictor_statistics, statistics_as_written
from narformer.cells.process import GaussianProcess, normal_scores
from narformer.cells.settings import CellTraining
from narformer.cells.statistics import CORRELATION_STATISTICS, GRADIENT_STATISTICS
from narformer.cells.table import CellTable
from narformer.errors import ConfigError
from narformer.metrics import kendall_tau, spearman

Array = npt.NDArray[np.float64]
# Cells that a trained model sees in all its epochs together; the paper's settings come to 781,000.
VISITS = 30_000


@dataclass(frozen=True)
class CellProtocol:
    """sizes: numbers of training cells."""

    name: str
    load: Callable[[Path | None], CellDataset]
    sizes: tuple[int, ...]


CELL_PROTOCOLS: Mapping[str, CellProtocol] = {
    p.name: p
    for p in (
        CellProtocol("nasbench201/accuracy", load_nasbench201, (78, 156, 469, 781, 1563)),
        CellProtocol("nasbench101/accuracy", load_nasbench101, (100, 172, 424, 4236)),
    )
}
FITTED = ("process_and_forest", "gaussian_process", "random_forest", "boosted_trees", "path_forest")
FOREST_WEIGHTS = (0.0, 0.25, 0.5)
TRAINED = ("narformer_v2", "nn_former", "nnlp")


def run_cell_protocol(
    protocol: CellProtocol,
    dataset: CellDataset,
    model: str,
    *,
    seeds: tuple[int, ...],
    epochs: int | None,
    runs: Path,
    sizes: tuple[int, ...] = (),
    batch_size: int | None = None,
    learning_rate: float | None = None,
    huber: float | None = None,
    show: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Learn and score for every seed and size; finished ones are kept below `runs`. Raises ConfigError.

    epochs: of a trained model; None: as many as make VISITS. batch_size, learning_rate, huber: its, where they are
    not to be the paper's. A killed training goes on from its checkpoint.
    """
    if model not in FITTED + TRAINED:
        raise ConfigError(f"unknown model of cells {model!r}; known are {', '.join(FITTED + TRAINED)}")
    if model in FITTED and (epochs or batch_size or learning_rate or huber):
        raise ConfigError(f"{model} is fitted at once: it has no epochs, no batch size, no rate and no loss")
    statistics = None
    if model in FITTED:
        # Ours reads the network of a cell, its baselines the cell as it is written.
        statistics = (predictor_statistics if "process" in model else statistics_as_written)(dataset.table)
    settings = CellTraining(
        epochs=epochs or CellTraining.epochs,
        batch_size=batch_size or CellTraining.batch_size,
        learning_rate=learning_rate or CellTraining.learning_rate,
        huber=huber or CellTraining.huber,
    )
    results = []
    for seed in seeds:
        order = np.random.default_rng(seed).permutation(len(dataset))
        tasks: dict[str, Any] = {}
        for size in sizes or protocol.sizes:
            if size >= len(dataset):
                continue
            training = replace(settings, epochs=epochs or max(1, VISITS // size), seed=seed)
            label = training.label if model in TRAINED else "fit"
            finished = runs / protocol.name / f"{model}-{label}" / f"seed{seed}-{size}.json"
            if not finished.exists():
                started = time.monotonic()
                fit, test = order[:size], order[size:]
                kept: dict[str, Any] = {}
                if statistics is not None:
                    prediction = _fitted(model, dataset.table, *statistics, dataset.accuracy, fit, test, seed)
                else:
                    prediction, kept = _trained(training, model, dataset, fit, test, finished.with_suffix(""), show)
                kept["devices"] = {"accuracy": {"all": _scores(prediction, dataset.accuracy[test])}}
                kept["seconds"] = kept.get("seconds") or round(time.monotonic() - started, 1)
                finished.parent.mkdir(parents=True, exist_ok=True)
                partial = finished.with_suffix(".partial")
                partial.write_text(json.dumps(kept))
                partial.replace(finished)
            tasks[f"{size} cells"] = json.loads(finished.read_text())
            tau = tasks[f"{size} cells"]["devices"]["accuracy"]["all"]["kendall"]
            show(f"{protocol.name} {model} seed {seed}, {size} cells: tau {tau:.4f}")
        results.append({"seed": seed, "tasks": tasks})
    result: dict[str, Any] = {
        "protocol": protocol.name,
        "form": "full",
        "model": model,
        "epochs": None,
        "runs": results,
    }
    if epochs or batch_size or learning_rate or huber:
        result |= {
            "form": settings.label if epochs else f"full{settings.label.removeprefix(str(settings.epochs))}",
            "epochs": epochs,
            "batch_size": settings.batch_size,
            "learning_rate": settings.learning_rate,
            "huber": settings.huber,
        }
    return result


def _scores(prediction: Array, truth: Array) -> dict[str, float]:
    return {
        "rows": len(truth),
        "kendall": round(kendall_tau(prediction, truth), 4),
        "spearman": round(spearman(prediction, truth), 4),
    }


def _fitted(
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


def _trained(
    training: CellTraining,
    model: str,
    dataset: CellDataset,
    fit: npt.NDArray[np.int64],
    test: npt.NDArray[np.int64],
    directory: Path,
    show: Callable[[str], None],
) -> tuple[Array, dict[str, Any]]:
    """Predictions of the last epoch for the test rows, and what else is to be told of the training.

    The last of the test rows choose the epoch of the second choice, and have no part in its score. "released": that
    choice as NAR-Former V2's code scores it, on every cell of the table, training and validation cells included.
    """
    import torch

    from narformer.cells.selection import VALIDATION, train_and_choose

    rest, validation = np.split(test, [len(test) - min(VALIDATION, len(test) // 2)])
    chosen = train_and_choose(training, model, dataset, fit, rest, validation, directory, show)
    told = {
        name: {"epochs": choice.epochs, **_scores(choice.prediction[rest], dataset.accuracy[rest])}
        for name, choice in chosen.items()
    }
    kept = chosen["validation"]
    told["released"] = {"epochs": kept.epochs, **_scores(kept.prediction, dataset.accuracy)}
    last = chosen["last"]
    return last.prediction[test], {"chosen": told, "threads": torch.get_num_threads(), "seconds": last.seconds}
