"""Protocols of adaptation: a new device from 10 to 50 measurements, mean over draws.

help/…: HELP's (Lee et al., NeurIPS 2021): 900 networks of a search space measured on each known device, 10 or 20 on an
unseen one; Spearman's rank correlation on all others. HELP draws the samples at random (here `adapted_random`);
`adapted` chooses them.
nnmeter/leave-one-device-out: nn-Meter's devices and ours; each in turn is the new one, with 10, 20 or 50 of its train
rows; errors on its test rows. What the other devices make of a network is learned from their measurements alone
(known_devices.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from narformer.datasets.cache import TokenCache, build_cache
from narformer.datasets.dataset import Dataset, concat, quick
from narformer.datasets.help import UNSEEN, UNSEEN_FBNET, LatencyTable, load_help_fbnet, load_help_nasbench201
from narformer.datasets.registry import load_dataset
from narformer.errors import ConfigError
from narformer.evaluation.device_prior import DevicePrior
from narformer.evaluation.gaussian_process import CHEAP, NOISE, Adaptation, Profiles, choose, covariance, half_width
from narformer.evaluation.known_devices import known_device, standardised, work_by_kind
from narformer.evaluation.scores import score
from narformer.metrics import spearman

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Show = Callable[[str], None]
MODELS = ("adapted", "adapted_random", "trees_and_ridge")
KNOWN_CELLS = 900
CANDIDATES, REFERENCES = 300, 400


@dataclass(frozen=True)
class SpaceProtocol:
    """A search space measured on many devices. sizes: numbers of samples."""

    name: str
    load: Callable[[Path | None], LatencyTable]
    unseen: tuple[str, ...]
    sizes: tuple[int, ...] = (10, 20)


@dataclass(frozen=True)
class DevicesProtocol:
    """Devices that play the new one in turn: all those of `datasets`, which may differ in their networks."""

    name: str
    datasets: tuple[str, ...]
    sizes: tuple[int, ...] = (10, 20, 50)


SPACES: Mapping[str, SpaceProtocol] = {
    p.name: p
    for p in (
        SpaceProtocol("help/nasbench201", load_help_nasbench201, UNSEEN),
        SpaceProtocol("help/fbnet", load_help_fbnet, UNSEEN_FBNET),
    )
}
LEAVE_ONE_DEVICE_OUT: Mapping[str, DevicesProtocol] = {
    p.name: p for p in (DevicesProtocol("nnmeter/leave-one-device-out", ("nnmeter", "onnxruntime-cpu")),)
}


def run_space(
    protocol: SpaceProtocol, model: str, *, draws: int, root: Path | None, show: Show = lambda _: None
) -> dict[str, Any]:
    """Spearman on every network that was not measured, for each draw, size and unseen device. Raises ConfigError."""
    _check(model)
    table = protocol.load(root)
    unseen = [table.devices.index(d) for d in protocol.unseen]
    known = [k for k in range(len(table.devices)) if k not in unseen]
    results = []
    for draw in range(draws):
        random = np.random.default_rng(draw)
        rows = random.choice(len(table), KNOWN_CELLS, replace=False)
        predict = _space_model(model, table, known, rows)
        tasks: dict[str, Any] = {}
        for size in protocol.sizes:
            scores = {}
            for device in unseen:
                measured, prediction = predict(size, device, np.random.default_rng([draw, size, device]))
                rest = np.setdiff1d(np.arange(len(table)), measured)
                rank = spearman(prediction[rest], table.latencies[rest, device])
                scores[table.devices[device]] = {"all": {"rows": len(rest), "spearman": round(rank, 4)}}
            tasks[f"{size} samples"] = {"devices": scores}
            mean = np.mean([s["all"]["spearman"] for s in scores.values()])
            show(f"{protocol.name} {model} draw {draw}, {size} samples: {mean:.4f}")
        results.append({"seed": draw, "tasks": tasks})
    return {"protocol": protocol.name, "form": "full", "model": model, "epochs": None, "runs": results}


def _space_model(
    model: str, table: LatencyTable, known: list[int], rows: Indices
) -> Callable[[int, int, np.random.Generator], tuple[Indices, Array]]:
    """From a number of samples, a device and chance: the rows measured, and a prediction of every row."""
    if model == "trees_and_ridge":
        return _trees_and_ridge(table, known, rows)
    prior = DevicePrior.learn(table.work, table.latencies[:, known], rows)

    def predict(size: int, device: int, random: np.random.Generator) -> tuple[Indices, Array]:
        if model == "adapted":
            measured = prior.choose(table.work, size, random)
        else:
            measured = random.choice(len(table), size, replace=False)
        return measured, prior.adapt(table.work, measured, table.latencies[measured, device])

    return predict


def _trees_and_ridge(
    table: LatencyTable, known: list[int], rows: Indices
) -> Callable[[int, int, np.random.Generator], tuple[Indices, Array]]:
    """The simple baseline: boosted trees for each known device, and a ridge from their predictions; random samples."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import RidgeCV

    inputs = table.choices
    views = []
    for column in known:
        trees = HistGradientBoostingRegressor(learning_rate=0.1, max_iter=200, max_leaf_nodes=15, random_state=0)
        views.append(trees.fit(inputs[rows], np.log(table.latencies[rows, column])).predict(inputs))
    scaled = np.column_stack([(v - v.mean()) / v.std() for v in views])

    def predict(size: int, device: int, random: np.random.Generator) -> tuple[Indices, Array]:
        measured = random.choice(len(table), size, replace=False)
        ridge = RidgeCV(np.logspace(-2, 3, 11)).fit(scaled[measured], np.log(table.latencies[measured, device]))
        return measured, np.asarray(ridge.predict(scaled))

    return predict


