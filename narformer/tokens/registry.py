"""The tokenizers by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from narformer.graph import Graph
from narformer.tokens import kernels, narformer_v2, nnlp, physical, runtime_kernels
from narformer.tokens.packing import Tokens

TOKENIZERS: Mapping[str, Callable[[Graph], Tokens]] = {
    "narformer_v2": narformer_v2.tokenize,
    "narformer_v2_released": narformer_v2.tokenize_as_released,
    "nnlp": nnlp.tokenize,
    "physical": physical.tokenize,
    "kernels": kernels.tokenize,
    "runtime_kernels": runtime_kernels.tokenize,
}
