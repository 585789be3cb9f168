"""What all pictures share: matplotlib without a screen, axes that people read, files."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from narformer.errors import ConfigError, DataError, MissingExtraError, installing


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
    pyplot()
    if path.suffix.lower() not in (".svg", ".png"):
        raise ConfigError(f"{path}: plots are written as .svg or .png")
    if not path.parent.is_dir():
        raise DataError(f"{path}: the plot cannot be written (there is no directory {path.parent})")
    if not os.access(path.parent, os.W_OK):
        raise DataError(f"{path}: the plot cannot be written (nothing may be written in {path.parent.resolve()})")


def save_plot(figure: Any, path: Path) -> None:
    """Write a figure and close it; no date in it, so that a picture drawn again is the same file.

    Raises DataError where it cannot be written.
    """
    try:
        figure.savefig(path, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)
    except OSError as error:
        raise DataError(f"{path}: the plot cannot be written ({error.strerror or error})") from error
    pyplot().close(figure)


def pyplot() -> Any:
    """matplotlib.pyplot without a screen; the same picture is the same file. Raises MissingExtraError."""
    # It warns where it cannot keep a cache in the home directory, and does without.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtraError(f"plots need matplotlib: {installing('plot')}") from error
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "narformer"
    import matplotlib.pyplot as plt

    return plt
