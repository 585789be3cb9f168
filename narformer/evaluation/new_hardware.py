"""Protocols of new hardware: each of a dataset's in turn is unknown, and then a few of its rows are measured.

Before anything is learned every label of the hardware is hidden. For each of its targets 0, 5, 10, 20 or 50 train rows,
drawn at random and each of another network, are shown; errors are those on test rows, of networks that no training
saw on any hardware. With 0 rows there are only the facts that hardware of this name has in common with other hardware.

Where a method asks other hardware, it asks `related` targets: those that share most groups with the new one
(prediction/target_groups.py), which takes no measurement of it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from narformer.adaptation.prices import Adaptation, Profiles, half_width
from narformer.adaptation.profile import RELATIVES, weights_of, work_of
from narformer.datasets.cache import TokenCache
from narformer.datasets.dataset import Dataset
from narformer.datasets.kernel_cache import KernelCache, build_kernel_cache, cache_for
from narformer.datasets.registry import load_dataset
from narformer.errors import ConfigError
from narformer.evaluation import baselines
from narformer.evaluation.hardware_tables import HardwareProtocol, hardware_of
from narformer.evaluation.known_devices import standardised
from narformer.evaluation.related import datasheet_factor, related
from narformer.evaluation.run import Learning, trained
from narformer.evaluation.splits import Task
from narformer.metrics import mape

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Show = Callable[[str], None]
Result = dict[str, Any]
SAMPLES = (0, 5, 10, 20, 50)
DRAWS = 10
# Without a training. flops, line: fitted to the samples alone (without any, as related_line). related_…: what is fitted
# to the related target's train rows, or its own latencies where it was measured on the very networks, times one factor
# that the samples tell (without any, that of the datasheets).
BASELINES = ("flops", "line", "related_line", "related_trees", "related_measured")
# Of a trained model: its estimates for the new target itself (what groups of targets say) and for the related one,
# both times one factor, and the prices of adaptation/prices.py over its estimates for related ones.
LEARNED = ("", "_related", "_adapted")


@dataclass(frozen=True)
class NewHardware:
    """A dataset of which one hardware is unknown. statistics: of its rows' Graphs, (rows, S)."""

    dataset: Dataset
    statistics: Array
    hardware: str

    @property
    def targets(self) -> list[str]:
        """Ids of the targets of the hardware that is new."""
        return [d for d in self.dataset.devices if hardware_of(d) == self.hardware]

    @property
    def known(self) -> list[str]:
        """Ids of the targets of all other hardware."""
        return [d for d in self.dataset.devices if hardware_of(d) != self.hardware]

    @cached_property
    def test(self) -> Indices:
        """Rows whose network no train row has."""
        return self.dataset.unseen()

    @cached_property
    def hidden(self) -> Dataset:
        """The dataset without a label of the hardware: all that may be learned from."""
        targets = self.dataset.targets.copy()
        targets[:, [self.dataset.devices.index(d) for d in self.targets]] = np.nan
        return replace(self.dataset, targets=targets)

    def measured(self, device: str, rows: Indices) -> Indices:
        """Those of these rows that were measured on a target."""
        return np.asarray(rows[np.isfinite(self.dataset.targets[rows, self.dataset.devices.index(device)])])

    def samples(self, device: str, draw: int) -> Indices:
        """Train rows of a target in random order, one a network; the first n are the samples of a draw."""
        random = np.random.default_rng([draw, zlib.crc32(device.encode())])
        rows = random.permutation(self.measured(device, self.dataset.rows("train")))
        names = np.array([(self.dataset.network or self.dataset.ids)[row] for row in rows])
        return np.asarray(rows[np.sort(np.unique(names, return_index=True)[1])])

    def fitted(self, name: str, rows: Indices, latencies: Array) -> Array:
        """A baseline's estimate of every row, fitted to some."""
        model = baselines.BASELINES[name]()
        model.fit(self.statistics[rows], latencies)
        return model.predict(self.statistics)


Predict = Callable[[str, Indices, Array], "Prediction"]


