"""The tokens of NAR-Former V2 for whole networks (Yi et al., NeurIPS 2023, section 3.2 and the released code).

A token is 152 wide: operation one-hot 32, eight attributes 80, output shape 40, each number through the sinusoidal code
PE5. The static features, 40, are batch size, FLOPs, parameters and memory access as the authors count them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from narformer.graph import Graph
from narformer.tokens.authors_cost import authors_cost
from narformer.tokens.packing import FloatArray, Tokens
from narformer.tokens.raw import SLOTS, TRANSPOSE, USED, RawNodes, raw_nodes
from narformer.tokens.released import released_nodes

OPERATION_WIDTH, CODE_WIDTH = 32, 10
WIDTH = OPERATION_WIDTH + (SLOTS + 4) * CODE_WIDTH
STATIC_WIDTH = 4 * CODE_WIDTH
_FREQUENCIES = (10000.0 ** (-np.arange(5) / 5)).astype(np.float32)


def pe5(values: npt.ArrayLike) -> FloatArray:
    """sin(v·f), cos(v·f) for f = 10000^(−j/5), j = 0..4, interleaved: (...) -> (..., 10).

    In float32 throughout, as the released code computes it, bit for bit. In float64 the code of a width below 3,000
    would differ by up to 2e-5 and that of 1,000,000 by 2e-3: beyond the 1e-5 asked of predictions.
    """
    angles = np.asarray(values, dtype=np.float32)[..., None] * _FREQUENCIES
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(*angles.shape[:-1], CODE_WIDTH)


def features(raw: RawNodes) -> FloatArray:
    """Features of every token, (N, 152), from raw numbers of one network or of a whole batch."""
    count = len(raw)
    out = np.zeros((count, WIDTH), dtype=np.float32)
    known = np.flatnonzero(raw.operation >= 0)
    out[known, raw.operation[known]] = 1
    attributes = out[:, OPERATION_WIDTH:-40].reshape(count, SLOTS, CODE_WIDTH)
    row, slot = np.nonzero(np.arange(SLOTS) < USED[raw.operation][:, None])
    attributes[row, slot] = pe5(raw.attributes[row, slot])
    out[:, OPERATION_WIDTH:-40] = attributes.reshape(count, -1)
    transposes = np.flatnonzero(raw.operation == TRANSPOSE)
    # A permutation is coded as a whole: per frequency the sines of its eight entries, then their cosines.
    code = pe5(raw.attributes[transposes]).reshape(-1, SLOTS, 5, 2).transpose(0, 2, 3, 1)
    out[transposes, OPERATION_WIDTH:-40] = code.reshape(len(transposes), SLOTS * CODE_WIDTH)
    out[:, -40:] = pe5(raw.shapes).reshape(count, -1)
    return out


class StaticNumbers(NamedTuple):
    """The four numbers behind the static features, as the authors count them."""

    batch_size: int
    flops: int
    parameters: int
    memory_access: int


def static_numbers(graph: Graph) -> StaticNumbers:
    """Batch size, and FLOPs, parameters and memory access as the paper's authors count them."""
    return StaticNumbers(graph.batch_size, *authors_cost(graph))


def static_features(numbers: npt.NDArray[np.float64]) -> FloatArray:
    """Batch size as it is, sizes in units of 1e9, each through PE5: (B, 4) -> (B, 40)."""
    return pe5(numbers / np.array([1, 1e9, 1e9, 1e9])).reshape(len(numbers), STATIC_WIDTH)


def tokenize(graph: Graph) -> Tokens:
    """Tokens of a Graph: one for each input, then one for each node in topological order."""
    return tokens_of(graph, raw_nodes(graph))


def tokenize_as_released(graph: Graph) -> Tokens:
    """The tokens that the released code makes of a network: constants and each part of a Split have their own."""
    return tokens_of(graph, released_nodes(graph))


def tokens_of(graph: Graph, raw: RawNodes) -> Tokens:
    """Tokens from a Graph's raw numbers in one of the two forms."""
    numbers = np.array([static_numbers(graph)], dtype=np.float64)
    return Tokens(features(raw), raw.edges, static_features(numbers)[0])
