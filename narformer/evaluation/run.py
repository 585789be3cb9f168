"""Runs a protocol for a model and several seeds; finished tasks are kept, so a killed run goes on where it stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from narformer.datasets.cache import TokenCache
from narformer.datasets.dataset import Dataset
from narformer.datasets.kernel_cache import KernelCache, cache_for
from narformer.errors import ConfigError, did_you_mean
from narformer.evaluation.baselines import fit_predict
from narformer.evaluation.interval_tables import MANY
from narformer.evaluation.plots import predicted_against_measured
from narformer.evaluation.protocol import Options, Show
from narformer.evaluation.results import ALL, Result, Run, Scores, TaskResult, file_stem
from narformer.evaluation.scores import score_table, with_warnings
from narformer.evaluation.splits import Indices, Task
from narformer.prediction.held_out import predict_sources
from narformer.prediction.predictor import Predictor
from narformer.prediction.target import canonical_id
from narformer.prediction.trust import LONG_MS

if TYPE_CHECKING:
    from narformer.models.interface import LatencyModel

VALIDATION = 0.05
FEWEST = 50  # networks of which a quantile is told
FINISHED = "scores.json"
TRAINING = frozenset({"epochs", "batch_size", "learning_rate"})  # what a training by epochs is made of


@dataclass(frozen=True)
class Learning:
    """How a model is trained. epochs: None for one that is learned at once, from all networks together.

    batch_size, learning_rate: None for the model's own. processor: cpu or cuda.
    """

    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    processor: str = "cpu"

    @property
    def label(self) -> str:
        """What tells runs of other settings apart, for the name of a directory: `-24`, `-50-b64-lr0.002`."""
        epochs = f"-{self.epochs}" if self.epochs is not None else ""
        batch = f"-b{self.batch_size}" if self.batch_size is not None else ""
        rate = f"-lr{self.learning_rate:g}" if self.learning_rate is not None else ""
        return f"{epochs}{batch}{rate}"

    def told(self) -> dict[str, Any]:
        """As a Result has it."""
        return vars(self)


def learning_of(model: str, options: Options, epochs: int) -> Learning:
    """What was asked for, as far as the model has a use for it. epochs: where none were asked for.

    Raises ConfigError where it cannot be trained on the processor.
    """
    processor = options.processor or "cpu"
    check_processor(processor)
    from narformer.models.registry import learns_by_epochs

    if not learns_by_epochs(model):
        return Learning(processor=processor)
    return Learning(options.epochs or epochs, options.batch_size, options.learning_rate, processor)


def check_processor(processor: str) -> None:
    """Raises ConfigError where models cannot be trained on this processor."""
    import torch

    if processor not in ("cpu", "cuda"):
        raise ConfigError(f"unknown processor {processor!r}; known are cpu, cuda")
    if processor == "cuda" and not torch.cuda.is_available():
        raise ConfigError("PyTorch finds no CUDA device here; leave --processor out to train on the CPU")


def chosen_tasks(protocol: str, tasks: Sequence[Task], only: Sequence[str]) -> list[Task]:
    """The tasks of these names, all where there are none. Raises ConfigError for a name that no task has."""
    known = [task.name for task in tasks]
    if unknown := [name for name in only if name not in known]:
        meant = did_you_mean(unknown[0], known)
        raise ConfigError(f"{protocol}: no task {unknown[0]!r}; {meant}it has {', '.join(known)}")
    return [task for task in tasks if not only or task.name in only]


def run_tasks(
    name: str,
    tasks: Sequence[Task],
    dataset: Dataset,
    model: str,
    learning: Learning | None,
    *,
    seeds: Sequence[int],
    cache: Path,
    home: Path,
    show: Show = lambda _: None,
) -> tuple[Run, ...]:
    """Train and score `model` on every task for every seed.

    name: of the protocol and form, for what is shown. learning: None for a baseline. Below `home` each task keeps its
    checkpoints and, once finished, `scores.json`. Raises DataError, ConfigError.
    """
    tokens: TokenCache | KernelCache
    if learning is None:
        tokens = cache_for(dataset, "runtime_kernels" if dataset.batch else "narformer_v2", cache)
    else:
        from narformer.models.registry import tokenizer_of

        tokens = cache_for(dataset, tokenizer_of(model), cache)
    runs = []
    for seed in seeds:
        place = home / (model if learning is None else f"{model}{learning.label}") / f"seed{seed}"
        homes = [place / task.name.replace(" ", "-") for task in tasks]
        scored: dict[str, TaskResult] = {}
        for task, kept in zip(tasks, homes, strict=True):
            if not (kept / FINISHED).exists():
                _finish(model, dataset, tokens, task, seed, learning, kept)
            scored[task.name] = TaskResult.from_json(json.loads((kept / FINISHED).read_text()))
            errors = {d: families[ALL].mape for d, families in scored[task.name].devices.items()}
            listed = "  ".join(f"{d} {e:.2f} %" for d, e in errors.items())
            show(f"{name} {model} seed {seed} {task.name}: {listed}")
        intervals: Mapping[str, Mapping[str, Scores]] = {}
        if learning is not None:
            from narformer.evaluation.left_out_intervals import left_out_intervals

            intervals = left_out_intervals(dataset.devices, [_truth(dataset, task) for task in tasks], homes)
        every, long = _log_errors(dataset, tasks, homes)
        runs.append(Run(seed, scored, every, intervals, long))
    return tuple(runs)


def _finish(
    model: str,
    dataset: Dataset,
    tokens: TokenCache | KernelCache,
    task: Task,
    seed: int,
    learning: Learning | None,
    home: Path,
) -> None:
    """Learn, predict, score and keep the scores; the checkpoints go."""
    started = time.monotonic()
    prediction = _predict(model, dataset, tokens, task, seed, learning, home)
    families = [dataset.family[r] for r in task.test]
    table = score_table(prediction, _truth(dataset, task), dataset.devices, families)
    if len(table) > MANY:
        table = {device: {ALL: scores[ALL]} for device, scores in table.items()}
    result = TaskResult(table, train=len(task.fit), seconds=round(time.monotonic() - started, 1))
    home.mkdir(parents=True, exist_ok=True)
    np.save(home / "prediction.npy", prediction)
    unfinished = (home / FINISHED).with_suffix(".partial")
    unfinished.write_text(json.dumps(result.to_json()))
    unfinished.replace(home / FINISHED)
    for checkpoint in home.rglob("*.pt"):
        checkpoint.unlink()


def _truth(dataset: Dataset, task: Task) -> npt.NDArray[np.float64]:
    """What the task's test rows should be, (test, devices); the first device alone where the others came first."""
    return dataset.targets[task.test] if task.pretrain is None else _masked(dataset.targets[task.test], slice(1, None))


