"""How well a GPU of a data centre is predicted before anything was measured on it, and from a few measurements.

    python benchmarks/new_gpu.py [--draws 20] [--predictor FILE] [--csv estimates.csv]

`pytorch-gpu` has an H100's latencies. The default predictor knows three RTX cards from timm's table. Before anything is
measured, an estimate is that for the most related of their targets, as it is (`as related`) or times what datasheets
say of the two (`datasheet`). After k measurements, drawn at random, one a network, on each target by itself:
the related estimate times one factor (`factor`); the larger of that and of so much a kernel, for a GPU that waits for
the host (`launches`); what `narformer adapt` makes of them (`adapted`); and two baselines without a predictor, one
factor on GMACs (`flops`) and a non-negative line through GMACs, activations and parameters (`line`). Errors are on all
rows of the networks that were not measured.

Whatever of the H100 a predictor was trained on is not taken out of it: give one that never saw it for figures of new
hardware.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from narformer.adaptation.prices import Adaptation, Profiles
from narformer.adaptation.profile import profile, relatives
from narformer.datasets.pytorch_gpu import load_pytorch_gpu
from narformer.datasets.timm import ZooSource
from narformer.datasets.zoo import Entry
from narformer.evaluation.baselines import BASELINES
from narformer.evaluation.new_hardware import scaled
from narformer.evaluation.related import datasheet_factor, related
from narformer.prediction.predictor import Predictor
from narformer.prediction.zoo_readings import zoo_readings

SAMPLES = (0, 5, 10, 15)
METHODS = ("as related", "datasheet", "factor", "launches", "adapted", "line", "flops")
WORST = 10


@dataclass(frozen=True)
class Estimate:
    """One method's of one row, after so many measurements."""

    method: str
    samples: int
    target: str
    network: str
    batch: int
    ms: float
    estimate: float

    @property
    def percent(self) -> float:
        """By how much it is wrong."""
        return 100 * abs(self.estimate / self.ms - 1)

    @property
    def times(self) -> float:
        """How many times too high or too low it is."""
        return max(self.estimate / self.ms, self.ms / self.estimate)


@dataclass(frozen=True)
class Measured:
    """One target's rows. profiles, weights: of related targets. nearest: ms on the most related one, `related`.

    numbers: statistics of the Graphs.
    """

    target: str
    related: str
    networks: npt.NDArray[np.str_]
    batches: tuple[int, ...]
    ms: npt.NDArray[np.float64]
    profiles: Profiles
    weights: tuple[float, ...]
    nearest: npt.NDArray[np.float64]
    numbers: npt.NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--predictor", help="a predictor's name or file; without, the default one")
    parser.add_argument("--csv", type=Path, help="write the estimates that need no measurement there")
    options = parser.parse_args()
    predictor = Predictor.load(options.predictor) if options.predictor else Predictor.load()
    estimates: list[Estimate] = []
    for each in measured(predictor):
        print(f"{each.target}: {len(each.ms)} rows, most related {each.related}", flush=True)
        for count in SAMPLES:
            for draw in range(options.draws if count else 1):
                estimates += drawn(each, count, draw)
    tell(estimates)
    if options.csv:
        with options.csv.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("method", "target", "network", "batch", "ms", "estimate"))
            for e in estimates:
                if e.samples == 0:
                    writer.writerow((e.method, e.target, e.network, e.batch, f"{e.ms:.5g}", f"{e.estimate:.5g}"))


def measured(predictor: Predictor) -> Iterator[Measured]:
    """Each target of the dataset, with what the predictor says of related targets of other hardware."""
    dataset = load_pytorch_gpu()
    readings = zoo_readings()
    for column, target in enumerate(dataset.devices):
        rows = np.flatnonzero(np.isfinite(dataset.targets[:, column]))
        networks = []
        for row in rows:
            source = dataset.sources[row]
            assert isinstance(source, ZooSource)
            networks.append(readings[Entry(source.origin, source.name, source.size)].at_batch(dataset.batch[row]))
        others = [d for d in predictor.devices if d.partition(":")[0] != target.partition(":")[0]]
        nearest = related(target, others)[0]
        known, weights = relatives(target, others)
        yield Measured(
            target,
            nearest,
            np.array([dataset.network[row] for row in rows]),
            tuple(dataset.batch[row] for row in rows),
            dataset.targets[rows, column],
            profile(networks, predictor, known),
            weights,
            profile(networks, predictor, [nearest]).total[:, 0],
            np.stack([network.statistics for network in networks]),
        )


