"""Which cells are one network, and which only look like it."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from narformer.cells.cell import EDGES_201, Cell, nasbench201_cell
from narformer.cells.networks import distinct_networks
from narformer.cells.skeleton import to_onnx
from narformer.cells.statistics import nasbench101_parameters
from narformer.cells.table import CellTable, cell_table, enumerate_space, neighbourhood_hash
from narformer.cells.tokens import reordered
from narformer.frontends.onnx import read_onnx

WORDS_201 = {"0": "none", "s": "skip_connect", "1": "nor_conv_1x1", "3": "nor_conv_3x3", "p": "avg_pool_3x3"}
LETTERS_201 = {word: letter for letter, word in WORDS_201.items()}
WORDS_101 = {"1": "conv1x1-bn-relu", "3": "conv3x3-bn-relu", "p": "maxpool3x3"}


def cell_201(letters: str) -> Cell:
    """Edges 0→1, 0→2, 1→2, 0→3, 1→3, 2→3, a letter each."""
    return nasbench201_cell([WORDS_201[letter] for letter in letters.replace(" ", "")])


def cell_101(inner: str, edges: str) -> Cell:
    """Inner vertices by letter, edges as pairs of digits."""
    pairs = tuple((int(a), int(b)) for a, b in edges.split())
    return Cell("nasbench101", ("input", *(WORDS_101[letter] for letter in inner), "output"), pairs)


def are_one_network(first: Cell, second: Cell) -> bool:
    return len(distinct_networks(cell_table([first, second]))[0]) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param("3 s0 01p", "s 30 0p1", id="nodes exchanged, one equal to the input"),
        pytest.param("3 10 0p3", "1 30 03p", id="nodes exchanged"),
        pytest.param("0 13 033", "0 10 003", id="a node without input"),
        pytest.param("3 13 030", "3 00 030", id="a node that does not lead to the output"),
        pytest.param("3 0s 003", "3 00 030", id="a node equal to another"),
        pytest.param("s 00 030", "0 00 300", id="a node equal to the input"),
        pytest.param("p 00 0s0", "0 00 p00", id="a skip after an operation"),
        pytest.param("3 10 0pp", "3 1s 00p", id="pooling is linear"),
        pytest.param("0 00 000", "3 33 000", id="nothing reaches the output"),
    ],
)
def test_cells_of_nasbench201_that_are_one_network(first: str, second: str) -> None:
    assert are_one_network(cell_201(first), cell_201(second))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param("3 0s 0ss", "3 30 0ss", id="one convolution twice, two convolutions"),
        pytest.param("3 0s 033", "3 30 033", id="two readers of one convolution, of two"),
        pytest.param("3 10 033", "3 1s 003", id="a convolution of a sum, a sum of convolutions"),
        pytest.param("p 00 030", "3 00 0p0", id="pooling before a convolution, after it"),
        pytest.param("0 00 300", "0 00 100", id="another convolution"),
        pytest.param("s 00 ss0", "0 00 s00", id="the input twice, once"),
        pytest.param("0 00 s00", "0 00 000", id="the input, nothing"),
    ],
)
def test_cells_of_nasbench201_that_are_two_networks(first: str, second: str) -> None:
    assert not are_one_network(cell_201(first), cell_201(second))


def smallest_form(letters: str) -> str:
    """The network of a cell, written with its convolutions in the order that makes the text smallest.

    A tensor is a sum of sources (the input 0, convolutions by their edge), each pooled some times.
    """
    nodes: list[Counter[tuple[int, int]]] = [Counter({(0, 0): 1}), Counter(), Counter(), Counter()]
    read: dict[int, tuple[str, Counter[tuple[int, int]]]] = {}
    for edge, (letter, (start, end)) in enumerate(zip(letters, EDGES_201, strict=True), start=1):
        if letter in "13" and nodes[start]:
            read[edge] = letter, nodes[start]
            nodes[end][edge, 0] += 1
        elif letter in "sp":
            for (source, pooled), count in nodes[start].items():
                nodes[end][source, pooled + (letter == "p")] += count
    wanted, waiting = set(), [source for source, _ in nodes[3]]
    while waiting:
        source = waiting.pop()
        if source and source not in wanted:
            wanted.add(source)
            waiting += [s for s, _ in read[source][1]]
    forms = []
    for order in itertools.permutations(sorted(wanted)):
        name = {0: 0, **{edge: k for k, edge in enumerate(order, start=1)}}
        tensors = [("output", nodes[3]), *(read[edge] for edge in order)]
        forms.append(repr([(op, sorted((name[s], p, n) for (s, p), n in t.items())) for op, t in tensors]))
    return min(forms)


def test_the_networks_of_nasbench201_are_those_that_brute_force_finds() -> None:
    table = enumerate_space("nasbench201").rows(slice(0, None, 3))
    _, row = distinct_networks(table)
    forms = [smallest_form("".join(LETTERS_201[o] for o in table.cell(k).operations[1:-1])) for k in range(len(table))]
    assert len(set(forms)) == len(set(row.tolist())) == len(set(zip(forms, row.tolist(), strict=True)))


@given(st.text(alphabet="0s13p", min_size=6, max_size=6))
def test_the_representative_of_a_cell_of_nasbench201_computes_the_same(letters: str) -> None:
    networks, _ = distinct_networks(cell_table([cell_201(letters)]))
    other = "".join(LETTERS_201[o] for o in networks.cell(0).operations[1:-1])
    weights = (0.9, 1.7, 2.3, 3.1, 4.7, 5.9)
    expected = output(letters, weights)
    assert any(math.isclose(output(other, w), expected, abs_tol=1e-9) for w in itertools.permutations(weights))


def output(letters: str, weights: tuple[float, ...]) -> float:
    """A cell on numbers instead of tensors: convolutions are sines of their own frequency, pooling takes 7/10."""
    nodes = [1.3, 0.0, 0.0, 0.0]
    for letter, weight, (start, end) in zip(letters, weights, EDGES_201, strict=True):
        x = nodes[start]
        nodes[end] += {
            "0": 0.0,
            "s": x,
            "p": 0.7 * x,
            "1": math.sin(weight * x),
            "3": 2 * math.sin(weight * x),
        }[letter]
    return nodes[3]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(("13", "01 02 13 23"), ("31", "01 02 13 23"), id="another order"),
        pytest.param(("3p", "01 13 02"), ("3", "01 12"), id="a vertex that leads nowhere"),
        pytest.param(("p3", "12 02 23"), ("3", "01 12"), id="a vertex that the input does not reach"),
        pytest.param(("1pp33", "01 12 13 24 35 46 56"), ("1p33", "01 12 23 24 35 45"), id="two poolings of one vertex"),
        pytest.param(("1pppp", "01 12 13 24 35 46 05"), ("1pppp", "01 12 24 25 46 05"), id="one of them read twice"),
    ],
)
def test_cells_of_nasbench101_that_are_one_network(first: tuple[str, str], second: tuple[str, str]) -> None:
    assert are_one_network(cell_101(*first), cell_101(*second))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(("13", "01 12 23"), ("31", "01 12 23"), id="operations in another order"),
        pytest.param(("33", "01 02 13 23"), ("3", "01 12"), id="two convolutions, one"),
        pytest.param(
            ("1333", "01 12 13 24 34 45"), ("133", "01 12 23 34"), id="a sum of two convolutions of one vertex"
        ),
        pytest.param(
            ("pp33", "01 02 13 24 35 45"), ("p33", "01 12 13 24 34"), id="two poolings of two projections of the input"
        ),
        pytest.param(("1pp", "01 12 13 24 34"), ("1p", "01 12 23"), id="two poolings that feed the output"),
        pytest.param(("1pp3", "01 12 13 24 34 45"), ("1p3", "01 12 23 34"), id="a sum of two poolings"),
        pytest.param(("3", "01 12 02"), ("3", "01 12"), id="the input beside"),
    ],
)
def test_cells_of_nasbench101_that_are_two_networks(first: tuple[str, str], second: tuple[str, str]) -> None:
    assert not are_one_network(cell_101(*first), cell_101(*second))


def test_nasbench101_has_a_network_for_each_cell_but_for_poolings_of_the_same(nasbench101: CellTable) -> None:
    table = nasbench101.rows(slice(0, None, 12))
    networks, row = distinct_networks(table)
    changed = neighbourhood_hash(networks)[row] != neighbourhood_hash(table)
    assert ((table.codes[changed] == 3).sum(axis=1) >= 2).all()
    assert 0 < changed.mean() < 0.01
    assert len(np.unique(row[~changed])) == (~changed).sum()
    assert not np.tril(networks.adjacency).any()
    # Of the channels that do not divide, the order decides who has them: a few in a hundred thousand parameters.
    before, after = nasbench101_parameters(table), nasbench101_parameters(networks)[row]
    assert np.abs(after / before - 1).max() < 0.015


@pytest.mark.parametrize("space", ["nasbench101", "nasbench201"])
def test_another_order_of_nodes_and_another_table_change_nothing(space: str, request: pytest.FixtureRequest) -> None:
    every = request.getfixturevalue("nasbench101") if space == "nasbench101" else enumerate_space(space)
    table = every.rows(np.random.default_rng(0).permutation(len(every))[:300])
    networks, row = distinct_networks(table)
    other, other_row = distinct_networks(reordered(table, np.random.default_rng(1)))
    np.testing.assert_array_equal(row, other_row)
    np.testing.assert_array_equal(networks.codes, other.codes)
    np.testing.assert_array_equal(networks.adjacency, other.adjacency)
    again, itself = distinct_networks(networks)
    np.testing.assert_array_equal(itself, np.arange(len(networks)))
    np.testing.assert_array_equal(again.codes, networks.codes)
    alone, _ = distinct_networks(table.rows(slice(7, 8)))
    assert alone.cell(0) == networks.cell(int(row[7]))
    assert len(distinct_networks(table.rows(slice(0, 0)))[0]) == 0


def test_two_poolings_of_one_vertex_have_the_weights_of_one() -> None:
    def weights(cell: Cell) -> int:
        return sum(o.tensor.elements for node in read_onnx(to_onnx(cell)).nodes for o in node.weights)

    assert weights(cell_101("1pp33", "01 12 13 24 35 46 56")) == weights(cell_101("1p33", "01 12 23 24 35 45"))
