"""Which cells are one network: each cell of a table is mapped to one representative of its network.

NAS-Bench-201's 15,625 cells are 5,044 networks, NAS-Bench-101's 423,624 are 422,517. Two cells are one network when the
same operations, each with weights of its own, are applied to the same tensors:

- the order in which nodes are written does not matter, nor do nodes that the input does not reach or that do not
  lead to the output; in NAS-Bench-201 a `none` edge passes nothing on. (A convolution of zeros counts as nothing too,
  although its batch normalisation could learn a constant.)
- NAS-Bench-201: `skip_connect` adds the tensor itself, and average pooling has no weights and is linear, so
  pool(a) + pool(b) = pool(a + b). Two convolutions of one tensor stay two: 2·conv(x) is not conv(x) + conv'(x).
- NAS-Bench-101: two maximum poolings of the same vertices are one tensor. Readers of the input project it, each by a
  convolution of its own, so theirs are not; and vertices that feed the output have a share of its channels, so they
  stay as they are.
"""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import numpy.typing as npt

from narformer.cells.cell import MAX_VERTICES, OPERATIONS
from narformer.cells.table import CellTable, Codes, Hashes, Matrices, enumerate_space, mixed

Index = npt.NDArray[np.int64]
_OUTPUT_101 = OPERATIONS["nasbench101"].index("output")
_POOL_101 = OPERATIONS["nasbench101"].index("maxpool3x3")
# A signal is a sum of sources (the input, convolutions), each pooled so many times. All the counts of one source are
# one number, a byte for each number of poolings: pooling shifts it by a byte, summing adds.
_POOLING = np.uint64(8)
_CHUNK = 20_000


def distinct_networks(table: CellTable) -> tuple[CellTable, Index]:
    """The networks of a table's cells, each once as the cell that represents it, and for each row which it is, (n,).

    The representative of a network is the same whatever table it is asked for.
    """
    parts = [table.rows(slice(k, k + _CHUNK)) for k in range(0, max(len(table), 1), _CHUNK)]
    if table.space == "nasbench201":
        hashes = np.concatenate([network_hash_201(part) for part in parts])
        distinct, first, row = np.unique(hashes, return_index=True, return_inverse=True)
        return _represented_201(distinct, table.rows(first)), row.reshape(-1)
    numbers = np.concatenate([_smallest_101(*_merged_101(*_pruned(part))) for part in parts])
    smallest, row = np.unique(numbers, return_inverse=True)
    return _decoded_101(smallest), row.reshape(-1)


def live_nodes(table: CellTable) -> tuple[Matrices, Matrices]:
    """Nodes on a path from input to output that no `none` cuts (n, V), and the edges between them (n, V, V)."""
    codes, adjacency = table.codes, table.adjacency
    names = OPERATIONS[table.space]
    there = codes >= 0
    if "none" in names:
        there = there & (codes != names.index("none"))
    forward, backward = np.zeros_like(there), np.zeros_like(there)
    forward[:, 0] = backward[:, -1] = True
    for v in range(1, codes.shape[1]):
        forward[:, v] = (adjacency[:, :, v] & forward).any(axis=1) & there[:, v]
    for v in range(codes.shape[1] - 2, -1, -1):
        backward[:, v] = (adjacency[:, v] & backward).any(axis=1) & there[:, v]
    live = forward & backward
    return live, adjacency & live[:, :, None] & live[:, None, :]


def reaches_output(table: CellTable) -> npt.NDArray[np.bool_]:
    """Whether a cell's output depends on its input, (n,); 341 cells of NAS-Bench-201 answer alike to all pictures."""
    live, _ = live_nodes(table)
    return np.asarray(live[:, -1])


# NAS-Bench-201: what each convolution and the output read, as sums of sources; cells in which these agree are one.


def network_hash_201(table: CellTable) -> Hashes:
    """A number for each cell of NAS-Bench-201, the same for cells that are one network, (n,).

    Rounds of hashing as in `neighbourhood_hash`, over the input, the convolutions and the output only.
    """
    reads, label = _signals_201(table)
    there = reads > 0
    strength = mixed(reads)
    one = np.uint64(1)
    state = mixed(label)
    for _ in range(table.codes.shape[1]):
        producers = (mixed(state[:, None, :] + strength) * there).sum(axis=2)
        consumers = (mixed(state[:, :, None] + strength) * there).sum(axis=1)
        state = mixed(mixed(mixed(producers) + one) + mixed(consumers) + (state << one))
    return np.asarray(mixed((mixed(state) * there.any(axis=2)).sum(axis=1)))


def _signals_201(table: CellTable) -> tuple[Hashes, Hashes]:
    """What each reader (convolution, output) reads of each source (input, convolution), (n, V, V), and labels (n, V).

    Readers that do not lead to the output read nothing.
    """
    codes, adjacency = table.codes, table.adjacency
    names = OPERATIONS["nasbench201"]
    n, places = codes.shape
    convolution = np.isin(codes, [k for k, name in enumerate(names) if "conv" in name])
    skip, pool = codes == names.index("skip_connect"), codes == names.index("avg_pool_3x3")
    enters, leaves = np.zeros((2, n, places, places), dtype=np.uint64)
    leaves[:, 0, 0] = 1
    for v in range(1, places):
        enters[:, v] = (adjacency[:, :v, v, None] * leaves[:, :v]).sum(axis=1)
        leaves[:, v] = np.where(skip[:, v, None], enters[:, v], 0) + np.where(pool[:, v, None], enters[:, v], 0) * (
            np.uint64(1) << _POOLING
        )
        leaves[:, v, v] = convolution[:, v] & enters[:, v].any(axis=1)
    wanted = np.zeros((n, places), dtype=bool)
    wanted[:, -1] = True
    for v in range(places - 2, 0, -1):
        wanted[:, v] = convolution[:, v] & ((enters[:, :, v] > 0) & wanted).any(axis=1)
    return np.where(wanted[:, :, None], enters, 0), codes.astype(np.uint64) + np.uint64(1)