def drawn(of: Measured, count: int, draw: int) -> Iterator[Estimate]:
    """Estimates of the rows whose networks were not measured; none where there are too few networks."""
    random = np.random.default_rng(draw)
    names = random.permutation(np.unique(of.networks))[:count]
    if len(names) < count or count == len(np.unique(of.networks)):
        return
    shown = np.array([random.choice(np.flatnonzero(of.networks == name)) for name in names], dtype=np.int64)
    sheet = datasheet_factor(of.target, of.related)
    values = {"as related": of.nearest, "datasheet": sheet * of.nearest}
    if count:
        values = {"factor": scaled(of.nearest, shown, of.ms[shown])}
        values["launches"] = larger(of.nearest, of.profiles.work[:, 0], shown, of.ms[shown])
        fitted = Adaptation(of.profiles.rows(shown), of.ms[shown], of.weights)
        values["adapted"] = fitted.predict(of.profiles)[0]
        for name in ("line", "flops"):
            baseline = BASELINES[name]()
            baseline.fit(of.numbers[shown], of.ms[shown])
            values[name] = baseline.predict(of.numbers)
    for row in np.flatnonzero(~np.isin(of.networks, names)).tolist():
        known = (of.target, str(of.networks[row]), of.batches[row], float(of.ms[row]))
        for method, value in values.items():
            yield Estimate(method, count, *known, float(value[row]))


def larger(
    estimate: npt.NDArray[np.float64],
    kernels: npt.NDArray[np.float64],
    shown: npt.NDArray[np.int64],
    ms: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """The larger of the estimate times a factor, and of so much a kernel: the two that suit best what was measured."""
    pairs = [(f, c) for f in ms / estimate[shown] for c in (*(ms / kernels[shown]), 0.0)]
    factor, each = min(
        pairs,
        key=lambda pair: float(np.abs(np.log(np.maximum(pair[0] * estimate, pair[1] * kernels)[shown] / ms)).sum()),
    )
    return np.asarray(np.maximum(factor * estimate, each * kernels))


def tell(estimates: Sequence[Estimate]) -> None:
    """Mean errors, of all rows and by target and batch, and the rows that are predicted worst."""
    table("all rows", estimates, lambda e: f"{e.samples:2d} measured")
    for count in (0, 10):
        some = [e for e in estimates if e.samples == count]
        table(f"{count} measured, by target", some, lambda e: e.target)
        table(f"{count} measured, by batch", some, lambda e: f"batch {e.batch:3d}")
        table(f"{count} measured, by target and batch", some, lambda e: f"{e.target} {'1' if e.batch == 1 else '>1'}")
    for method in ("as related", "datasheet"):
        print(f"\nThe {WORST} worst of `{method}`, without a measurement:")
        mine = sorted((e for e in estimates if e.method == method), key=lambda e: -e.times)
        for e in mine[:WORST]:
            print(f"  {e.network:30s} {e.target:38s} batch {e.batch:3d}: {e.ms:7.2f} ms, told {e.estimate:7.2f}")


def table(title: str, estimates: Sequence[Estimate], key: Callable[[Estimate], str]) -> None:
    """Mean and median error in percent by method and what `key` tells."""
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for each in estimates:
        groups[key(each), each.method].append(each.percent)
    methods = [m for m in METHODS if any(method == m for _, method in groups)]
    print(f"\nMean (median) error in %, {title}:\n{'':42s}" + "".join(f"{method:>15s}" for method in methods))
    for value in dict.fromkeys(value for value, _ in sorted(groups)):
        print(f"{value:42s}" + "".join(f"{_figure(groups.get((value, method), [])):>15s}" for method in methods))


def _figure(errors: Sequence[float]) -> str:
    return f"{np.mean(errors):.1f} ({np.median(errors):.1f})" if errors else "–"


if __name__ == "__main__":
    main()
