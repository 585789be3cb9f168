"""Costs: hand-made operators and published figures of known networks."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import helper

from narformer.cost import graph_cost, node_cost, node_costs, peak_bytes, without_cost_rule
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


MS = "com.microsoft"


def run(op: str, *operands: Operand | None, out: tuple[int, ...], domain: str = MS, **a: object) -> Node:
    """A node whose operands may be left out."""
    there = tuple(o for o in operands if o is not None)
    left_out = tuple(k for k, o in enumerate(operands) if o is None)
    return Node("n", op, there, (Tensor(out),), a, domain, left_out=left_out)  # type: ignore[arg-type]


def given(*shape: int, dtype: str = "float32") -> Operand:
    return Operand(Tensor(shape, dtype), ~0)


def held(*shape: int, dtype: str = "float32", value: tuple[float, ...] | None = None) -> Operand:
    return Operand(Tensor(shape, dtype), name=f"w{shape}", value=value)


def test_experts_are_counted_as_often_as_they_are_chosen() -> None:
    """Ten tokens through two of eight experts of 64 to 128 and back; a byte may hold two weights."""
    x, router = given(1, 10, 64), given(10, 8)
    plain = run("MoE", x, router, held(8, 128, 64), None, held(8, 64, 128), out=(1, 10, 64), k=2)
    assert node_cost(plain)[:2] == (10 * 2 * 2 * 64 * 128, 2 * 8 * 64 * 128)
    one = run("MoE", given(1, 1, 64), given(1, 8), held(8, 128, 64), None, held(8, 64, 128), out=(1, 1, 64), k=2)
    assert (node_cost(one).weight_bytes, node_cost(one).weight_read_bytes) == (8 * 65536, 2 * 65536)
    first, second = held(8, 128, 32, dtype="uint8"), held(8, 64, 64, dtype="uint8")
    packed = run("QMoE", x, router, first, held(8, 128), None, second, held(8, 64), out=(1, 10, 64), k=2)
    assert node_cost(packed)[:2] == node_cost(plain)[:2]


def test_attention_over_a_shared_buffer_meets_the_keys_that_there_are() -> None:
    q, k, v = given(1, 1, 4096), given(1, 1, 1024), given(1, 1, 1024)
    cache, lengths = given(1, 8, 2048, 128), held(1, dtype="int32", value=(127,))
    total = held(dtype="int32", value=(128,))
    heads = {"num_heads": 32, "kv_num_heads": 8}
    node = run("GroupQueryAttention", q, k, v, cache, cache, lengths, total, out=(1, 1, 4096), **heads)
    node = node._replace(outputs=(*node.outputs, cache.tensor, cache.tensor))
    cost = node_cost(node)
    assert cost.macs == 2 * 4096 * 128
    assert cost.parameters == 0
    read = 4 * (4096 + 2 * 1024 + 2 * 8 * 128 * 128)
    assert (cost.read_bytes, cost.written_bytes) == (read, 4 * (4096 + 2 * 1024))


def test_the_number_of_keys_may_be_computed_from_the_shape_of_a_mask() -> None:
    """As ONNX Runtime's own exporter for language models writes it."""
    shapes = {"q": [1, 1, 256], "k": [1, 1, 64], "v": [1, 1, 64], "pk": [1, 2, 512, 32], "pv": [1, 2, 512, 32]}
    inputs = [helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes.items()]
    inputs.append(helper.make_tensor_value_info("mask", 7, [1, 100]))
    reads = ["q", "k", "v", "pk", "pv", "lengths", "total"]
    nodes = [
        helper.make_node("Shape", ["mask"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["long"]),
        helper.make_node("Cast", ["long"], ["total"], to=6),
        helper.make_node("GroupQueryAttention", reads, ["y", "a", "b"], domain=MS, num_heads=8, kv_num_heads=2),
    ]
    constants = [helper.make_tensor("one", 7, [], [1]), helper.make_tensor("lengths", 6, [1], [99])]
    outputs = [helper.make_tensor_value_info(name, 1, None) for name in "yab"]
    sets = [helper.make_opsetid("", 17), helper.make_opsetid(MS, 1)]
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs, constants), opset_imports=sets, ir_version=9
    )
    graph = read_onnx(model)
    assert graph.nodes[-1].outputs[1].shape == (1, 2, 512, 32)
    assert graph_cost(graph).macs == 2 * 8 * 32 * 100


