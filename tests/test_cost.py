"""Costs: hand-made operators and published figures of known networks."""

from __future__ import annotations

from pathlib import Path

import pytest

from narformer.cost import graph_cost, node_cost, node_costs
from narformer.errors import ModelError
from narformer.families.registry import FAMILIES, build
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph, Node, Operand, Tensor

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def node(
    op: str, data: list[tuple[int, ...]], weights: list[tuple[int, ...]], out: tuple[int, ...], **a: object
) -> Node:
    operands = [Operand(Tensor(s), ~k) for k, s in enumerate(data)]
    operands += [Operand(Tensor(s), name=f"w{k}") for k, s in enumerate(weights)]
    return Node("n", op, tuple(operands), (Tensor(out),), a)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("case", "macs", "parameters"),
    [
        (node("Conv", [(2, 3, 8, 8)], [(16, 3, 3, 3), (16,)], (2, 16, 8, 8)), 2 * 16 * 64 * 27, 448),
        (node("Conv", [(1, 8, 5)], [(8, 1, 3)], (1, 8, 5), group=8), 8 * 5 * 3, 24),
        (node("Conv", [(1, 4, 3, 3, 3)], [(6, 2, 2, 2, 2)], (1, 6, 2, 2, 2), group=2), 6 * 8 * 16, 96),
        (node("ConvTranspose", [(1, 4, 5, 5)], [(4, 6, 2, 2)], (1, 6, 10, 10)), 100 * 24, 96),
        (node("Gemm", [(3, 10)], [(10, 7), (7,)], (3, 7)), 210, 77),
        (node("Gemm", [(10, 3)], [(7, 10)], (3, 7), transA=1, transB=1), 210, 70),
        (node("MatMul", [(2, 4, 5, 6), (2, 4, 6, 3)], [], (2, 4, 5, 3)), 2 * 4 * 5 * 3 * 6, 0),
        (node("MatMul", [(2, 5, 6)], [(6, 3)], (2, 5, 3)), 180, 18),
        (node("Einsum", [(2, 5, 6), (2, 6, 3)], [], (2, 5, 3), equation="bij,bjk->bik"), 180, 0),
        (node("LSTM", [(7, 2, 4)], [(1, 12, 4), (1, 12, 3)], (7, 1, 2, 3)), 7 * 2 * (48 + 36), 84),
        (node("Einsum", [(2, 3), (3, 4), (4, 5)], [], (2, 5), equation="ij,jk,kl->il"), 2 * 3 * 4 + 2 * 4 * 5, 0),
        (node("Einsum", [(6, 2, 3), (6, 3, 4)], [], (6, 2, 4), equation="...ij,...jk"), 6 * 24, 0),
        (node("ConvTranspose", [(1, 4, 5)], [(4, 3, 2)], (1, 6, 10), group=2), 20 * 6, 24),
        (node("FusedMatMul", [(2, 5, 3), (2, 4, 5)], [], (2, 3, 4), transA=1, transB=1), 2 * 12 * 5, 0),
        (node("MatMulNBits", [(2, 32)], [(4, 1, 16), (4,)], (2, 4), K=32, N=4), 2 * 32 * 4, 128),
        (node("Attention", [(2, 3, 5, 8), (2, 3, 7, 8), (2, 3, 7, 4)], [], (2, 3, 5, 4)), 2 * 3 * 35 * 12, 0),
        (node("MultiHeadAttention", [(2, 5, 8), (2, 7, 8), (2, 7, 8)], [], (2, 5, 8), num_heads=2), 2 * 35 * 16, 0),
        (node("BatchNormalization", [(1, 8, 2, 2)], [(8,)] * 4, (1, 8, 2, 2)), 0, 16),
        (node("Relu", [(1, 8)], [], (1, 8)), 0, 0),
    ],
    ids=lambda v: v.op if isinstance(v, Node) else "",
)
def test_hand_counted_operators(case: Node, macs: int, parameters: int) -> None:
    cost = node_cost(case)
    assert (cost.macs, cost.flops, cost.parameters) == (macs, 2 * macs, parameters)


def test_attention_with_its_projection_inside() -> None:
    """com.microsoft's Attention: X (2, 5, 8) times W (8, 24), then scores and values of every pair of steps."""
    plain = node("Attention", [(2, 5, 8)], [(8, 24), (24,)], (2, 5, 8), num_heads=2)
    fused = Node("n", "Attention", plain.operands, plain.outputs, plain.attributes, "com.microsoft")
    assert node_cost(fused).macs == 2 * 5 * 8 * 24 + 2 * 5 * 5 * 16
    assert node_cost(fused).parameters == 8 * 24 + 24


