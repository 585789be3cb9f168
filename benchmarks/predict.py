"""Predictions: one file, warm, and a thousand files in one call.

    python benchmarks/predict.py [--json]

The baseline of one prediction is what it spares: ONNX Runtime loads the network and runs it once, on one thread. That
of a thousand files is a loop of single predictions in one process, so neither starts a command for each.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import onnx
import onnxruntime
from table import Row, compare, main

import narformer
from narformer.cli.many import Question, answers
from narformer.families.registry import FAMILIES, sample
from narformer.frontends.sizes import Sizes
from narformer.measurement.weights import runnable
from narformer.processes import cores

FILE = Path(__file__).resolve().parents[1] / "examples" / "resnet18.onnx"
FILES = 1000
PREDICTORS = {"tally2": "Tally 2, all its targets", "tally": "Tally", "narformer-v2-nnmeter": "NAR-Former V2"}


def one_file(predictor: str, directory: Path) -> Row:
    weighted = directory / "weighted.onnx"
    network = runnable(FILE)
    onnx.save(network.model, weighted)
    inputs = dict(network.inputs)
    del network
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1

    def run() -> None:
        onnxruntime.InferenceSession(weighted, options, providers=["CPUExecutionProvider"]).run(None, inputs)

    return compare(
        f"predicting ResNet-18 from its file, warm: {PREDICTORS[predictor]}",
        "ONNX Runtime loads it and runs it once",
        lambda: narformer.predict(FILE, predictor=predictor, measured=False),
        run,
        repeats=10,
        clock=time.process_time,
    )


def many_files(directory: Path) -> Row:
    variants = [v for family in FAMILIES for v in sample(family, FILES // len(FAMILIES) + 1)][:FILES]
    paths = [directory / f"{number}.onnx" for number in range(FILES)]
    for path, variant in zip(paths, variants, strict=True):
        onnx.save(variant.build(), path)
    question = Question(None, Sizes(), None, None, measured=False)
    return compare(
        f"{FILES:,} files in one call, {cores()} cores",
        "a loop of single predictions",
        lambda: list(answers(paths, question, cores())),
        lambda: [narformer.predict(path, measured=False) for path in paths],
        items=FILES,
        unit="files/s",
    )


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as directory:
        return [*(one_file(name, Path(directory)) for name in PREDICTORS), many_files(Path(directory))]


if __name__ == "__main__":
    main(__doc__, rows)
