"""Many cells as arrays, and every cell of a space.

A table of n cells has one row a cell: the operation code of each of V places (`OPERATIONS` of `cells/cell.py`, −1
where the cell has no node) and the adjacency between places. Input is place 0, output the last place; inner nodes fill
the places after the input in their order.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from narformer.cells.cell import EDGES_201, MAX_EDGES, MAX_VERTICES, NODES_201, OPERATIONS, Cell
from narformer.errors import DataError

Codes = npt.NDArray[np.int8]
Matrices = npt.NDArray[np.bool_]
Hashes = npt.NDArray[np.uint64]
PLACES = {"nasbench101": MAX_VERTICES, "nasbench201": 2 + len(EDGES_201)}
_OUTPUT_101 = len(OPERATIONS["nasbench101"]) - 1


@dataclass(frozen=True, eq=False)
class CellTable:
    """Cells of one space as arrays: codes (n, V), adjacency (n, V, V), row produces, column consumes."""

    space: str
    codes: Codes
    adjacency: Matrices

    def __len__(self) -> int:
        return len(self.codes)

    def rows(self, chosen: npt.ArrayLike | slice) -> CellTable:
        """Some of the cells, as a table."""
        index = chosen if isinstance(chosen, slice) else np.asarray(chosen)
        return CellTable(self.space, self.codes[index], self.adjacency[index])

    def cell(self, row: int) -> Cell:
        """One row as a Cell."""
        kept = np.flatnonzero(self.codes[row] >= 0)
        names = OPERATIONS[self.space]
        edges = np.argwhere(self.adjacency[row][np.ix_(kept, kept)])
        return Cell(
            self.space, tuple(names[c] for c in self.codes[row, kept]), tuple((int(a), int(b)) for a, b in edges)
        )


def cell_table(cells: Sequence[Cell]) -> CellTable:
    """The table of some cells. Raises DataError for none, or for cells of several spaces."""
    spaces = {cell.space for cell in cells}
    if len(spaces) != 1:
        raise DataError(f"a table holds cells of one space, found {', '.join(sorted(spaces)) or 'no cell'}")
    (space,) = spaces
    places = PLACES[space]
    codes = np.full((len(cells), places), -1, dtype=np.int8)
    adjacency = np.zeros((len(cells), places, places), dtype=bool)
    for row, cell in enumerate(cells):
        place = [*range(len(cell.operations) - 1), places - 1]
        codes[row, place] = cell.codes
        for producer, consumer in cell.edges:
            adjacency[row, place[producer], place[consumer]] = True
    return CellTable(space, codes, adjacency)


def enumerate_space(space: str, show: Callable[[int, int], None] = lambda _done, _all: None) -> CellTable:
    """Every cell of a space, once: 423,624 of NAS-Bench-101 (in seconds), 15,625 of NAS-Bench-201.

    `show` is called with the work done and all work, in some unit. Raises DataError for an unknown space.
    """
    if space == "nasbench201":
        return _enumerate_201()
    if space == "nasbench101":
        return _enumerate_101(show)
    raise DataError(f"unknown space {space!r}; known are {', '.join(OPERATIONS)}")


def _enumerate_201() -> CellTable:
    """All 5⁶ choices of operations, the last edge's changing fastest."""
    names = OPERATIONS["nasbench201"]
    inner = np.array(list(itertools.product(range(1, len(names) - 1), repeat=len(EDGES_201))), dtype=np.int8)
    codes = np.pad(inner, ((0, 0), (1, 1)), constant_values=((0, 0), (0, len(names) - 1)))
    adjacency = np.zeros((len(codes), PLACES["nasbench201"], PLACES["nasbench201"]), dtype=bool)
    for producer, consumer in NODES_201:
        adjacency[:, producer, consumer] = True
    return CellTable("nasbench201", codes, adjacency)


