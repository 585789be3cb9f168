"""Runs a protocol for a model and several seeds; finished tasks are kept, so a killed run goes on where it stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from narformer.datasets.cache import TokenCache
from narformer.datasets.dataset import Dataset
from narformer.datasets.kernel_cache import KernelCache, cache_for
from narformer.errors import ConfigError, did_you_mean
from narformer.evaluation.baselines import BASELINES, fit_predict
from narformer.evaluation.interval_tables import MANY
from narformer.evaluation.plots import predicted_against_measured
from narformer.evaluation.protocols import Protocol
from narformer.evaluation.report import file_stem
from narformer.evaluation.scores import score_table, warning_scores
from narformer.evaluation.splits import Task
from narformer.prediction.held_out import predict_sources
from narformer.prediction.predictor import Predictor
from narformer.prediction.target import canonical_id

if TYPE_CHECKING:
    from narformer.models.interface import LatencyModel

VALIDATION = 0.05
Result = dict[str, Any]
Show = Callable[[str], None]


@dataclass(frozen=True)
class Learning:
    """How a model is trained. batch_size, learning_rate: None for the model's own. processor: cpu or cuda."""

    epochs: int
    batch_size: int | None = None
    learning_rate: float | None = None
    processor: str = "cpu"

    @property
    def label(self) -> str:
        """What tells runs of other settings apart, for the name of a directory: `24`, `50-b64-lr0.002`."""
        batch = f"-b{self.batch_size}" if self.batch_size is not None else ""
        rate = f"-lr{self.learning_rate:g}" if self.learning_rate is not None else ""
        return f"{self.epochs}{batch}{rate}"


def check_processor(processor: str) -> None:
    """Raises ConfigError where models cannot be trained on this processor."""
    import torch

    if processor not in ("cpu", "cuda"):
        raise ConfigError(f"unknown processor {processor!r}; known are cpu, cuda")
    if processor == "cuda" and not torch.cuda.is_available():
        raise ConfigError("PyTorch finds no CUDA device here; leave --processor out to train on the CPU")


def run_protocol(
    protocol: Protocol,
    dataset: Dataset,
    model: str,
    *,
    form: str,
    seeds: tuple[int, ...],
    learning: Learning,
    cache: Path,
    runs: Path,
    only: Sequence[str] = (),
    show: Show = lambda _: None,
) -> Result:
    """Train and score `model` on every task for every seed. A baseline needs one seed: it has no chance in it.

    only: names of tasks, where not all are to be done.

    Below `runs` each task keeps its checkpoints and, once finished, `scores.json`. Raises DataError, ConfigError.
    """
    tasks = protocol.tasks(dataset)
    if only:
        known = [task.name for task in tasks]
        if unknown := [name for name in only if name not in known]:
            meant = did_you_mean(unknown[0], known)
            raise ConfigError(f"{protocol.name}: no task {unknown[0]!r}; {meant}it has {', '.join(known)}")
        tasks = [task for task in tasks if task.name in only]
    tokens: TokenCache | KernelCache
    if model in BASELINES:
        seeds = seeds[:1]
        tokens = cache_for(dataset, "runtime_kernels" if dataset.batch else "narformer_v2", cache)
    else:
        from narformer.models.registry import tokenizer_of

        tokens = cache_for(dataset, tokenizer_of(model), cache)
    results = []
    for seed in seeds:
        scored: dict[str, Any] = {}
        place = runs / protocol.name / form / f"{model}-{learning.label}" / f"seed{seed}"
        homes = [place / task.name.replace(" ", "-") for task in tasks]
        for task, home in zip(tasks, homes, strict=True):
            finished = home / "scores.json"
            if not finished.exists():
                started = time.monotonic()
                prediction = _predict(model, dataset, tokens, task, seed, learning, home)
                families = [dataset.family[r] for r in task.test]
                table = score_table(prediction, _truth(dataset, task), dataset.devices, families)
                if len(table) > MANY:
                    table = {device: {"all": scores["all"]} for device, scores in table.items()}
                kept = {"devices": table, "train": len(task.fit), "seconds": round(time.monotonic() - started, 1)}
                home.mkdir(parents=True, exist_ok=True)
                np.save(home / "prediction.npy", prediction)
                partial = finished.with_suffix(".partial")
                partial.write_text(json.dumps(kept))
                partial.replace(finished)
                for checkpoint in home.rglob("*.pt"):
                    checkpoint.unlink()
            scored[task.name] = json.loads(finished.read_text())
            errors = {d: s["all"]["mape"] for d, s in scored[task.name]["devices"].items()}
            listed = "  ".join(f"{d} {e:.2f} %" for d, e in errors.items())
            show(f"{protocol.name} {form} {model} seed {seed} {task.name}: {listed}")
        results.append({"seed": seed, "tasks": scored, "log_error_90": _log_error(dataset, tasks, homes)})
        if model not in BASELINES:
            from narformer.evaluation.left_out_intervals import left_out_intervals

            truths = [_truth(dataset, task) for task in tasks]
            results[-1]["intervals"] = left_out_intervals(dataset.devices, truths, homes)
    return {
        "protocol": protocol.name,
        "form": form,
        "model": model,
        "epochs": None if model in BASELINES else learning.epochs,
        "batch_size": learning.batch_size,
        "learning_rate": learning.learning_rate,
        "processor": learning.processor,
        "runs": results,
    }


