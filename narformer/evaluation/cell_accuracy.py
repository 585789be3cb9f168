"""Protocols of accuracy: learn from a few hundred cells, rank all others; Kendall's tau, mean and spread over draws.

Each draw (seed) takes its training cells at random from the table; tau is over every other row. NAS-Bench-101's labels
here are one validation run a cell, so tau has a lower ceiling than published ones, which average three.
A trained model's tau is its last epoch's; beside it stand those of epochs chosen on validation and on test cells.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from narformer.cells.baselines import FITTED, fitted
from narformer.cells.dataset import CellDataset
from narformer.cells.nasbench101 import load_nasbench101
from narformer.cells.nasbench201 import load_nasbench201
from narformer.cells.predictor import predictor_statistics, statistics_as_written
from narformer.cells.settings import PUBLISHED, CellTraining
from narformer.errors import ConfigError
from narformer.evaluation.run import check_processor
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
    published: bool = False,
    processor: str = "cpu",
    show: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Learn and score for every seed and size; finished ones are kept below `runs`. Raises ConfigError.

    epochs: of a trained model; None: as many as make VISITS. batch_size, learning_rate, huber: its, where they are
    not to be the paper's. published: where they are not given, take the settings that the model was published with.
    A killed training goes on from its checkpoint. processor: where models are trained, "cpu" or "cuda"; there all
    seeds and sizes learn beside each other.
    """
    if model not in FITTED + TRAINED:
        raise ConfigError(f"unknown model of cells {model!r}; known are {', '.join(FITTED + TRAINED)}")
    if model in FITTED and (epochs or batch_size or learning_rate or huber or published):
        raise ConfigError(f"{model} is fitted at once: it has no epochs, no batch size, no rate and no loss")
    if published and model not in PUBLISHED:
        raise ConfigError(f"no published settings of {model} are known; known are those of {', '.join(PUBLISHED)}")
    check_processor(processor)
    if processor != "cpu" and (model in FITTED or model == "nnlp"):
        raise ConfigError(f"{model} has no form for GPUs; leave --processor out")
    statistics = None
    if model in FITTED:
        # Ours reads the network of a cell, its baselines the cell as it is written.
        statistics = (predictor_statistics if "process" in model else statistics_as_written)(dataset.table)
    base = PUBLISHED[model] if published else CellTraining()
    settings = replace(
        base,
        epochs=epochs or base.epochs,
        batch_size=batch_size or base.batch_size,
        learning_rate=learning_rate or base.learning_rate,
        huber=huber or base.huber,
    )
    told = epochs is not None or published  # the number of epochs
    kept: dict[tuple[int, int], Path] = {}
    trainings = []
    for seed, size in itertools.product(seeds, sizes or protocol.sizes):
        if size >= len(dataset):
            continue
        training = replace(settings, epochs=settings.epochs if told else max(1, VISITS // size), seed=seed)
        label = training.label if model in TRAINED else "fit"
        kept[seed, size] = runs / protocol.name / f"{model}-{label}" / f"seed{seed}-{size}.json"
        if not kept[seed, size].exists():
            task = _Task(model, dataset, training, size, kept[seed, size], processor, show)
            trainings.append(partial(task.fitted, statistics) if statistics is not None else task.trained)
    if processor == "cpu":
        for start in trainings:
            for _ in start():
                pass
    elif trainings:
        from narformer.cells.training_gpu import interleaved

        interleaved(trainings, processor)
    results = []
    for seed in seeds:
        tasks = {f"{size} cells": json.loads(path.read_text()) for (s, size), path in kept.items() if s == seed}
        results.append({"seed": seed, "tasks": tasks})
    result: dict[str, Any] = {
        "protocol": protocol.name,
        "form": "full",
        "model": model,
        "epochs": None,
        "runs": results,
    }
    if epochs or batch_size or learning_rate or huber or published:
        result |= {
            "form": settings.label if told else f"full{settings.label.removeprefix(str(settings.epochs))}",
            "epochs": settings.epochs if told else None,
            "batch_size": settings.batch_size,
            "learning_rate": settings.learning_rate,
            "huber": settings.huber,
            "published_settings": published,
            "processor": processor,
        }
    return result


@dataclass(frozen=True)
class _Task:
    """Learn from so many training cells, score every other row, write `finished`. Both ways are generators."""

    model: str
    dataset: CellDataset
    training: CellTraining
    size: int
    finished: Path
    processor: str
    show: Callable[[str], None]

    def _rows(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        order = np.random.default_rng(self.training.seed).permutation(len(self.dataset))
        return order[: self.size], order[self.size :]

    def fitted(self, statistics: tuple[Array, npt.NDArray[np.int64]]) -> Generator[None, None, None]:
        started = time.monotonic()
        fit, test = self._rows()
        accuracy = self.dataset.accuracy
        prediction = fitted(self.model, self.dataset.table, *statistics, accuracy, fit, test, self.training.seed)
        yield
        self._write(prediction, {"seconds": round(time.monotonic() - started, 1)})

    def trained(self) -> Generator[None, None, None]:
        fit, test = self._rows()
        directory = self.finished.with_suffix("")
        self._write(
            *(
                yield from _trained(
                    self.training, self.model, self.dataset, fit, test, directory, self.processor, self.show
                )
            )
        )

    def _write(self, prediction: Array, kept: dict[str, Any]) -> None:
        test = self._rows()[1]
        scores = _scores(prediction, self.dataset.accuracy[test])
        kept = {"devices": {"accuracy": {"all": scores}}} | kept
        self.finished.parent.mkdir(parents=True, exist_ok=True)
        partial_file = self.finished.with_suffix(".partial")
        partial_file.write_text(json.dumps(kept))
        partial_file.replace(self.finished)
        self.show(f"{self.model} seed {self.training.seed}, {self.size} cells: tau {scores['kendall']:.4f}")


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
    processor: str,
    show: Callable[[str], None],
) -> Generator[None, None, tuple[Array, dict[str, Any]]]:
    """Predictions of the last epoch for the test rows, and what else is to be told of the training.

    The last of the test rows choose the epoch of the second choice, and have no part in its score. "released": that
    choice as NAR-Former V2's code scores it, on every cell of the table, training and validation cells included.
    """
    import torch

    from narformer.cells.selection import VALIDATION, train_and_choose

    rest, validation = np.split(test, [len(test) - min(VALIDATION, len(test) // 2)])
    chosen = yield from train_and_choose(training, model, dataset, fit, rest, validation, directory, show, processor)
    told = {
        name: {"epochs": choice.epochs, **_scores(choice.prediction[rest], dataset.accuracy[rest])}
        for name, choice in chosen.items()
    }
    kept = chosen["validation"]
    told["released"] = {"epochs": kept.epochs, **_scores(kept.prediction, dataset.accuracy)}
    last = chosen["last"]
    where = {"threads": torch.get_num_threads()} if processor == "cpu" else {"gpu": torch.cuda.get_device_name()}
    return last.prediction[test], {"chosen": told, **where, "seconds": last.seconds}
