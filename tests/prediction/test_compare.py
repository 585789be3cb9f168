"""Comparisons: ratio, interval and differences against numbers worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import narformer
from narformer.errors import ConfigError
from narformer.prediction.compare import Comparison, Comparisons
from narformer.prediction.estimate import Estimate

FAST = Estimate("fast", "t", 10.0, 10.0 / 1.2, 10.0 * 1.2, batch_size=1, hash="f")
SLOW = Estimate("slow", "t", 20.0, 20.0 / 1.5, 20.0 * 1.5, batch_size=1, hash="s")


def test_half_widths_add_up_as_independent_errors_do() -> None:
    comparison = Comparison(FAST, SLOW)
    width = math.exp(math.hypot(math.log(1.2), math.log(1.5)))
    assert comparison.ratio == 2
    assert comparison.interval == pytest.approx((2 / width, 2 * width))
    assert comparison.faster == "first"


def test_the_other_way_round_everything_is_turned_over() -> None:
    there, back = Comparison(FAST, SLOW), Comparison(SLOW, FAST)
    assert back.ratio == 1 / there.ratio
    assert back.interval == pytest.approx((1 / there.interval[1], 1 / there.interval[0]))
    assert back.faster == "second"


def test_what_the_interval_leaves_open_has_no_winner() -> None:
    wide = Estimate("wide", "t", 12.0, 4.0, 36.0, hash="w")
    assert Comparison(FAST, wide).faster == ""
    assert Comparisons([Comparison(FAST, wide)]).table().rows[0][-1] == "open"


def test_an_interval_that_reaches_zero_tells_nothing_of_the_ratio() -> None:
    assert Comparison(Estimate("a", "t", 1.0, 0.0, 2.0), FAST).interval[1] == math.inf


def test_a_network_is_as_fast_as_itself_for_sure() -> None:
    comparison = Comparison(FAST, FAST)
    assert (comparison.same, comparison.interval, comparison.faster) == (True, (1.0, 1.0), "")
    assert "the same network" in repr(comparison)


def test_differences_sum_to_the_whole_by_kind_and_by_kernel(resnet18: Path) -> None:
    deeper = resnet18.with_name("mobilenet_v2.onnx")
    for comparison in narformer.compare(resnet18, deeper, devices=["adreno640", "rtx4090"], measured=False):
        whole = comparison.second.value - comparison.first.value
        for differences in (comparison.kinds, comparison.kernels):
            assert sum(d.ms for d in differences) == pytest.approx(whole, rel=1e-3, abs=1e-4)
            sizes = [abs(d.ms) for d in differences]
            assert sizes == sorted(sizes, reverse=True)


def test_what_both_have_cancels() -> None:
    """The same network at another name of its nodes has no differences; twice a block differs by that block."""
    comparison = narformer.compare("examples/resnet18.onnx", "examples/resnet18.onnx", devices="adreno640")[0]
    assert comparison.same
    assert all(d.ms == 0 for d in (*comparison.kinds, *comparison.kernels))


def test_several_are_compared_with_the_first(resnet18: Path) -> None:
    other = resnet18.with_name("mobilenet_v2.onnx")
    found = narformer.compare(resnet18, other, resnet18, devices="adreno640")
    assert [(Path(c.second.model).stem, c.same) for c in found] == [("mobilenet_v2", False), ("resnet18", True)]
    with pytest.raises(ConfigError, match="targets are given by name, as in compare"):
        narformer.compare("examples/resnet18.onnx", "rtx4090:pytorch-2.9:fp16")
    with pytest.raises(ConfigError, match="devices='rtx4090'"):
        narformer.compare("examples/resnet18.onnx", "rtx4090")
    with pytest.raises(ConfigError, match="compared with what"):
        narformer.compare(resnet18)


def test_a_predictor_that_does_not_know_why_says_how_much_all_the_same(resnet18: Path) -> None:
    other = resnet18.with_name("mobilenet_v2.onnx")
    (comparison,) = narformer.compare(resnet18, other, devices="adreno640", predictor="narformer-v2-nnmeter")
    assert comparison.parts is None
    assert comparison.kinds == comparison.kernels == ()
    assert comparison.ratio != 1
