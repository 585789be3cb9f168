"""The authors' counts, operator by operator, worked out by hand from their formulas."""

from __future__ import annotations

import pytest

from narformer.errors import ModelError
from narformer.graph import Attribute, Graph, Node, Operand, Shape, Tensor
from narformer.tokens.authors_cost import authors_cost

X: Shape = (2, 4, 6, 5)


def cost(op: str, x: Shape, weights: list[Shape], *outputs: Shape, **attributes: Attribute) -> tuple[int, int, int]:
    operands = (Operand(Tensor(x), ~0), *(Operand(Tensor(w), name=f"w{k}") for k, w in enumerate(weights)))
    node = Node("n", op, operands, tuple(Tensor(o) for o in outputs), attributes)
    return authors_cost(Graph((node,), (Tensor(x),)))


def test_convolution_leaves_the_batch_out_of_flops_alone() -> None:
    flops, parameters = 8 * 3 * 2 * (2 * 2 * 9 - 1 + 1), 8 * (2 * 9 + 1)
    measured = cost("Conv", X, [(8, 2, 3, 3), (8,)], (2, 8, 3, 2), group=2)
    assert measured == (flops, parameters, 2 * 8 * 3 * 2 + parameters)


def test_convolution_whose_weight_is_computed_counts_like_any_other() -> None:
    x, w = Tensor((1, 4, 6, 5)), Tensor((8, 4, 1, 1), "int8")
    nodes = (
        Node("d", "DequantizeLinear", (Operand(w, name="w"),), (Tensor(w.shape),)),
        Node("c", "Conv", (Operand(x, ~0), Operand(Tensor(w.shape), 0)), (Tensor((1, 8, 6, 5)),)),
    )
    assert authors_cost(Graph(nodes, (x,)))[:2] == (8 * 30 * 7, 8 * 4)


def test_transposed_convolution_sums_over_the_channels_of_its_group() -> None:
    flops, parameters, _ = cost("ConvTranspose", X, [(4, 3, 2, 2)], (2, 6, 12, 10), group=2)
    assert (flops, parameters) == (6 * 12 * 10 * (2 * (4 // 2) * 4 - 1), 6 * (4 // 2) * 4)


@pytest.mark.parametrize(
    ("x", "y", "out", "flops"),
    [
        ((2, 3, 5, 7), (7, 4), (2, 3, 5, 4), 5 * 4 * 13),
        ((5, 7), (7,), (5,), 5 * 13),
        ((7,), (7,), (), 13),
    ],
)
def test_matrix_product(x: Shape, y: Shape, out: Shape, flops: int) -> None:
    assert cost("MatMul", x, [y], out)[:2] == (flops, 0)


def test_memory_access_counts_every_output() -> None:
    assert cost("Split", X, [], (2, 1, 6, 5), (2, 3, 6, 5)) == (0, 0, 2 * 4 * 6 * 5)


@pytest.mark.parametrize(
    ("op", "out", "attributes", "flops"),
    [
        ("Relu", X, {}, 0),
        ("MaxPool", (2, 4, 3, 2), {"kernel_shape": (2, 2)}, 0),
        ("AveragePool", (2, 4, 3, 2), {"kernel_shape": (2, 3)}, 4 * 3 * 2 * 6),
        ("GlobalAveragePool", (2, 4, 1, 1), {}, 4 * 6),
        ("Sigmoid", X, {}, 240),
        ("ReduceMean", (2, 4), {}, 8),
        ("Softmax", X, {}, 3 * 120 - 1),
        ("Upsample", (2, 4, 12, 10), {"mode": "nearest"}, 0),
        ("Upsample", (2, 4, 12, 10), {"mode": "linear"}, 4 * 12 * 10 * 5),
        ("LayerNormalization", X, {}, 0),
    ],
)
def test_operators_without_parameters(op: str, out: Shape, attributes: dict[str, Attribute], flops: int) -> None:
    elements = Tensor(out).elements
    assert cost(op, X, [], out, **attributes) == (flops, 0, elements)


def test_batch_normalization_has_four_parameters_a_channel_and_counts_the_batch() -> None:
    assert cost("BatchNormalization", X, [(4,)] * 4, X) == (4 * 240, 16, 240 + 16)


def test_a_node_without_its_operands_is_an_error_that_names_it() -> None:
    with pytest.raises(ModelError, match="node 'n' lacks operands or dims that every Conv has"):
        cost("Conv", X, [], X)
