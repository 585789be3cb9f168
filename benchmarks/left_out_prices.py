"""How well prices alone tell families that no fit has seen: five folds of families of a dataset's train rows.

python benchmarks/left_out_prices.py [--cache DIR] [--every-term] [--without TERM ...] [--no-shares]

Prints a table: by kind of target the number of measurements, the mean and the median of |ln(prediction / truth)|, each
counted as 1 at most. `--every-term`: GPUs and NPUs pay for what only CPUs have; `--without` leaves out terms of work.
Minutes on a core, and an hour more to make the tokens the first time.
"""

from __future__ import annotations

import argparse
import hashlib
from collections import defaultdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from narformer.datasets.kernel_cache import cache_for
from narformer.datasets.registry import load_dataset
from narformer.models import tally2
from narformer.models.price_fit import fit_prices
from narformer.prediction.target_groups import tags
from narformer.training.batching import to_tensors
from narformer.training.losses import balanced
from narformer.training.run import kernel_shares, model_for

FOLDS = 5
DATASET = "nnmeter+onnxruntime-cpu+timm+onnxruntime-wide+qai_hub+pytorch-gpu"


def fold_of(family: str) -> int:
    """The fold in which a family is left out."""
    return int(hashlib.md5(family.encode()).hexdigest(), 16) % FOLDS


def kind_of(device: str) -> str:
    """The row of the table to which a target belongs."""
    known = tags(device)
    for tag in ("nvidia gpu, pytorch compiled", "nvidia gpu, pytorch eager", "i7-12700h", "epyc-milan", "epyc-turin"):
        if tag in known:
            return tag
    return f"hexagon, {known[3]}" if known[1] == "hexagon" else device


def main() -> None:
    """Fit five times, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cache", type=Path, default=Path("tokens"))
    parser.add_argument("--every-term", action="store_true")
    parser.add_argument("--without", nargs="*", default=[], choices=tally2.WORK, metavar="TERM")
    parser.add_argument("--no-shares", action="store_true")
    asked = parser.parse_args()
    dataset = load_dataset(DATASET)
    dataset = dataset.subset(np.flatnonzero(np.isfinite(dataset.targets).any(axis=1)))
    tokens = cache_for(dataset, "runtime_kernels", asked.cache)
    train = dataset.rows("train")
    fold = np.array([fold_of(dataset.family[row]) for row in train])
    errors: dict[str, list[npt.NDArray[np.float64]]] = defaultdict(list)
    for number in range(FOLDS):
        fit, left = train[fold != number], train[fold == number]
        options = {"hardware": ("",) * len(dataset.devices)} if asked.every_term else {}
        model = model_for("tally2", dataset, fit, options)
        assert isinstance(model, tally2.Tally2)
        for term in asked.without:
            model.prices.there[tally2.WORK.index(term)] = 0

        def tokens_of(
            rows: npt.NDArray[np.int64], of: npt.NDArray[np.int64] = fit
        ) -> tuple[torch.Tensor, torch.Tensor]:
            features, _, graph, _ = to_tensors(tokens.batch(of[rows]), torch.device("cpu"))
            there = graph < len(rows)
            return features[there], graph[there]

        targets = torch.from_numpy(dataset.targets[fit].astype(np.float32))
        measured = torch.isfinite(targets).sum(dim=0)
        model.prices.count(measured)
        shares = None if asked.no_shares else kernel_shares(dataset, tokens.sizes(), fit)
        for _ in fit_prices(model.prices, tokens_of, tally2.work, targets, balanced(measured, 0.5), shares):
            pass
        with torch.no_grad():
            table = model.prices.table()
            places = [np.arange(start, min(start + 256, len(left))) for start in range(0, len(left), 256)]
            told = torch.cat([tally2.work(*tokens_of(rows, left), len(rows)) @ table for rows in places])
        error = np.minimum(np.abs(np.log(told.double().numpy() / dataset.targets[left])), 1)
        for column, device in enumerate(dataset.devices):
            there = np.isfinite(error[:, column])
            errors[kind_of(device)].append(error[there, column])
            if "epyc-turin" in device and device.endswith(":fp32:1t"):
                files = there & np.array([dataset.family[row].startswith("file:") for row in left])
                errors["of these, real files"].append(error[files, column])
    print("| targets | measurements | mean | median |\n|---|---|---|---|")
    for kind, parts in sorted(errors.items()):
        each = np.concatenate(parts)
        if len(each):
            print(f"| {kind} | {len(each):,} | {100 * each.mean():.1f} | {100 * np.median(each):.1f} |")


if __name__ == "__main__":
    main()
