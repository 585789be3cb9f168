"""Small graphs, of which each stands for a way to be wrong by a factor: what they were measured to take.

Milliseconds of ONNX Runtime 1.32 on one core of an EPYC Genoa. Estimates are asked to be within a factor of three: one
operator on a core on which nothing was measured is no better known. What was wrong was so by ten to a million.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph
from narformer.prediction.predictor import Predictor

GENOA = "epyc-genoa:onnxruntime-1.32:fp32:1t"
FACTOR = 3.0
Weights = dict[str, np.ndarray]
node = helper.make_node


def weights(**shapes: tuple[int, ...]) -> Weights:
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def graph(nodes: list[NodeProto], shape: tuple[int, ...], held: Weights, kind: int = TensorProto.FLOAT) -> Graph:
    """What is read of a file with these nodes, one input `x`, and the last node's output."""
    tensors = [numpy_helper.from_array(array, name) for name, array in held.items()]
    x, y = helper.make_tensor_value_info("x", kind, shape), helper.make_empty_tensor_value_info(nodes[-1].output[0])
    opsets = [
        helper.make_opsetid("", 13),
        helper.make_opsetid("com.microsoft", 1),
        helper.make_opsetid("ai.onnx.ml", 3),
    ]
    return read_onnx(
        helper.make_model(helper.make_graph(nodes, "g", [x], [y], tensors), opset_imports=opsets, ir_version=8)
    )


def cast_at_load() -> Graph:
    """The weight is a product of constants: a runtime folds it before the first run."""
    nodes = [
        node("Cast", ["w8"], ["f"], to=TensorProto.FLOAT),
        node("Mul", ["f", "s"], ["w"]),
        node("MatMul", ["x", "w"], ["y"]),
    ]
    return graph(nodes, (1, 1024), {"w8": np.zeros((1024, 1024), np.int8), "s": np.float32([0.01])})


def folded() -> Graph:
    return graph([node("MatMul", ["x", "w"], ["y"])], (1, 1024), weights(w=(1024, 1024)))


def six_convolutions(fused: bool) -> Graph:
    """With rectifiers in their own nodes, or in the convolutions' as ONNX Runtime's optimiser writes it."""
    nodes: list[NodeProto] = []
    for k in range(6):
        read = [f"x{k}" if k else "x", f"w{k}", f"b{k}"]
        if fused:
            more = {"activation": "Relu", "domain": "com.microsoft"}
            nodes.append(node("FusedConv", read, [f"x{k + 1}"], pads=[1] * 4, kernel_shape=[3, 3], **more))
        else:
            nodes.append(node("Conv", read, [f"c{k}"], pads=[1] * 4, kernel_shape=[3, 3]))
            nodes.append(node("Relu", [f"c{k}"], [f"x{k + 1}"]))
    held = weights(**{f"w{k}": (64, 64, 3, 3) for k in range(6)}, **{f"b{k}": (64,) for k in range(6)})
    return graph(nodes, (1, 64, 56, 56), held)


def two_hundred_tiny() -> Graph:
    """Softmaxes between Transposes. The runtime does away with these: it runs a hundred, every second over axis 1."""
    nodes = []
    for k in range(200):
        read, written = [f"t{k}" if k else "x"], [f"t{k + 1}"]
        nodes.append(
            node("Transpose", read, written, perm=[0, 2, 1]) if k % 2 else node("Softmax", read, written, axis=-1)
        )
    return graph(nodes, (1, 8, 8), {})


def tiny_perceptron() -> Graph:
    nodes = [node("Gemm", ["x", "w1", "b1"], ["a"]), node("Relu", ["a"], ["r"]), node("Gemm", ["r", "w2", "b2"], ["y"])]
    return graph(nodes, (1, 64), weights(w1=(64, 64), b1=(64,), w2=(64, 8), b2=(8,)))


def pointwise_then(op: str) -> Graph:
    last = node(op, ["c", "p"] if op == "PRelu" else ["c"], ["y"])
    return graph(
        [node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[1, 1]), last],
        (1, 48, 80, 80),
        weights(w=(48, 48, 1, 1), b=(48,), p=(48, 1, 1)),
    )


def embedding() -> Graph:
    """128 rows of a table of 30,522, not the whole of it."""
    return graph([node("Gather", ["w", "x"], ["y"])], (1, 128), weights(w=(30522, 384)), TensorProto.INT64)


