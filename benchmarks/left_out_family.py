"""Why a left-out family is predicted badly: one model, one family, with and without what may be at fault.

    python benchmarks/left_out_family.py --family vgg --model narformer_v2 [--static zero] [--codes logarithmic]
        [--learn factor] [--hidden 64 --networks 60 --epochs 10] [--form full --networks 4000 --processor cuda ...]

`--static zero` blanks the static features (batch size, FLOPs, parameters, memory access) for training and test.
`--codes logarithmic` gives NAR-Former V2's sinusoidal code 4 ln(1 + size) instead of the size, everywhere. `--learn
factor` learns the factor on a line through FLOPs and memory access, fitted to the training networks, instead of the
latency. `--hidden` and `--networks` (a family, for training) make a run a matter of seconds; `--form full` has all
networks to draw from and to test on, and on a GPU takes minutes. Prints one JSON line: the
error, the line's, the mean of ln(prediction / truth), and how much of the family lies outside the central 99 % of the
training networks in latency and in FLOPs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import nnls

from narformer.datasets.cache import build_cache
from narformer.evaluation.protocols import LATENCY
from narformer.metrics import mape
from narformer.models.registry import create_model, tokenizer_of
from narformer.tokens import narformer_v2
from narformer.tokens.packing import FloatArray, PackedTokens
from narformer.tokens.statistics import NAMES
from narformer.training.batching import Indices, TokenSource, predict_rows, split_rows
from narformer.training.config import TrainConfig
from narformer.training.loop import train

Array = npt.NDArray[np.float64]


class WithoutStatic:
    """A token source whose static features are zero."""

    def __init__(self, source: TokenSource) -> None:
        self.source = source

    def batch(self, indices: Indices) -> PackedTokens:
        batch = self.source.batch(indices)
        return dataclasses.replace(batch, static=np.zeros_like(batch.static))


class Logarithmic:
    """A token source of NAR-Former V2 whose codes are of 4 ln(1 + size); static (rows, 4): the numbers behind."""

    def __init__(self, source: TokenSource, static: Array) -> None:
        self.source, self.static = source, static

    def batch(self, indices: Indices) -> PackedTokens:
        with mock.patch.object(narformer_v2, "pe5", self._code):
            batch = self.source.batch(indices)
        code = self._code(self.static[indices]).reshape(len(batch.static), -1)
        return dataclasses.replace(batch, static=code)

    @staticmethod
    def _code(values: npt.ArrayLike, plain: object = narformer_v2.pe5) -> FloatArray:
        assert callable(plain)
        code: FloatArray = plain(4 * np.log1p(np.maximum(np.asarray(values, dtype=np.float64), 0)))
        return code


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", required=True)
    parser.add_argument("--model", default="narformer_v2")
    parser.add_argument("--device", default="cortex-a76:tflite-2.1:fp32")
    parser.add_argument("--static", choices=("paper", "zero"), default="paper")
    parser.add_argument("--codes", choices=("paper", "logarithmic"), default="paper")
    parser.add_argument("--learn", choices=("latency", "factor"), default="latency")
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--networks", type=int, default=150)
    parser.add_argument("--form", choices=("quick", "full"), default="quick")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--processor", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    chosen = parser.parse_args()
    rules = LATENCY["nnmeter/leave-one-family-out"]
    data = Path(os.environ["NARFORMER_DATA"]) if "NARFORMER_DATA" in os.environ else None
    dataset = rules.load(chosen.form, data, None, chosen.device)
    task = next(t for t in rules.tasks(dataset) if t.name == chosen.family)
    families = np.array(dataset.family)[task.fit]
    learned = np.sort(np.concatenate([task.fit[families == f][: chosen.networks] for f in np.unique(families)]))
    tokens = build_cache(dataset.sources, dataset.ids, chosen.cache / dataset.name, tokenizer_of(chosen.model))
    source: TokenSource = WithoutStatic(tokens) if chosen.static == "zero" else tokens
    if chosen.codes == "logarithmic":
        source = Logarithmic(source, tokens._static)
    # Milliseconds per GFLOP and per million numbers moved, of the least relative error.
    sizes, truth = tokens._static[:, [1, 3]] / (1e9, 1e6), dataset.targets[:, 0]
    line = sizes @ nnls(sizes[learned] / truth[learned, None], np.ones(len(learned)))[0]
    unit = line if chosen.learn == "factor" else np.ones(len(line))
    config = TrainConfig(
        dataset.name,
        chosen.model,
        epochs=chosen.epochs,
        batch_size=chosen.batch_size,
        learning_rate=chosen.learning_rate,
        precision="bfloat16",
        seed=chosen.seed,
    )
    validation, fit = split_rows([dataset.ids[r] for r in learned], (0.05,))
    torch.manual_seed(chosen.seed)
    model = create_model(chosen.model, {"hidden": chosen.hidden}, 1).to(chosen.processor)
    with tempfile.TemporaryDirectory() as directory:
        targets = (truth / unit)[:, None]
        for _ in train(config, model, source, targets, learned[fit], learned[validation], Path(directory)):
            pass
    prediction = predict_rows(model, source, task.test)[:, 0] * unit[task.test]

    def outside(values: Array) -> float:
        low, high = np.quantile(values[task.fit], (0.005, 0.995))
        return round(100 * float(((values[task.test] < low) | (values[task.test] > high)).mean()), 1)

    flops = build_cache(dataset.sources, dataset.ids, chosen.cache / dataset.name, "narformer_v2").statistics
    told = {k: v for k, v in vars(chosen).items() if k != "cache"} | {
        "mape": round(mape(prediction, truth[task.test]), 2),
        "mape_of_line": round(mape(line[task.test], truth[task.test]), 2),
        "mean_log_error": round(float(np.log(prediction / truth[task.test]).mean()), 3),
        "latency_outside_percent": outside(truth),
        "flops_outside_percent": outside(flops[:, NAMES.index("log_macs")]),
    }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