def _masked(targets: npt.NDArray[np.float64], columns: slice) -> npt.NDArray[np.float64]:
    masked = targets.copy()
    masked[:, columns] = np.nan
    return masked


def _log_errors(
    dataset: Dataset, tasks: Sequence[Task], homes: Sequence[Path]
) -> tuple[dict[str, float], dict[str, float]]:
    """The 90 % quantile of |ln(prediction / truth)| over the test rows of all tasks together, by device.

    Then of those of LONG_MS and more, as predicted, of devices that have FEWEST of these and of others.
    """
    prediction = np.concatenate([np.load(home / "prediction.npy") for home in homes])
    errors = np.abs(np.log(prediction / np.concatenate([_truth(dataset, task) for task in tasks])))
    every: dict[str, float] = {}
    long: dict[str, float] = {}
    for column, device in enumerate(dataset.devices):
        there = np.isfinite(errors[:, column])
        measured, longer = errors[there, column], prediction[there, column] >= LONG_MS
        if len(measured):
            every[device] = round(float(np.quantile(measured, 0.9)), 4)
        if min(longer.sum(), len(longer) - longer.sum()) >= FEWEST:
            long[device] = round(float(np.quantile(measured[longer], 0.9)), 4)
    return every, long


def _predict(
    model: str,
    dataset: Dataset,
    tokens: TokenCache | KernelCache,
    task: Task,
    seed: int,
    learning: Learning | None,
    home: Path,
) -> npt.NDArray[np.float64]:
    """Learn from the task's fit rows, predict its test rows: (test, devices)."""
    if learning is None:
        return fit_predict(model, tokens.statistics, dataset.targets, task.fit, task.test)
    from narformer.training.batching import predict_rows

    return predict_rows(trained(model, dataset, tokens, task, seed, learning, home), tokens, task.test)


