"""Statistics of cells: known values of tiny cells, and what must not matter."""

from __future__ import annotations

import numpy as np

from narformer.cells.cell import nasbench101_cell, nasbench201_cell
from narformer.cells.networks import live_nodes
from narformer.cells.statistics import _rectified, cell_statistics
from narformer.cells.table import CellTable, cell_table, enumerate_space
from narformer.cells.tokens import pack_cells, reordered


def some(table: CellTable, count: int = 200) -> CellTable:
    return table.rows(np.random.default_rng(0).permutation(len(table))[:count])


def test_the_order_of_nodes_does_not_matter(nasbench101: CellTable) -> None:
    for every in (nasbench101, enumerate_space("nasbench201")):
        table = some(every)
        other = reordered(table, np.random.default_rng(1))
        assert (other.codes != table.codes).any()
        before, after = cell_statistics(table), cell_statistics(other)
        # Who takes the odd channel depends on the order, so the parameters may differ by a few.
        columns = slice(None, -1) if table.space == "nasbench101" else slice(None)
        np.testing.assert_allclose(after[:, columns], before[:, columns], rtol=1e-6, atol=1e-6)


def test_reordered_cells_keep_their_edges_forward(nasbench101: CellTable) -> None:
    table = reordered(some(nasbench101), np.random.default_rng(2))
    assert not np.tril(table.adjacency).any()
    assert (table.codes[:, 0] == 0).all()
    assert (table.codes[:, -1] == 4).all()


def test_a_none_edge_cuts_its_path() -> None:
    operations = ["nor_conv_3x3", "none", "none", "none", "none", "nor_conv_1x1"]
    live, edges = live_nodes(cell_table([nasbench201_cell(operations)]))
    assert not live.any()  # nothing reaches the output
    assert not edges.any()
    operations[3] = "skip_connect"
    live, edges = live_nodes(cell_table([nasbench201_cell(operations)]))
    assert np.flatnonzero(live[0]).tolist() == [0, 4, 7]
    assert np.argwhere(edges[0]).tolist() == [[0, 4], [4, 7]]


def test_relu_takes_a_correlation_where_theory_says() -> None:
    # Cho and Saul, 2009: κ(0) = 1/π, κ(1) = 1, here with the mean taken away and scaled to 1.
    np.testing.assert_allclose(_rectified(np.array([0.0, 1.0])), [0, 1], atol=1e-12)
    assert 0 < _rectified(np.array([0.5]))[0] < 0.5


def test_statistics_of_every_cell_are_finite(nasbench101: CellTable) -> None:
    for every in (nasbench101, enumerate_space("nasbench201")):
        assert np.isfinite(cell_statistics(some(every, 2000))).all()


def test_packed_cells_say_whose_each_token_is() -> None:
    table = cell_table(
        [nasbench101_cell("1", ["input", "output"]), nasbench101_cell("101", ["input", "maxpool3x3", "output"])]
    )
    features, edges, graph = pack_cells(table)
    assert graph.tolist() == [0, 0, 1, 1, 1]
    assert edges.T.tolist() == [[0, 1], [2, 3], [3, 4]]
    assert features.shape == (5, 128)
    np.testing.assert_array_equal(features[0], features[2])  # both inputs, both at position 0