def run_devices(
    protocol: DevicesProtocol,
    model: str,
    *,
    form: str,
    draws: int,
    root: Path | None,
    cache: Path,
    show: Show = lambda _: None,
) -> dict[str, Any]:
    """Errors on the new device's test rows and the coverage of the 90 % intervals, for each draw and size."""
    _check(model)
    if model == "trees_and_ridge":
        raise ConfigError(f"trees_and_ridge is for help/; {protocol.name} has {', '.join(MODELS[:2])}")
    dataset = load_devices(protocol, form, root)
    tokens = build_cache(dataset.sources, dataset.ids, cache / dataset.name, "physical")
    bench = Bench.prepare(dataset, tokens)
    results = []
    for draw in range(draws):
        tasks: dict[str, Any] = {}
        for size in protocol.sizes:
            scores = {
                device: {"all": bench.score(device, size, model == "adapted", np.random.default_rng([draw, size, k]))}
                for k, device in enumerate(dataset.devices)
            }
            tasks[f"{size} samples"] = {"devices": scores}
            listed = "  ".join(f"{d} {s['all']['mape']:.2f} %" for d, s in scores.items())
            show(f"{protocol.name} {form} {model} draw {draw}, {size} samples: {listed}")
        results.append({"seed": draw, "tasks": tasks})
    return {"protocol": protocol.name, "form": form, "model": model, "epochs": None, "runs": results}


def load_devices(protocol: DevicesProtocol, form: str, root: Path | None) -> Dataset:
    """The networks of all datasets of a protocol, those that were measured on a device at least."""
    name = protocol.name.replace("/", "-")
    dataset = concat(name, [load_dataset(each, root) for each in protocol.datasets])
    dataset = dataset.subset(np.flatnonzero(np.isfinite(dataset.targets).any(axis=1)))
    return quick(dataset) if form == "quick" else dataset


@dataclass(frozen=True)
class Bench:
    """All that adapting to any of the dataset's devices needs. parts: each device's ms by kind, (n, KINDS)."""

    dataset: Dataset
    parts: Mapping[str, Array]
    macs: Array
    statistics: Array

    @classmethod
    def prepare(cls, dataset: Dataset, tokens: TokenCache) -> Bench:
        """Learn every device from its own train rows."""
        work = work_by_kind(tokens)
        train = dataset.rows("train")
        parts = {}
        for column, device in enumerate(dataset.devices):
            fit = train[np.isfinite(dataset.targets[train, column])]
            parts[device] = known_device(work, tokens.statistics, dataset.targets[:, column], fit)
        return cls(dataset, parts, work[:, :, 0], standardised(tokens.statistics, train))

    def score(self, device: str, size: int, chosen: bool, random: np.random.Generator) -> dict[str, float]:
        """Adapt to `device` from `size` of its train rows; scores on its test rows."""
        others = np.stack([parts for name, parts in self.parts.items() if name != device], axis=2)
        profiles = Profiles(others, self.macs, self.statistics)
        latencies = self.dataset.targets[:, self.dataset.devices.index(device)]
        train, test = (rows[np.isfinite(latencies[rows])] for rows in map(self.dataset.rows, ("train", "test")))
        candidates = random.choice(train, min(CANDIDATES, len(train)), replace=False)
        measured = candidates[:size]
        if chosen:
            pool = profiles.rows(candidates)
            references = profiles.rows(random.choice(train, min(REFERENCES, len(train)), replace=False))
            across = covariance(references, pool)
            cost = np.exp(CHEAP * pool.mean)
            measured = candidates[choose(covariance(pool, pool), across, NOISE, size, cost=cost)]
        value, deviation = Adaptation(profiles.rows(measured), latencies[measured]).predict(profiles.rows(test))
        half, error = half_width(deviation), np.abs(np.log(value / latencies[test]))
        interval = {
            "interval_covers": round(100 * float((error <= half).mean()), 2),
            "interval_factor": round(float(np.exp(np.median(half))), 4),
        }
        return {**score(value, latencies[test]), **interval}


def _check(model: str) -> None:
    if model not in MODELS:
        raise ConfigError(f"unknown model of adaptation {model!r}; known are {', '.join(MODELS)}")
