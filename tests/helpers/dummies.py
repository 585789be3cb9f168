"""A tiny predictor in the real file format, and the smallest network to ask it about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from narformer.graph import Graph, Node, Operand, Tensor
from narformer.prediction.card import Card, Output
from narformer.prediction.novelty import Novelty
from narformer.tokens.statistics import NAMES, statistics


def relu_graph(op: str = "Relu", batch: int = 1, name: str = "net") -> Graph:
    x = Tensor((batch, 3, 8, 8))
    return Graph((Node("r", op, (Operand(x, ~0),), (x,)),), (x,), ("x",), name)


def write_dummy(directory: Path, devices: tuple[str, ...] = ("p", "q")) -> Path:
    """A predictor that answers 10, 20, … ms for every network."""
    inputs = [
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["t", 152]),
        helper.make_tensor_value_info("edges", TensorProto.INT64, [2, "e"]),
        helper.make_tensor_value_info("graph", TensorProto.INT64, ["t"]),
        helper.make_tensor_value_info("static", TensorProto.FLOAT, ["b", 40]),
    ]
    constants = {
        "zero": np.zeros((40, len(devices)), dtype=np.float32),
        "answer": 10 * np.arange(1, len(devices) + 1, dtype=np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["static", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "answer"], ["latency"]),
    ]
    output = helper.make_tensor_value_info("latency", TensorProto.FLOAT, ["b", len(devices)])
    tensors = [onnx.numpy_helper.from_array(a, n) for n, a in constants.items()]
    graph = helper.make_graph(nodes, "dummy", inputs, [output], tensors)
    path = directory / "dummy.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), str(path))
    known = statistics(relu_graph())
    card = Card(
        name="dummy",
        model="narformer_v2",
        tokenizer="narformer_v2",
        outputs=tuple(
            Output(d, "", {"known": 0.1, "novel": 1.0}, {"mape": 3.0}, ("Relu",), (1,), "1", 0.5) for d in devices
        ),
        novelty=Novelty(known, np.ones(len(NAMES)), np.zeros((1, len(NAMES)))),
    )
    card.save(path.with_suffix(".json"))
    return path
