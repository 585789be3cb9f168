"""Cells: text forms, hashes of the benchmark, whole spaces."""

from __future__ import annotations

import csv
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from narformer.cells.cell import (
    EDGES_201,
    OPERATIONS,
    nasbench101_cell,
    nasbench101_from_matrix,
    nasbench201_cell,
    parse_cell,
)
from narformer.cells.skeleton import to_onnx
from narformer.cells.statistics import nasbench101_parameters
from narformer.cells.table import CellTable, cell_table, enumerate_space, neighbourhood_hash
from narformer.errors import DataError
from narformer.frontends.onnx import read_onnx

# The first row of a published table: module_hash, upper triangle, operations, trainable parameters.
HASH = "00005c142e6f48ac74fdcf73e3439874"
BITS = "100110100001001010101"
WORDS = ["input", "conv3x3-bn-relu", "maxpool3x3", "conv3x3-bn-relu", "conv3x3-bn-relu", "conv1x1-bn-relu", "output"]
PARAMETERS = 8_555_530
ARCH = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"


def test_the_benchmarks_hash_and_parameters_of_a_known_cell() -> None:
    cell = nasbench101_cell(BITS, WORDS)
    assert cell.hash == HASH
    assert nasbench101_parameters(cell_table([cell]))[0] == PARAMETERS


def test_a_reordered_cell_has_the_same_hash_and_another_label_has_not() -> None:
    first = nasbench101_cell("110101", ["input", "conv1x1-bn-relu", "conv3x3-bn-relu", "output"])
    matrix = np.zeros((4, 4), dtype=int)
    for a, b in first.edges:
        matrix[a, b] = 1
    order = [0, 2, 1, 3]
    if not np.tril(matrix[np.ix_(order, order)]).any():
        other = nasbench101_from_matrix(matrix[np.ix_(order, order)], [first.operations[k] for k in order])
        assert other.hash == first.hash
    relabelled = nasbench101_cell("110101", ["input", "conv1x1-bn-relu", "maxpool3x3", "output"])
    assert relabelled.hash != first.hash


def test_nodes_off_every_path_are_dropped() -> None:
    # Vertex 2 leads nowhere.
    cell = nasbench101_cell("110010", ["input", "conv3x3-bn-relu", "maxpool3x3", "output"])
    assert cell.operations == ("input", "conv3x3-bn-relu", "output")


@pytest.fixture(scope="module")
def hashes(nasbench101: CellTable) -> npt.NDArray[np.uint64]:
    return neighbourhood_hash(nasbench101)


def test_all_cells_of_nasbench101(nasbench101: CellTable, hashes: npt.NDArray[np.uint64]) -> None:
    table = nasbench101
    assert len(table) == 423_624  # Ying et al., 2019
    assert len(np.unique(hashes)) == len(table)
    assert neighbourhood_hash(cell_table([nasbench101_cell(BITS, WORDS)]))[0] in hashes
    some = [table.cell(row).hash for row in range(0, len(table), 2000)]
    assert len(set(some)) == len(some)


def test_all_cells_of_nasbench201() -> None:
    table = enumerate_space("nasbench201")
    assert len(table) == 5**6
    assert len({str(table.cell(row)) for row in range(0, len(table), 50)}) == len(range(0, len(table), 50))


def test_every_cell_of_the_public_table_is_enumerated_under_its_hash(
    data_root: Path, hashes: npt.NDArray[np.uint64]
) -> None:
    space = set(hashes.tolist())
    with (data_root / "nasbench101" / "cells.csv").open() as file:
        rows = [row for _, row in zip(range(500), csv.DictReader(file), strict=False)]
    cells = [nasbench101_cell(row["upper_triangle"], row["operations"].split(";")) for row in rows]
    assert [cell.hash for cell in cells] == [row["module_hash"] for row in rows]
    table = cell_table(cells)
    assert set(neighbourhood_hash(table).tolist()) <= space
    # The order of vertices decides who takes the odd channel, and tables keep one order of several: nearly all agree.
    parameters = np.array([float(row["trainable_parameters"]) for row in rows])
    ours = nasbench101_parameters(table)
    assert (ours == parameters).mean() > 0.95
    assert np.abs(ours / parameters - 1).max() < 0.01


@given(st.lists(st.sampled_from(OPERATIONS["nasbench201"][1:-1]), min_size=6, max_size=6))
def test_a_nasbench201_cell_reads_back(operations: list[str]) -> None:
    cell = nasbench201_cell(operations)
    assert parse_cell("nasbench201", str(cell)) == cell
    assert cell_table([cell]).cell(0) == cell


@given(st.text(max_size=60))
def test_any_text_is_a_cell_or_an_error_of_ours(text: str) -> None:
    for space in ("nasbench101", "nasbench201"):
        with suppress(DataError):
            assert str(parse_cell(space, text)).count(",") in (0, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{BITS}1,{';'.join(WORDS)}", "bits of upper triangle"),
        ("1,input;output;", "bits of upper triangle"),
        ("110,input;output;output", "the first operation must be input"),
        ("101,input;conv9x9;output", "unknown operation 'conv9x9'"),
        ("100,input;maxpool3x3;output", "does not reach"),
        ("1" * 21 + "," + ";".join(WORDS), "edges"),
        ("1" * 28 + "," + ";".join([*WORDS[:-1], "maxpool3x3", "output"]), "vertices"),
    ],
)
def test_bad_cells_are_named(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_cell("nasbench101", text)


def test_a_cycle_is_refused() -> None:
    with pytest.raises(DataError, match="no cycles"):
        nasbench101_from_matrix([[0, 1, 0], [0, 0, 1], [1, 0, 0]], ["input", "maxpool3x3", "output"])


def test_whole_networks_of_cells() -> None:
    graph = read_onnx(to_onnx(nasbench101_cell(BITS, WORDS)))
    batch_norm = sum(2 * node.output_shape[1] for node in graph.nodes if node.op == "BatchNormalization")
    weights = sum(o.tensor.elements for node in graph.nodes for o in node.weights)
    # ONNX's BatchNormalization also carries a mean and a variance, which are not trained.
    assert weights - batch_norm == PARAMETERS
    assert graph.nodes[-1].output_shape == (1, 10)
    assert read_onnx(to_onnx(parse_cell("nasbench201", ARCH))).nodes[-1].output_shape == (1, 10)
    assert len(EDGES_201) == 6
    straight = nasbench101_cell("1", ["input", "output"])
    assert read_onnx(to_onnx(straight)).nodes[-1].output_shape == (1, 10)
