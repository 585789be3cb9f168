"""Bodies are walked as often as they run; sequences are kept tensor by tensor."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from narformer.cost import graph_cost
from narformer.errors import ModelError, ShapeError
from narformer.frontends.onnx import read_onnx
from narformer.frontends.onnx.walk import MOST_IN_BODIES

NODE, EMPTY = helper.make_node, helper.make_empty_tensor_value_info


def model(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], output: str = "y") -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 6])
    graph = helper.make_graph(nodes, "g", [x], [EMPTY(output)], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def body(name: str, nodes: list[onnx.NodeProto], inputs: list[str], outputs: list[str]) -> onnx.GraphProto:
    return helper.make_graph(nodes, name, [EMPTY(i) for i in inputs], [EMPTY(o) for o in outputs])


SMALL = body("small", [NODE("Relu", ["x"], ["s"])], [], ["s"])
LARGE = body("large", [NODE("MatMul", ["x", "w"], ["l"])], [], ["l"])
SQUARE = np.ones((6, 6), np.float32)


@pytest.mark.parametrize(("condition", "op"), [(True, "Relu"), (False, "MatMul")])
def test_a_known_condition_leaves_its_branch_alone(condition: bool, op: str) -> None:
    node = NODE("If", ["c"], ["y"], name="if", then_branch=SMALL, else_branch=LARGE)
    graph = read_onnx(model([node], {"c": np.array(condition), "w": SQUARE}))
    assert [n.op for n in graph.nodes] == [op]


def test_an_unknown_condition_counts_the_larger_branch_and_says_so() -> None:
    nodes = [
        NODE("ReduceSum", ["x"], ["r"], keepdims=0),
        NODE("Cast", ["r"], ["c"], to=TensorProto.BOOL),
        NODE("If", ["c"], ["y"], name="if", then_branch=SMALL, else_branch=LARGE),
    ]
    graph = read_onnx(model(nodes, {"w": SQUARE}))
    assert [n.op for n in graph.nodes] == ["ReduceSum", "Cast", "MatMul", "If"]
    assert [n.name for n in graph.nodes][-2:] == ["if/l", "if"]
    assert graph_cost(graph).macs == 2 * 6 * 6


def loop(condition: str = "keep") -> onnx.NodeProto:
    nodes = [
        NODE("Identity", ["keep"], ["keep_on"]),
        NODE("MatMul", ["h", "w"], ["h2"]),
        NODE("Less", ["i", "two"], ["early"]),
    ]
    inner = body("step", nodes, ["i", "keep", "h"], ["keep_on" if condition == "keep" else "early", "h2", "h2"])
    return NODE("Loop", ["trips", "", "x"], ["last", "y"], name="loop", body=inner)


def test_a_loop_of_known_length_is_unrolled() -> None:
    graph = read_onnx(model([loop()], {"trips": np.array(4), "w": SQUARE, "two": np.array(2)}))
    assert [n.op for n in graph.nodes].count("MatMul") == 4
    assert [t.shape for t in graph.nodes[-1].outputs] == [(2, 6), (4, 2, 6)]
    assert graph_cost(graph).macs == 4 * 72
    assert graph_cost(graph).parameters == 36, "the rounds share their weight"


def test_a_loop_ends_where_its_computed_condition_does() -> None:
    graph = read_onnx(model([loop("early")], {"trips": np.array(9), "w": SQUARE, "two": np.array(2)}))
    assert [n.op for n in graph.nodes].count("MatMul") == 3  # 0 < 2, 1 < 2, not 2 < 2


def test_a_loop_of_unknown_length_is_one_round() -> None:
    count = [NODE("ReduceSum", ["x"], ["r"], keepdims=0), NODE("Cast", ["r"], ["trips"], to=TensorProto.INT64)]
    graph = read_onnx(model([*count, loop()], {"w": SQUARE, "two": np.array(2)}))
    assert [n.op for n in graph.nodes].count("MatMul") == 1
    assert graph.nodes[-1].op == "Loop"


def test_a_loop_without_end_is_refused() -> None:
    with pytest.raises(ModelError, match=rf"'loop' \(Loop\) unfolds to more than {MOST_IN_BODIES} nodes"):
        read_onnx(model([loop()], {"trips": np.array(10**12), "w": SQUARE, "two": np.array(2)}))


def test_scan_walks_its_body_over_an_axis() -> None:
    inner = body("step", [NODE("Add", ["s", "e"], ["t"]), NODE("Neg", ["t"], ["o"])], ["s", "e"], ["t", "o"])
    node = NODE("Scan", ["z", "x"], ["last", "y"], body=inner, num_scan_inputs=1, scan_input_axes=[1])
    graph = read_onnx(model([node], {"z": np.zeros(2, np.float32)}))
    assert [n.op for n in graph.nodes] == ["Add", "Neg"] * 6 + ["Scan"]
    assert [t.shape for t in graph.nodes[-1].outputs] == [(2,), (6, 2)]


def test_sequences_are_kept_tensor_by_tensor() -> None:
    nodes = [
        NODE("SplitToSequence", ["x", "four"], ["parts"], axis=1),
        NODE("SequenceAt", ["parts", "minus"], ["end"]),
        NODE("SequenceInsert", ["parts", "end"], ["more"]),
        NODE("SequenceErase", ["more", "zero"], ["fewer"]),
        NODE("SequenceLength", ["fewer"], ["count"]),
        NODE("ConcatFromSequence", ["fewer"], ["joined"], axis=1),
        NODE("Reshape", ["count", "list"], ["counts"]),
        NODE("Expand", ["one", "counts"], ["ones"]),
        NODE("Concat", ["joined", "table"], ["y"], axis=0),
    ]
    constants = {"four": np.array(4), "minus": np.array(-1), "zero": np.array(0), "list": np.array([1])}
    weights = {**constants, "one": np.ones(1, np.float32), "table": np.ones((1, 4), np.float32)}
    graph = read_onnx(model(nodes, weights))
    shapes = {n.op: [t.shape for t in n.outputs] for n in graph.nodes}
    assert shapes["SplitToSequence"] == [(2, 4), (2, 2)]
    assert shapes["SequenceAt"] == [(2, 2)]
    assert shapes["SequenceErase"] == [(2, 2), (2, 2)]
    assert shapes["ConcatFromSequence"] == [(2, 4)]
    assert shapes["Concat"] == [(3, 4)]


def test_a_sequence_where_a_tensor_belongs_is_told() -> None:
    nodes = [NODE("SequenceConstruct", ["x", "x"], ["s"]), NODE("Relu", ["s"], ["y"], name="relu")]
    with pytest.raises(ModelError, match=r"'relu' \(Relu\) cannot read a sequence"):
        read_onnx(model(nodes, {}))


def test_optional_values_are_passed_on() -> None:
    nodes = [
        NODE("Optional", ["x"], ["o"]),
        NODE("OptionalHasElement", ["o"], ["has"]),
        NODE("OptionalGetElement", ["o"], ["v"]),
        NODE("If", ["has"], ["y"], then_branch=body("t", [NODE("Relu", ["v"], ["s"])], [], ["s"]), else_branch=LARGE),
    ]
    graph = read_onnx(model(nodes, {"w": SQUARE}))
    assert [n.op for n in graph.nodes][-1] == "Relu"


def test_a_loop_that_only_its_condition_ends_is_read_as_one_round() -> None:
    """torch writes `while` with as many rounds as an integer holds; whether it goes on depends on data."""
    nodes = [
        NODE("MatMul", ["h", "w"], ["h2"]),
        NODE("ReduceSum", ["h2"], ["r"], keepdims=0),
        NODE("Cast", ["r"], ["keep_on"], to=TensorProto.BOOL),
    ]
    node = NODE(
        "Loop", ["most", "", "x"], ["y"], name="loop", body=body("b", nodes, ["i", "keep", "h"], ["keep_on", "h2"])
    )
    graph = read_onnx(model([node], {"most": np.array(2**63 - 1), "w": SQUARE}))
    assert [n.op for n in graph.nodes] == ["MatMul", "ReduceSum", "Cast", "Loop"]
    assert graph_cost(graph).macs == 2 * 6 * 6


def _expanded(arithmetic: str) -> tuple[int, ...]:
    """The shape of ones that are expanded to `k` rows, computed of the shape of x, (3, 5)."""
    text = f"""<ir_version: 8, opset_import: ["":17]> g (float[3,5] x, bool c) => (float[A,B] y)
        <int64[1] one={{1}}, int64[1] two={{2}}, int64 at={{1}}, int64 times={{4}}, bool yes={{1}}> {{
        s = Shape(x) {arithmetic}
        to = Concat<axis=0>(k, two) y = Expand(one, to) }}"""
    return read_onnx(onnx.parser.parse_model(text)).nodes[-1].output_shape


LOOP = "<body = b (int64 i, bool go, int64[1] v) => (bool on, int64[1] w) {{ on = {on}(go) w = Add(v, two) }}>"


@pytest.mark.parametrize(
    ("arithmetic", "rows"),
    [
        ("q = SequenceConstruct(one, two, s) k3 = SequenceAt(q, at) k = Add(k3, one)", 3),
        ("q = SplitToSequence<axis=0, keepdims=1>(s) k = SequenceAt(q, at)", 5),
        ("q = SplitToSequence<axis=0, keepdims=0>(s) k0 = SequenceAt(q, at) k = Unsqueeze(k0, zero)", 5),
        ("q = SequenceConstruct(one, two) j = ConcatFromSequence<axis=0>(q) k = ReduceSum<keepdims=1>(j)", 3),
        (
            "q = SequenceConstruct(one, two) j = ConcatFromSequence<axis=0, new_axis=1>(q) "
            "r = ReduceSum<keepdims=1>(j) k = Squeeze(r, zero)",
            3,
        ),
        ("e = SequenceEmpty<dtype=7>() q = SequenceInsert(e, s) p = SequenceAt(q, nought) k = Gather(p, one)", 5),
        (f"k = Loop(times, yes, one){LOOP.format(on='Identity')}", 9),
    ],
)
def test_shapes_go_through_sequences_and_rounds(arithmetic: str, rows: int) -> None:
    zero = "zero = Constant<value_ints=[0]>() nought = Constant<value_int=0>() "
    assert _expanded(zero + arithmetic) == (rows, 2)


@pytest.mark.parametrize(
    "arithmetic",
    [
        "w = Cast<to=7>(c) q = SplitToSequence<axis=0, keepdims=1>(s) k = SequenceAt(q, w)",
        "k = If(c)<then_branch = a () => (int64[1] p) { p = Identity(one) }, "
        "else_branch = b () => (int64[1] r) { r = Identity(two) }>",
        f"k = Loop(times, c, one){LOOP.format(on='Not')}",
    ],
)
def test_what_only_the_run_decides_is_no_shape(arithmetic: str) -> None:
    with pytest.raises(ShapeError, match="known only while the network runs"):
        _expanded(arithmetic)
