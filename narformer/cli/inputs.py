"""What several commands do with options, and with the devices that they name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from narformer.errors import ConfigError

if TYPE_CHECKING:
    from narformer.graph import Shape
    from narformer.predictor import Predictor


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


def plot_option(what: str) -> Any:
    """`--plot PATH`; what cannot be drawn or written there is told before the command begins."""
    return typer.Option(None, "--plot", help=f"Save a plot (.svg or .png) of {what}.", callback=_checked)


def _checked(path: Path | None) -> Path | None:
    if path is not None:
        from narformer.evaluation.plots import check_plot

        check_plot(path)
    return path


def tell_unusable(predictor: Predictor) -> None:
    """A line on standard error for each adapted device that is left out, and why."""
    from narformer.adapted import PredictorWithAdapted

    if isinstance(predictor, PredictorWithAdapted):
        for reason in predictor.unusable.values():
            print(f"narformer: left out: {reason}", file=sys.stderr)
