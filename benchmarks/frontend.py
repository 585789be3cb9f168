"""From the bytes of a file to tokens, against a straightforward loop over onnx's shape inference and dictionaries.

    python benchmarks/frontend.py [--json]

Tokens are those of the default predictor. Times are processor time. The baseline infers the shapes of the
whole model, keeps them in a dictionary, and writes a row of features for each node: what one writes first.
"""

from __future__ import annotations

import functools
import math
import time
from pathlib import Path

import numpy as np
import onnx
import onnx.shape_inference
from onnx import TensorProto, helper
from table import Row, compare, main

from narformer.families.registry import FAMILIES, build
from narformer.frontends.onnx import read_onnx
from narformer.tokens.kernels import tokenize

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def ours(data: bytes) -> object:
    return tokenize(read_onnx(data))


def baseline(data: bytes) -> object:
    """Features of each node, and the edges."""
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(data))
    graph = model.graph
    shapes = {}
    for info in [*graph.input, *graph.value_info, *graph.output]:
        shapes[info.name] = [d.dim_value for d in info.type.tensor_type.shape.dim]
    weights = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    operators = sorted({node.op_type for node in graph.node})
    producer, rows, edges = {}, [], []
    for index, node in enumerate(graph.node):
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        shape = shapes.get(node.output[0], [])
        read = [shapes[name] for name in node.input if name in shapes and name not in weights]
        held = [weights[name] for name in node.input if name in weights]
        macs = 0
        if node.op_type == "Conv":
            macs = math.prod(shape) * math.prod(held[0][1:])
        elif node.op_type in ("Gemm", "MatMul") and held:
            macs = math.prod(held[0]) * shape[0]
        row = [float(node.op_type == operator) for operator in operators]
        row += [math.log1p(macs), math.log1p(4 * sum(map(math.prod, [*read, *held, shape])))]
        row += [math.log1p(math.prod(s)) for s in (shape, read[0] if read else [0])]
        row += [math.log1p(size) for size in [*shape, 0, 0, 0, 0][:4]]
        for name in ("kernel_shape", "strides", "pads", "group"):
            value = attributes.get(name, 0)
            row.append(float(value[0] if isinstance(value, (list, tuple)) else value))
        rows.append(row)
        edges += [(producer[name], index) for name in node.input if name in producer]
        producer.update(dict.fromkeys(node.output, index))
    return np.array(rows, dtype=np.float32), np.array(edges)


def resnet50() -> bytes:
    """An ordinary file: with its 102 MB of weights."""
    model = build("resnet", FAMILIES["resnet"].unscaled("50"), "50")
    for tensor in model.graph.initializer:
        tensor.raw_data = bytes(4 * math.prod(tensor.dims))
    return model.SerializeToString()


def deep(nodes: int) -> bytes:
    """Convolutions, normalisations, rectifiers and residual additions; no shapes stated but the input's."""
    weights = {"w": (32, 32, 3, 3), "s": (32,), "b": (32,), "m": (32,), "v": (32,)}
    made, last = [], "x"
    for k in range(nodes // 4):
        made += [
            helper.make_node("Conv", [last, f"w{k}"], [f"c{k}"], f"conv{k}", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            helper.make_node("BatchNormalization", [f"c{k}", *(f"{n}{k}" for n in "sbmv")], [f"n{k}"], f"norm{k}"),
            helper.make_node("Relu", [f"n{k}"], [f"r{k}"], f"relu{k}"),
            helper.make_node("Add", [f"r{k}", last], [f"a{k}"], f"add{k}"),
        ]
        last = f"a{k}"
    tensors = [
        TensorProto(name=f"{name}{k}", data_type=TensorProto.FLOAT, dims=dims)
        for k in range(nodes // 4)
        for name, dims in weights.items()
    ]
    value = functools.partial(helper.make_tensor_value_info, elem_type=TensorProto.FLOAT, shape=[1, 32, 14, 14])
    graph = helper.make_graph(made, "deep", [value("x")], [value(last)], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def rows() -> list[Row]:
    networks = {
        "ResNet-18, weightless": ((EXAMPLES / "resnet18.onnx").read_bytes(), 20),
        "ResNet-50, 102 MB": (resnet50(), 1),
        "2,000 nodes": (deep(2_000), 1),
        "10,000 nodes": (deep(10_000), 1),
    }
    return [
        compare(
            f"bytes to tokens: {name}",
            "onnx.shape_inference and a loop",
            functools.partial(ours, data),
            functools.partial(baseline, data),
            rounds=9,
            repeats=repeats,
            clock=time.process_time,
        )
        for name, (data, repeats) in networks.items()
    ]


if __name__ == "__main__":
    main(__doc__, rows)
