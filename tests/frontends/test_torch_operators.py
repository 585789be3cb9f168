"""ATen operators: what each becomes in a Graph, from programs written by hand; none of this needs PyTorch."""

from __future__ import annotations

from typing import Any

import pytest

from narformer.cost import graph_cost
from narformer.errors import ModelError
from narformer.frontends.canonical import canonical
from narformer.frontends.torch.program import Input, Program, Reference, Step, Symbol
from narformer.frontends.torch.walk import graph_of, missing
from narformer.graph import Graph, Tensor


def tensor(*shape: int, dtype: str = "float32") -> Tensor:
    return Tensor(shape, dtype)


def step(
    operator: str, *outputs: Tensor, name: str = "y", writes: str = "", view: bool = False, **arguments: Any
) -> Step:
    return Step(name, operator, arguments, outputs, len(outputs) > 1, writes, view)


TWO_BY_THREE = Tensor((2, 3))
X, W, B = Reference("x"), Reference("w"), Reference("b")


def program(*steps: Step, x: Tensor = TWO_BY_THREE, outputs: Any = None, **weights: Tensor) -> Program:
    inputs = [Input("x", "input", "x", x)]
    inputs += [Input(name, "parameter", f"layer.{name}", t) for name, t in weights.items()]
    return Program(tuple(inputs), steps, (Reference(steps[-1].name),) if outputs is None else outputs)


def read(*steps: Step, **given: Any) -> Graph:
    return graph_of(program(*steps, **given), "test")


def test_a_linear_layer_reads_its_weight_as_in_by_out() -> None:
    linear = step("aten.linear.default", tensor(2, 4), input=X, weight=W, bias=B)
    graph = read(linear, w=tensor(4, 3), b=tensor(4))
    (node,) = graph.nodes
    assert (node.op, node.name) == ("Gemm", "linear")
    assert [(o.name, o.tensor.shape, o.trained) for o in node.operands[1:]] == [
        ("layer.w", (3, 4), True),
        ("layer.b", (4,), True),
    ]
    assert graph_cost(graph)[:2] == (24, 16)


def test_a_linear_layer_over_many_positions_is_the_same_gemm() -> None:
    linear = step("aten.linear.default", tensor(2, 5, 4), input=X, weight=W, bias=B)
    graph = canonical(read(linear, x=tensor(2, 5, 3), w=tensor(4, 3), b=tensor(4)))
    assert [node.op for node in graph.nodes] == ["Gemm"]
    assert graph.nodes[0].operands[0].tensor.shape == (10, 3)


def test_what_a_view_of_a_changed_tensor_reads_is_the_changed_one() -> None:
    graph = read(
        step("aten.neg.default", tensor(2, 3), name="a", self=X),
        step("aten.view.default", tensor(6), name="v", view=True, self=Reference("a"), size=(6,)),
        step("aten.relu_.default", tensor(2, 3), name="r", writes="self", self=Reference("a")),
        step("aten.sigmoid.default", tensor(6), self=Reference("v")),
    )
    assert [node.op for node in canonical(graph).nodes] == ["Neg", "Relu", "Sigmoid"]


def test_a_tensor_whose_view_is_changed_is_changed() -> None:
    graph = read(
        step("aten.neg.default", tensor(2, 3), name="a", self=X),
        step("aten.transpose.int", tensor(3, 2), name="v", view=True, self=Reference("a"), dim0=0, dim1=1),
        step("aten.relu_.default", tensor(3, 2), name="r", writes="self", self=Reference("v")),
        step("aten.sigmoid.default", tensor(2, 3), self=Reference("a")),
    )
    assert [node.op for node in graph.nodes] == ["Neg", "Transpose", "Relu", "Transpose", "Sigmoid"]
    assert graph.nodes[-1].output_shape == (2, 3)


def test_a_part_that_is_written_becomes_a_part_of_the_whole() -> None:
    graph = read(
        step("aten.neg.default", tensor(2, 3), name="a", self=X),
        step(
            "aten.slice.Tensor", tensor(1, 3), name="v", view=True, self=Reference("a"), dim=0, start=0, end=1, step=1
        ),
        step("aten.zero_.default", tensor(1, 3), name="z", writes="self", self=Reference("v")),
        step("aten.relu.default", tensor(2, 3), self=Reference("a")),
    )
    assert [node.op for node in graph.nodes] == ["Neg", "ScatterND", "Relu"]


def test_a_state_that_the_program_changes_is_computed_though_nothing_reads_it() -> None:
    cache = Input("cache", "buffer", "cache", tensor(2, 3))
    steps = (
        step("aten.copy_.default", tensor(2, 3), name="c", writes="self", self=Reference("cache"), src=Reference("n")),
        step("aten.relu.default", tensor(2, 3), self=X),
    )
    negated = step("aten.neg.default", tensor(2, 3), name="n", self=X)
    graph = graph_of(
        Program((Input("x", "input", "x", tensor(2, 3)), cache), (negated, *steps), (Reference("y"),)), "test"
    )
    assert sorted(node.op for node in graph.nodes) == ["Neg", "Relu"]


def test_what_nothing_needs_is_left_out() -> None:
    unread = step("aten.exp.default", tensor(2, 3), name="unread", self=X)
    graph = read(unread, step("aten.relu.default", tensor(2, 3), self=X))
    assert [node.op for node in graph.nodes] == ["Relu"]


