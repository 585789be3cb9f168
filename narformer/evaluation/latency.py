"""Protocols of latency: learn from some networks of a dataset, predict others.

A protocol is a rule that makes tasks of a dataset. Every task trains a model afresh on all devices at once, missing
labels masked, and is scored on its test rows, which nothing has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from narformer.datasets.dataset import Dataset, quick
from narformer.datasets.registry import load_dataset
from narformer.errors import ConfigError
from narformer.evaluation.baselines import BASELINES
from narformer.evaluation.latency_tables import is_shipped, protocol_tables
from narformer.evaluation.plots import error_by_family, learning_curves
from narformer.evaluation.protocol import CACHE, RUNS, Options, Protocol, Section, Show
from narformer.evaluation.results import Result, file_stem
from narformer.evaluation.run import TRAINING, chosen_tasks, learning_of, run_tasks, score_predictor
from narformer.evaluation.splits import (
    Indices,
    Task,
    few_samples,
    leave_one_family_out,
    left_out_models,
)
from narformer.prediction.headline import one_target

EPOCHS = {"full": 24, "quick": 15}


@dataclass(frozen=True)
class LatencyProtocol(Protocol):
    """dataset: name of a public one, or None where the caller gives a directory in NNLQP's layout.

    tasks: the rule. one_device: it is about one platform; transfer: about that one, learned after all the others.
    """

    name: str
    about: str
    dataset: str | None
    tasks: Callable[[Dataset], list[Task]]
    one_device: bool = False
    transfer: bool = False

    def models(self) -> Sequence[str]:
        """Baselines, and every model that registers itself."""
        from narformer.models.registry import MODELS

        return [*BASELINES, *MODELS]

    def options(self, model: str) -> frozenset[str]:
        """Seeds where chance plays a part; what a training is made of where the model learns by epochs."""
        common = {"quick", "device", "task", "data", "cache", "runs"} | ({"nnlqp"} if self.dataset is None else set())
        if model in BASELINES:
            return frozenset(common)
        from narformer.models.registry import learns_by_epochs

        return frozenset(common | {"seeds", "processor"} | (TRAINING if learns_by_epochs(model) else set()))

    def predictor_options(self) -> frozenset[str]:
        """It has been trained."""
        return frozenset({"quick", "device", "data"} | ({"nnlqp"} if self.dataset is None else set()))

    def test_rows(self, dataset: Dataset) -> Indices:
        """Rows on which a predictor that was trained on the dataset's train rows is scored."""
        return dataset.unseen() if self.tasks is left_out_models else dataset.rows("test")

    def load(self, form: str, root: Path | None, directory: Path | None, device: str | None) -> Dataset:
        """The dataset in a form, rows without any label left out. Raises DataError, ConfigError."""
        if self.dataset is None and directory is None:
            raise ConfigError(f"{self.name} needs --nnlqp DIRECTORY, a dataset in NNLQP's layout")
        dataset = load_dataset(self.dataset or str(directory), root)
        if device is not None:
            device = one_target(device, dataset.devices)[0]
            others = [d for d in dataset.devices if d != device] if self.transfer else []
            dataset = dataset.with_devices([device, *others])
        elif self.one_device and len(dataset.devices) > 1:
            raise ConfigError(f"{self.name} is for one platform: choose --device from {', '.join(dataset.devices)}")
        dataset = dataset.subset(np.flatnonzero(np.isfinite(dataset.targets).any(axis=1)))
        return quick(dataset) if form == "quick" else dataset

    def run(self, models: Sequence[str], options: Options, show: Show) -> Iterator[Result]:
        """A training a task, seed and model; below `runs` each keeps its checkpoints, then its scores.

        Where only some tasks were asked for they are part of the form's name: their mean is not that of all.
        """
        form = options.form
        dataset = self.load(form, options.data, options.nnlqp, options.device)
        tasks = chosen_tasks(self.name, self.tasks(dataset), options.task)
        for model in models:
            learning = None if model in BASELINES else learning_of(model, options, EPOCHS[form])
            runs = run_tasks(
                f"{self.name} {form}",
                tasks,
                dataset,
                model,
                learning,
                seeds=[0] if learning is None else options.draws,
                cache=options.cache or CACHE,
                home=(options.runs or RUNS) / self.name / form,
                show=show,
            )
            result = Result(self.name, "-".join([form, *options.task]), model, None, runs)
            yield result if learning is None else replace(result, **learning.told())

    def score(self, predictor: str, options: Options, out: Path) -> Result:
        """End to end, from the network to the interval, on rows that the predictor was never trained on."""
        dataset = self.load(options.form, options.data, options.nnlqp, options.device)
        return score_predictor(self.name, options.form, dataset, self.test_rows(dataset), predictor, out)

    def lines(self, result: Result) -> Iterable[str]:
        """A line a device."""
        for d in result.devices:
            yield f"{d:24s} MAPE {result.spread(d, 'mape')} %   Acc(10 %) {result.spread(d, 'acc_10')} %"

    def sections(self, results: Sequence[Result]) -> Iterable[Section]:
        """One a form; shipped predictors were trained on the train rows alone, and stand beside what was trained."""
        named = [replace(r, model=f"{r.model} (shipped)") if is_shipped(r) else r for r in results]
        for form in sorted({r.form for r in named}):
            tables = list(protocol_tables(self.name, form, [r for r in named if r.form == form]))
            yield Section(f"{self.name}, {form} form", tables, f"{file_stem(self.name, form)}.svg")

    def plot(self, results: Sequence[Result], directory: Path) -> None:
        """Errors by family that was left out, or by the number of networks learned from."""
        for form in sorted({r.form for r in results}):
            group = [r for r in results if r.form == form]
            path = directory / f"{file_stem(self.name, form)}.svg"
            if self.tasks is leave_one_family_out:
                error_by_family(group, group[0].devices[0], path)
            elif self.tasks is few_samples:
                learning_curves(group, path)