@dataclass(frozen=True)
class Prediction:
    """ms of every row, NaN where there is none; half: of the 90 % interval in ln(ms), where a method tells one."""

    value: Array
    half: Array | None = None


def baseline(name: str, bench: NewHardware) -> Predict:
    """From a target, samples (rows) and their latencies to a prediction of every row. name: of BASELINES."""
    of_relative: dict[str, Array] = {}

    def relative_s(device: str) -> Array:
        relative = related(device, bench.known)[0]
        factor = datasheet_factor(device, relative)
        labels = bench.hidden.targets[:, bench.dataset.devices.index(relative)]
        if name == "related_measured":
            return factor * labels
        if relative not in of_relative:
            simple = {"related_line": "line", "related_trees": "boosted_trees"}.get(name, name)
            fit = bench.measured(relative, bench.dataset.rows("train"))
            of_relative[relative] = bench.fitted(simple, fit, labels[fit])
        return factor * of_relative[relative]

    def predict(device: str, rows: Indices, latencies: Array) -> Prediction:
        if name in ("flops", "line") and len(rows):
            return Prediction(bench.fitted(name, rows, latencies))
        return Prediction(scaled(relative_s(device), rows, latencies))

    return predict


def scaled(estimate: Array, rows: Indices, latencies: Array) -> Array:
    """The estimate of every row times the median ratio of what was measured to it; as it is without a measurement."""
    ratios = latencies / estimate[rows]
    ratios = ratios[np.isfinite(ratios)]
    return estimate * float(np.median(ratios)) if len(ratios) else estimate


def learned(variant: str, bench: NewHardware, parts: Array, work: Array) -> Predict:
    """As `baseline`, from a model's parts: ms of every row by kind of kernel on every target, (rows, kinds, targets).

    variant: one of LEARNED. work: kernels, MACs, bytes of activations and of weights, (rows, 4).
    """
    totals = parts.sum(axis=1)
    numbers = standardised(bench.statistics, bench.dataset.rows("train"))

    def column(device: str) -> int:
        return bench.dataset.devices.index(device)

    def predict(device: str, rows: Indices, latencies: Array) -> Prediction:
        relatives = related(device, bench.known)
        if variant == "":
            return Prediction(scaled(totals[:, column(device)], rows, latencies))
        if variant == "_related" or not len(rows):
            estimate = datasheet_factor(device, relatives[0]) * totals[:, column(relatives[0])]
            return Prediction(scaled(estimate, rows, latencies))
        chosen = relatives[:RELATIVES]
        profiles = Profiles(np.maximum(parts[:, :, [column(each) for each in chosen]], 0), work, numbers)
        fitted = Adaptation(profiles.rows(rows), latencies, weights_of(device, chosen))
        value, deviation = fitted.predict(profiles)
        return Prediction(value, half_width(deviation))

    return predict


def score(bench: NewHardware, predict: Predict, draws: int) -> dict[str, dict[str, dict[str, float]]]:
    """By number of samples and target: test rows, mean of their errors over draws, and its deviation.

    A number of samples that a target has not is left out; so is a target without test rows.
    """
    table: dict[str, dict[str, dict[str, float]]] = {}
    for device in bench.targets:
        truth = bench.dataset.targets[:, bench.dataset.devices.index(device)]
        test = bench.measured(device, bench.test)
        for count in SAMPLES:
            errors, inside, widths = [], [], []
            for draw in range(draws if count else 1):
                rows = bench.samples(device, draw)[:count]
                if len(rows) < count or not len(test):
                    continue
                prediction = predict(device, rows, truth[rows])
                there = test[np.isfinite(prediction.value[test])]
                if not len(there):
                    continue
                errors.append(mape(prediction.value[there], truth[there]))
                if prediction.half is not None:
                    inside.append(np.abs(np.log(prediction.value / truth))[there] <= prediction.half[there])
                    widths.append(2 * np.sinh(prediction.half[there]))
            if not errors:
                continue
            scores = {"rows": len(there), "mape": round(float(np.mean(errors)), 3)}
            if len(errors) > 1:
                scores["mape_deviation"] = round(float(np.std(errors, ddof=1)), 3)
            if inside:
                scores["coverage"] = round(100 * float(np.mean(inside)), 2)
                scores["width"] = round(100 * float(np.mean(widths)), 2)
            table.setdefault(f"{count} samples", {})[device] = scores
    return table


