"""Parsing of options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence

from narformer.errors import ConfigError
from narformer.graph import Shape


def parse_input_shapes(texts: Sequence[str]) -> dict[str, Shape]:
    """`NAME=1,3,224,224`, or `1,3,224,224` (name "") for a network with one input. Raises ConfigError otherwise."""
    shapes: dict[str, Shape] = {}
    for text in texts:
        name, _, sizes = text.rpartition("=")
        try:
            shape = tuple(int(size) for size in sizes.replace("x", ",").split(","))
        except ValueError as error:
            raise ConfigError(f"--input-shape {text!r}: write it as NAME=1,3,224,224") from error
        if min(shape) < 1:
            raise ConfigError(f"--input-shape {text!r}: sizes must be at least 1")
        shapes[name] = shape
    return shapes
