"""How good can a ranking of cells be? Ceilings that the noise of the labels sets, estimated in two ways.

    python benchmarks/label_noise.py

1. Noise of the Gaussian process: weights and noise are the most probable ones given 3,000 cells. With a
   share r of the scores' variance being noise, a perfect predictor correlates with the labels at √(1 − r), and has
   Kendall's tau 2/π · asin √(1 − r) (both normal).
2. Twins (NAS-Bench-201): cells that are one network were each trained. The label of one ranks the label of another; two
   noisy labels against each other give a lower bound on the ceiling.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from narformer.cells.nasbench101 import load_nasbench101
from narformer.cells.nasbench201 import load_nasbench201
from narformer.cells.networks import distinct_networks
from narformer.cells.predictor import predictor_statistics
from narformer.cells.process import GaussianProcess
from narformer.metrics import kendall_tau


def main() -> None:
    root = Path(os.environ["NARFORMER_DATA"]) if "NARFORMER_DATA" in os.environ else None
    for dataset in (load_nasbench201(root), load_nasbench101(root)):
        rows = np.random.default_rng(0).permutation(len(dataset))[:3000]
        statistics, groups = predictor_statistics(dataset.table.rows(rows))
        process = GaussianProcess(groups).fit(statistics, dataset.accuracy[rows])
        share = process.noise_share
        ceiling = 2 / np.pi * np.arcsin(np.sqrt(1 - share))
        print(f"{dataset.name}: noise is {share:.1%} of the variance of scores; ceiling of tau about {ceiling:.3f}")
    dataset = load_nasbench201(root)
    networks, group = distinct_networks(dataset.table)
    order = np.random.default_rng(0).permutation(len(group))
    first: dict[int, int] = {}
    pairs = []
    for row in order.tolist():
        if group[row] in first:
            pairs.append((first.pop(group[row]), row))
        else:
            first[group[row]] = row
    one, other = np.array(pairs).T
    tau = kendall_tau(dataset.accuracy[one], dataset.accuracy[other])
    gap = np.abs(dataset.accuracy[one] - dataset.accuracy[other])
    print(
        f"nasbench201: {len(pairs)} pairs of twins among {len(networks)} different networks; one label ranks the other "
        f"with tau {tau:.3f}, median difference {np.median(gap):.2f} %"
    )


if __name__ == "__main__":
    main()
