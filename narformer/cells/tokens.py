"""The tokens of NAR-Former V2 for cells: the NeRF code of a node's operation, then of its position.

Operation codes: NAS-Bench-101 input 0, conv1x1 1, conv3x3 2, maxpool3x3 3, output 4; NAS-Bench-201 input 0,
nor_conv_1x1 1, nor_conv_3x3 2, avg_pool_3x3 3, skip_connect 4, none 5, output 6.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from narformer.cells.table import CellTable
from narformer.tokens.packing import FloatArray, IntArray

WIDTH = 128
# Spaced linearly from 2^0 to 2^31, not in octaves: so in the released code.
_FREQUENCIES = np.linspace(2.0**0, 2.0**31, 32).astype(np.float32)


def nerf_code(values: npt.ArrayLike) -> FloatArray:
    """sin(π·v·f), cos(π·v·f) for the 32 frequencies, interleaved: (...) -> (..., 64).

    In float32 throughout, as released: at these frequencies the rounding is part of the code.
    """
    angles = (np.asarray(values, dtype=np.float32) * np.float32(np.pi))[..., None] * _FREQUENCIES
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(*angles.shape[:-1], 64)


def features(operations: npt.ArrayLike, positions: npt.ArrayLike) -> FloatArray:
    """Features of the nodes of one cell or of many, (N,) codes and (N,) positions in their cell -> (N, 128)."""
    return np.concatenate([nerf_code(operations), nerf_code(positions)], axis=-1)


def pack_cells(table: CellTable) -> tuple[FloatArray, IntArray, IntArray]:
    """Tokens of the cells of a table as one batch: features (T, 128), edges (2, E), graph (T,) owners."""
    present = table.codes >= 0
    position = np.cumsum(present, axis=1) - 1
    graph, place = np.nonzero(present)
    token = (np.cumsum(present.ravel()) - 1).reshape(present.shape)
    cell, producer, consumer = np.nonzero(table.adjacency)
    edges = np.stack([token[cell, producer], token[cell, consumer]])
    return features(table.codes[graph, place], position[graph, place]), edges.astype(np.int32), graph.astype(np.int32)


def reordered(table: CellTable, rng: np.random.Generator, tries: int = 4) -> CellTable:
    """Each cell with its inner nodes in another random order that keeps every edge pointing forward.

    The augmentation of NAR-Former V2, section 3.4. A cell for which no other order is found is returned as it is.
    """
    n = len(table)
    result_codes, result_adjacency = table.codes.copy(), table.adjacency.copy()
    left = np.arange(n)
    for _ in range(tries):
        codes, adjacency = table.codes[left], table.adjacency[left]
        order = _random_order(codes, adjacency, rng)
        moved_codes = np.take_along_axis(codes, order, axis=1)
        moved = np.take_along_axis(np.take_along_axis(adjacency, order[:, :, None], axis=1), order[:, None], axis=2)
        result_codes[left], result_adjacency[left] = moved_codes, moved
        same = (moved_codes == codes).all(axis=1) & (moved == adjacency).all(axis=(1, 2))
        left = left[same]
        if not len(left):
            break
    return CellTable(table.space, result_codes, result_adjacency)


def _random_order(codes: npt.NDArray[np.int8], adjacency: npt.NDArray[np.bool_], rng: np.random.Generator) -> IntArray:
    """A random topological order of the places of each cell, (n, V); empty places stay behind the inner nodes."""
    n, places = codes.shape
    key = rng.random((n, places)) + (codes < 0)
    key[:, -1] = 3  # the output comes last
    waiting = adjacency.sum(axis=1)
    order = np.empty((n, places), dtype=np.int32)
    rows = np.arange(n)
    for step in range(places):
        ready = np.where(waiting == 0, key, np.inf)
        chosen = ready.argmin(axis=1) if step else np.zeros(n, dtype=np.int64)
        order[:, step] = chosen
        waiting = waiting - adjacency[rows, chosen]
        waiting[rows, chosen] = places + 1
    return order