def test_numbers_take_the_element_type_and_whole_numbers_are_cast_for_arithmetic_with_others() -> None:
    graph = read(
        step("aten.mul.Tensor", tensor(2, 3), self=X, other=0.1),
        x=tensor(2, 3, dtype="int64"),
    )
    cast, product = graph.nodes
    assert (cast.op, cast.outputs[0].dtype) == ("Cast", "float32")
    assert product.operands[1].value == (pytest.approx(0.1, rel=1e-7),)
    assert product.operands[1].value != (0.1,), "in single precision"


def test_attention_without_heads_or_with_two_batch_axes_has_four_axes() -> None:
    for shape in ((5, 8), (3, 5, 8), (2, 2, 3, 5, 8)):
        arguments = {"query": X, "key": X, "value": X, "is_causal": True}
        attention = step("aten.scaled_dot_product_attention.default", tensor(*shape), **arguments)
        graph = read(attention, x=tensor(*shape))
        (node,) = [node for node in graph.nodes if node.op == "Attention"]
        assert len(node.operands[0].tensor.shape) == len(node.output_shape) == 4
        # PyTorch has kernels for four axes.
        assert node.attributes == ({"is_causal": 1} if len(shape) < 5 else {"is_causal": 1, "unfused": 1})
        assert graph_cost(graph).macs == 2 * 5 * 5 * tensor(*shape).elements // 5


def test_a_convolution_that_keeps_the_size_has_pads_of_its_own() -> None:
    conv = step(
        "aten.conv2d.padding",
        tensor(1, 4, 6, 6),
        input=X,
        weight=W,
        bias=None,
        stride=(1, 1),
        padding="same",
        dilation=(1, 1),
        groups=1,
    )
    graph = read(conv, x=tensor(1, 3, 6, 6), w=tensor(4, 3, 4, 4))
    assert graph.nodes[0].attributes["pads"] == (1, 1, 2, 2)


def test_what_moves_by_one_place_is_one_pad() -> None:
    move = step("aten.pad.default", tensor(1, 6, 4), input=X, pad=(0, 0, 1, -1), mode="constant", value=None)
    (node,) = read(move, x=tensor(1, 6, 4)).nodes
    assert (node.op, node.operands[1].value) == ("Pad", (0, 1, 0, 0, -1, 0))
    cut = step("aten.pad.default", tensor(1, 5, 4), input=X, pad=(0, 0, 0, -1), mode="constant", value=None)
    assert [node.op for node in read(cut, x=tensor(1, 6, 4)).nodes] == ["Slice"]


def test_a_recurrent_cell_with_a_projection_is_refused() -> None:
    lstm = step(
        "aten.lstm.input",
        tensor(5, 1, 4),
        tensor(1, 1, 4),
        tensor(1, 1, 8),
        input=X,
        hx=(Reference("h"), Reference("c")),
        params=(W, B),
        has_biases=False,
        num_layers=1,
        bidirectional=False,
        batch_first=False,
    )
    with pytest.raises(ModelError, match=r"aten\.lstm\.input cannot be read: proj_size"):
        read(
            lstm,
            x=tensor(5, 1, 3),
            w=tensor(32, 3),
            b=tensor(32, 4),
            h=tensor(1, 1, 4),
            c=tensor(1, 1, 8),
            outputs=Reference("y"),
        )


def test_an_operator_that_nobody_writes_is_told_with_its_module_and_a_remedy() -> None:
    unknown = Step("y", "aten.fft_rfft.default", {"self": X}, (tensor(2, 3),), module="layers.0")
    assert missing(program(unknown)) == {"aten.fft_rfft.default"}
    with pytest.raises(
        ModelError,
        match=r"test: module 'layers\.0': narformer does not read the operator aten\.fft_rfft\.default; export",
    ):
        read(unknown)


def test_a_size_that_depends_on_data_is_told() -> None:
    with pytest.raises(ModelError, match="depends on data"):
        read(step("aten.select.int", tensor(3), self=X, dim=0, index=Symbol("u0")))


def test_arguments_that_do_not_fit_are_a_refusal_and_no_traceback() -> None:
    with pytest.raises(ModelError, match=r"aten\.im2col\.default cannot be read"):
        read(step("aten.im2col.default", tensor(2, 3), self=X))


def test_the_larger_branch_of_a_condition_counts() -> None:
    inner = Input("a", "input", "a", tensor(2, 3))
    small = Program(
        (inner,), (step("aten.neg.default", tensor(2, 3), name="s", self=Reference("a")),), (Reference("s"),)
    )
    two = (
        step("aten.exp.default", tensor(2, 3), name="e", self=Reference("a")),
        step("aten.sin.default", tensor(2, 3), name="s", self=Reference("e")),
    )
    large = Program((inner,), two, (Reference("s"),))
    truth = step("aten.any.default", tensor(dtype="bool"), name="t", self=X)
    cond = Step("c", "cond", {"0": Reference("t"), "1": small, "2": large, "3": (X,)}, (tensor(2, 3),), True)
    got = Step("y", "getitem", {"0": Reference("c"), "1": 0}, (tensor(2, 3),), view=True)
    graph = read(truth, cond, got)
    assert [node.op for node in graph.nodes][-3:] == ["Exp", "Sin", "If"]
