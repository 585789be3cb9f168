"""Another batch size gives what an export at that batch size gives, wherever the exporter wrote the old one."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from narformer.errors import ShapeError
from narformer.frontends.onnx import read_onnx
from narformer.frontends.rebinding import Rebatched


def network(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], *shape: int) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", [x], [helper.make_empty_tensor_value_info("y")], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def attention(batch: int, tokens: int = 7, heads: int = 3, width: int = 8) -> onnx.ModelProto:
    """Multi-head attention as PyTorch traces it: sequence first, batch and heads in one axis."""
    make, features = helper.make_node, heads * width
    nodes = [
        make("Transpose", ["x"], ["s"], perm=[1, 0, 2]),
        make("MatMul", ["s", "w"], ["q"]),
        make("Reshape", ["q", "split"], ["h"]),
        make("Transpose", ["h"], ["a"], perm=[1, 0, 2]),
        make("Transpose", ["h"], ["b"], perm=[1, 2, 0]),
        make("MatMul", ["a", "b"], ["scores"]),
        make("Softmax", ["scores"], ["p"]),
        make("MatMul", ["p", "a"], ["c"]),
        make("Transpose", ["c"], ["d"], perm=[1, 0, 2]),
        make("Reshape", ["d", "flat"], ["e"]),
        make("MatMul", ["e", "w"], ["o"]),
        make("Reshape", ["o", "back"], ["r"]),
        make("Transpose", ["r"], ["y"], perm=[1, 0, 2]),
    ]
    constants = {
        "split": np.array([tokens, batch * heads, width]),
        "flat": np.array([tokens * batch, features]),
        "back": np.array([tokens, batch, features]),
        "w": np.ones((features, features), np.float32),
    }
    return network(nodes, constants, batch, tokens, features)


@pytest.mark.parametrize(("declared", "wanted"), [(1, 4), (4, 1), (2, 6), (6, 4)])
def test_sequence_first_attention(declared: int, wanted: int) -> None:
    rebound = read_onnx(attention(declared), batch_size=wanted)
    assert [n.output_shape for n in rebound.nodes] == [n.output_shape for n in read_onnx(attention(wanted)).nodes]


def test_a_class_token_and_a_fixed_resize() -> None:
    make = helper.make_node
    nodes = [
        make("Resize", ["x", "", "", "sizes"], ["u"]),
        make("Reshape", ["u", "flat"], ["f"]),
        make("Expand", ["token", "one"], ["t"]),
        make("Concat", ["t", "f"], ["c"], axis=1),
        make("Concat", ["token", "c"], ["y"], axis=1),
    ]
    constants = {"sizes": np.array([1, 4, 6, 6]), "flat": np.array([1, -1, 4]), "one": np.array([1, 1, 4])}
    net = network(nodes, {**constants, "token": np.ones((1, 1, 4), np.float32)}, 1, 4, 3, 3)
    shapes = [n.output_shape for n in read_onnx(net, batch_size=5).nodes]
    assert shapes == [(5, 4, 6, 6), (5, 36, 4), (5, 1, 4), (5, 37, 4), (5, 38, 4)]


def test_a_value_that_does_not_grow_with_the_batch_is_an_error() -> None:
    """x · xᵀ over the batch axis grows as its square: such a network is not one network for several inputs."""
    nodes = [
        helper.make_node("Reshape", ["x", "to"], ["a"], name="a"),
        helper.make_node("Transpose", ["a"], ["b"], perm=[1, 0]),
        helper.make_node("MatMul", ["a", "b"], ["y"]),
    ]
    with pytest.raises(ShapeError, match=r"at batch size 3, 'y' would have the shape \[6, 6\] instead of \[2, 2\]"):
        read_onnx(network(nodes, {"to": np.array([2, 4])}, 1, 2, 4), batch_size=3)


def test_the_place_of_a_batch_of_one() -> None:
    batch = Rebatched({"a": (7, 1, 24), "b": (7, 3, 8), "c": (7, 24), "d": (24, 7)}, 1, 5)
    assert batch.reshape("a", (7, 5, 24), "b", (7, 3, 8)) == (7, 15, 8), "heads split off the features take it in"
    assert batch.reshape("a", (7, 5, 24), "c", (7, 24)) == (35, 24), "else what stands before does"
    assert batch.reshape("a", (7, 1, 24), "c", (7, 24)) is None, "nothing changed"
