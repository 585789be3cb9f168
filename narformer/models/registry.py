"""The models by name, with the tokens each reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import nn

from narformer.errors import ConfigError
from narformer.models.narformer_v2 import NarformerV2, NarformerV2Config
from narformer.models.nn_former import NnFormer, NnFormerConfig
from narformer.models.nnlp import Nnlp, NnlpConfig
from narformer.models.tally import Tally, TallyConfig
from narformer.models.tally2 import Tally2, Tally2Config
from narformer.models.transformer import Transformer, TransformerConfig


class Entry(NamedTuple):
    """A model's class, its configuration, the tokenizer whose tokens it reads, and training settings of its own."""

    model: Any
    config: Any
    tokenizer: str
    training: Mapping[str, Any] = MappingProxyType({})
    related: bool = False  # whether it is told which groups its targets belong to, and which were measured often


MODELS: Mapping[str, Entry] = {
    "narformer_v2": Entry(NarformerV2, NarformerV2Config, "narformer_v2"),
    "nnlp": Entry(Nnlp, NnlpConfig, "nnlp"),
    "nn_former": Entry(NnFormer, NnFormerConfig, "narformer_v2"),
    "transformer": Entry(Transformer, TransformerConfig, "narformer_v2"),
    "tally": Entry(Tally, TallyConfig, "kernels", {"loss": "log_l1", "learning_rate": 3e-3, "precision": "bfloat16"}),
    "tally2": Entry(
        Tally2,
        Tally2Config,
        "runtime_kernels",
        {"loss": "log_l1", "learning_rate": 3e-3, "precision": "float32"},
        related=True,
    ),
}


def tokenizer_of(name: str) -> str:
    """Name of the tokenizer that model `name` reads. Raises ConfigError for an unknown model."""
    if name not in MODELS:
        raise ConfigError(f"unknown model {name!r}; known are {', '.join(MODELS)}")
    return MODELS[name].tokenizer


def create_model(name: str, options: Mapping[str, Any], outputs: int) -> nn.Module:
    """A freshly initialised model with one output a device. Raises ConfigError for an unknown model or option."""
    tokenizer_of(name)
    entry = MODELS[name]
    known = {field.name for field in dataclasses.fields(entry.config)}
    unknown = sorted(set(options) - known)
    if unknown:
        raise ConfigError(f"{name} has no option {', '.join(unknown)}; it has {', '.join(sorted(known - {'outputs'}))}")
    model: nn.Module = entry.model(entry.config(**{**options, "outputs": outputs}))
    return model
