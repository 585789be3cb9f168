"""Protocols of adaptation: a new device from 10 to 50 measurements, mean over draws.

help/…: HELP's (Lee et al., NeurIPS 2021): 900 networks of a search space measured on each known device, 10 or 20 on an
unseen one; Spearman's rank correlation on all others. HELP draws the samples at random (here `adapted_random`);
`adapted` chooses them.
nnmeter/leave-one-device-out: nn-Meter's devices and ours; each in turn is the new one, with 10, 20 or 50 of its train
rows; errors on its test rows. What the other devices make of a network is learned from their measurements alone
(known_devices.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from narformer.datasets.cache import TokenCache, build_cache
from narformer.datasets.dataset import Dataset, concat, quick
from narformer.datasets.help import LatencyTable
from narformer.datasets.registry import load_dataset
from narformer.evaluation.adaptation_tables import AdaptationProtocol, Metric
from narformer.evaluation.device_prior import DevicePrior
from narformer.evaluation.gaussian_process import CHEAP, NOISE, Adaptation, Profiles, choose, covariance, half_width
from narformer.evaluation.known_devices import known_device, standardised, work_by_kind
from narformer.evaluation.protocol import CACHE, Options, Show
from narformer.evaluation.results import ALL, Result, Run, Scores, TaskResult
from narformer.evaluation.scores import score
from narformer.metrics import spearman

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
KNOWN_CELLS = 900
CANDIDATES, REFERENCES = 300, 400


@dataclass(frozen=True)
class SpaceProtocol(AdaptationProtocol):
    """A search space measured on many devices, some of which play the new one. sizes: numbers of samples."""

    name: str
    about: str
    load: Callable[[Path | None], LatencyTable]
    unseen: tuple[str, ...]
    sizes: tuple[int, ...] = (10, 20)
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("spearman", "Spearman's rank correlation on all networks that were not measured", max, 3),
    )

    def models(self) -> Sequence[str]:
        """Ours, and the simple baseline."""
        return ("adapted", "adapted_random", "trees_and_ridge")

    def options(self, model: str) -> frozenset[str]:
        """Draws of samples, and where the table is."""
        return frozenset({"seeds", "data"})

    def run(self, models: Sequence[str], options: Options, show: Show) -> Iterator[Result]:
        """Spearman on every network that was not measured, for each draw, size and unseen device."""
        table = self.load(options.data)
        for model in models:
            runs = tuple(self._draw(table, model, draw, show) for draw in options.draws)
            yield Result(self.name, "full", model, None, runs)

    def _draw(self, table: LatencyTable, model: str, draw: int, show: Show) -> Run:
        unseen = [table.devices.index(d) for d in self.unseen]
        known = [k for k in range(len(table.devices)) if k not in unseen]
        rows = np.random.default_rng(draw).choice(len(table), KNOWN_CELLS, replace=False)
        predict = _space_model(model, table, known, rows)
        tasks = {}
        for size in self.sizes:
            ranks = {}
            scores = {}
            for device in unseen:
                measured, prediction = predict(size, device, np.random.default_rng([draw, size, device]))
                rest = np.setdiff1d(np.arange(len(table)), measured)
                ranks[device] = round(spearman(prediction[rest], table.latencies[rest, device]), 4)
                scores[table.devices[device]] = {ALL: Scores(len(rest), spearman=ranks[device])}
            tasks[f"{size} samples"] = TaskResult(scores)
            show(f"{self.name} {model} draw {draw}, {size} samples: {np.mean(list(ranks.values())):.4f}")
        return Run(draw, tasks)


@dataclass(frozen=True)
class DevicesProtocol(AdaptationProtocol):
    """Devices that play the new one in turn: all those of `datasets`, which may differ in their networks."""

    name: str
    about: str
    datasets: tuple[str, ...]
    sizes: tuple[int, ...] = (10, 20, 50)
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("mape", "MAPE %", min, 2),
        Metric("interval_covers", "The 90 % interval covers %", None, 1),
    )

    def models(self) -> Sequence[str]:
        """Ours, with samples that are chosen, or drawn at random."""
        return ("adapted", "adapted_random")

    def options(self, model: str) -> frozenset[str]:
        """The form, draws of samples, where the tables are, and tokens."""
        return frozenset({"quick", "seeds", "data", "cache"})

    def run(self, models: Sequence[str], options: Options, show: Show) -> Iterator[Result]:
        """Errors on the new device's test rows and the coverage of the 90 % intervals, for each draw and size."""
        form = options.form
        dataset = self.load(form, options.data)
        tokens = build_cache(dataset.sources, dataset.ids, (options.cache or CACHE) / dataset.name, "physical")
        bench = Bench.prepare(dataset, tokens)
        for model in models:
            runs = []
            for draw in options.draws:
                tasks = {}
                for size in self.sizes:
                    scores = {
                        device: {
                            ALL: bench.score(device, size, model == "adapted", np.random.default_rng([draw, size, k]))
                        }
                        for k, device in enumerate(dataset.devices)
                    }
                    tasks[f"{size} samples"] = TaskResult(scores)
                    listed = "  ".join(f"{d} {s[ALL].mape:.2f} %" for d, s in scores.items())
                    show(f"{self.name} {form} {model} draw {draw}, {size} samples: {listed}")
                runs.append(Run(draw, tasks))
            yield Result(self.name, form, model, None, tuple(runs))

    def load(self, form: str, root: Path | None) -> Dataset:
        """The networks of all datasets of a protocol, those that were measured on a device at least."""
        dataset = concat(self.name.replace("/", "-"), [load_dataset(each, root) for each in self.datasets])
        dataset = dataset.subset(np.flatnonzero(np.isfinite(dataset.targets).any(axis=1)))
        return quick(dataset) if form == "quick" else dataset


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

    def score(self, device: str, size: int, chosen: bool, random: np.random.Generator) -> Scores:
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
        return replace(
            score(value, latencies[test]),
            interval_covers=round(100 * float((error <= half).mean()), 2),
            interval_factor=round(float(np.exp(np.median(half))), 4),
        )
