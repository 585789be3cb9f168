"""Protocols of accuracy: learn from a few hundred cells, rank all others; Kendall's tau, mean and spread over draws.

Each draw (seed) takes its training cells at random from the table; tau is over every other row. NAS-Bench-101's labels
here are one validation run a cell, so tau has a lower ceiling than published ones, which average three.
A trained model's tau is its last epoch's; beside it stand those of epochs chosen on validation and on test cells.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from narformer.cells.baselines import FITTED, Fitted
from narformer.cells.dataset import CellDataset
from narformer.cells.settings import PUBLISHED, CellTraining
from narformer.errors import ConfigError
from narformer.evaluation.cell_tables import ACCURACY, cell_lines, cell_tables
from narformer.evaluation.protocol import RUNS, Options, Protocol, Section, Show
from narformer.evaluation.results import ALL, Choice, Result, Run, Scores, TaskResult, file_stem
from narformer.evaluation.run import check_processor
from narformer.metrics import kendall_tau, spearman

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
# Cells that a trained model sees in all its epochs together; the paper's settings come to 781,000.
VISITS = 30_000
TRAINED = ("narformer_v2", "nn_former", "nnlp")
ON_GPU = ("narformer_v2", "nn_former")  # those that have a form for it
TRAINING = frozenset({"epochs", "batch_size", "learning_rate", "huber"})


@dataclass(frozen=True)
class CellProtocol(Protocol):
    """A public table of accuracies. sizes: numbers of training cells."""

    name: str
    about: str
    load: Callable[[Path | None], CellDataset]
    sizes: tuple[int, ...]

    def models(self) -> Sequence[str]:
        """What is fitted at once, then what is trained."""
        return FITTED + TRAINED

    def options(self, model: str) -> frozenset[str]:
        """Settings of a training mean nothing to what is fitted at once."""
        common = frozenset({"seeds", "cells", "data", "runs"})
        if model in FITTED:
            return common
        published = {"published"} if model in PUBLISHED else set()
        return common | TRAINING | published | ({"processor"} if model in ON_GPU else set())

    def run(self, models: Sequence[str], options: Options, show: Show) -> Iterator[Result]:
        """Learn and score for every seed and size; finished ones are kept below `runs`.

        Without epochs, a trained model has as many as make VISITS, or were published. A killed training goes on from
        its checkpoint. On a GPU all seeds and sizes learn beside each other.
        """
        dataset = self.load(options.data)
        for size in options.cells:
            if not 0 < size < len(dataset):
                raise ConfigError(f"--cells {size}: {self.name} has {len(dataset):,} cells, of which some must test")
        if options.learning_rate == 0:
            raise ConfigError("--learning-rate 0: nothing is learned at that rate")
        check_processor(options.processor or "cpu")
        for model in models:
            yield self._result(model, dataset, options, show)

    def _result(self, model: str, dataset: CellDataset, options: Options, show: Show) -> Result:
        used = self.options(model)
        asked = {name: getattr(options, name) for name in TRAINING & used}
        asked = {name: value for name, value in asked.items() if value is not None}
        published = options.published and "published" in used
        settings = replace(PUBLISHED[model] if published else CellTraining(), **asked)
        processor = (options.processor or "cpu") if "processor" in used else "cpu"
        told = published or "epochs" in asked  # how many epochs
        learner = Fitted(model, dataset) if model in FITTED else model
        sizes = [size for size in options.cells or self.sizes if size < len(dataset)]
        tasks: dict[tuple[int, int], _Task] = {}
        for seed, size in itertools.product(options.draws, sizes):
            training = replace(settings, epochs=settings.epochs if told else max(1, VISITS // size), seed=seed)
            label = training.label if model in TRAINED else "fit"
            finished = (options.runs or RUNS) / self.name / f"{model}-{label}" / f"seed{seed}-{size}.json"
            tasks[seed, size] = _Task(learner, dataset, training, size, finished, processor, show)
        _run([task for task in tasks.values() if not task.finished.exists()], processor)
        runs = tuple(Run(seed, {f"{size} cells": tasks[seed, size].read() for size in sizes}) for seed in options.draws)
        plain = Result(self.name, "full", model, None, runs)
        if not asked and not published:
            return plain
        return replace(
            plain,
            form=settings.label if told else f"full{settings.label.removeprefix(str(settings.epochs))}",
            epochs=settings.epochs if told else None,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            huber=settings.huber,
            published_settings=published,
            processor=processor,
        )

    def lines(self, result: Result) -> Iterable[str]:
        """A line a number of training cells."""
        return cell_lines(result)

    def sections(self, results: Sequence[Result]) -> Iterable[Section]:
        """One, for trainings of all settings."""
        yield Section(self.name, list(cell_tables(self.name, results)), f"{file_stem(self.name, 'full')}.svg")


def _run(tasks: Sequence[_Task], processor: str) -> None:
    """One after the other; on a GPU beside each other."""
    if processor == "cpu":
        for task in tasks:
            for _ in task.run():
                pass
    elif tasks:
        from narformer.cells.training_gpu import interleaved

        interleaved([task.run for task in tasks], processor)


@dataclass(frozen=True, eq=False)
class _Task:
    """Learn from so many training cells, score every other row, write `finished`. learner: or the name of a model."""

    learner: Fitted | str
    dataset: CellDataset
    training: CellTraining
    size: int
    finished: Path
    processor: str
    show: Show

    def run(self) -> Generator[None, None, None]:
        """A generator, which yields after each epoch."""
        order = np.random.default_rng(self.training.seed).permutation(len(self.dataset))
        fit, test = order[: self.size], order[self.size :]
        if isinstance(self.learner, Fitted):
            name, started = self.learner.model, time.monotonic()
            prediction = self.learner.scores(fit, test, self.training.seed)
            scores = _scores(prediction, self.dataset.accuracy[test])
            result = TaskResult({ACCURACY: {ALL: scores}}, seconds=round(time.monotonic() - started, 1))
            yield
        else:
            name = self.learner
            result = yield from self._trained(name, fit, test)
        self.finished.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.finished.with_suffix(".partial")
        unfinished.write_text(json.dumps(result.to_json()))
        unfinished.replace(self.finished)
        tau = result.devices[ACCURACY][ALL].told("kendall")
        self.show(f"{name} seed {self.training.seed}, {self.size} cells: tau {tau:.4f}")

    def read(self) -> TaskResult:
        """What was written."""
        return TaskResult.from_json(json.loads(self.finished.read_text()))

    def _trained(self, model: str, fit: Rows, test: Rows) -> Generator[None, None, TaskResult]:
        """Scores of the last epoch on the test rows, and of the other choices of the epoch.

        The last of the test rows choose the epoch of the second choice, and have no part in its score. "released": that
        choice as NAR-Former V2's code scores it, on every cell of the table, training and validation cells included.
        """
        import torch

        from narformer.cells.selection import VALIDATION, train_and_choose

        accuracy, directory = self.dataset.accuracy, self.finished.with_suffix("")
        rest, validation = np.split(test, [len(test) - min(VALIDATION, len(test) // 2)])
        chosen = yield from train_and_choose(
            self.training, model, self.dataset, fit, rest, validation, directory, self.show, self.processor
        )
        told = {
            name: Choice(choice.epochs, _scores(choice.prediction[rest], accuracy[rest]))
            for name, choice in chosen.items()
        }
        kept, last = chosen["validation"], chosen["last"]
        told["released"] = Choice(kept.epochs, _scores(kept.prediction, accuracy))
        on_cpu = self.processor == "cpu"
        return TaskResult(
            {ACCURACY: {ALL: _scores(last.prediction[test], accuracy[test])}},
            seconds=last.seconds,
            threads=torch.get_num_threads() if on_cpu else None,
            gpu=None if on_cpu else torch.cuda.get_device_name(),
            chosen=told,
        )


def _scores(prediction: Array, truth: Array) -> Scores:
    return Scores(
        rows=len(truth),
        kendall=round(kendall_tau(prediction, truth), 4),
        spearman=round(spearman(prediction, truth), 4),
    )
