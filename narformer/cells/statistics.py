"""Numbers that describe a cell: what it is made of, its paths, its size, and how signals and gradients pass through it.

All are the same for cells that differ only in the order of their nodes, and whole tables are computed at once.

- Composition and paths, after GRAF (Kadlecová et al., 2024): operation counts, degrees, neighbouring operations,
  shortest and longest paths through each subset of operations.
- Signal propagation: with random weights, what becomes of two inputs with a given correlation, and of a gradient, when
  cells are stacked (mean-field recursions: Poole et al., 2016; with batch normalisation: Yang et al., 2019). Each
  convolution's output is a new source, independent of all others; a node's signal is a sum of sources.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from narformer.cells.cell import OPERATIONS
from narformer.cells.networks import live_nodes
from narformer.cells.table import CellTable, nasbench101_channels

Array = npt.NDArray[np.float64]
FAR = 10  # length given to a path that does not exist
# Share of a signal's amplitude that 3×3 pooling keeps, by averaging neighbours that are only partly alike.
POOLED = 0.7
# Factor on a gradient's square by batch normalisation and ReLU: π / (π − 1) (Yang et al., 2019).
GRADIENT_GAIN = np.pi / (np.pi - 1)
STACKED = {"nasbench101": 9, "nasbench201": 15}
CORRELATIONS = (0.0, 0.3, 0.6, 0.9)
GRADIENT_STATISTICS = 9
CORRELATION_STATISTICS = 9 * len(CORRELATIONS)
_CHUNK = 20_000


def cell_statistics(table: CellTable) -> Array:
    """Statistics of each cell of a table, (n, S); S is the same for all tables of a space."""
    parts = [_statistics(table.rows(slice(k, k + _CHUNK))) for k in range(0, len(table), _CHUNK)]
    return np.concatenate(parts)


def _statistics(table: CellTable) -> Array:
    live, adjacency = live_nodes(table)
    operations = [code for code, name in enumerate(OPERATIONS[table.space]) if _counts(name)]
    columns = [
        *_composition(table.codes, live, adjacency, operations),
        *_paths(table.codes, adjacency, operations),
        *_gradients(table, adjacency),
        *_correlations(table, adjacency),
    ]
    if table.space == "nasbench101":
        columns.append(np.log(nasbench101_parameters(table)))
    return np.column_stack(columns).astype(np.float64)


def _counts(name: str) -> bool:
    return name not in ("input", "output", "none")


def _composition(
    codes: npt.NDArray[np.int8], live: npt.NDArray[np.bool_], adjacency: npt.NDArray[np.bool_], operations: list[int]
) -> Iterator[Array]:
    """Counts of operations and edges, degrees, and which operation follows which."""
    kinds = {k: (codes == k) & live for k in operations}
    yield live.sum(axis=1)
    yield adjacency.sum(axis=(1, 2))
    yield adjacency[:, 0].sum(axis=1)
    yield adjacency[:, :, -1].sum(axis=1)
    yield adjacency[:, 0, -1].astype(np.float64)
    for kind in kinds.values():
        count = kind.sum(axis=1)
        yield count
        yield (adjacency.sum(axis=1) * kind).sum(axis=1) / np.maximum(count, 1)
        yield (adjacency.sum(axis=2) * kind).sum(axis=1) / np.maximum(count, 1)
        yield (adjacency[:, 0] & kind).sum(axis=1)
        yield (adjacency[:, :, -1] & kind).sum(axis=1)
        for other in kinds.values():
            yield (adjacency & kind[:, :, None] & other[:, None, :]).sum(axis=(1, 2))


def _paths(codes: npt.NDArray[np.int8], adjacency: npt.NDArray[np.bool_], operations: list[int]) -> Iterator[Array]:
    """For each subset of operations: paths through it (shortest, longest, how many), and its share of any path."""
    n, places = codes.shape
    for subset in _subsets(operations):
        inside = np.isin(codes, subset)
        passable = inside.copy()
        passable[:, 0] = passable[:, -1] = True
        allowed = adjacency & passable[:, :, None] & passable[:, None, :]
        for weight, graph in ((np.ones((n, places)), allowed), (inside.astype(float), adjacency)):
            if graph is adjacency and len(subset) in (0, len(operations)):
                continue
            shortest, longest = np.full((n, places), float(FAR)), np.full((n, places), -1.0)
            paths, total = np.zeros((n, places)), np.zeros((n, places))
            shortest[:, 0] = longest[:, 0] = 0
            paths[:, 0] = 1
            for v in range(1, places):
                before = graph[:, :, v]
                shortest[:, v] = np.minimum(np.where(before, shortest, FAR).min(axis=1) + weight[:, v], FAR)
                reached = np.where(before, longest, -1.0).max(axis=1)
                longest[:, v] = np.where(reached >= 0, reached + weight[:, v], -1)
                paths[:, v] = (before * paths).sum(axis=1)
                total[:, v] = (before * total).sum(axis=1) + paths[:, v] * weight[:, v]
            yield shortest[:, -1]
            yield longest[:, -1]
            yield np.log1p(paths[:, -1]) if graph is allowed else total[:, -1] / np.maximum(paths[:, -1], 1)


def _subsets(operations: list[int]) -> Iterator[tuple[int, ...]]:
    for size in range(len(operations) + 1):
        yield from itertools.combinations(operations, size)


def _gains(table: CellTable) -> tuple[npt.NDArray[np.bool_], Array]:
    """Which nodes are convolutions (n, V), and the factor on the signal's amplitude of those that are not (n, V)."""
    names = OPERATIONS[table.space]
    convolution = np.isin(table.codes, [k for k, name in enumerate(names) if "conv" in name])
    pool = np.isin(table.codes, [k for k, name in enumerate(names) if "pool" in name])
    return convolution, np.where(pool, POOLED, 1.0)


