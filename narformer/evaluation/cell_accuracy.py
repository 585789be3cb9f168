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

from narformer.cells.baselines import FITTED, fitted
from narformer.cells.dataset import CellDataset
from narformer.cells.nasbench101 import load_nasbench101
from narformer.cells.nasbench201 import load_nasbench201
from narformer.cells.predictor import predictor_statistics, statistics_as_written
from narformer.cells.settings import CellTraining
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
                    prediction = fitted(model, dataset.table, *statistics, dataset.accuracy, fit, test, seed)
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
