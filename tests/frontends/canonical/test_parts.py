"""Slices, Splits and Transposes are written in one way, and what was computed before is not computed again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from narformer.graph import Graph

Read = Callable[[str], Graph]

INTEGERS = "".join(
    f"{name} = Constant<value_ints = {list(value)}>() "
    for name, value in {
        **{"k0": (0,), "k1": (1,), "k2": (2,), "k3": (3,), "k6": (6,), "all": (2**63 - 1,), "last": (-1,)},
        **{"halves": (3, 3), "three": (2, 3, 2, 4)},
    }.items()
)


def of(read: Read, nodes: str, out: str) -> Graph:
    """A network over x (2, 6, 4)."""
    return read(f"g (float[2,6,4] x) => (float[{out}] y) {{ {INTEGERS} {nodes} }}")


HALVES = [
    "a, b = Split<axis = 1>(x, halves) y = Sub(a, b)",
    "a, b = Split<axis = -2, num_outputs = 2>(x) y = Sub(a, b)",
    "a = Slice(x, k0, k3, k1) b = Slice(x, k3, all, k1, k1) y = Sub(a, b)",
    "b = Slice(x, k3, k6, k1) a = Slice(x, k0, k3, k1) y = Sub(a, b)",
    "s = Constant<value_ints = [2, 2, 3, 4]>() z = Constant<value_int = 0>() o = Constant<value_int = 1>() "
    "r = Reshape(x, s) a = Gather<axis = 1>(r, z) b = Gather<axis = 1>(r, o) y = Sub(a, b)",
]


@pytest.mark.parametrize("nodes", HALVES)
def test_parts_that_make_up_the_whole_are_one_split(canon: Read, nodes: str) -> None:
    split, sub = of(canon, nodes, "2,3,4").nodes
    assert (split.op, dict(split.attributes)) == ("Split", {"axis": 1})
    assert [operand.tensor.shape for operand in split.operands] == [(2, 6, 4)]
    assert [out.shape for out in split.outputs] == [(2, 3, 4), (2, 3, 4)]
    assert [(operand.source, operand.output) for operand in sub.operands] == [(0, 0), (0, 1)]


def test_parts_that_are_taken_twice_are_taken_once(canon: Read) -> None:
    first = "a = Slice(x, k0, k3, k1) b = Slice(x, k3, k6, k1) c = Sub(a, b)"
    second = "d = Slice(x, k0, k3, k1, k1) e = Slice(x, k3, all, k1) f = Mul(d, e) y = Add(c, f)"
    found = of(canon, f"{first} {second}", "2,3,4")
    assert [node.op for node in found.nodes] == ["Split", "Sub", "Mul", "Add"]


def test_slices_that_leave_something_out_stay(canon: Read) -> None:
    found = of(canon, "a = Slice(x, k0, k2, k1) b = Slice(x, k3, k6, k1) y = Concat<axis = 1>(a, b)", "2,5,4")
    assert [node.op for node in found.nodes] == ["Slice", "Slice", "Concat"]
    assert dict(found.nodes[1].attributes) == {"axes": (1,), "starts": (3,), "ends": (6,), "steps": (1,)}


def test_a_slice_of_a_slice_is_one(canon: Read) -> None:
    (node,) = of(canon, "a = Slice(x, k1, k6, k1, k2) y = Slice(a, k1, all, k1)", "2,2,4").nodes
    assert dict(node.attributes) == {"axes": (1,), "starts": (3,), "ends": (6,), "steps": (2,)}
    (node,) = of(canon, "a = Slice(x, k0, all, k1, k2) y = Slice(a, k1, all, k2, k2)", "2,3,2").nodes
    assert node.attributes["steps"] == (2, 2)
    assert node.output_shape == (2, 3, 2)


def test_what_was_computed_before_is_not_computed_again(canon: Read) -> None:
    found = of(canon, "a = Relu(x) b = Relu(x) c = Exp(a) d = Exp(b) y = Sub(c, d)", "2,6,4")
    assert [node.op for node in found.nodes] == ["Relu", "Exp", "Sub"]
    assert [operand.source for operand in found.nodes[2].operands] == [1, 1]


def test_chains_that_are_the_same_become_one_from_their_start_to_their_end(canon: Read) -> None:
    """Where a chain turns out to be another only once its start has: nothing else read what its second node read."""
    chains = "".join(f"a{k} = Relu(x) b{k} = Exp(a{k}) c{k} = Neg(b{k}) d{k} = Sin(c{k})" for k in "0123")
    found = of(canon, f"{chains} e = Sub(d0, d1) f = Sub(d2, d3) y = Div(e, f)", "2,6,4")
    assert [node.op for node in found.nodes] == ["Relu", "Exp", "Neg", "Sin", "Sub", "Div"]


TURN = "<perm = [0, 2, 1]>"
MEETS = [
    f"a = Transpose{TURN}(x) b = Relu(a) y = Transpose{TURN}(b)",
    f"a = Transpose{TURN}(x) c = Constant<value_float = 2.0>() b = Relu(a) d = Pow(b, c) y = Transpose{TURN}(d)",
    f"a = Transpose{TURN}(x) n = Neg(x) b = Transpose{TURN}(n) c = Exp(b) d = Add(a, c) y = Transpose{TURN}(d)",
    f"a = Transpose{TURN}(x) n = Neg(x) b = Transpose{TURN}(n) c = Concat<axis = 1>(a, b) "
    f"d, e = Split<axis = 1>(c, twice) f = Add(d, e) y = Transpose{TURN}(f)",
    f"a = Transpose{TURN}(x) b = Softmax<axis = -1>(a) y = Transpose{TURN}(b)",
    f"a = Transpose{TURN}(x) f = Constant<value_float = 1.0>() s = Constant<value_ints = [2, 1, 6]>() "
    f"e = Expand(f, s) b = Concat<axis = 1>(e, a) k5 = Constant<value_ints = [5]>() c = Slice(b, k1, k5, k1) "
    f"y = Transpose{TURN}(c)",
]


@pytest.mark.parametrize("nodes", MEETS)
def test_transposes_meet_what_undoes_them(canon: Read, nodes: str) -> None:
    found = of(canon, "twice = Constant<value_ints = [4, 4]>() " + nodes, "2,6,4")
    assert "Transpose" not in {node.op for node in found.nodes}
    assert found.nodes[-1].output_shape == (2, 6, 4)


def test_a_transpose_behind_a_mean_that_removes_its_axes_is_gone(canon: Read) -> None:
    text = "{ a = Transpose<perm = [0, 3, 1, 2]>(x) b = GlobalAveragePool(a) y = Flatten(b) }"
    (node,) = canon(f"g (float[2,7,7,5] x) => (float[2,5] y) {text}").nodes
    assert (node.op, node.attributes["axes"], node.output_shape) == ("ReduceMean", (1, 2), (2, 1, 1, 5))


def test_a_transpose_is_written_in_one_way(canon: Read) -> None:
    texts = [
        "s = Constant<value_ints = [1, 6, 8]>() a = Reshape(x, s) y = Transpose<perm = [0, 2, 1]>(a)",
        "a = Transpose<perm = [0, 2, 3, 1]>(x) s = Constant<value_ints = [1, 8, 6]>() y = Reshape(a, s)",
        "s = Constant<value_ints = [6, 1, 8]>() a = Reshape(x, s) y = Transpose<perm = [1, 2, 0]>(a)",
    ]
    found = [canon(f"g (float[1,6,2,4] x) => (float[1,8,6] y) {{ {text} }}") for text in texts]
    assert len({graph.hash for graph in found}) == 1
    assert found[0].nodes[0].output_shape == (1, 8, 6)


def test_numbers_by_output_are_in_the_weights_however_rows_are_arranged(canon: Read) -> None:
    """The scale of a layer, as ConvNeXt has it, before or behind the Transpose that puts channels first."""
    product = "a = MatMul(x, w) b = Add(a, bias)"
    scaled = "t = Mul(b, scale) y = Transpose<perm = [0, 3, 1, 2]>(t)"
    turned = "t = Transpose<perm = [0, 3, 1, 2]>(b) y = Mul(t, first)"
    weights = "<float[8,6] w, float[6] bias, float[6] scale, float[6,1,1] first>"
    found = [
        canon(f"g (float[2,3,3,8] x) => (float[2,6,3,3] y) {weights} {{ {product} {end} }}") for end in (scaled, turned)
    ]
    assert [[node.op for node in graph.nodes] for graph in found] == [["Gemm", "Transpose"]] * 2
    assert found[0].hash == found[1].hash


def test_a_matrix_that_a_fused_product_turns_is_turned_for_all_who_read_it(canon: Read) -> None:
    fused = (
        "a = com.microsoft.FusedMatMul<transA = 1>(x, w) t = Transpose<perm = [0, 2, 1]>(x) y = Concat<axis = 2>(a, t)"
    )
    plain = "t = Transpose<perm = [0, 2, 1]>(x) a = MatMul(t, w) y = Concat<axis = 2>(a, t)"
    found = [canon(f"g (float[1,8,5] x) => (float[1,5,14] y) <float[8,6] w> {{ {text} }}") for text in (fused, plain)]
    assert found[0].hash == found[1].hash


def test_constant_places_are_gathered_alike_however_they_are_numbered(canon: Read) -> None:
    """Rows and columns of a mask, as PyTorch's newer exporter and the older one pick them."""
    text = "g (bool[1,12] x) => (bool[1,1,1,9] y) <int64[1,1,1,9,2] p, int64[1,1,1,9] n> { r = Not(x) NODES }"
    flat = "s = Constant<value_ints = [12, 1]>() f = Reshape(r, s) o = Constant<value_ints = [1, 1, 1, 9]>()"
    forms = [
        canon(text.replace("NODES", nodes))
        for nodes in ("y = GatherND(r, p)", f"{flat} g = Gather(f, n) y = Reshape(g, o)")
    ]
    assert [[node.op for node in form.nodes] for form in forms] == [["Not", "Gather"]] * 2
    assert len({form.hash for form in forms}) == 1
    assert forms[0].nodes[1].operands[0].tensor.shape == (12,)
