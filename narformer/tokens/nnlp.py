"""The tokens of NNLP (Liu et al., ICPP 2022, and the released code): the same numbers as NAR-Former V2's, scaled.

A token is 44 wide: operation one-hot 32, eight attributes, four output dims, each (value − centre) / scale with the
constants of the authors' table; unused attribute slots are 0. The static features are batch size and, in units of 1e9,
FLOPs, parameters and memory access.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from narformer.graph import Graph
from narformer.tokens.narformer_v2 import OPERATION_WIDTH, static_numbers
from narformer.tokens.packing import FloatArray, Tokens
from narformer.tokens.raw import ATTRIBUTES, OPERATIONS, SLOTS, TRANSPOSE, USED, RawNodes, raw_nodes

WIDTH = OPERATION_WIDTH + SLOTS + 4
STATIC_WIDTH = 4
# Centre and scale of each attribute and each output dim, as published.
_SCALING = {
    "kernel_shape": (2.53, 56.0),
    "strides": (1.16, 56.0),
    "pads": (0.75, 6.0),
    "dilations": (1.0, 1.0),
    "group": (15.08, 6144.0),
    "bias": (0.77, 1.0),
    "output_padding": (0.0, 1e-5),
}
_PERMUTATION = (1.78, 4.0)
_SHAPE_CENTRE = np.array([12.25, 286.96, 32.62, 31.80])
_SHAPE_SCALE = np.array([1024.0, 2496.0, 256.0, 256.0])


def _tables() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Centre, scale and use of every attribute slot by operation code; the last row serves unknown operations."""
    centre, scale = np.zeros((len(USED), SLOTS)), np.ones((len(USED), SLOTS))
    for name, attributes in ATTRIBUTES.items():
        for slot, attribute in enumerate(attributes):
            centre[OPERATIONS.index(name), slot], scale[OPERATIONS.index(name), slot] = _SCALING[attribute]
    used = np.arange(SLOTS) < USED[:, None]
    centre[TRANSPOSE], scale[TRANSPOSE] = _PERMUTATION
    used[TRANSPOSE] = True
    return centre, scale, used


_CENTRE, _SCALE, _USED = _tables()


def features(raw: RawNodes) -> FloatArray:
    """Features of every token, (N, 44), from raw numbers of one network or of a whole batch."""
    out = np.zeros((len(raw), WIDTH), dtype=np.float32)
    known = np.flatnonzero(raw.operation >= 0)
    out[known, raw.operation[known]] = 1
    scaled = (raw.attributes - _CENTRE[raw.operation]) / _SCALE[raw.operation]
    out[:, OPERATION_WIDTH:-4] = np.where(_USED[raw.operation], scaled, 0)
    out[:, -4:] = (raw.shapes - _SHAPE_CENTRE) / _SHAPE_SCALE
    return out


def static_features(numbers: npt.NDArray[np.float64]) -> FloatArray:
    """Batch size as it is, sizes in units of 1e9: (B, 4) -> (B, 4)."""
    return np.asarray(numbers / np.array([1, 1e9, 1e9, 1e9]), dtype=np.float32)


def tokenize(graph: Graph) -> Tokens:
    """Tokens of a Graph: one for each input, then one for each node in topological order."""
    raw = raw_nodes(graph)
    numbers = np.array([static_numbers(graph)], dtype=np.float64)
    return Tokens(features(raw), raw.edges, static_features(numbers)[0])
