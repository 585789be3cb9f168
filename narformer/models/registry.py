"""The models by name: every file of this package is imported, so that its model registers itself."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from narformer.errors import ConfigError
from narformer.models.interface import MODELS, LatencyModel

__all__ = ["MODELS", "create_model", "tokenizer_of"]

for _file in pkgutil.iter_modules([str(Path(__file__).parent)]):
    if _file.name != "registry":
        importlib.import_module(f"narformer.models.{_file.name}")


def tokenizer_of(name: str) -> str:
    """Name of the tokenizer that model `name` reads. Raises ConfigError for an unknown model."""
    if name not in MODELS:
        raise ConfigError(f"unknown model {name!r}; known are {', '.join(MODELS)}")
    return MODELS[name].tokenizer


def create_model(name: str, options: Mapping[str, Any], outputs: int) -> LatencyModel:
    """A freshly initialised model with one output a device. Raises ConfigError for an unknown model or option."""
    tokenizer_of(name)
    entry = MODELS[name]
    known = {field.name for field in dataclasses.fields(entry.config)}
    unknown = sorted(set(options) - known)
    if unknown:
        raise ConfigError(f"{name} has no option {', '.join(unknown)}; it has {', '.join(sorted(known - {'outputs'}))}")
    return entry.model(entry.config(**{**options, "outputs": outputs}))
