"""The tokens of NAR-Former V2 for cells: the NeRF code of a node's operation, then of its position.

Operation codes: NAS-Bench-101 input 0, conv1x1 1, conv3x3 2, maxpool3x3 3, output 4; NAS-Bench-201 input 0,
nor_conv_1x1 1, nor_conv_3x3 2, avg_pool_3x3 3, skip_connect 4, none 5, output 6.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from narformer.tokens.packing import FloatArray

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
