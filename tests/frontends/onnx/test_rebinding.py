"""Another batch size gives what an export at that batch size gives, wherever the exporter wrote the old one."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from narformer.errors import ShapeError
from narformer.frontends.onnx import read_onnx
from narformer.frontends.onnx.rebinding import Rebatched


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


def sequence_first(batch: int) -> onnx.ModelProto:
    """The attention above without its first and last node: x is (tokens, batch, features)."""
    model = attention(batch)
    nodes = list(model.graph.node)[1:-1]
    nodes[0].input[0] = "x"
    nodes[-1].output[0] = "y"
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[0].dim_value, dims[1].dim_value = 7, batch
    return model


def lstm(*dims: int | str) -> onnx.ModelProto:
    """A recurrent network over x (steps, batch, 4), behind a rectifier."""
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("LSTM", ["a", "w", "r"], ["y"], hidden_size=3)]
    weights = {"w": np.ones((1, 12, 4), np.float32), "r": np.ones((1, 12, 3), np.float32)}
    return network(nodes, weights, *dims)  # type: ignore[arg-type]


def test_a_batch_behind_the_first_dimension_is_bound_by_whole_shapes() -> None:
    rebound = read_onnx(sequence_first(1), input_shapes={"x": (7, 4, 24)})
    assert [n.output_shape for n in rebound.nodes] == [n.output_shape for n in read_onnx(sequence_first(4)).nodes]
    make = helper.make_node
    nodes = [make("Expand", ["token", "to"], ["t"]), make("Concat", ["t", "x"], ["c"], axis=0)]
    nodes.append(make("Concat", ["token", "c"], ["y"], axis=0))
    net = network(nodes, {"to": np.array([1, 1, 4]), "token": np.ones((1, 1, 4), np.float32)}, 6, 1, 4)
    assert [n.output_shape for n in read_onnx(net, input_shapes={"x": (6, 5, 4)}).nodes] == [
        (1, 5, 4),
        (7, 5, 4),
        (8, 5, 4),
    ]


def test_a_dimension_named_batch_is_the_batch_wherever_it_stands() -> None:
    assert read_onnx(lstm(50, "batch", 4)).inputs[0].shape == (50, 1, 4)
    assert read_onnx(lstm(50, "BatchSize", 4), batch_size=8).nodes[-1].output_shape == (50, 1, 8, 3)
    with pytest.raises(
        ShapeError, match=r"dynamic sizes \[steps, batch, 4\]; bind them, for example: dims={'steps': 128}"
    ):
        read_onnx(lstm("steps", "batch", 4), batch_size=8)


def test_a_length_that_would_be_taken_for_the_batch_is_an_error_that_says_so() -> None:
    with pytest.raises(ShapeError, match=r"\(LSTM\) would run over another number of steps; .* --input-shape x=50,8,4"):
        read_onnx(lstm(50, 1, 4), batch_size=8)
    assert read_onnx(lstm(50, 1, 4), input_shapes={"x": (50, 8, 4)}).nodes[-1].output_shape == (50, 1, 8, 3)
    longer = read_onnx(lstm(50, 1, 4), input_shapes={"x": (60, 1, 4)})
    assert longer.nodes[-1].output_shape == (60, 1, 1, 3), "asked for as a shape, it is a longer sequence"
    with pytest.raises(ShapeError, match=r"fixed inside the network; .* --input-shape x=7,14,24"):
        read_onnx(sequence_first(1), batch_size=14)


def test_a_resolution_is_no_batch() -> None:
    nodes = [helper.make_node("Reshape", ["x", "flat"], ["y"])]
    net = network(nodes, {"flat": np.array([1, 3 * 8 * 8])}, 1, 3, 8, 8)
    with pytest.raises(ShapeError, match="sizes are fixed inside the network"):
        read_onnx(net, input_shapes={"x": (1, 3, 16, 8)})
