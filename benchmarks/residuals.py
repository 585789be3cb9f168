"""What is left of the default predictor's error: noise of the measurements, too little data, or something to learn?

    python benchmarks/residuals.py

For each of nn-Meter's devices and families: the error (MAPE) on train rows, the error on test rows, and that on test
rows once boosted trees on the graph's statistics have had a try at the residuals of all other rows (five folds). If the
trees mend nothing, what is left is in no count, size or work of the network. A fit errs too little on rows that it
learned from and too much on others, so the noise of the measurements lies between the first two columns.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from narformer.datasets.cache import build_cache
from narformer.datasets.dataset import sha1_order
from narformer.datasets.nnmeter import load_nnmeter
from narformer.evaluation.baselines import fit_predict
from narformer.prediction.held_out import predict_sources
from narformer.prediction.predictor import Predictor

FOLDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=300, help="train rows of each family (300)")
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    chosen = parser.parse_args()
    dataset = load_nnmeter(Path(os.environ["NARFORMER_DATA"]) if "NARFORMER_DATA" in os.environ else None)
    families = sorted(set(dataset.family))
    known = [r for f in families for r in _some(dataset.rows("train", [f]), dataset.ids, chosen.train)]
    unseen = dataset.rows("test")
    rows = np.concatenate([known, unseen])
    devices = Predictor.load().devices
    columns = [devices.index(d) for d in dataset.devices]
    ratio = dataset.targets[rows] / predict_sources(None, [dataset.sources[r] for r in rows])[:, columns, 0]
    statistics = build_cache(dataset.sources, dataset.ids, chosen.cache / dataset.name, "kernels").statistics[rows]
    folds = np.random.default_rng(0).permutation(len(rows)) % FOLDS
    tried = np.full_like(ratio, np.nan)
    for fold in range(FOLDS):
        out = folds == fold
        tried[out] = fit_predict("boosted_trees", statistics, ratio, np.flatnonzero(~out), np.flatnonzero(out))
    family = np.asarray(dataset.family)[rows]
    learned_from = np.arange(len(rows)) < len(known)
    for column, device in enumerate(dataset.devices):
        print(f"{device:14s}  train rows  test rows  test rows, corrected by trees")
        error, mended = (np.abs(1 / r[:, column] - 1) for r in (ratio, ratio / tried))
        for name in ["all", *families]:
            of = np.isfinite(error) & ((family == name) | (name == "all"))
            if of.any():
                shown = (error[of & learned_from], error[of & ~learned_from], mended[of & ~learned_from])
                print(f"  {name:14s}" + "".join(f"{100 * e.mean():9.2f} %" for e in shown))


def _some(rows: npt.NDArray[np.int64], ids: Sequence[str], count: int) -> npt.NDArray[np.int64]:
    """So many of the rows, always the same."""
    return rows[sha1_order([ids[r] for r in rows])[:count]]


if __name__ == "__main__":
    main()