def _variances(table: CellTable, edges: Array) -> tuple[Array, Array]:
    """Variance of what enters and of what leaves each node of one cell whose input has variance 1, (n, V) each."""
    convolution, gain = _gains(table)
    entering, leaving = np.zeros(table.codes.shape), np.zeros(table.codes.shape)
    leaving[:, 0] = 1
    for v in range(1, table.codes.shape[1]):
        entering[:, v] = (edges[:, :, v] * leaving).sum(axis=1)
        passed = gain[:, v] ** 2 * entering[:, v]
        leaving[:, v] = np.where(convolution[:, v], entering[:, v] > 0, passed)
    return entering, leaving


def _gradients(table: CellTable, adjacency: npt.NDArray[np.bool_]) -> Iterator[Array]:
    """How a gradient's square grows from a cell's output to its input, and how deep signals come through convolutions.

    Batch normalisation divides by the variance that enters a convolution. Depth is weighted by the variance that each
    path brings.
    """
    edges = adjacency.astype(float)
    convolution, gain = _gains(table)
    entering, leaving = _variances(table, edges)
    growth = np.where(convolution, GRADIENT_GAIN / np.maximum(entering, 1e-9), gain**2)
    growth[:, -1] = 1 / np.maximum(edges[:, :, -1].sum(axis=1), 1) if table.space == "nasbench101" else 1.0
    gradient = np.zeros(table.codes.shape)
    gradient[:, -1] = 1
    for v in range(table.codes.shape[1] - 2, -1, -1):
        gradient[:, v] = (edges[:, v] * growth * gradient).sum(axis=1)
    leaves = leaving[:, -1]
    yield np.log(gradient[:, 0] + 1e-6)
    yield np.log(gradient[:, 0] / np.maximum(leaves, 1e-9) + 1e-6)
    yield np.log(leaves + 1e-3)
    inner = gradient[:, 1:-1]
    yield inner.max(axis=1)
    yield np.log(np.where(inner > 0, inner, 9.0).min(axis=1))
    names = OPERATIONS[table.space]
    for word in (
        ("conv3x3", "conv1x1", "conv", "pool") if table.space == "nasbench101" else ("3x3", "1x1", "conv", "pool")
    ):
        counted = np.isin(table.codes, [k for k, name in enumerate(names) if word in name and _counts(name)])
        depth = np.zeros(table.codes.shape)
        for v in range(1, table.codes.shape[1]):
            brought = (edges[:, :, v] * leaving * depth).sum(axis=1)
            depth[:, v] = brought / np.maximum(entering[:, v], 1e-9) + counted[:, v]
        yield depth[:, -1]


