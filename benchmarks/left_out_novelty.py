"""Does the novelty score tell a family left out of training, and does the interval hold there?

    narformer evaluate nnmeter/in-domain --quick -m tally
    narformer evaluate nnmeter/leave-one-family-out --quick -m tally
    python benchmarks/left_out_novelty.py

For each family: the ROC AUC of the distance to the nearest training network, its test rows against those of the
families trained on; how many of them are flagged as far from anything known (and how many of the others); and, by
device, how many lie within the 90 % interval that they would be given. That is the width for known networks (from the
in-domain run's test rows) where not flagged, and where flagged the 90 % quantile of the errors on the other left-out
families, so that no family sets its own.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from narformer.datasets.cache import build_cache
from narformer.evaluation.protocols import LATENCY
from narformer.training.batching import split_rows
from narformer.training.export import LEVEL, REFERENCES_PER_FAMILY, novelty_measure, novelty_threshold


def roc_auc(positive: npt.NDArray[np.float64], negative: npt.NDArray[np.float64]) -> float:
    """Chance that a positive scores above a negative, ties counting half."""
    difference = positive[:, None] - negative[None]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tally")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    chosen = parser.parse_args()
    data = Path(os.environ["NARFORMER_DATA"]) if "NARFORMER_DATA" in os.environ else None
    rules = LATENCY["nnmeter/leave-one-family-out"]
    dataset = rules.load("quick", data, None, None)
    statistics = build_cache(dataset.sources, dataset.ids, chosen.cache / dataset.name, "narformer_v2").statistics
    families = np.asarray(dataset.family)
    run = Path("quick") / f"{chosen.model}-{chosen.epochs}" / "seed0"
    known_rows = dataset.rows("test")
    known = _errors(chosen.runs / "nnmeter/in-domain" / run / "in-domain", dataset.targets[known_rows])
    home = chosen.runs / rules.name / run
    tasks = rules.tasks(dataset)
    errors = {task.name: _errors(home / task.name, dataset.targets[task.test]) for task in tasks}
    print(
        f"{'family':14s} {'AUC':>6s} {'flagged':>8s} {'others':>7s}  coverage of the 90 % interval, {dataset.devices}"
    )
    total = []
    for task in tasks:
        held, rest = split_rows([dataset.ids[r] for r in task.fit], (0.05,))
        others = sorted(set(families) - {task.name})
        chosen_rows = [r for f in others for r in task.fit[rest][families[task.fit[rest]] == f][:REFERENCES_PER_FAMILY]]
        measure = novelty_measure(statistics[chosen_rows])
        threshold = novelty_threshold(measure, np.ones(len(chosen_rows), dtype=bool), statistics[task.fit[held]])
        here = measure.distances(statistics[task.test]).min(axis=1)
        there = measure.distances(statistics[dataset.rows("test", others)]).min(axis=1)
        flagged = here > threshold
        width = np.nanquantile(np.concatenate([errors[f] for f in others]), LEVEL, axis=0)
        usual = np.nanquantile(known, LEVEL, axis=0)
        half = np.where(flagged[:, None], np.maximum(width, usual), usual)
        inside = np.where(np.isfinite(errors[task.name]), errors[task.name] <= half, np.nan)
        covered = 100 * _mean(inside)
        total.append([roc_auc(here, there), flagged.mean(), (there > threshold).mean(), *covered])
        _line(task.name, total[-1])
    _line("mean", np.nanmean(np.array(total), axis=0).tolist())


def _errors(home: Path, target: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """|ln(prediction / truth)| of a finished task, (rows, devices)."""
    return np.asarray(np.abs(np.log(np.load(home / "prediction.npy") / target)))


def _mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean of each column over what is there; NaN for a column without anything."""
    there = np.isfinite(values)
    return np.where(there.any(axis=0), np.nansum(values, axis=0) / np.maximum(there.sum(axis=0), 1), np.nan)


def _line(name: str, numbers: list[float]) -> None:
    auc, flagged, others, *covered = numbers
    listed = " ".join(f"{c:6.1f}" for c in covered)
    print(f"{name:14s} {auc:6.3f} {100 * flagged:6.0f} % {100 * others:5.1f} %  {listed}")


if __name__ == "__main__":
    main()