def _truth(dataset: Dataset, task: Task) -> npt.NDArray[np.float64]:
    """What the task's test rows should be, (test, devices); the first device alone where the others came first."""
    return dataset.targets[task.test] if task.pretrain is None else _masked(dataset.targets[task.test], slice(1, None))


def _masked(targets: npt.NDArray[np.float64], columns: slice) -> npt.NDArray[np.float64]:
    masked = targets.copy()
    masked[:, columns] = np.nan
    return masked


def _log_error(dataset: Dataset, tasks: list[Task], homes: list[Path]) -> dict[str, float]:
    """The 90 % quantile of |ln(prediction / truth)| over the test rows of all tasks together, by device."""
    prediction = np.concatenate([np.load(home / "prediction.npy") for home in homes])
    errors = np.abs(np.log(prediction / np.concatenate([_truth(dataset, task) for task in tasks])))
    quantiles = {}
    for column, device in enumerate(dataset.devices):
        measured = errors[np.isfinite(errors[:, column]), column]
        if len(measured):
            quantiles[device] = round(float(np.quantile(measured, 0.9)), 4)
    return quantiles


def _predict(
    model: str,
    dataset: Dataset,
    tokens: TokenCache | KernelCache,
    task: Task,
    seed: int,
    learning: Learning,
    home: Path,
) -> npt.NDArray[np.float64]:
    """Learn from the task's fit rows, predict its test rows: (test, devices)."""
    if model in BASELINES:
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
    config = TrainConfig(dataset.name, model, epochs=learning.epochs, seed=seed, **settings)
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


def evaluate_predictor(protocol: Protocol, dataset: Dataset, name: str | None, out: Path) -> Result:
    """Score a finished predictor, end to end from ONNX, on the protocol's test rows that it was never trained on.

    Beside the scores: the share of test rows within the predictor's interval (`coverage`, percent), the interval's mean
    width relative to the estimate (`width`, percent), and whether warnings are rare and right (`flagged`). A plot of
    predicted against measured goes to `out`.
    """
    predictor = Predictor.load(name)
    measured = [device for device in dataset.devices if canonical_id(device) in predictor.devices]
    dataset = dataset.with_devices(measured)
    devices = [canonical_id(device) for device in measured]
    columns = [predictor.devices.index(device) for device in devices]
    rows = protocol.test_rows(dataset)
    factors = [dataset.batch[r] for r in rows] if dataset.batch else ()
    estimates = predict_sources(name, [dataset.sources[r] for r in rows], factors)[:, columns]
    target, families = dataset.targets[rows], [dataset.family[r] for r in rows]
    table: dict[str, Any] = score_table(estimates[..., 0], target, devices, families)
    for column, device in enumerate(devices):
        value, low, high, flagged = estimates[:, column].T
        for family, scores in table[device].items():
            chosen = np.isfinite(target[:, column])
            if family != "all":
                chosen &= np.asarray(families) == family
            truth = target[chosen, column]
            inside = (low[chosen] <= truth) & (truth <= high[chosen])
            scores["coverage"] = round(100 * float(inside.mean()), 2)
            scores["width"] = round(100 * float(((high - low) / value)[chosen].mean()), 2)
            scores["ratio"] = round(float(np.median((high / low)[chosen])), 3)
            error = 100 * np.abs(value[chosen] / truth - 1)
            scores["median_error"] = round(float(np.median(error)), 2)
            scores |= warning_scores(error, flagged[chosen] > 0)
    out.mkdir(parents=True, exist_ok=True)
    plot = out / f"{file_stem(protocol.name, 'full')}.{predictor.card.name}.png"
    predicted_against_measured(estimates[..., 0], target, devices, families, plot)
    tasks = {"in-domain": {"devices": table}}
    run = {"seed": predictor.card.training.get("seed"), "tasks": tasks}
    return {"protocol": protocol.name, "form": "full", "model": predictor.card.name, "epochs": None, "runs": [run]}