def _rectified(correlation: Array) -> Array:
    """Correlation of two standard normals after ReLU, means taken away (arc-cosine kernel, Cho and Saul, 2009)."""
    r = np.clip(correlation, -1.0, 1.0)
    kernel = (np.sqrt(1 - r * r) + r * (np.pi - np.arccos(r))) / np.pi
    return np.asarray((kernel - 1 / np.pi) / (1 - 1 / np.pi))


def _correlations(table: CellTable, adjacency: npt.NDArray[np.bool_]) -> Iterator[Array]:
    """ln(1 − correlation), correlation and variance of two inputs' signals after 1, 5 and all stacked cells.

    NAS-Bench-101 projects the cell's input by a convolution for each reader and concatenates what feeds the output;
    NAS-Bench-201 adds, so that variance grows within a stage of five cells.
    """
    n, places = table.codes.shape
    edges = adjacency.astype(float)
    convolution, gain = _gains(table)
    projected = table.space == "nasbench101"
    feeding = np.maximum(edges[:, :, -1].sum(axis=1), 1)
    for start in CORRELATIONS:
        correlation, variance = np.full(n, start), np.ones(n)
        for number in range(1, STACKED[table.space] + 1):
            # Squared amplitude and correlation of each source in each node: places 0…V−1 are convolutions, V… inputs.
            amplitude, source = np.zeros((n, places, 2 * places)), np.zeros((n, 2 * places))
            if projected:
                source[:, places:] = _rectified(correlation)[:, None]
            else:
                source[:, places] = correlation
                amplitude[:, 0, places] = np.sqrt(variance)
            for v in range(1, places):
                entering = np.einsum("np,nps->ns", edges[:, :v, v], amplitude[:, :v])
                if projected:
                    entering[:, places + v] += edges[:, 0, v]
                square = entering**2
                total = square.sum(axis=1)
                joined = (square * source).sum(axis=1) / np.maximum(total, 1e-12)
                if v == places - 1:
                    break
                here = convolution[:, v] & (total > 0)
                source[:, v] = np.where(here, _rectified(joined), 0.0)
                amplitude[:, v] = np.where(convolution[:, v, None], 0.0, gain[:, v, None] * entering)
                amplitude[:, v, v] = here
            if projected:  # concatenated: each feeder keeps its own sources
                feeders = edges[:, 1:-1, -1, None] * amplitude[:, 1:-1] ** 2
                direct = edges[:, 0, -1]
                total = feeders.sum(axis=(1, 2)) / feeding + direct
                both = (feeders * source[:, None]).sum(axis=(1, 2)) / feeding + direct * source[:, -1]
                joined = both / np.maximum(total, 1e-12)
            correlation = np.where(total > 0, joined, 1.0)
            variance = total if not projected and number % 5 else np.where(total > 0, 1.0, 0.0)
            if number in (1, 5, STACKED[table.space]):
                yield np.log(1.0001 - np.minimum(correlation, 1.0))
                yield correlation
                yield np.log(total + 1e-3)


def nasbench101_parameters(table: CellTable, classes: int = 10) -> Array:
    """Trainable parameters of the benchmark's network of each cell, as it reports them, (n,).

    Stem 3×3 convolution to 128 channels, three stacks of three cells, channels doubled before the second and third.
    """
    total = np.full(len(table), 3.0 * 9 * 128 + 2 * 128)
    channels_in = 128
    for stack in range(3):
        channels = 128 * 2**stack
        for _ in range(3):
            total += _cell_parameters(table, channels_in, channels)
            channels_in = channels
    return np.asarray(total + channels_in * classes + classes)


def _cell_parameters(table: CellTable, channels_in: int, channels: int) -> Array:
    width = nasbench101_channels(table, channels_in, channels).astype(float)
    names = OPERATIONS[table.space]
    inner = width[:, 1:-1]
    projections = table.adjacency[:, 0, 1:-1] * (channels_in * inner + 2 * inner)
    kernel = np.zeros(len(names))
    kernel[names.index("conv1x1-bn-relu")], kernel[names.index("conv3x3-bn-relu")] = 1, 9
    area = np.where(table.codes[:, 1:-1] >= 0, kernel[table.codes[:, 1:-1]], 0.0)
    convolutions = area * inner**2 + (area > 0) * 2 * inner
    straight = table.adjacency[:, 0, -1] * (channels_in * channels + 2 * channels)
    return np.asarray((projections + convolutions).sum(axis=1) + straight)
