"""Intervals: how wide they are, and why."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from narformer.prediction.card import Output
from narformer.prediction.trust import half_width

OUTPUT = Output(
    device="d",
    description="",
    quantiles={"known": 0.4, "novel": 0.6},
    held_out={},
    operators=(),
    batch_sizes=(1,),
    references="",
    threshold=1.0,
    averaged=0.75,
)


def test_intervals_widen_with_novelty_beyond_what_is_usual() -> None:
    output = replace(OUTPUT, away=0.5, usual=0.2)
    assert half_width(output, 0, 1.0, 0.1) == pytest.approx(0.4)
    assert half_width(output, 0, 1.0, 0.6) == pytest.approx(math.hypot(0.4, 0.5 * math.sqrt(0.5)))
    assert half_width(output, 0, 1.0, 1.0) == pytest.approx(math.hypot(0.4, 0.5))


def test_errors_of_many_kernels_average_out_only_where_the_network_is_known() -> None:
    assert half_width(OUTPUT, 0, 1.0) == pytest.approx(0.4)
    assert half_width(OUTPUT, 0, 25.0) == pytest.approx(0.4 * (0.25 + 0.75 / 5))
    assert half_width(OUTPUT, 1, 25.0) == pytest.approx(0.6)
    assert half_width(OUTPUT, 2, 25.0) == pytest.approx(1.3)


def test_what_is_wrong_with_a_whole_target_does_not_average_out() -> None:
    relative = replace(OUTPUT, common=0.3)
    assert half_width(relative, 0, 25.0) == pytest.approx(math.hypot(0.16, 0.3))