def test_scales_and_zero_points_are_no_parameters() -> None:
    x, w = Operand(Tensor((1, 3, 4, 4), "uint8"), ~0), Operand(Tensor((8, 3, 1, 1), "int8"), name="w")
    scale, zero = Operand(Tensor((8,)), name="s"), Operand(Tensor((8,), "int8"), name="z")
    bias = Operand(Tensor((8,), "int32"), name="b")
    conv = Node(
        "c", "QLinearConv", (x, scale, zero, w, scale, zero, scale, zero, bias), (Tensor((1, 8, 4, 4), "uint8"),)
    )
    assert node_cost(conv).parameters == 24 + 8
    assert node_cost(conv).macs == 16 * 24
    states = tuple(Operand(Tensor((1, 2, 3)), name=n) for n in "hc")
    weights = (Operand(Tensor((1, 12, 4)), name="W"), Operand(Tensor((1, 12, 3)), name="R"))
    x = Operand(Tensor((7, 2, 4)), ~0)
    lstm = Node("l", "LSTM", (x, *weights, *states), (Tensor((7, 1, 2, 3)),), left_out=(3, 4))
    assert node_cost(lstm).parameters == 84, "initial states are none"


def test_operands_that_do_not_fit_are_told() -> None:
    with pytest.raises(ModelError, match=r"node 'n': operands of shapes \[1, 3\] do not fit Conv"):
        node_cost(node("Conv", [(1, 3)], [], (1, 3)))


def test_bytes_are_counted_by_type() -> None:
    cost = node_cost(node("Add", [(2, 3), (3,)], [], (2, 3)))
    assert (cost.read_bytes, cost.written_bytes, cost.activation_bytes, cost.weight_bytes) == (36, 24, 60, 0)
    half = Node("n", "Mul", (Operand(Tensor((4,), "float16"), ~0), Operand(Tensor((4,), "int8"))), (Tensor((4,)),))
    assert (node_cost(half).read_bytes, node_cost(half).weight_bytes) == (8, 4)


def test_shape_constants_and_bounds_are_no_parameters() -> None:
    x = Operand(Tensor((1, 4)), ~0)
    reshape = Node("r", "Reshape", (x, Operand(Tensor((2,), "int64"), name="to")), (Tensor((4, 1)),))
    clip = Node("c", "Clip", (x, Operand(Tensor(()), name="low"), Operand(Tensor(()), name="high")), (Tensor((1, 4)),))
    assert node_cost(reshape).parameters == node_cost(clip).parameters == 0


def test_a_shared_weight_counts_once() -> None:
    w = Operand(Tensor((8, 8)), name="tied")
    x = Tensor((1, 8))
    graph = Graph((Node("a", "MatMul", (Operand(x, ~0), w), (x,)), Node("b", "MatMul", (Operand(x, 0), w), (x,))), (x,))
    assert graph_cost(graph).parameters == 64
    assert graph_cost(graph).weight_bytes == 256
    assert graph_cost(graph).macs == 128 == sum(c.macs for c in node_costs(graph))


@pytest.mark.parametrize(
    ("name", "macs", "parameters"),
    [("resnet18", 1_814_073_344, 11_689_512), ("mobilenet_v2", 300_774_272, 3_504_872)],
)
def test_published_figures_of_known_networks(name: str, macs: int, parameters: int) -> None:
    """MACs as published (torchvision: 1.81 G and 0.30 G), parameters to the unit."""
    cost = graph_cost(read_onnx(EXAMPLES / f"{name}.onnx"))
    assert (cost.macs, cost.parameters) == (macs, parameters)


@pytest.mark.parametrize(
    ("family", "version", "macs"),
    [
        ("alexnet", "", 674_956_032),
        ("vgg", "11", 7_508_426_752),
        ("mobilenetv1", "", 568_740_352),
        ("mobilenetv2", "", 313_619_328),
        ("mobilenetv3", "large", 221_079_200),
        ("mnasnet", "", 367_305_248),
        ("proxylessnas", "", 333_272_640),
        ("resnet", "18", 1_814_073_344),
        ("squeezenet", "", 839_053_312),
        ("googlenet", "", 1_582_671_872),
        ("densenet", "", 2_859_339_776),
        ("shufflenetv2", "", 144_907_992),
    ],
)
def test_unscaled_networks_of_every_family(family: str, version: str, macs: int) -> None:
    """nn-Meter's own counts of its first networks."""
    assert graph_cost(read_onnx(build(family, FAMILIES[family].unscaled(version), version))).macs == macs