@cache
def _space_201() -> tuple[Hashes, CellTable]:
    """The hashes of the networks of NAS-Bench-201, ascending, and the cell that represents each.

    It is the one in which the fewest edges carry a signal, and then the one with the most `none` edges.
    """
    space = enumerate_space("nasbench201")
    hashes = network_hash_201(space)
    live, _ = live_nodes(space)
    written = (space.codes != OPERATIONS["nasbench201"].index("none")).sum(axis=1)
    order = np.lexsort((written, live.sum(axis=1), hashes))
    keys, first = np.unique(hashes[order], return_index=True)
    return keys, space.rows(order[first])


def _represented_201(keys: Hashes, own: CellTable) -> CellTable:
    """The representative of each hash; a graph that is none of the space's, built by hand, represents itself."""
    known, cells = _space_201()
    place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    found = known[place] == keys
    codes = np.where(found[:, None], cells.codes[place], own.codes)
    return CellTable("nasbench201", codes, np.where(found[:, None, None], cells.adjacency[place], own.adjacency))


# NAS-Bench-101: live vertices, equal poolings made one, in the order that makes the cell the smallest number.


def _pruned(table: CellTable) -> tuple[Codes, Matrices]:
    """Codes and adjacency without the vertices on no path from input to output."""
    live, adjacency = live_nodes(table)
    codes = np.where(live, table.codes, -1).astype(np.int8)
    codes[:, 0], codes[:, -1] = 0, _OUTPUT_101
    return codes, adjacency


def _merged_101(codes: Codes, adjacency: Matrices) -> tuple[Codes, Matrices]:
    """Of two poolings of the same vertices the first is read by all who read either, the second by who read both."""
    adjacency = adjacency.copy()
    for second, first in itertools.product(range(2, MAX_VERTICES - 1), range(1, MAX_VERTICES - 2)):
        if first >= second:
            continue
        same = (codes[:, first] == _POOL_101) & (codes[:, second] == _POOL_101)
        same &= (adjacency[:, :, first] == adjacency[:, :, second]).all(axis=1)
        same &= ~adjacency[:, 0, first] & ~adjacency[:, first, -1] & ~adjacency[:, second, -1]
        one, other = adjacency[same, first], adjacency[same, second]
        adjacency[same, first], adjacency[same, second] = one | other, one & other
    return _pruned(CellTable("nasbench101", codes, adjacency))


@cache
def _weights_101() -> tuple[npt.NDArray[np.float64], Index, Index]:
    """Weights of (labels, adjacency) for each order of the inner vertices, (5 + 49, 120), and bits of each entry.

    A number has, from its highest bits: how many edges point backward, two bits of label for each inner place in
    order, a bit for each edge that points forward. Below 2⁵³, so that products in float64 are exact.
    """
    places = MAX_VERTICES
    pairs = list(itertools.combinations(range(places), 2))
    edge = np.full((places, places), 2.0 ** (len(pairs) + 2 * (places - 2)))
    for bit, (a, b) in enumerate(pairs):
        edge[a, b] = 2.0**bit
    label = 2.0 ** (len(pairs) + 2 * np.arange(places - 3, -1, -1))
    columns = []
    for inner in itertools.permutations(range(1, places - 1)):
        moved = np.array([0, *inner, places - 1])  # vertex i goes to place moved[i]
        columns.append(np.concatenate([label[moved[1:-1] - 1], edge[np.ix_(moved, moved)].reshape(-1)]))
    return np.array(columns).T, np.array(pairs), np.log2(label).astype(np.int64)


def _smallest_101(codes: Codes, adjacency: Matrices) -> Index:
    """The smallest number over all orders of the inner vertices, (n,). Empty places come last."""
    weights, _, _ = _weights_101()
    labels = np.where(codes[:, 1:-1] >= 0, codes[:, 1:-1] - 1, 3)
    cells = np.column_stack([labels, adjacency.reshape(len(codes), MAX_VERTICES**2)]).astype(np.float64)
    return np.asarray((cells @ weights).min(axis=1).astype(np.int64))


def _decoded_101(number: Index) -> CellTable:
    _, pairs, shifts = _weights_101()
    labels = (number[:, None] >> shifts) & 3
    codes = np.zeros((len(number), MAX_VERTICES), dtype=np.int8)
    codes[:, 1:-1] = np.where(labels == 3, -1, labels + 1)
    codes[:, -1] = _OUTPUT_101
    adjacency = np.zeros((len(number), MAX_VERTICES, MAX_VERTICES), dtype=bool)
    adjacency[:, pairs[:, 0], pairs[:, 1]] = (number[:, None] >> np.arange(len(pairs))) & 1
    return CellTable("nasbench101", codes, adjacency)
