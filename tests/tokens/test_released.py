"""Tokens as the released code of NAR-Former V2 makes them: its counts, and which token reads which."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from narformer.families.registry import FAMILIES, sample
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph, Node, Operand, Tensor
from narformer.tokens.narformer_v2 import tokenize, tokenize_as_released
from narformer.tokens.raw import CODE, UNKNOWN, raw_nodes
from narformer.tokens.released import released_nodes

X, HALF = Tensor((1, 8, 4, 4)), Tensor((1, 4, 4, 4))


def computed(source: int, tensor: Tensor, output: int = 0) -> Operand:
    return Operand(tensor, source, output)


def hard_swish_of_opset_9() -> Graph:
    """relu6(x + 3) · x / 6 between a convolution and its batch norm, and a convolution: bounds are attributes."""
    weight, three, six = Operand(Tensor((8, 8, 1, 1)), name="w"), Operand(Tensor(()), name="3"), Operand(Tensor(()))
    nodes = (
        Node("conv", "Conv", (computed(~0, X), weight), (X,)),
        Node("norm", "BatchNormalization", (computed(0, X), *[Operand(Tensor((8,)), name="n")] * 4), (X,)),
        Node("add", "Add", (computed(1, X), three), (X,)),
        Node("clip", "Clip", (computed(2, X),), (X,), {"min": 0.0, "max": 6.0}),
        Node("mul", "Mul", (computed(1, X), computed(3, X)), (X,)),
        Node("div", "Div", (computed(4, X), six), (X,)),
        Node("last", "Conv", (computed(5, X), weight), (X,)),
    )
    return Graph(nodes, (X,))


def test_a_mobilenetv2_has_173_tokens_with_the_bounds_of_its_35_clips() -> None:
    graph = read_onnx(next(iter(sample("mobilenetv2", 1))).build())
    assert sum(node.op == "Clip" for node in graph.nodes) == 35
    assert len(tokenize(graph).features) == 103
    assert len(tokenize_as_released(graph).features) == 173


def test_a_hard_swish_of_opset_9_has_10_tokens_and_not_8() -> None:
    graph = hard_swish_of_opset_9()
    assert len(raw_nodes(graph)) == 8
    raw = released_nodes(graph)
    assert len(raw) == 10
    assert raw.operation[8:].tolist() == [UNKNOWN] * 2
    assert raw.edges.T.tolist()[3:] == [[8, 3], [3, 4], [2, 5], [4, 5], [5, 6], [9, 6], [6, 7]]


def test_a_split_is_a_token_an_output_each_with_its_shape_and_readers() -> None:
    nodes = (
        Node("relu", "Relu", (computed(~0, X),), (X,)),
        Node("split", "Split", (computed(0, X), Operand(Tensor((2,)), name="sizes")), (HALF, HALF._replace())),
        Node("left", "Relu", (computed(1, HALF, 0),), (HALF,)),
        Node("right", "Sigmoid", (computed(1, HALF, 1),), (HALF,)),
        Node("both", "Concat", (computed(2, HALF), computed(3, HALF)), (X,)),
    )
    raw = released_nodes(Graph(nodes, (X,)))
    assert raw.operation.tolist() == [
        UNKNOWN,
        *(CODE[n] for n in ("Relu", "Split", "Relu", "Sigmoid", "Concat", "Split")),
    ]
    assert raw.shapes[6].tolist() == [1, 4, 4, 4]
    edges = {tuple(pair) for pair in raw.edges.T.tolist()}
    assert edges == {(0, 1), (1, 2), (1, 6), (2, 3), (6, 4), (3, 5), (4, 5)}


def test_a_constant_that_two_nodes_read_is_one_token() -> None:
    three = Operand(Tensor(()), name="three")
    nodes = (
        Node("a", "Add", (computed(~0, X), three), (X,)),
        Node("b", "Mul", (computed(0, X), three), (X,)),
    )
    raw = released_nodes(Graph(nodes, (X,)))
    assert raw.edges.T.tolist() == [[0, 1], [3, 1], [1, 2], [3, 2]]


def test_the_zoos_resnet18_has_the_same_70_tokens_in_both_forms(resnet18: Path) -> None:
    graph = read_onnx(resnet18)
    plain, released = tokenize(graph), tokenize_as_released(graph)
    np.testing.assert_array_equal(plain.features, released.features)
    assert {tuple(e) for e in plain.edges.T.tolist()} == {tuple(e) for e in released.edges.T.tolist()}
    np.testing.assert_array_equal(plain.static, released.static)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_tokens_are_those_of_the_plain_form(family: str) -> None:
    graph = read_onnx(next(iter(sample(family, 1))).build())
    plain, released = tokenize(graph), tokenize_as_released(graph)
    np.testing.assert_array_equal(released.features[: len(plain.features)], plain.features)
    assert released.edges.max() == len(released.features) - 1 or len(released.features) == len(plain.features)
