"""`narformer explain` against ONNX Runtime's profiler: does it find the operators that take the time?

For held-out networks of the dataset `onnxruntime-cpu`, the share of each operator in the profile of some runs on this
machine is compared with the share that the predictor gives it: Spearman's rank correlation over the operators of a
network, and the share that both give to the same operator (100 % less half the sum of absolute differences). A kernel
that ONNX Runtime made of several nodes counts as the operator that names it, and so do the nodes fused into it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from narformer.datasets.onnxruntime_cpu import DEVICE, load_onnxruntime_cpu, planned
from narformer.families.registry import build
from narformer.frontends.onnx import read_onnx
from narformer.measurement.weights import runnable
from narformer.metrics import spearman
from narformer.prediction.predictor import Predictor

RUNS = 8
# Kernels of ONNX Runtime that are other words for an operator, or serve one.
KERNELS: Mapping[str, str] = {
    "FusedMatMul": "MatMul",
    "FusedConv": "Conv",
    "FusedGemm": "MatMul",
    "Gemm": "MatMul",
    "Gelu": "Erf",
    "BiasGelu": "Erf",
    "QuickGelu": "Sigmoid",
    "SkipLayerNormalization": "LayerNormalization",
    "ReorderInput": "Conv",
    "ReorderOutput": "Conv",
    "BatchNormalization": "Conv",
}
# What ONNX Runtime fuses away when it follows one of these.
FUSED_INTO: Mapping[str, tuple[str, ...]] = {
    "Conv": ("Relu", "Clip", "Add", "LeakyRelu", "Sigmoid", "BatchNormalization"),
    "MatMul": ("Add",),
    "Gemm": ("Relu",),
}


def profiled(model: onnx.ModelProto) -> dict[str, float]:
    """Seconds of each operator, by the profiler, the first run left out."""
    network = runnable(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as directory:
        options.profile_file_prefix = os.path.join(directory, "p")
        session = onnxruntime.InferenceSession(
            network.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        for _ in range(RUNS):
            session.run(None, dict(network.inputs))
        events = json.loads(Path(session.end_profiling()).read_text())
    seen: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            seen[event["name"]] += 1
            if seen[event["name"]] > 1:
                kernel = event["args"]["op_name"]
                total[KERNELS.get(kernel, kernel)] += event["dur"] / 1e6
    return dict(total)


def explained(predictor: Predictor, model: onnx.ModelProto, column: int) -> dict[str, float]:
    """Milliseconds of each operator as the predictor sees them, fused nodes with the operator they are fused into."""
    graph, parts = predictor.explain(read_onnx(model))
    owner: dict[int, str] = {}
    total: Counter[str] = Counter()
    for index, (node, milliseconds) in enumerate(zip(graph.nodes, parts[:, column], strict=True)):
        owner[index] = KERNELS.get(node.op, node.op)
        for source in node.sources:
            before = graph.nodes[source].op if source >= 0 else ""
            root = owner.get(source, "")
            if node.op in FUSED_INTO.get(before, ()) or (root == "Conv" and node.op in FUSED_INTO["Conv"]):
                owner[index] = root
                break
        total[re.sub(r"^(Gemm)$", "MatMul", owner[index])] += float(milliseconds)
    return dict(total)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predictor", default=None)
    parser.add_argument("--count", type=int, default=60, help="held-out networks")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    predictor = Predictor.load(arguments.predictor)
    column = predictor.devices.index(DEVICE)
    measured = set(load_onnxruntime_cpu().ids)
    rows = [row for row in planned() if row.split == "test" and f"cpu_{row.id}" in measured][: arguments.count]
    correlations, overlaps, first = [], [], []
    for row in rows:
        source = row.source
        model = build(source.family, source.config, source.version, input_size=source.input_size)
        truth, guess = profiled(model), explained(predictor, model, column)
        names = sorted(set(truth) | set(guess))
        t = np.array([truth.get(n, 0.0) for n in names]) / sum(truth.values())
        g = np.array([guess.get(n, 0.0) for n in names]) / sum(guess.values())
        kept = np.maximum(t, g) > 0.002  # what neither finds worth mentioning has no rank
        if kept.sum() > 1:
            correlations.append(spearman(g[kept], t[kept]))
        overlaps.append(100 - 50 * np.abs(t - g).sum())
        first.append(int(t.argmax() == g.argmax()))
        print(f"{row.id:28s} rank correlation {correlations[-1]:5.2f}, overlap {overlaps[-1]:5.1f} %")
    result = {
        "networks": len(rows),
        "spearman": round(float(np.nanmean(correlations)), 3),
        "overlap_percent": round(float(np.mean(overlaps)), 1),
        "same_heaviest_percent": round(100 * float(np.mean(first)), 1),
    }
    print(json.dumps(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
