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

import numpy as np
import numpy.typing as npt

from narformer.adaptation.prices import Adaptation, Profiles, half_width
from narformer.adaptation.profile import RELATIVES, weights_of
from narformer.datasets.dataset import Dataset
from narformer.evaluation import baselines
from narformer.evaluation.hardware_tables import hardware_of
from narformer.evaluation.known_devices import standardised
from narformer.evaluation.related import datasheet_factor, related
from narformer.evaluation.results import Scores
from narformer.metrics import mape

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
SAMPLES = (0, 5, 10, 20, 50)
EPOCHS = 24
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


def score(bench: NewHardware, predict: Predict, draws: int) -> dict[str, dict[str, Scores]]:
    """By number of samples and target: test rows, mean of their errors over draws, and its deviation.

    A number of samples that a target has not is left out; so is a target without test rows.
    """
    table: dict[str, dict[str, Scores]] = {}
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
            table.setdefault(f"{count} samples", {})[device] = Scores(
                rows=len(there),
                mape=round(float(np.mean(errors)), 3),
                mape_deviation=round(float(np.std(errors, ddof=1)), 3) if len(errors) > 1 else None,
                coverage=round(100 * float(np.mean(inside)), 2) if inside else None,
                width=round(100 * float(np.mean(widths)), 2) if inside else None,
            )
    return table