def run_hardware(
    protocol: HardwareProtocol,
    model: str,
    *,
    epochs: int,
    draws: int,
    root: Path | None,
    cache: Path,
    runs: Path,
    only: str | None = None,
    show: Show = lambda _: None,
) -> list[Result]:
    """Score a baseline, or train a model without each hardware in turn and score what adapting makes of it.

    Below `runs` each training keeps its checkpoints and, once finished, its estimates: a killed run goes on where it
    stopped. only: this hardware alone. Raises DataError, ConfigError.
    """
    dataset = load_dataset(protocol.dataset, root)
    tokens = build_kernel_cache(dataset, cache)
    names = sorted({hardware_of(device) for device in dataset.devices})
    if only is not None and only not in names:
        raise ConfigError(f"{protocol.name} has no hardware {only!r}; it has {', '.join(names)}")
    if model not in BASELINES:
        from narformer.models.registry import MODELS, tokenizer_of

        if model not in MODELS:
            raise ConfigError(f"unknown model {model!r} of new hardware; known are {', '.join((*BASELINES, *MODELS))}")
    variants = ("",) if model in BASELINES else LEARNED
    tasks: dict[str, dict[str, Any]] = {variant: {} for variant in variants}
    for name in names if only is None else [only]:
        bench = NewHardware(dataset, tokens.statistics, name)
        methods = {"": baseline(model, bench)} if model in BASELINES else {}
        if not methods:
            home = runs / protocol.name / f"{model}-{epochs}" / name
            parts = trained_parts(bench, model, cache_for(dataset, tokenizer_of(model), cache), epochs, home)
            methods = {variant: learned(variant, bench, parts, work_by_row(tokens)) for variant in variants}
        for variant, predict in methods.items():
            scores = score(bench, predict, draws)
            for count, devices in scores.items():
                told = tasks[variant].setdefault(count, {"devices": {}})["devices"]
                told.update({device: {"all": each} for device, each in devices.items()})
            listed = ", ".join(
                f"{count.split()[0]}: {np.mean([s['mape'] for s in each.values()]):.1f} %"
                for count, each in scores.items()
            )
            show(f"{protocol.name} {model}{variant}, {name}, by samples: {listed}")
    common = {"protocol": protocol.name, "form": "full", "epochs": None if model in BASELINES else epochs}
    return [
        {**common, "model": f"{model}{variant}", "draws": draws, "runs": [{"seed": 0, "tasks": tasks[variant]}]}
        for variant in variants
    ]


def trained_parts(bench: NewHardware, model: str, tokens: TokenCache | KernelCache, epochs: int, home: Path) -> Array:
    """ms by kind of kernel and target (rows, kinds, targets) of a model that never saw the hardware."""
    kept = home / "parts.npz"
    if not kept.exists():
        from narformer.training.parts import parts_by_kind

        task = Task(bench.hardware, bench.dataset.rows("train"), bench.test)
        network = trained(model, bench.hidden, tokens, task, 0, Learning(epochs), home)
        partial = kept.with_suffix(".partial.npz")
        np.savez_compressed(partial, parts=parts_by_kind(network, tokens).astype(np.float32))
        partial.replace(kept)
        for checkpoint in home.rglob("*.pt"):
            checkpoint.unlink()
    with np.load(kept) as arrays:
        return np.asarray(arrays["parts"], dtype=np.float64)


def work_by_row(tokens: KernelCache) -> Array:
    """Kernels, MACs, bytes of activations and of weights of every row, (rows, 4)."""
    return np.array([work_of(tokens.batch([row]).features) for row in range(len(tokens))])
