"""The models by name: every file of this package is imported, so that its model registers itself."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from narformer.errors import ConfigError, did_you_mean
from narformer.models.interface import MODELS, LatencyModel

__all__ = ["MODELS", "create_model", "learns_by_epochs", "tokenizer_of"]

for _file in pkgutil.iter_modules([str(Path(__file__).parent)]):
    if _file.name != "registry":
        importlib.import_module(f"narformer.models.{_file.name}")


def tokenizer_of(name: str) -> str:
    """Name of the tokenizer that model `name` reads. Raises ConfigError for an unknown model."""
    if name not in MODELS:
        raise ConfigError(f"unknown model {name!r}; {did_you_mean(name, MODELS)}known are {', '.join(MODELS)}")
    return MODELS[name].tokenizer


def learns_by_epochs(name: str) -> bool:
    """Whether a model is trained in epochs; others are learned from all networks at once. Raises ConfigError."""
    tokenizer_of(name)
    return MODELS[name].model.learns_by_epochs


def create_model(name: str, options: Mapping[str, Any], outputs: int) -> LatencyModel:
    """A freshly initialised model with one output a device. Raises ConfigError for an unknown model or option."""
    tokenizer_of(name)
    entry = MODELS[name]
    known = {field.name for field in dataclasses.fields(entry.config)}
    unknown = sorted(set(options) - known)
    if unknown:
        raise ConfigError(f"{name} has no option {', '.join(unknown)}; it has {', '.join(sorted(known - {'outputs'}))}")
    return entry.model(entry.config(**{**options, "outputs": outputs}))