def integers() -> Graph:
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        node("MatMulInteger", ["q", "w", "z"], ["i"]),
        node("Cast", ["i"], ["c"], to=TensorProto.FLOAT),
        node("Mul", ["c", "s"], ["y"]),
    ]
    return graph(nodes, (128, 384), {"w": np.zeros((384, 1536), np.int8)})


def one(op: str, shape: tuple[int, ...], **attributes: int) -> Graph:
    return graph([node(op, ["x"], ["y"], **attributes)], shape, {})


MEASURED: dict[str, tuple[Callable[[], Graph], float]] = {
    "weight_cast_at_load": (cast_at_load, 0.060),
    "same_weight_folded": (folded, 0.089),
    "six_fused_convolutions": (partial(six_convolutions, True), 12.8),
    "six_convolutions_and_rectifiers": (partial(six_convolutions, False), 15.8),
    "two_hundred_tiny_nodes": (two_hundred_tiny, 0.09),
    "tiny_mlp": (tiny_perceptron, 0.007),
    "one_relu": (partial(one, "Relu", (1, 4)), 0.0026),
    "pointwise_then_prelu": (partial(pointwise_then, "PRelu"), 1.16),
    "pointwise_then_relu": (partial(pointwise_then, "Relu"), 0.39),
    "softmax_over_2": (partial(one, "Softmax", (1, 320, 320, 2), axis=-1), 1.60),
    "softmax_over_512": (partial(one, "Softmax", (1, 20, 20, 512), axis=-1), 0.082),
    "embedding_of_128_words": (embedding, 0.0095),
    "matmul_int8_dynamic": (integers, 0.42),
}


@pytest.fixture(scope="module")
def estimates() -> dict[str, float]:
    found = Predictor.load().predict([made() for made, _ in MEASURED.values()], [GENOA])
    return {name: estimate.latency_ms for name, estimate in zip(MEASURED, found, strict=True)}


@pytest.mark.parametrize("name", MEASURED)
def test_a_small_graph_is_told_about_what_it_takes(estimates: dict[str, float], name: str) -> None:
    _, measured = MEASURED[name]
    assert measured / FACTOR < estimates[name] < measured * FACTOR


def test_one_network_written_in_two_ways_is_told_the_same(estimates: dict[str, float]) -> None:
    for one, other in (
        ("weight_cast_at_load", "same_weight_folded"),
        ("six_fused_convolutions", "six_convolutions_and_rectifiers"),
    ):
        assert estimates[one] == pytest.approx(estimates[other], rel=1e-5)


def trees(count: int) -> Graph:
    """A regressor of so many trees of depth 6, on 150 rows of 21 numbers."""
    inner, size = 63, 127
    leaf = [place >= inner for place in range(size)]
    leaves = [place for place in range(size) if leaf[place]]
    attributes = {
        "n_targets": 1,
        "nodes_treeids": [tree for tree in range(count) for _ in range(size)],
        "nodes_nodeids": [*range(size)] * count,
        "nodes_featureids": [place % 21 for place in range(size)] * count,
        "nodes_modes": ["LEAF" if end else "BRANCH_LEQ" for end in leaf] * count,
        "nodes_values": [0.5] * size * count,
        "nodes_truenodeids": [0 if leaf[k] else 2 * k + 1 for k in range(size)] * count,
        "nodes_falsenodeids": [0 if leaf[k] else 2 * k + 2 for k in range(size)] * count,
        "target_treeids": [tree for tree in range(count) for _ in leaves],
        "target_nodeids": leaves * count,
        "target_ids": [0] * len(leaves) * count,
        "target_weights": [1.0] * len(leaves) * count,
    }
    return graph([node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", **attributes)], (150, 21), {})


def test_trees_take_as_long_as_there_are_trees() -> None:
    """microsoft/onnxruntime#886. Measured on a core of an EPYC Turin: 0.0047, 0.082 and 0.85 ms, all trees alike."""
    turin = "epyc-turin:onnxruntime-1.32:fp32:1t"
    told = [estimate.latency_ms for estimate in Predictor.load().predict([trees(n) for n in (1, 100, 1000)], [turin])]
    assert all(ms / FACTOR < found < ms * FACTOR for ms, found in zip((0.0047, 0.082, 0.85), told, strict=True))
