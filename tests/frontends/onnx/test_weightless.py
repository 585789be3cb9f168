"""A Graph written as weightless ONNX is read as the same Graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from narformer.errors import ModelError
from narformer.families.registry import FAMILIES, sample
from narformer.frontends.onnx import read_onnx
from narformer.frontends.onnx.weightless import weightless_onnx
from narformer.graph import Graph, Node, Operand, Tensor

X = Tensor((2, 4))


@pytest.mark.parametrize("family", FAMILIES)
def test_networks_of_every_family(family: str) -> None:
    graph = read_onnx(next(iter(sample(family, 1))).build())
    again = read_onnx(weightless_onnx(graph))
    assert again.hash == graph.hash
    assert [n.op for n in again.nodes] == [n.op for n in graph.nodes]


def test_a_file_with_weights_loses_them(resnet18: Path) -> None:
    graph = read_onnx(resnet18)
    model = weightless_onnx(graph)
    assert model.ByteSize() < 40_000
    assert read_onnx(model).hash == graph.hash
    assert read_onnx(model).input_names == graph.input_names


def test_attributes_types_ports_shared_weights_and_names_like_ours() -> None:
    weight = Operand(Tensor((4,), "bfloat16"), name="_weight_0")
    half = Tensor((2, 2), "float16")
    nodes = (
        Node("s", "Split", (Operand(X, ~1), weight), (half, half), {"axis": 1}),
        Node("", "Custom", (Operand(half, 0, 1), weight), (X,), {"a": 0.5, "b": ("x", "y"), "c": (0.25,)}, "my.domain"),
        Node("e", "Equal", (Operand(X, 1), Operand(X, ~0)), (Tensor((2, 4), "bool"),), {"s": "text", "none": ()}),
    )
    graph = Graph(nodes, (X, X), ("_value_0_1", "__x"), "net")
    again = read_onnx(weightless_onnx(graph))
    assert again.hash == graph.hash
    assert [n.attributes for n in again.nodes] == [n.attributes for n in nodes]
    assert again.inputs == graph.inputs


def test_what_would_become_another_network_is_refused() -> None:
    node = Node("n", "LeakyRelu", (Operand(X, ~0),), (X,), {"alpha": 0.1})  # no float32
    graph = Graph((node,), (X,), ("x",), "net")
    with pytest.raises(ModelError, match="net: cannot be written"):
        weightless_onnx(graph)
    exact = node._replace(attributes={"alpha": 0.125})
    assert read_onnx(weightless_onnx(replace(graph, nodes=(exact,)))).hash == replace(graph, nodes=(exact,)).hash
