"""From the bytes of a file to tokens, against a straightforward loop over onnx's shape inference and dictionaries.

python benchmarks/frontend.py [--rounds 9] [--plot FILE.svg] [--json]

Both run in this process, in turns, on one thread; times are processor time, medians. The rival infers the shapes of the
whole model, keeps them in a dictionary, and writes a row of features for each node: what one writes first.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.shape_inference
from onnx import TensorProto, helper

from narformer.families.registry import FAMILIES, build
from narformer.frontends.onnx import read_onnx
from narformer.tokens.physical import tokenize

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def ours(data: bytes) -> object:
    return tokenize(read_onnx(data))


def rival(data: bytes) -> object:
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


def interleaved(functions: list[Callable[[bytes], object]], data: bytes, rounds: int) -> list[float]:
    """Median milliseconds of processor time of each, in turns."""
    times: list[list[float]] = [[] for _ in functions]
    for function in functions:
        function(data)
    for _ in range(rounds):
        for function, spent in zip(functions, times, strict=True):
            started = time.process_time()
            function(data)
            spent.append(1000 * (time.process_time() - started))
    return [statistics.median(spent) for spent in times]


def plot(path: str, sizes: list[int], milliseconds: list[float]) -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5, 3.2))
    axes.loglog(sizes, milliseconds, "o-")
    axes.loglog(sizes, [milliseconds[-1] * s / sizes[-1] for s in sizes], ":", color="grey", label="linear")
    axes.set(xlabel="nodes", ylabel="ms, bytes to tokens")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--plot", metavar="FILE.svg", help="nodes against milliseconds")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    networks = {
        "ResNet-18, weightless": (EXAMPLES / "resnet18.onnx").read_bytes(),
        "ResNet-50, 102 MB": resnet50(),
        "2,000 nodes": deep(2_000),
        "10,000 nodes": deep(10_000),
    }
    rows = []
    for name, data in networks.items():
        rounds = options.rounds * 10 if len(data) < 100_000 else options.rounds
        mine, other = interleaved([ours, rival], data, rounds)
        rows.append(
            {"network": name, "ms": round(mine, 3), "rival_ms": round(other, 3), "ratio": round(other / mine, 2)}
        )
    sizes = [500, 1_000, 2_000, 5_000, 10_000]
    growth = [interleaved([ours], deep(size), options.rounds)[0] for size in sizes]
    if options.plot:
        plot(options.plot, sizes, growth)
    if options.json:
        print(json.dumps({"networks": rows, "growth": dict(zip(sizes, growth, strict=True))}, indent=1))
        return
    print(f"{'bytes to tokens':24s} {'ours, ms':>10s} {'rival, ms':>10s} {'ratio':>7s}")
    for row in rows:
        print(f"{row['network']:24s} {row['ms']:10.2f} {row['rival_ms']:10.2f} {row['ratio']:7.2f}")
    for size, milliseconds in zip(sizes, growth, strict=True):
        print(f"{size:6d} nodes: {1000 * milliseconds / size:6.2f} µs a node")


if __name__ == "__main__":
    main()
