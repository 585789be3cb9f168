"""Graph: its order, its hash, its JSON."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narformer.errors import ModelError
from narformer.graph import Graph, Node, Operand, Tensor

X = Tensor((1, 8))


def node(name: str, op: str, *sources: int, weight: str = "", **attributes: int) -> Node:
    operands = [Operand(X, s) for s in sources]
    if weight:
        operands.append(Operand(Tensor((8,)), name=weight))
    return Node(name, op, tuple(operands), (X,), attributes)


def diamond(left: str = "Relu", right: str = "Sigmoid", axis: int = 1, names: str = "abcd") -> Graph:
    a, b, c, d = names
    nodes = (
        node(a, "Neg", ~0),
        node(b, left, 0, axis=axis),
        node(c, right, 0, weight="w"),
        node(d, "Add", 1, 2),
    )
    return Graph(nodes, (X,), ("x",), "diamond")


def test_edges_are_directed_and_single() -> None:
    square = Graph((node("a", "Neg", ~0), node("b", "Mul", 0, 0)), (X,))
    assert square.edges.tolist() == [[0, 1]]
    assert diamond().edges.tolist() == [[0, 1], [0, 2], [1, 3], [2, 3]]
    assert diamond().input_edges.tolist() == [[0, 0]]


def test_a_node_cannot_read_a_later_one_or_a_missing_input() -> None:
    with pytest.raises(ModelError, match="topological order"):
        Graph((node("a", "Neg", 1), node("b", "Neg", ~0)), (X,))
    with pytest.raises(ModelError, match="node 0"):
        Graph((node("a", "Neg", ~1),), (X,))


def test_hash_ignores_names_and_order() -> None:
    a, b, c, _ = diamond().nodes
    swapped = Graph(
        (a, replace(c, name="p"), replace(b, name="q"), node("r", "Add", 2, 1)), (X,), ("other",), "another name"
    )
    assert diamond(names="wxyz").hash == diamond().hash
    assert swapped.hash == diamond().hash


def test_hash_tells_networks_apart() -> None:
    base = diamond()
    different = [
        diamond(axis=2),
        diamond(left="Tanh"),
        diamond(left="Sigmoid", right="Relu"),
        Graph(base.nodes[:3], (X,)),
        replace(base, inputs=(Tensor((1, 8), "float16"),)),
        Graph((*base.nodes[:3], node("d", "Add", 2, 1)), (X,)),
    ]
    assert len({g.hash for g in [base, *different]}) == len(different) + 1


def test_hash_tells_shared_weights_from_separate_ones() -> None:
    def pair(second: str) -> Graph:
        return Graph((node("a", "Mul", ~0, weight="w"), node("b", "Mul", 0, weight=second)), (X,))

    assert pair("w").hash != pair("v").hash


def test_hash_tells_the_outputs_of_a_split_apart() -> None:
    split = Node("s", "Split", (Operand(X, ~0),), (Tensor((1, 4)), Tensor((1, 4))))

    def reads(port: int) -> Graph:
        return Graph((split, Node("r", "Relu", (Operand(Tensor((1, 4)), 0, port),), (Tensor((1, 4)),))), (X,))

    assert reads(0).hash != reads(1).hash


values = st.one_of(
    st.integers(-(2**40), 2**40),
    st.text(max_size=5),
    st.lists(st.integers(-9, 9), max_size=4).map(tuple),
    st.floats(allow_nan=False),
)


@given(
    st.lists(
        st.tuples(st.sampled_from(["Relu", "Add", "Conv"]), st.dictionaries(st.text(max_size=4), values)), max_size=6
    ),
    st.lists(st.integers(0, 2**40), max_size=4),
)
def test_json_gives_the_graph_back(kinds: list[tuple[str, dict[str, object]]], shape: list[int]) -> None:
    x = Tensor(tuple(shape), "bfloat16")
    nodes = tuple(
        Node(f"n{i}", op, (Operand(x, i - 1 if i else ~0), Operand(x, name="w")), (x, x), attributes, "com.example")  # type: ignore[arg-type]
        for i, (op, attributes) in enumerate(kinds)
    )
    graph = Graph(nodes, (x,), ("x",), "name")
    assert Graph.from_json(graph.to_json()) == graph


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"nodes": 3}', "null"])
def test_other_json_is_a_clear_error(text: str) -> None:
    with pytest.raises(ModelError, match="not a Graph"):
        Graph.from_json(text)


def test_bytes_of_narrow_types() -> None:
    assert Tensor((3,), "int4").bytes == 2
    assert Tensor((2, 3), "float16").bytes == 12
    assert Tensor(()).bytes == 4
