"""How long one prediction takes, warm, on one thread: ResNet-18 from its weightless file to all devices.

python benchmarks/predict.py
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from narformer.frontends.onnx import read_onnx
from narformer.predictor import Predictor

FILE = Path(__file__).resolve().parents[1] / "examples" / "resnet18.onnx"
ROUNDS = 60


def main() -> None:
    predictors = {name: Predictor.load(name) for name in ("tally", "narformer-v2-nnmeter")}
    parse: list[float] = []
    predict: dict[str, list[float]] = {name: [] for name in predictors}
    for _ in range(ROUNDS):
        started = time.perf_counter()
        graph = read_onnx(FILE)
        parse.append(time.perf_counter() - started)
        for name, predictor in predictors.items():
            started = time.perf_counter()
            predictor.predict([graph])
            predict[name].append(time.perf_counter() - started)
    read = 1000 * statistics.median(parse)
    for name, times in predict.items():
        answer = 1000 * statistics.median(times)
        print(f"{name:22s} {read + answer:5.2f} ms a network: {read:.2f} to read, {answer:.2f} to predict and to warn")


if __name__ == "__main__":
    main()
