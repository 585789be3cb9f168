"""Nodes that do nothing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narformer.frontends.canonical.identities import in_parts
from narformer.graph import Graph

Read = Callable[[str], Graph]

NOTHING = [
    "y = Identity(x)",
    "y = Dropout(x)",
    "y, mask = Dropout(x)",
    "y = Cast<to = 1>(x)",
    "y = Transpose<perm = [0, 1, 2, 3]>(x)",
    "a = Transpose<perm = [0, 2, 3, 1]>(x) y = Transpose<perm = [0, 3, 1, 2]>(a)",
    "a = Cast<to = 11>(x) y = Cast<to = 1>(a)",
    "s = Constant<value_ints = [0, 0]>() e = Constant<value_ints = [99, 99]>() y = Slice(x, s, e)",
    "s = Constant<value_ints = [2, 3, 4, 5]>() y = Expand(x, s)",
    "s = Constant<value_ints = [1, 1, 1, 1]>() y = Tile(x, s)",
    "s = Constant<value_ints = [0, 0, 0, 0, 0, 0, 0, 0]>() y = Pad(x, s)",
    "e = Constant<value_floats = [0.0]>() s = Constant<value_ints = [2, 3, 4, 5]>() y = Resize(x, e, e, s)",
    "y = Clip(x)",
    "y = Concat<axis = 1>(x)",
    "y = Split<axis = 1, num_outputs = 1>(x)",
    "y = Sum(x)",
    "y = Max(x)",
    "k = Constant<value_float = 0.0>() y = Add(k, x)",
    "k = Constant<value_float = 0.0>() y = Sub(x, k)",
    "k = Constant<value_float = 1.0>() y = Mul(x, k)",
    "k = Constant<value_float = 1.0>() y = Div(x, k)",
    "k = Constant<value_float = 1.0>() y = Pow(x, k)",
    "k = Constant<value_float = 1.0>() y = CastLike(x, k)",
    "y = MaxPool<kernel_shape = [1, 1]>(x)",
    "s = Constant<value_ints = [24, 5, 1, 1]>() a = Reshape(x, s)"
    " y = AveragePool<kernel_shape = [1, 1], strides = [2, 1]>(a)",
]
SOMETHING = [
    "s = Constant<value_ints = [-1]>() e = Constant<value_ints = [-99]>() t = Constant<value_ints = [3]>()"
    " d = Constant<value_ints = [-1]>() y = Slice(x, s, e, t, d)",
    "s = Constant<value_ints = [0, 0, 1, 0, 0, 0, -1, 0]>() y = Pad(x, s)",
    "k = Constant<value_float = 1.0>() y = Sub(k, x)",
    "k = Constant<value_float = 1.0>() y = Div(k, x)",
    "k = Constant<value_float = 6.0>() y = Clip(x, k)",
    # Weights of a layer that is not trained yet.
    "k = Constant<value_floats = [1.0, 1.0, 1.0, 1.0, 1.0]>() y = Mul(x, k)",
    "k = Constant<value_floats = [0.0, 0.0, 0.0, 0.0, 0.0]>() y = Add(k, x)",
    "a = Cast<to = 10>(x) y = Cast<to = 1>(a)",
]


@pytest.mark.parametrize("nodes", NOTHING)
def test_what_does_nothing_is_gone(canon: Read, nodes: str) -> None:
    found = canon(f"g (float[2,3,4,5] x) => (float[2,3,4,5] z) {{ a0 = Relu(x) {_renamed(nodes)} z = Exp(y) }}")
    assert [node.op for node in found.nodes] == ["Relu", "Exp"]
    assert found.nodes[1].operands[0].source == 0


@pytest.mark.parametrize("nodes", SOMETHING)
def test_what_does_something_stays(canon: Read, nodes: str) -> None:
    found = canon(f"g (float[2,3,4,5] x) => (float[2,3,4,5] z) {{ a0 = Tanh(x) {_renamed(nodes)} z = Exp(y) }}")
    assert len(found.nodes) > 2


def _renamed(nodes: str) -> str:
    return nodes.replace("(x", "(a0").replace(", x)", ", a0)")


def test_two_transposes_are_the_one_that_they_make_up(canon: Read) -> None:
    found = canon(
        "g (float[2,3,4,5] x) => (float[4,5,2,3] y)"
        "{ a = Transpose<perm = [0, 2, 3, 1]>(x) y = Transpose<perm = [1, 2, 0, 3]>(a) }"
    )
    (node,) = found.nodes
    assert node.op == "Transpose"
    # Axes that stay together are one.
    assert node.attributes["perm"] == (1, 0)
    assert node.operands[0].tensor.shape == (6, 20)
    assert node.operands[0].source == -1


def test_a_transpose_that_others_read_too_stays_for_them(canon: Read) -> None:
    found = canon(
        "g (float[2,3,4] x) => (float[2,3,4] y, float[2,4,3] z)"
        "{ a = Transpose<perm = [0, 2, 1]>(x) b = Transpose<perm = [0, 2, 1]>(a) y = Exp(b) z = Relu(a) }"
    )
    assert sorted(node.op for node in found.nodes) == ["Exp", "Relu", "Transpose"]


def test_a_network_of_nothing_but_views_stays(canon: Read) -> None:
    found = canon("g (float[2,3] x) => (float[2,3] y) { y = Identity(x) }")
    assert len(found.nodes) == 1


def test_a_mask_that_somebody_reads_is_a_constant(canon: Read) -> None:
    found = canon("g (float[2,3] x) => (float[2,3] z) { y, mask = Dropout(x) m = Cast<to = 1>(mask) z = Mul(y, m) }")
    (node,) = found.nodes
    assert [operand.is_weight for operand in node.operands] == [False, True]


def test_a_sequence_that_is_passed_on_is_passed_on_whole(canon: Read) -> None:
    """What follows reads each tensor of it; of one whose length does not change, nothing is lost."""
    nodes = "two = Constant<value_ints = [1, 2]>() s = SplitToSequence<axis = 1>(x, two) t = Identity(s)"
    found = canon(f"g (float[2,3,4,5] x) => (float[2,3,4,5] y) {{ {nodes} y = ConcatFromSequence<axis = 1>(t) }}")
    assert [node.op for node in found.nodes] == ["SplitToSequence", "ConcatFromSequence"]
    assert [(operand.source, operand.output) for operand in found.nodes[1].operands] == [(0, 0), (0, 1)]


@given(st.data())
def test_common_axes_have_the_sizes_of_both_shapes(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=5))

    def joined() -> tuple[int, ...]:
        cuts = data.draw(st.sets(st.integers(1, len(sizes) - 1), max_size=4)) if len(sizes) > 1 else set()
        edges = [0, *sorted(cuts), len(sizes)]
        return tuple(math.prod(sizes[a:b]) for a, b in itertools.pairwise(edges))

    first, second = joined(), joined()
    found = in_parts(first, second)
    if found is None:
        return
    parts, ours, theirs = found
    assert tuple(math.prod(parts[k] for k in each) for each in ours) == first
    assert tuple(math.prod(parts[k] for k in each) for each in theirs) == second
    assert [k for each in ours for k in each] == [k for each in theirs for k in each] == list(range(len(parts)))


def test_casts_around_a_sum_of_integers_do_not_count(canon: Read) -> None:
    spellings = [
        "m = Cast<to = 6>(x) s = CumSum(m, axis) y = Mul(s, m)",
        "m = Cast<to = 6>(x) w = Cast<to = 7>(m) s = CumSum(w, wide) n = Cast<to = 6>(s) y = Mul(n, m)",
    ]
    forms = [
        canon(f"g (bool[1,16] x) => (int32[1,16] y) <int32 axis = {{1}}, int64 wide = {{1}}> {{ {nodes} }}")
        for nodes in spellings
    ]
    assert [node.op for node in forms[1].nodes] == ["Cast", "CumSum", "Mul"]
    assert forms[0].hash == forms[1].hash


def test_casts_around_a_sum_of_other_numbers_run(canon: Read) -> None:
    nodes = "m = Cast<to = 7>(x) s = CumSum(m, axis) y = Cast<to = 1>(s)"
    found = canon(f"g (float[1,16] x) => (float[1,16] y) <int32 axis = {{1}}> {{ {nodes} }}")
    assert [node.op for node in found.nodes] == ["Cast", "CumSum", "Cast"]


def test_words_that_are_shifted_are_one_network_however_they_are_put_in_place(canon: Read) -> None:
    spellings = [
        "a = ScatterND(zeros, rest, less) y0 = ScatterND(a, one, start) y = Add(y0, x)",
        "f = Constant<value_ints = [8, 1]>() t = Constant<value_ints = [7, 1]>() w = Constant<value_ints = [1, 8]>()"
        " z = Reshape(zeros, f) l = Reshape(less, t) a = ScatterND(z, flat, l) b = Reshape(a, w)"
        " y0 = ScatterElements<axis = 1>(b, first, start) y = Add(y0, x)",
    ]
    weights = (
        "<int64[1,8] zeros, int64[1,7,2] rest, int64[1,1,2] one, int64[1,1] start, int64[7,1] flat, int64[1,1] first>"
    )
    forms = [
        canon(f"g (int64[1,8] x, int64[1,7] less) => (int64[1,8] y) {weights} {{ {nodes} }}") for nodes in spellings
    ]
    assert [node.op for node in forms[0].nodes] == ["ScatterND", "ScatterND", "Add"]
    assert forms[0].hash == forms[1].hash


def test_numbers_that_are_put_into_more_than_a_vector_stay_as_they_are(canon: Read) -> None:
    (node,) = canon(
        "g (int64[2,8] x, int64[2,7] less) => (int64[2,8] y) <int64[2,7] at>"
        " { y = ScatterElements<axis = 1>(x, at, less) }"
    ).nodes
    assert (node.op, node.output_shape) == ("ScatterElements", (2, 8))
