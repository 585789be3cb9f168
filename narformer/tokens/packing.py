"""Tokens of one network, and of several as one batch without padding: arrays one after another, edges shifted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Tokens:
    """What a model reads of one network.

    features: (N, width), one row a token, Graph inputs first, then the nodes in topological order.
    edges: (2, E) producer, consumer; each pair once, no self loops. static: (S,) features of the whole network.
    """

    features: FloatArray
    edges: IntArray
    static: FloatArray


@dataclass(frozen=True)
class PackedTokens:
    """What a model reads of B networks: features (T, width), edges (2, E), graph (T,) owners, static (B, S)."""

    features: FloatArray
    edges: IntArray
    graph: IntArray
    static: FloatArray


def pack(tokens: Sequence[Tokens]) -> PackedTokens:
    """One batch of several networks. Raises ValueError for none."""
    if not tokens:
        raise ValueError("nothing to pack")
    sizes = np.array([len(t.features) for t in tokens])
    offsets = np.cumsum(sizes) - sizes
    edges = [t.edges + offset for t, offset in zip(tokens, offsets, strict=True)]
    return PackedTokens(
        features=np.concatenate([t.features for t in tokens]),
        edges=np.concatenate(edges, axis=1).astype(np.int32),
        graph=np.repeat(np.arange(len(tokens), dtype=np.int32), sizes),
        static=np.stack([t.static for t in tokens]),
    )


def joined_edges(
    edges: npt.NDArray[np.integer],
    starts: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    tokens: npt.NDArray[np.int64],
) -> IntArray:
    """Edges of B networks out of many as those of one batch, (2, E), each network's shifted behind the one before.

    edges (all, 2): of all networks; starts, counts (B,): where each network's are; tokens (B,): how many it has.
    """
    shift = np.repeat(np.cumsum(tokens) - tokens, counts)
    return np.ascontiguousarray((edges[ranges(starts, counts)] + shift[:, None]).T.astype(np.int32))


def ranges(starts: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The numbers start, start+1, … of each range, one range after another: (B,), (B,) -> (sum of sizes,)."""
    before = np.cumsum(sizes) - sizes
    return np.repeat(starts - before, sizes) + np.arange(int(sizes.sum()))
