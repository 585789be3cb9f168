"""How well a few measurements teach a new device, with timm's table: each target from the others' estimates.

    python benchmarks/new_device.py --data DIRECTORY [--target rtx5090 ...] [--draws 8]

Each target in turn is the new one: its relatives are the default predictor's estimates for the targets of other
hardware. That predictor was trained on all of them, the new one too; what it took from it into prices that targets
share is not taken out again, so figures are a little better than those of hardware that nobody ever measured.
`narformer evaluate timm/leave-one-hardware-out` trains without it.

In each draw a random tenth of the networks is tested; of 300 random rows of the others 5 to 50 are measured, random
ones or those that the design chooses. Beside the adaptation, from the chosen ones: one factor on the relative that fits
best, and baselines (evaluation/baselines.py).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from narformer.adaptation.prices import Adaptation, Design, Profiles, half_width
from narformer.adaptation.profile import profile, relatives
from narformer.datasets.timm import ZooSource, load_timm
from narformer.datasets.zoo import Entry
from narformer.evaluation.baselines import BASELINES
from narformer.metrics import mape
from narformer.prediction.predictor import Predictor
from narformer.prediction.target import select
from narformer.prediction.zoo_readings import zoo_readings

SIZES = (5, 10, 20, 50)
POOL = 300
METHODS = ("adapted", "chosen", "factor", "line", "flops")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="Root of the public datasets. Default: $NARFORMER_DATA.")
    parser.add_argument(
        "--target", action="append", default=[], help="only this; a piece of hardware stands for its all"
    )
    parser.add_argument("--draws", type=int, default=8)
    options = parser.parse_args()
    dataset = load_timm(options.data)
    predictor = Predictor.load()
    readings = zoo_readings()
    print(f"{'target':36s} {'n':>3s} " + " ".join(f"{name:>8s}" for name in METHODS) + "  covered, width (chosen)")
    for target in select(options.target, dataset.devices) if options.target else dataset.devices:
        latencies = dataset.targets[:, dataset.devices.index(target)]
        rows = np.flatnonzero(np.isfinite(latencies))
        networks = []
        for row in rows:
            source = dataset.sources[row]
            assert isinstance(source, ZooSource)
            networks.append(readings[Entry("timm", source.name, source.size)].at_batch(dataset.batch[row]))
        hardware = target.partition(":")[0]
        known, weights = relatives(target, [d for d in predictor.devices if d.partition(":")[0] != hardware])
        profiles = profile(networks, predictor, known)
        statistics = np.stack([network.statistics for network in networks])
        names = np.array([network.name for network in networks])
        for size in SIZES:
            scores = [
                one(profiles, statistics, names, latencies[rows], weights, size, draw) for draw in range(options.draws)
            ]
            mean = np.mean(scores, axis=0)
            errors = " ".join(f"{value:7.1f}%" for value in mean[: len(METHODS)])
            print(f"{target:36s} {size:3d} {errors}  {mean[-2]:.0f} %, {mean[-1]:.0f} %", flush=True)


def one(
    profiles: Profiles,
    statistics: np.ndarray,
    names: np.ndarray,
    latencies: np.ndarray,
    weights: tuple[float, ...],
    size: int,
    draw: int,
) -> list[float]:
    """Errors of each method in one draw, the share of test rows in the intervals, and their width; in percent."""
    random = np.random.default_rng(draw)
    networks = random.permutation(np.unique(names))
    tested = np.isin(names, networks[: len(networks) // 10])
    test, pool = np.flatnonzero(tested), random.choice(np.flatnonzero(~tested), POOL, replace=False)
    chosen = pool[Design(profiles.rows(pool), weights).choose(size)]
    found = []
    for measured in (pool[:size], chosen):
        value, deviation = Adaptation(profiles.rows(measured), latencies[measured], weights).predict(
            profiles.rows(test)
        )
        found.append(mape(value, latencies[test]))
    half = half_width(deviation)
    ratio = np.log(latencies[chosen, None] / profiles.total[chosen])
    best = int(np.abs(ratio - np.median(ratio, axis=0)).mean(axis=0).argmin())
    found.append(mape(np.exp(np.median(ratio[:, best])) * profiles.total[test, best], latencies[test]))
    for name in ("line", "flops"):
        baseline = BASELINES[name]()
        baseline.fit(statistics[chosen], latencies[chosen])
        found.append(mape(baseline.predict(statistics[test]), latencies[test]))
    covered = np.abs(np.log(value / latencies[test])) <= half
    return [*found, 100 * float(covered.mean()), 100 * float((2 * np.sinh(half)).mean())]


if __name__ == "__main__":
    main()
