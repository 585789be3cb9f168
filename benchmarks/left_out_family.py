"""Why a left-out family is predicted badly: one model, one family, with and without what may be at fault.

    python benchmarks/left_out_family.py --family vgg --model narformer_v2 [--static zero]

`--static zero` blanks the static features (batch size, FLOPs, parameters, memory access) for training and test. Prints
one JSON line: the error, the mean of ln(prediction / truth), and how much of the family lies outside the central 99 %
of the training networks in latency and in FLOPs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import torch

from narformer.datasets.cache import build_cache
from narformer.evaluation.protocols import protocol
from narformer.metrics import mape
from narformer.models.registry import create_model, tokenizer_of
from narformer.tokens.packing import PackedTokens
from narformer.tokens.statistics import NAMES
from narformer.training.batching import Indices, TokenSource, predict_rows, split_rows
from narformer.training.config import TrainConfig
from narformer.training.loop import train


class WithoutStatic:
    """A token source whose static features are zero."""

    def __init__(self, source: TokenSource) -> None:
        self.source = source

    def batch(self, indices: Indices) -> PackedTokens:
        batch = self.source.batch(indices)
        return dataclasses.replace(batch, static=np.zeros_like(batch.static))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", required=True)
    parser.add_argument("--model", default="narformer_v2")
    parser.add_argument("--device", default="cortex-a76:tflite-2.1:fp32")
    parser.add_argument("--static", choices=("paper", "zero"), default="paper")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    chosen = parser.parse_args()
    rules = protocol("nnmeter/leave-one-family-out")
    data = Path(os.environ["NARFORMER_DATA"]) if "NARFORMER_DATA" in os.environ else None
    dataset = rules.load("quick", data, None, chosen.device)
    task = next(t for t in rules.tasks(dataset) if t.name == chosen.family)
    tokens = build_cache(dataset.sources, dataset.ids, chosen.cache / dataset.name, tokenizer_of(chosen.model))
    source = WithoutStatic(tokens) if chosen.static == "zero" else tokens
    config = TrainConfig(dataset.name, chosen.model, epochs=chosen.epochs, precision="bfloat16", seed=chosen.seed)
    validation, fit = split_rows([dataset.ids[r] for r in task.fit], (0.05,))
    torch.manual_seed(chosen.seed)
    model = create_model(chosen.model, {}, 1)
    with tempfile.TemporaryDirectory() as directory:
        for _ in train(config, model, source, dataset.targets, task.fit[fit], task.fit[validation], Path(directory)):
            pass
    prediction, truth = predict_rows(model, source, task.test)[:, 0], dataset.targets[task.test, 0]

    def outside(values: np.ndarray) -> float:
        low, high = np.quantile(values[task.fit], (0.005, 0.995))
        return round(100 * float(((values[task.test] < low) | (values[task.test] > high)).mean()), 1)

    flops = build_cache(dataset.sources, dataset.ids, chosen.cache / dataset.name, "narformer_v2").statistics
    line = {k: v for k, v in vars(chosen).items() if k != "cache"} | {
        "mape": round(mape(prediction, truth), 2),
        "mean_log_error": round(float(np.log(prediction / truth).mean()), 3),
        "latency_outside_percent": outside(dataset.targets[:, 0]),
        "flops_outside_percent": outside(flops[:, NAMES.index("log_macs")]),
    }
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
