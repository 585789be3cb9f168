"""What all pictures share."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import matplotlib
import pytest

from narformer.errors import ConfigError, DataError
from narformer.loggers import heard
from narformer.plotting import check_plot, new_figure, save_plot


def test_a_picture_changes_nothing_else_of_matplotlib(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams), logging.getLogger("matplotlib").level
    pictures = []
    for name in ("a.svg", "b.svg"):
        figure, (axis, _) = new_figure(4, 2, columns=2)
        axis.plot([1, 2], [3, 5])
        assert figure.canvas.get_renderer().points_to_pixels(72) > 0  # texts can be measured
        save_plot(figure, tmp_path / name)
        pictures.append((tmp_path / name).read_text())
    assert pictures[0] == pictures[1]
    assert (dict(matplotlib.rcParams), logging.getLogger("matplotlib").level) == before


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.gif: plots are written as"):
        check_plot(tmp_path / "a.gif")
    with pytest.raises(DataError, match="there is no directory"):
        check_plot(tmp_path / "none" / "a.svg")
    with pytest.raises(DataError, match="cannot be written"):
        save_plot(new_figure(1, 1)[0], tmp_path / "none" / "a.svg")


def test_loggers_are_as_they_were_also_after_an_error() -> None:
    logger = logging.getLogger("narformer.tests.loud")
    logger.setLevel(logging.INFO)
    with contextlib.suppress(KeyError), heard(logger.name, level=logging.CRITICAL):
        assert logger.level == logging.CRITICAL
        raise KeyError
    assert logger.level == logging.INFO
