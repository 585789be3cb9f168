"""Graph: its order, its hash, its JSON."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narformer.errors import ModelError
from narformer.graph import Attribute, Graph, Node, Operand, Tensor, forget_nodes

X = Tensor((1, 8))


def node(name: str, op: str, *sources: int, weight: str = "", **attributes: int) -> Node:
    operands = [Operand(X, s) for s in sources]
    if weight:
        operands.append(Operand(Tensor((8, 8)), name=weight))
    return Node(name, op, tuple(operands), (X,), attributes)


def diamond(left: str = "Relu", right: str = "Sigmoid", axis: int = 1, names: str = "abcd", last: str = "Sub") -> Graph:
    a, b, c, d = names
    nodes = (
        node(a, "Neg", ~0),
        node(b, left, 0, axis=axis),
        node(c, right, 0, weight="w"),
        node(d, last, 1, 2),
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
        (a, c._replace(name="p"), b._replace(name="q"), node("r", "Sub", 2, 1)), (X,), ("other",), "another name"
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
        Graph((*base.nodes[:3], node("d", "Sub", 2, 1)), (X,)),
    ]
    assert len({g.hash for g in [base, *different]}) == len(different) + 1


def test_hash_ignores_the_order_of_what_is_added_up() -> None:
    """Where both sides are as deep, and where one is deeper, as beside a skip connection."""
    base = diamond(last="Add")
    assert Graph((*base.nodes[:3], node("d", "Add", 2, 1)), (X,)).hash == base.hash
    assert diamond(left="Sigmoid", right="Relu", last="Add").hash != base.hash
    deeper = [
        Graph((*base.nodes[:2], node("c", "Exp", 1), node("d", "Add", *order)), (X,)) for order in ((0, 2), (2, 0))
    ]
    assert deeper[0].hash == deeper[1].hash


def test_hash_is_the_same_where_a_weight_is_shared_and_where_it_is_stored_twice() -> None:
    """Some exporters write tied weights twice; others store once what is equal as long as a network is fresh."""

    def pair(second: str, shape: tuple[int, ...]) -> str:
        weights = [Operand(Tensor(shape), name=name) for name in ("w", second)]
        a, b = (Node("n", "MatMul", (Operand(X, k), w), (X,)) for k, w in zip((~0, 0), weights, strict=True))
        return Graph((a, b), (X,)).hash

    assert pair("w", (8, 8)) == pair("v", (8, 8)) != pair("v", (8, 4))


def test_hash_leaves_out_the_bias_of_a_product() -> None:
    """An exporter drops it where it is all zeros, as in a fresh network."""
    gemm = Node("n", "Gemm", (Operand(X, ~0), Operand(Tensor((8, 8)), name="w")), (X,))
    bias, computed = Operand(Tensor((8, 8)), name="b"), Operand(Tensor((8,)), ~1)
    hashes = [
        Graph((gemm._replace(operands=operands),), (X, Tensor((8, 8)))).hash
        for operands in (gemm.operands, (*gemm.operands, bias), (*gemm.operands, computed))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_hash_tells_the_outputs_of_a_split_apart() -> None:
    split = Node("s", "Split", (Operand(X, ~0),), (Tensor((1, 4)), Tensor((1, 4))))

    def reads(port: int) -> Graph:
        return Graph((split, Node("r", "Relu", (Operand(Tensor((1, 4)), 0, port),), (Tensor((1, 4)),))), (X,))

    assert reads(0).hash != reads(1).hash


@pytest.mark.parametrize(
    ("op", "default", "other"),
    [
        ("Conv", {"group": 1}, {"group": 2}),
        ("Conv", {"dilations": (1, 1), "strides": (1, 1), "pads": (0, 0, 0, 0)}, {"strides": (1, 2)}),
        ("Conv", {"kernel_shape": (3, 3)}, {"kernel_shape": (3, 1)}),
        ("Conv", {"auto_pad": "NOTSET"}, {"auto_pad": "SAME_UPPER"}),
        ("BatchNormalization", {"epsilon": float(np.float32(1e-5))}, {"epsilon": 1e-3}),
        ("Gemm", {"alpha": 1.0, "beta": 1.0, "transA": 0}, {"beta": 0.5}),
        ("MaxPool", {"ceil_mode": 0}, {"ceil_mode": 1}),
    ],
)
def test_an_attribute_that_states_the_default_counts_as_absent(
    op: str, default: dict[str, Attribute], other: dict[str, Attribute]
) -> None:
    x, weight = Tensor((1, 4, 8, 8)), Operand(Tensor((4, 4, 3, 3)), name="w")

    def hash_of(attributes: dict[str, Attribute], domain: str = "") -> str:
        return Graph((Node("n", op, (Operand(x, ~0), weight), (x,), attributes, domain),), (x,)).hash

    assert hash_of(default) == hash_of({})
    assert hash_of(other) != hash_of({})
    assert hash_of(default, "com.example") != hash_of({}, "com.example")  # whose defaults nobody knows


def two_rings(crossed: bool) -> Graph:
    """Every node's neighbourhood, however wide, looks like that of its peers in the other network."""
    join = ((1, 2), (4, 5)) if not crossed else ((1, 4), (2, 5))
    nodes = [node("", "Neg", ~0, weight=f"w{i}") if i % 3 == 0 else node("", "Relu", i // 3 * 3) for i in range(6)]
    nodes += [node("", "Add", *pair) for pair in join]
    return Graph((*nodes, node("", "Add", 6, 7)), (X,))


def test_hash_tells_apart_what_looks_alike_from_every_node() -> None:
    assert two_rings(False).hash != two_rings(True).hash


@st.composite
def small_graphs(draw: st.DrawFn) -> Graph:
    """Of operators whose operands have an order: what `smallest` does not know of is tried by hand above."""
    nodes = []
    for index in range(draw(st.integers(1, 5))):
        sources = draw(st.lists(st.integers(-2, index - 1), min_size=1, max_size=2))
        weight = draw(st.sampled_from(["", "", "w", "v"]))
        nodes.append(node(str(index), draw(st.sampled_from(["Neg", "Sub"])), *sources, weight=weight))
    return Graph(tuple(nodes), (X, X))


def shuffled(graph: Graph, order: Sequence[int], inputs: Sequence[int] = (0, 1)) -> tuple[Node, ...]:
    """The nodes in another order, which need not be a Graph's; operands follow."""
    place = {old: new for new, old in enumerate(order)} | {~k: ~inputs[k] for k in range(len(inputs))}
    return tuple(
        graph.nodes[old]._replace(
            name="",
            operands=tuple(
                o if o.source is None else o._replace(source=place[o.source]) for o in graph.nodes[old].operands
            ),
        )
        for old in order
    )


def written(nodes: Sequence[Node]) -> str:
    """The nodes as text; weights all look alike."""
    return repr([[n.op, [o.source for o in n.operands]] for n in nodes])


def smallest(graph: Graph) -> str:
    """The first in the alphabet of the texts of all orders: the same for the same network, and only then."""
    orders = itertools.permutations(range(len(graph)))
    return min(written(shuffled(graph, order, inputs)) for order in orders for inputs in ((0, 1), (1, 0)))


@settings(max_examples=60, deadline=None)
@given(small_graphs(), small_graphs(), st.data())
def test_same_hash_means_same_network_and_the_reverse(one: Graph, two: Graph, data: st.DataObject) -> None:
    assert (one.hash == two.hash) == (smallest(one) == smallest(two))
    # Independent draws are seldom the same; one that differs in a single operand is more often.
    index = data.draw(st.integers(0, len(one) - 1))
    changed = list(one.nodes)
    position = data.draw(st.integers(0, len(one.nodes[index].sources) - 1))
    operands = list(changed[index].operands)
    operands[position] = Operand(X, data.draw(st.integers(-2, index - 1)))
    changed[index] = changed[index]._replace(operands=tuple(operands))
    near = Graph(tuple(changed), one.inputs)
    assert (one.hash == near.hash) == (smallest(one) == smallest(near))


@given(small_graphs(), st.randoms(use_true_random=False))
def test_hash_is_that_of_any_topological_order(graph: Graph, chance: random.Random) -> None:
    order: list[int] = []
    while len(order) < len(graph):
        ready = [i for i, n in enumerate(graph.nodes) if i not in order and all(s < 0 or s in order for s in n.sources)]
        order.append(chance.choice(ready))
    assert Graph(shuffled(graph, order, (1, 0)), graph.inputs).hash == graph.hash


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


def test_distinct_nodes_are_one_of_each_and_cover_all() -> None:
    x, y = Tensor((1, 4)), Tensor((1, 8))
    nodes = (
        Node("a", "Relu", (Operand(x, ~0),), (x,)),
        Node("b", "Relu", (Operand(x, 0),), (x,)),  # as the first, but for its name and what it reads from
        Node("c", "Add", (Operand(x, 1), Operand(x, 0)), (x,)),
        Node("d", "Add", (Operand(x, 2), Operand(x, name="w")), (x,)),  # a weight
        Node("e", "Relu", (Operand(x, 3),), (x,), {"alpha": 1.0}),
        Node("f", "Relu", (Operand(x, 4),), (x,), {}, "com.example"),
        Node("g", "Relu", (Operand(x, 5),), (y,)),
        Node("h", "Add", (Operand(x, 1), Operand(x, 1)), (x,)),
    )
    distinct = Graph(nodes, (x,)).distinct
    assert [node.name for node in distinct.nodes] == ["a", "c", "d", "e", "f", "g"]
    assert distinct.place.tolist() == [0, 0, 1, 2, 3, 4, 5, 1]
    assert distinct.times == [2, 2, 1, 1, 1, 1]


def test_values_of_distinct_nodes_are_computed_once() -> None:
    asked: list[str] = []

    def length(node: Node) -> int:
        asked.append(node.name)
        return len(node.operands)

    distinct = diamond().distinct
    assert distinct.each(length) == distinct.each(length) == [len(node.operands) for node in distinct.nodes]
    assert len(asked) == len(distinct.nodes)
    assert diamond().distinct.each(length) == distinct.each(length)
    assert len(asked) == len(distinct.nodes), "another network of the same nodes"
    forget_nodes()
    diamond().distinct.each(length)
    assert len(asked) == 2 * len(distinct.nodes)


def test_large_tables_are_not_kept_once_their_network_is_gone() -> None:
    asked: list[int] = []

    def leaves(node: Node) -> None:
        asked.append(len(node.attributes["values"]))  # type: ignore[arg-type]

    for count in (8, 8, 80, 80):
        tree = Node("tree", "Tree", (), (Tensor((1,)),), {"values": (0.5,) * count}, "of.mine")
        Graph((tree,), ()).distinct.each(leaves)
    assert asked == [8, 80, 80]


@pytest.mark.parametrize(
    ("op", "dtype", "first", "second"),
    [("Pow", "float32", (2.0,), (3.7,)), ("Slice", "int64", (1.0,), (2.0,))],
)
def test_nodes_that_hold_other_powers_or_steps_are_distinct(
    op: str, dtype: str, first: tuple[float, ...], second: tuple[float, ...]
) -> None:
    x, operands = (
        Tensor((4,)),
        [Operand(Tensor((1,), dtype), name="n", value=value) for value in (first, second, first)],
    )
    nodes = tuple(Node(f"{op}_{k}", op, (Operand(x, ~0), held), (x,)) for k, held in enumerate(operands))
    assert Graph(nodes, (x,)).distinct.times == [2, 1]


def test_what_else_constants_hold_tells_no_nodes_apart() -> None:
    x, biases = Tensor((4,)), [Operand(Tensor((1,)), name="b", value=(value,)) for value in (0.5, 0.25)]
    nodes = tuple(Node(f"n{k}", "Add", (Operand(x, ~0), bias), (x,)) for k, bias in enumerate(biases))
    assert Graph(nodes, (x,)).distinct.times == [2]


def test_operands_left_out_keep_the_places_of_those_behind_them() -> None:
    x, high = Operand(Tensor((4,)), ~0), Operand(Tensor(()), name="high", value=(6.0,), trained=False)
    clip = Node("c", "Clip", (x, high), (Tensor((4,)),), left_out=(1,))
    assert (clip.operand(0), clip.operand(1), clip.operand(2), clip.operand(3)) == (x, None, high, None)
    assert clip.positions == (0, 2)
    graph, other = (Graph((n,), (Tensor((4,)),)) for n in (clip, clip._replace(left_out=())))
    assert graph.hash != other.hash, "a bound from above is none from below"
    assert Graph.from_json(graph.to_json()) == graph
