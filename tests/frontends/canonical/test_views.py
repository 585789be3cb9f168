"""Views are no nodes, and their readers read in their own shape."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from narformer.graph import Graph

Read = Callable[[str], Graph]

VIEWS = [
    "y = Flatten(a)",
    "s = Constant<value_ints = [2, -1]>() y = Reshape(a, s)",
    "s = Constant<value_ints = [2, 3]>() t = Constant<value_ints = [2, 3]>() y = Squeeze(a, s)",
    "b = Transpose<perm = [0, 2, 1, 3]>(a) y = Flatten(b)",
    "s = Constant<value_int = 0>() b = Gather<axis = 2>(a, s) y = Flatten(b)",
    "b = GlobalAveragePool(a) y = Flatten(b)",
    "s = Constant<value_ints = [2, 3]>() y = ReduceMean<keepdims = 0>(a, s)",
    "h = Shape(a) i = Constant<value_ints = [0]>() n = Gather(h, i) m = Constant<value_ints = [-1]>()"
    " s = Concat<axis = 0>(n, m) y = Reshape(a, s)",
]


@pytest.mark.parametrize("nodes", VIEWS)
def test_a_view_is_the_shape_in_which_its_reader_reads(canon: Read, nodes: str) -> None:
    found = canon(f"g (float[2,3,1,1] x) => (float[2,3] z) {{ a = Relu(x) {nodes} z = Softmax(y) }}")
    assert [node.op for node in found.nodes] == ["Relu", "Softmax"]
    assert found.nodes[0].output_shape == (2, 3, 1, 1)
    assert found.nodes[1].operands[0].tensor.shape == (2, 3)


def test_a_view_at_the_end_is_gone(canon: Read) -> None:
    found = canon("g (float[2,3,1,1] x) => (float[2,3] y) { a = Relu(x) y = Flatten(a) }")
    assert [node.op for node in found.nodes] == ["Relu"]


def test_a_transpose_that_moves_elements_stays(canon: Read) -> None:
    found = canon("g (float[1,3,4] x) => (float[1,4,3] y) { y = Transpose<perm = [0, 2, 1]>(x) }")
    assert [node.op for node in found.nodes] == ["Transpose"]


def test_places_that_are_known_to_turn_a_vector_around_are_no_view(canon: Read) -> None:
    nodes = "k = Constant<value_ints = [{}]>() a = Relu(x) g = Gather(a, k) y = Exp(g)"
    graph = "g (float[4] x) => (float[4] y) {{ {} }}"
    assert [n.op for n in canon(graph.format(nodes.format("3, 2, 1, 0"))).nodes] == ["Relu", "Gather", "Exp"]
    assert [n.op for n in canon(graph.format(nodes.format("0, 1, 2, 3"))).nodes] == ["Relu", "Exp"]


def test_a_maximum_over_an_axis_without_elements_stays(canon: Read) -> None:
    found = canon("g (float[2,0,4] x) => (float[2,0,1] y) { a = Relu(x) y = GlobalMaxPool(a) }")
    assert [n.op for n in found.nodes] == ["Relu", "GlobalMaxPool"]
