"""A Graph at another batch size is what reading the network at that batch size gives; in another type, its tensors."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest
from onnx import TensorProto, helper

import narformer
from narformer.errors import ConfigError, ShapeError
from narformer.families.registry import FAMILIES, sample
from narformer.frontends.canonical import canonical, network_hash
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph, Node, Operand, Tensor


def model(nodes: list[onnx.NodeProto], shape: tuple[int, ...], constants: dict[str, list[int]]) -> onnx.ModelProto:
    """A network of one input x, whose last node puts out y."""
    held = [helper.make_tensor(name, TensorProto.INT64, (len(sizes),), sizes) for name, sizes in constants.items()]
    weights = [helper.make_tensor(n, TensorProto.FLOAT, s, bytes(4 * s[0] * s[1]), raw=True) for n, s in WEIGHTS]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [*held, *[weight for weight in weights if weight.name in used]],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


WEIGHTS = (("w", (24, 72)),)


def heads(parts: str) -> list[onnx.NodeProto]:
    """Attention as exporters write it: `parts` (rows, places, 3, heads, size) is split and mixed into `back`."""
    node = helper.make_node
    return [
        node("Transpose", [parts], ["turned"], perm=[2, 0, 3, 1, 4]),
        node("Split", ["turned"], ["q1", "k1", "v1"], axis=0),
        *[node("Squeeze", [f"{part}1", "first"], [part]) for part in "qkv"],
        node("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]),
        node("MatMul", ["q", "kt"], ["scores"]),
        node("Softmax", ["scores"], ["shares"]),
        node("MatMul", ["shares", "v"], ["mixed"]),
        node("Transpose", ["mixed"], ["back"], perm=[0, 2, 1, 3]),
    ]


def attention() -> onnx.ModelProto:
    """Three heads: q, k, v of one product, and put together again."""
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "w"], ["qkv"]),
        node("Reshape", ["qkv", "five"], ["parts"]),
        *heads("parts"),
        node("Reshape", ["back", "three"], ["y"]),
    ]
    return model(nodes, (1, 5, 24), {"five": [1, 5, 3, 3, 8], "three": [1, 5, 24], "first": [0]})


def sequence_first() -> onnx.ModelProto:
    """The batch between the sequence and the features, joined with the heads and parted again."""
    node = helper.make_node
    nodes = [
        node("Transpose", ["x"], ["s"], perm=[1, 0, 2]),
        node("Reshape", ["s", "heads"], ["h"]),
        node("Transpose", ["h"], ["t"], perm=[1, 0, 2]),
        node("Reshape", ["t", "four"], ["f"]),
        node("ReduceMean", ["f"], ["m"], axes=[2], keepdims=0),
        node("Reshape", ["m", "flat"], ["y"]),
    ]
    return model(nodes, (1, 5, 24), {"heads": [5, 3, 8], "four": [1, 3, 5, 8], "flat": [1, 24]})


def windows() -> onnx.ModelProto:
    """Attention within windows of a map, the product over rows as ONNX Runtime writes it.

    One shape is put together from constants, as PyTorch's older exporter does, and a view is a Gather, as by the newer.
    """
    node = helper.make_node
    nodes = [
        node("Reshape", ["x", "map"], ["m"]),
        node("Concat", ["map_front", "map_back"], ["parts"], axis=0),
        node("Reshape", ["m", "parts"], ["p"]),
        node("Transpose", ["p"], ["t"], perm=[0, 1, 3, 2, 4, 5]),
        node("Reshape", ["t", "rows"], ["r"]),
        node("Gemm", ["r", "w"], ["qkv"]),
        node("Reshape", ["qkv", "five"], ["f"]),
        *heads("f"),
        node("Reshape", ["back", "unparted"], ["u"]),
        node("Transpose", ["u"], ["o"], perm=[0, 1, 3, 2, 4, 5]),
        node("Reshape", ["o", "map"], ["whole"]),
        node("ReduceMean", ["whole"], ["mean"], axes=[1, 2]),
        node("Reshape", ["mean", "row"], ["flat"]),
        node("Gather", ["flat", "all"], ["y"]),
    ]
    sizes = {"map": [1, 4, 6, 24], "map_front": [1, 2, 2, 3], "map_back": [2, 24], "rows": [24, 24]}
    sizes |= {"five": [6, 4, 3, 3, 8], "first": [0], "unparted": [1, 2, 3, 2, 2, 24], "row": [-1]}
    made = model(nodes, (1, 24, 24), sizes)
    made.graph.initializer.append(helper.make_tensor("all", TensorProto.INT64, (1, 24, 1, 1), list(range(24))))
    return made


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_network_of_every_family_is_what_is_read_at_that_batch_size(family: str) -> None:
    (variant,) = sample(family, 1, seed=5)
    written = variant.build()
    graph, read = read_onnx(written), read_onnx(written, batch_size=4)
    again = graph.with_batch(4)
    assert [node.outputs for node in again.nodes] == [node.outputs for node in read.nodes]
    assert again.batch_size == 4
    assert network_hash(again) == network_hash(read)
    assert network_hash(again.with_batch(1)) == network_hash(graph)


@pytest.mark.parametrize("write", [attention, sequence_first, windows])
def test_a_batch_is_followed_through_attention(write: Callable[[], onnx.ModelProto]) -> None:
    written = write()
    graph = read_onnx(written)
    for batch in (2, 3, 7):
        read = network_hash(read_onnx(written, batch_size=batch))
        assert network_hash(graph.with_batch(batch)) == read
        if write is not sequence_first:  # turning a batch of one is a view there, and no node
            assert network_hash(canonical(graph).with_batch(batch)) == read
        assert network_hash(graph.with_batch(batch).with_batch(1)) == network_hash(graph)


def test_a_class_token_is_there_once_for_each_of_the_batch() -> None:
    x, token = Tensor((1, 4, 8)), Operand(Tensor((1, 1, 8)), name="token")
    joined = Node("j", "Concat", (token, Operand(x, ~0)), (Tensor((1, 5, 8)),), {"axis": 1})
    (made,) = Graph((joined,), (x,)).with_batch(6).nodes
    assert made.outputs[0].shape == (6, 5, 8)
    assert [operand.tensor.shape for operand in made.operands] == [(6, 1, 8), (6, 4, 8)]


def test_a_recurrent_network_has_its_batch_beside_its_steps() -> None:
    x, y = Tensor((1, 9, 8)), Tensor((9, 1, 8))
    turned = Node("t", "Transpose", (Operand(x, ~0),), (y,), {"perm": (1, 0, 2)})
    weights = (Operand(Tensor((1, 64, 8)), name="w"), Operand(Tensor((1, 64, 16)), name="r"))
    lstm = Node("l", "LSTM", (Operand(y, 0), *weights), (Tensor((9, 1, 1, 16)), Tensor((1, 1, 16))))
    made = Graph((turned, lstm), (x,)).with_batch(3).nodes[1]
    assert [tensor.shape for tensor in made.outputs] == [(9, 1, 3, 16), (1, 3, 16)]
    steps = Graph((lstm._replace(operands=(Operand(Tensor((1, 9, 8)), ~0), *weights)),), (Tensor((1, 9, 8)),))
    with pytest.raises(ShapeError, match=r"\(LSTM\) cannot be followed to batch size 3; read the"):
        steps.with_batch(3)


def test_channels_that_stand_where_the_batch_did_are_an_error() -> None:
    """Halves of the channels in two rows, as a shuffle of channels at batch 1 is simplified: no network at batch 3."""
    x, halves, weight = Tensor((1, 8, 6, 6)), Tensor((2, 4, 6, 6)), Operand(Tensor((4, 4, 1, 1)), name="w")
    reshape = Node("r", "Reshape", (Operand(x, ~0),), (Tensor((4, 2, 36)),))
    turned = Node("t", "Transpose", (Operand(Tensor((4, 2, 36)), 0),), (Tensor((2, 4, 36)),), {"perm": (1, 0, 2)})
    conv = Node("c", "Conv", (Operand(halves, 1), weight), (halves,))
    with pytest.raises(ShapeError, match=r"node 'c' \(Conv\) cannot be followed to batch size 3"):
        Graph((reshape, turned, conv), (x,)).with_batch(3)


def test_predict_takes_a_graph_at_another_batch_size() -> None:
    graph = read_onnx("examples/resnet18.onnx")
    target = "rtx4090:pytorch-2.9:fp16"
    (asked,) = narformer.predict(graph, devices=target, batch_size=64, measured=False)
    (read,) = narformer.predict("examples/resnet18.onnx", devices=target, batch_size=64, measured=False)
    assert (asked.value, asked.batch_size, asked.hash) == (read.value, 64, read.hash)
    with pytest.raises(ConfigError, match="a Graph has its sizes"):
        narformer.predict(graph, dims={"sequence": 4})
    with pytest.raises(ValueError, match="at least 1"):
        graph.with_batch(0)


def test_another_type_of_numbers_is_that_of_all_floats() -> None:
    x, places = Tensor((2, 8)), Operand(Tensor((3,), "int64"), name="places")
    gather = Node("g", "Gather", (Operand(x, ~0), places), (Tensor((3, 8)),))
    half = Graph((gather,), (x,)).cast("float16")
    assert half.inputs == (Tensor((2, 8), "float16"),)
    assert [operand.tensor.dtype for operand in half.nodes[0].operands] == ["float16", "int64"]
    assert half.nodes[0].outputs == (Tensor((3, 8), "float16"),)
    assert half.cast("float32") == Graph((gather,), (x,))
    with pytest.raises(ValueError, match="'int8': one of bfloat16, float16"):
        half.cast("int8")


def test_an_attribute_that_makes_no_sense_loses_the_batch_and_is_no_failure_of_ours() -> None:
    x, places = Tensor((1, 4, 8)), Operand(Tensor((3, 1), "int64"), name="places")
    gather = Node("g", "GatherND", (Operand(x, ~0), places), (Tensor((3, 4, 8)),), {"axis": "text"})
    assert Graph((gather,), (x,)).with_batch(2).nodes[0].output_shape == (3, 4, 8)


def test_axes_that_are_words_are_all_axes() -> None:
    data = Tensor((2, 3), "float32")
    node = Node("n", "ReduceMean", (Operand(data, source=-1),), (Tensor((3,), "float32"),), {"axes": ("x",)})
    graph = Graph((node,), (data,), ("x",), "g")
    assert graph.with_batch(4).nodes[0].output_shape == (3,)  # no axis is left that could hold the batch
