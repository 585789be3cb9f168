"""What all pictures share: matplotlib without a screen, axes that people read, files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from narformer.errors import ConfigError, DataError, MissingExtraError, installing
from narformer.loggers import heard


def readable_axis(axis: Any) -> None:
    """Ticks of a logarithmic axis as numbers, at 1, 2 and 5 of each power of ten; more where it spans little."""
    from matplotlib import ticker

    low, high = axis.get_view_interval()
    digits = (1, 2, 5) if high > 10 * low else (1, 1.5, 2, 3, 4, 5, 6, 8)
    axis.set_major_locator(ticker.LogLocator(subs=digits, numticks=30))
    axis.set_major_formatter(lambda x, _: f"{x:,g}")
    axis.set_minor_formatter(ticker.NullFormatter())


def check_plot(path: Path) -> None:
    """Before long work that ends in a plot: can it be drawn, and written at `path`?

    Raises MissingExtraError without matplotlib, ConfigError for another ending than .svg or .png, DataError where
    nothing can be written.
    """
    _matplotlib()
    if path.suffix.lower() not in (".svg", ".png"):
        raise ConfigError(f"{path}: plots are written as .svg or .png")
    if not path.parent.is_dir():
        raise DataError(f"{path}: the plot cannot be written (there is no directory {path.parent})")
    if not os.access(path.parent, os.W_OK):
        raise DataError(f"{path}: the plot cannot be written (nothing may be written in {path.parent.resolve()})")


def save_plot(figure: Any, path: Path) -> None:
    """Write a figure without its date, so that a picture drawn again is the same file.

    Raises DataError where it cannot be written.
    """
    try:
        with _matplotlib().rc_context({"svg.hashsalt": "narformer"}):
            figure.savefig(path, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)
    except OSError as error:
        raise DataError(f"{path}: the plot cannot be written ({error.strerror or error})") from error


def new_figure(width: float, height: float, *, columns: int = 1, dpi: float | None = None) -> tuple[Any, Sequence[Any]]:
    """A figure of so many inches, and its axes side by side; nothing else of matplotlib is changed by it.

    Raises MissingExtraError without matplotlib.
    """
    _matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)  # without a screen, and such that the sizes of texts can be asked for
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def _matplotlib() -> Any:
    with heard("matplotlib"):  # it warns where it cannot keep a cache in the home directory, and does without
        try:
            import matplotlib
            import matplotlib.font_manager
        except ImportError as error:
            raise MissingExtraError(f"plots need matplotlib: {installing('plot')}") from error
    return matplotlib
