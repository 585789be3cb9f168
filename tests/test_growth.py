"""Memory grows as a network does, and no faster: no array has a place for each pair of nodes."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph
from narformer.prediction.card import Card
from narformer.prediction.predictor import PRETRAINED
from narformer.tokens.packing import pack
from narformer.tokens.registry import TOKENIZERS
from narformer.tokens.statistics import statistics

SHIPPED = sorted(PRETRAINED.glob("*.onnx"))


def residual(blocks: int) -> bytes:
    """Convolution, rectifier and addition, so many times: each block reads the one before twice."""
    nodes, last = [], "x"
    for k in range(blocks):
        nodes += [
            helper.make_node("Conv", [last, "w"], [f"c{k}"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"c{k}"], [f"r{k}"]),
            helper.make_node("Add", [f"r{k}", last], [f"a{k}"]),
        ]
        last = f"a{k}"
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8, 14, 14]) for name in ("x", last))
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[8, 8, 3, 3])
    graph = helper.make_graph(nodes, "residual", [x], [y], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def sizes_of_arrays(path: Path, graph: Graph) -> dict[str, int]:
    """Elements of everything that a predictor's model computes for a Graph, by name."""
    model = onnx.load(path)
    computed = [name for node in model.graph.node for name in node.output if name]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in computed)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    batch = pack([TOKENIZERS[Card.read(path.with_suffix(".json")).tokenizer](graph)])
    feed = {
        "features": batch.features,
        "edges": batch.edges.astype(np.int64),
        "graph": batch.graph.astype(np.int64),
        "static": batch.static,
    }
    return {name: np.size(value) for name, value in zip(computed, session.run(computed, feed), strict=True)}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_no_array_of_a_shipped_model_is_quadratic(path: Path) -> None:
    small, large = (sizes_of_arrays(path, read_onnx(residual(blocks))) for blocks in (40, 80))
    assert small.keys() == large.keys()
    grown = {name: (small[name], large[name]) for name in small if large[name] > 2 * small[name]}
    assert not grown
    # 10,000 nodes, with 16,667 edges: the largest array, in float32, takes a quarter of a gigabyte. Prices do not grow.
    nodes = 120
    elements = max(small[name] + (large[name] - small[name]) * (10_000 / nodes - 1) for name in small)
    assert 4 * elements < 2**28


def test_reading_and_tokens_take_memory_in_proportion() -> None:
    peaks = []
    for blocks in (100, 400):
        data = residual(blocks)
        for _ in range(2):  # what is made once for the process does not count
            tracemalloc.start()
            graph = read_onnx(data)
            statistics(graph)
            for tokenize in TOKENIZERS.values():
                tokenize(graph)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        peaks.append(peak)
    assert peaks[1] < 6 * peaks[0]  # four times the nodes
    assert peaks[1] * 10_000 / 1_200 < 1e8