def trained(
    model: str,
    dataset: Dataset,
    tokens: TokenCache | KernelCache,
    task: Task,
    seed: int,
    learning: Learning,
    home: Path,
) -> LatencyModel:
    """A model that has learned from the task's fit rows, the best epoch chosen on 5 % of them; resumes from `home`."""
    import torch

    from narformer.evaluation.left_out_intervals import NEEDED, keep_kernels
    from narformer.models.registry import MODELS
    from narformer.training.batching import split_rows
    from narformer.training.config import TrainConfig
    from narformer.training.loop import train
    from narformer.training.run import kernel_shares, model_for

    settings: dict[str, Any] = {"precision": "bfloat16", **MODELS[model].training}
    if learning.batch_size is not None:
        settings["batch_size"] = learning.batch_size
    if learning.learning_rate is not None:
        settings["learning_rate"] = learning.learning_rate
    config = TrainConfig(dataset.name, model, epochs=learning.epochs or 1, seed=seed, **settings)
    validation, fit = split_rows([(dataset.network or dataset.ids)[r] for r in task.fit], (VALIDATION,))
    torch.manual_seed(seed)
    network = model_for(model, dataset, task.fit[fit]).to(learning.processor)
    targets = dataset.targets
    if task.pretrain is not None:
        none = np.zeros(0, dtype=np.int64)
        for _ in train(config, network, tokens, _masked(targets, slice(1)), task.pretrain, none, home / "pretrain"):
            pass
        targets = _masked(targets, slice(1, None))
    shares = kernel_shares(dataset, tokens.sizes(), task.fit[fit])
    for _ in train(config, network, tokens, targets, task.fit[fit], task.fit[validation], home, shares):
        pass
    if set(NEEDED) <= set(network.extra_outputs):
        keep_kernels(network, tokens, dataset, task.fit[fit], task.fit[validation], task.test, home)
    return network


def score_predictor(protocol: str, form: str, dataset: Dataset, rows: Indices, name: str, out: Path) -> Result:
    """Score a finished predictor, end to end from ONNX, on rows that it was never trained on.

    Beside the scores: the share of rows within the predictor's interval (`coverage`, percent), the interval's mean
    width relative to the estimate (`width`, percent), and whether warnings are rare and right (`flagged`). A plot of
    predicted against measured goes to `out`. Raises ConfigError where the predictor knows none of the targets.
    """
    predictor = Predictor.load(name)
    measured = [device for device in dataset.devices if canonical_id(device) in predictor.devices]
    if not measured:
        known = ", ".join(map(canonical_id, dataset.devices))
        raise ConfigError(f"{protocol}: the predictor {predictor.card.name} knows none of its targets ({known})")
    dataset = dataset.with_devices(measured)
    devices = [canonical_id(device) for device in measured]
    columns = [predictor.devices.index(device) for device in devices]
    factors = [dataset.batch[r] for r in rows] if dataset.batch else ()
    estimates = predict_sources(name, [dataset.sources[r] for r in rows], factors)[:, columns]
    target, families = dataset.targets[rows], [dataset.family[r] for r in rows]
    table = score_table(estimates[..., 0], target, devices, families)
    for column, device in enumerate(devices):
        value, low, high, flagged = estimates[:, column].T
        for family, scores in table[device].items():
            chosen = np.isfinite(target[:, column])
            if family != ALL:
                chosen &= np.asarray(families) == family
            truth = target[chosen, column]
            inside = (low[chosen] <= truth) & (truth <= high[chosen])
            error = 100 * np.abs(value[chosen] / truth - 1)
            told = replace(
                scores,
                coverage=round(100 * float(inside.mean()), 2),
                width=round(100 * float(((high - low) / value)[chosen].mean()), 2),
                ratio=round(float(np.median((high / low)[chosen])), 3),
                median_error=round(float(np.median(error)), 2),
            )
            table[device][family] = with_warnings(told, error, flagged[chosen] > 0)
    out.mkdir(parents=True, exist_ok=True)
    plot = out / f"{file_stem(protocol, form)}.{predictor.card.name}.png"
    predicted_against_measured(estimates[..., 0], target, devices, families, plot)
    run = Run(predictor.card.training.get("seed"), {"in-domain": TaskResult(table)})
    return Result(protocol, form, predictor.card.name, None, (run,))
