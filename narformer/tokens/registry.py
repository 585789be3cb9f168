"""The tokenizers by name, and how those that can be trained on make their features of what a cache keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from narformer.graph import Graph
from narformer.tokens import kernels, narformer_v2, nnlp, physical, runtime_kernels
from narformer.tokens.packing import FloatArray, Tokens
from narformer.tokens.raw import RawNodes

TOKENIZERS: Mapping[str, Callable[[Graph], Tokens]] = {
    "narformer_v2": narformer_v2.tokenize,
    "narformer_v2_released": narformer_v2.tokenize_as_released,
    "nnlp": nnlp.tokenize,
    "physical": physical.tokenize,
    "kernels": kernels.tokenize,
    "runtime_kernels": runtime_kernels.tokenize,
}


@dataclass(frozen=True)
class Expansion:
    """How a tokenizer turns the raw nodes that a cache keeps (tokens/raw.py) into features of tokens and of networks.

    static: from batch size, FLOPs, parameters and memory access, (B, 4). fused: for tokens that stand for several
    nodes, the raw nodes that they are made of.
    """

    features: Callable[[RawNodes], FloatArray]
    static: Callable[[npt.NDArray[np.float64]], FloatArray]
    fused: Callable[[RawNodes], RawNodes] | None = None


# Of tokenizers that read a Graph node by node; those of `runtime_kernels` have a cache of their own.
EXPANSIONS: Mapping[str, Expansion] = {
    "narformer_v2": Expansion(narformer_v2.features, narformer_v2.static_features),
    "nnlp": Expansion(nnlp.features, nnlp.static_features),
    "physical": Expansion(physical.features, physical.static_features),
    "kernels": Expansion(kernels.features, physical.static_features, kernels.fused),
}