def _enumerate_101(show: Callable[[int, int], None]) -> CellTable:
    """Graphs by number of vertices, one of each isomorphism class, under all labels; equal cells are kept once.

    Two cells are equal when rounds of neighbourhood hashing cannot tell them apart, which is how the benchmark counts.
    """
    kinds = _OUTPUT_101 - 1
    parts: list[CellTable] = []
    seen: list[Hashes] = []
    graphs = {size: _graphs(size) for size in range(2, MAX_VERTICES + 1)}
    work = sum(len(g) * kinds ** (size - 2) for size, g in graphs.items())
    done = 0
    for size, matrices in graphs.items():
        labels = np.array(list(itertools.product(range(1, kinds + 1), repeat=size - 2)), dtype=np.int8)
        labels = labels.reshape(kinds ** (size - 2), size - 2)
        for some in np.array_split(matrices, max(1, len(matrices) * len(labels) // 200_000)):
            codes = np.full((len(some), len(labels), MAX_VERTICES), -1, dtype=np.int8)
            codes[:, :, 0], codes[:, :, -1], codes[:, :, 1 : size - 1] = 0, _OUTPUT_101, labels
            place = [*range(size - 1), MAX_VERTICES - 1]
            adjacency = np.zeros((len(some), len(labels), MAX_VERTICES, MAX_VERTICES), dtype=bool)
            adjacency[:, :, np.array(place)[:, None], place] = some[:, None]
            shape = len(some) * len(labels)
            table = CellTable("nasbench101", codes.reshape(shape, -1), adjacency.reshape(shape, *adjacency.shape[2:]))
            hashes, first = np.unique(neighbourhood_hash(table), return_index=True)
            parts.append(table.rows(first))
            seen.append(hashes)
            done += shape
            show(done, work)
    codes, adjacency = np.concatenate([p.codes for p in parts]), np.concatenate([p.adjacency for p in parts])
    _, first = np.unique(np.concatenate(seen), return_index=True)
    first.sort()
    return CellTable("nasbench101", codes[first], adjacency[first])


def _graphs(size: int) -> Matrices:
    """Directed acyclic graphs of `size` vertices with at most 9 edges, every vertex on a path from first to last.

    One matrix (upper triangular) of each set that differs only in the order of the inner vertices.
    """
    pairs = list(itertools.combinations(range(size), 2))
    bits = np.arange(1 << len(pairs), dtype=np.int64)
    count = ((bits[:, None] >> np.arange(len(pairs))) & 1).sum(axis=1)
    bits = bits[count <= MAX_EDGES]
    matrices = np.zeros((len(bits), size, size), dtype=bool)
    for k, (a, b) in enumerate(pairs):
        matrices[:, a, b] = (bits >> k) & 1
    # In a graph whose edges point forward, having an edge in and an edge out puts a vertex on such a path.
    leaves, enters = np.any(matrices[:, :-1], axis=2), np.any(matrices[:, :, 1:], axis=1)
    matrices = matrices[np.all(leaves, axis=1) & np.all(enters, axis=1)]
    flat = matrices.reshape(len(matrices), -1)
    weights = 1 << np.arange(size * size, dtype=np.int64)
    smallest = np.full(len(matrices), np.iinfo(np.int64).max)
    for order in itertools.permutations(range(1, size - 1)):
        place = np.array([0, *order, size - 1])
        # Bit of the entry (i, j) once vertex i is called place[i].
        moved = weights.reshape(size, size)[np.ix_(place, place)].reshape(-1)
        np.minimum(smallest, flat @ moved, out=smallest)
    _, first = np.unique(smallest, return_index=True)
    return np.asarray(matrices[np.sort(first)])


def neighbourhood_hash(table: CellTable) -> Hashes:
    """A 64-bit stand-in for NAS-Bench-101's `module_hash` of each row: equal where that is equal, (n,).

    The same rounds of hashing (degrees and operation first, then producers, consumers and self) on whole arrays; the
    sorted list of neighbours' hashes is replaced by a sum of their mixed values, which does not depend on order either.
    """
    present = table.codes >= 0
    adjacency = table.adjacency.astype(np.uint64)
    outs, ins = adjacency.sum(axis=2), adjacency.sum(axis=1)
    one = np.uint64(1)
    state = mixed(table.codes.astype(np.uint64) + one + (outs << np.uint64(8)) + (ins << np.uint64(16)))
    rounds = present.sum(axis=1)
    for number in range(table.codes.shape[1]):
        scattered = mixed(state)
        producers = (adjacency * scattered[:, :, None]).sum(axis=1)
        consumers = (adjacency * scattered[:, None, :]).sum(axis=2)
        joined = mixed(mixed(mixed(producers) + one) + mixed(consumers) + (state << one))
        state = np.where((rounds > number)[:, None], joined, state)
    return np.asarray(mixed((mixed(state) * present).sum(axis=1) + rounds.astype(np.uint64)))


def mixed(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele et al., 2014): every input bit moves every output bit."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def nasbench101_channels(table: CellTable, channels_in: int, channels: int) -> npt.NDArray[np.int64]:
    """Output channels of each vertex in a cell with that many channels in and out, (n, V), 0 where there is no vertex.

    The vertices that feed the output share its channels, the first ones taking one more where they do not divide; any
    other vertex has as many as the widest of its readers (NAS-Bench-101, section 2.2).
    """
    n, places = table.codes.shape
    width = np.zeros((n, places), dtype=np.int64)
    width[:, 0], width[:, -1] = channels_in, channels
    feeders = table.adjacency[:, 1:-1, -1]
    count = np.maximum(feeders.sum(axis=1, keepdims=True), 1)
    first = np.cumsum(feeders, axis=1) <= channels % count
    width[:, 1:-1] = np.where(feeders, channels // count + first, 0)
    for v in range(places - 2, 0, -1):
        widest = np.where(table.adjacency[:, v, 1:-1], width[:, 1:-1], 0).max(axis=1)
        width[:, v] = np.where(feeders[:, v - 1], width[:, v], widest)
    return width