def test_attention_whose_present_is_not_asked_for_meets_the_past() -> None:
    q, past = given(1, 1, 512), given(1, 8, 127, 64)
    node = run("MultiHeadAttention", q, q, q, None, None, None, past, past, out=(1, 1, 512), num_heads=8)
    assert node_cost(node).macs == 2 * 8 * 128 * 64
    assert node_cost(node).operations == 5 * 8 * 128


@pytest.mark.parametrize(("rule", "times"), [("linear", 2), ("gated", 2), ("delta", 3), ("gated_delta", 3)])
def test_linear_attention_grows_with_its_steps(rule: str, times: int) -> None:
    q = given(1, 64, 256)
    node = run("LinearAttention", q, q, q, out=(1, 64, 256), q_num_heads=4, kv_num_heads=4, update_rule=rule)
    assert node_cost(node).macs == times * 64 * 4 * 64 * 64


def test_products_with_batches_moved_to_the_front() -> None:
    node = run("FusedMatMul", given(7, 3, 5), given(3, 7, 11), out=(3, 5, 11), transA=1, transBatchA=1)
    assert node_cost(node).macs == 3 * 5 * 7 * 11


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_packed_weights_are_as_many_as_they_stand_for(bits: int) -> None:
    packed = held(64, 4, 32 * bits // 8, dtype="uint8")
    node = run("MatMulNBits", given(3, 128), packed, held(64 * 4), out=(3, 64), K=128, N=64, bits=bits, block_size=32)
    graph = Graph((node,), (Tensor((3, 128)),))
    assert node_cost(node)[:2] == graph_cost(graph)[:2] == (3 * 128 * 64, 128 * 64)
    assert graph_cost(graph).weight_bytes == 128 * 64 * bits // 8 + 4 * 64 * 4


def test_of_a_table_the_rows_are_read_that_are_looked_up() -> None:
    words = Node("n", "Gather", (held(30522, 384), given(1, 128, dtype="int64")), (Tensor((1, 128, 384)),))
    cost = node_cost(words)
    assert (cost.parameters, cost.weight_bytes, cost.weight_read_bytes) == (30522 * 384, 30522 * 384 * 4, 128 * 384 * 4)
    table = held(1000, 32, dtype="uint8")
    packed = run(
        "GatherBlockQuantized", table, given(5, dtype="int64"), held(1000, 2), out=(5, 64), bits=4, block_size=32
    )
    assert (node_cost(packed).parameters, node_cost(packed).weight_read_bytes) == (64_000, 5 * 32 + 4 * 5 * 2)


def test_views_move_nothing() -> None:
    x = Operand(Tensor((4, 8)), ~0)
    assert node_cost(Node("n", "Reshape", (x, held(1, dtype="int64")), (Tensor((32,)),))).activation_bytes == 0


def test_cells_with_a_projection_are_refused() -> None:
    weights = held(1, 256, 64), held(1, 256, 32)
    with pytest.raises(ModelError, match=r"a state of 32 in a cell of 64.*put a Linear behind it"):
        node_cost(run("LSTM", given(10, 1, 64), *weights, out=(10, 1, 1, 32), domain=""))


def ensemble(trees: int, depth: int) -> dict[str, tuple[object, ...]]:
    nodes, inner = 2 ** (depth + 1) - 1, 2**depth - 1
    return {
        "nodes_treeids": tuple(t for t in range(trees) for _ in range(nodes)),
        "nodes_nodeids": tuple(range(nodes)) * trees,
        "nodes_modes": tuple("BRANCH_LEQ" if i < inner else "LEAF" for i in range(nodes)) * trees,
        "nodes_truenodeids": tuple(2 * i + 1 if i < inner else 0 for i in range(nodes)) * trees,
        "nodes_falsenodeids": tuple(2 * i + 2 if i < inner else 0 for i in range(nodes)) * trees,
    }


@pytest.mark.parametrize(("trees", "depth"), [(1, 1), (3, 4), (100, 6)])
def test_trees_compare_once_a_level_and_row(trees: int, depth: int) -> None:
    x = given(150, 21)
    node = run("TreeEnsembleRegressor", x, out=(150, 1), domain="ai.onnx.ml", **ensemble(trees, depth))
    assert node_cost(node).operations == 150 * trees * depth
    assert node_cost(node).macs == 0


def test_trees_by_their_roots() -> None:
    """TreeEnsemble of opset 5: a tree of two levels and one of one; leaves are listed apart."""
    tree = {
        "tree_roots": (0, 2),
        "nodes_truenodeids": (1, 0, 3),
        "nodes_trueleafs": (0, 1, 1),
        "nodes_falsenodeids": (2, 1, 4),
        "nodes_falseleafs": (1, 1, 1),
    }
    assert node_cost(run("TreeEnsemble", given(7, 3), out=(7, 1), domain="ai.onnx.ml", **tree)).operations == 7 * 3


def test_trees_that_bite_their_tails_come_to_an_end() -> None:
    circle = ensemble(1, 2) | {"nodes_truenodeids": (0,) * 7}
    assert (
        node_cost(run("TreeEnsembleRegressor", given(1, 3), out=(1, 1), domain="ai.onnx.ml", **circle)).operations > 0
    )


def test_other_operations_are_counted_apart() -> None:
    assert node_cost(node("Relu", [(2, 8)], [], (2, 8))).operations == 16
    assert node_cost(node("Softmax", [(2, 8)], [], (2, 8))).operations == 80
    pool = node("MaxPool", [(1, 4, 8, 8)], [], (1, 4, 4, 4), kernel_shape=(3, 3))
    assert node_cost(pool).operations == 64 * 9
    boxes = Node("n", "NonMaxSuppression", (given(1, 100, 4), given(1, 2, 100)), (Tensor((200, 3), "int64"),))
    assert node_cost(boxes).operations == 2 * 100 * (7 + 10 * 100)


def test_memory_at_most_is_that_of_the_values_alive() -> None:
    """x of 400 bytes; a of 800 and b of 400 from it; y of 400 from both. A view takes nothing."""
    x = Tensor((100,))
    nodes = (
        Node("a", "Concat", (Operand(x, ~0), Operand(x, ~0)), (Tensor((200,)),)),
        Node("b", "Relu", (Operand(x, ~0),), (x,)),
        Node("v", "Reshape", (Operand(Tensor((200,)), 0), held(2, dtype="int64")), (Tensor((2, 100)),)),
        Node("y", "Add", (Operand(Tensor((2, 100)), 2), Operand(x, 1)), (Tensor((2, 100), "float16"),)),
    )
    assert peak_bytes(Graph(nodes, (x,))) == 800 + 400 + 400 + 16
    chain = tuple(Node("r", "Relu", (Operand(x, k - 1 if k else ~0),), (x,)) for k in range(9))
    assert peak_bytes(Graph(chain, (x,))) == 800


def test_an_operator_without_a_cost_rule_is_named() -> None:
    x = Tensor((4,))
    nodes = (Node("a", "Conv", (Operand(x, ~0),), (x,), {}, "mine"), Node("b", "Relu", (Operand(x, 0),), (x,)))
    assert without_cost_rule(Graph(nodes, (x,))) == {"mine.Conv": 1}
    assert node_cost(nodes[0]).macs == 0


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
