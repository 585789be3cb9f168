"""The paper's tokens: published known answers, and every number against a scalar loop."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from narformer.families.registry import build, sample
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph, Node, Operand, Tensor
from narformer.tokens.narformer_v2 import STATIC_WIDTH, WIDTH, pe5, static_numbers, tokenize

X = Tensor((1, 4, 6, 5))


def scalar_pe5(value: float) -> list[float]:
    code = []
    for j in range(5):
        frequency = 10000 ** (-j / 5)
        code += [math.sin(value * frequency), math.cos(value * frequency)]
    return code


def graph_of(node: Node) -> Graph:
    return Graph((node,), (X,))


@given(st.integers(0, 300))
def test_pe5_is_the_formula(value: int) -> None:
    np.testing.assert_allclose(pe5(value), scalar_pe5(value), atol=2e-5)


@pytest.mark.parametrize("value", [1.0, 0.0199, 2047, 4096, 1_000_003])
def test_pe5_is_in_float32_as_the_released_code_has_it(value: float) -> None:
    angles = [np.float32(value) * np.float32(10000 ** (-j / 5)) for j in range(5)]
    assert pe5(value).tolist() == [f(a) for a in angles for f in (np.sin, np.cos)]


def test_pe5_of_zero_has_cosines_of_one() -> None:
    assert pe5(0).tolist() == [0, 1] * 5


def test_known_answer_of_the_zoos_resnet18(resnet18: Path) -> None:
    """The authors' code on the ONNX zoo's ResNet-18 v1 at batch 1."""
    graph = read_onnx(resnet18)
    tokens = tokenize(graph)
    assert tokens.features.shape == (70, WIDTH) == (70, 152)
    assert static_numbers(graph) == (1, 3_636_354_048, 11_699_112, 19_930_000)
    expected = [v for n in (1, 3.636354048, 0.011699112, 0.01993) for v in scalar_pe5(n)]
    np.testing.assert_allclose(tokens.static, expected, atol=1e-6)
    assert tokens.static.shape == (STATIC_WIDTH,)


def test_the_input_is_a_token_without_operation_read_by_its_readers(resnet18: Path) -> None:
    tokens = tokenize(read_onnx(resnet18))
    assert not tokens.features[0, :112].any()
    np.testing.assert_allclose(
        tokens.features[0, 112:], [v for n in (1, 3, 224, 224) for v in scalar_pe5(n)], atol=2e-5
    )
    assert tokens.edges[:, tokens.edges[0] == 0].T.tolist() == [[0, 1]]


def test_a_convolution_token_part_by_part() -> None:
    node = Node(
        "c",
        "Conv",
        (Operand(X, ~0), Operand(Tensor((8, 2, 3, 3)), name="w"), Operand(Tensor((8,)), name="b")),
        (Tensor((1, 8, 3, 3)),),
        {"kernel_shape": (3, 3), "strides": (2, 1), "pads": (1, 1, 0, 0), "group": 2},
    )
    token = tokenize(graph_of(node)).features[1]
    assert token[:32].tolist() == [1.0] + [0.0] * 31
    attributes = [v for n in (3, 2, 1, 1, 2, 1) for v in scalar_pe5(n)] + [0.0] * 20
    np.testing.assert_allclose(token[32:112], attributes, atol=1e-5)
    np.testing.assert_allclose(token[112:], [v for n in (1, 8, 3, 3) for v in scalar_pe5(n)], atol=1e-5)


@pytest.mark.parametrize("perm", [[0, 2, 1, 3, 0, 0, 0, 0], [0, 2, 1, 4, 3, 0, 0, 0]])
def test_a_transpose_token_holds_sines_then_cosines_by_frequency(perm: list[int]) -> None:
    nodes = tuple(
        Node("t", "Transpose", (Operand(X, ~0),), (Tensor((1, 6, 4, 5)),), {"perm": p})
        for p in ((0, 1, 2, 3), tuple(perm))
    )
    token = tokenize(Graph(nodes, (X,))).features[2]
    expected = []
    for j in range(5):
        frequency = 10000 ** (-j / 5)
        expected += [math.sin(p * frequency) for p in perm] + [math.cos(p * frequency) for p in perm]
    np.testing.assert_allclose(token[32:112], expected, atol=1e-6)


def test_a_transpose_without_perm_is_coded_as_zeros() -> None:
    node = Node("t", "Transpose", (Operand(X, ~0),), (Tensor((5, 6, 4, 1)),))
    assert tokenize(graph_of(node)).features[1, 32:112].tolist() == ([0.0] * 8 + [1.0] * 8) * 5


@pytest.mark.parametrize("op", ["MatMul", "LayerNormalization", "Identity"])
def test_operations_without_a_code_have_only_a_shape(op: str) -> None:
    token = tokenize(graph_of(Node("n", op, (Operand(X, ~0),), (Tensor((1, 7)),)))).features[1]
    assert not token[:112].any()
    np.testing.assert_allclose(token[112:], [v for n in (1, 7, 0, 0) for v in scalar_pe5(n)], atol=1e-5)


def test_bias_of_a_gemm_is_its_only_attribute() -> None:
    operands = (Operand(Tensor((1, 4)), ~0), Operand(Tensor((9, 4)), name="w"))
    bare = Node("g", "Gemm", operands, (Tensor((1, 9)),), {"transB": 1})
    biased = Node("g", "Gemm", (*operands, Operand(Tensor((9,)), name="b")), (Tensor((1, 9)),), {"transB": 1})
    without, with_bias = (tokenize(Graph((n,), (Tensor((1, 4)),))) for n in (bare, biased))
    np.testing.assert_allclose(without.features[1, 32:42], scalar_pe5(0))
    np.testing.assert_allclose(with_bias.features[1, 32:42], scalar_pe5(1), atol=1e-7)
    assert static_numbers(Graph((biased,), (Tensor((1, 4)),))) == (1, 9 * 8, 9 * 5, 9 + 45)


def test_edges_are_those_of_the_graph_shifted_by_the_inputs() -> None:
    graph = read_onnx(build("googlenet", next(iter(sample("googlenet", 1))).config))
    tokens = tokenize(graph)
    assert {tuple(e) for e in tokens.edges.T[1:].tolist()} == {tuple(e) for e in (graph.edges + 1).tolist()}
    assert (tokens.edges[0] < tokens.edges[1]).all()
