"""Intervals: how wide they are, and why. Warnings: what they are about."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from narformer.frontends.canonical import canonical
from narformer.frontends.onnx import read_onnx
from narformer.prediction.card import Limits, Output
from narformer.prediction.novelty import Novelty
from narformer.prediction.reading import Reading, read
from narformer.prediction.trust import FOREIGN, STRANGE, Unfamiliar, doubts, half_widths, is_foreign
from narformer.tokens import runtime_kernels

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


def half_width(output: Output, far: int, kernels: float, novelty: float = 0.0, latency: float = 1.0) -> float:
    """Of one network on one output."""
    one = (np.array([[value]]) for value in (far, kernels, novelty, latency))
    return float(half_widths(Limits.of([output]), *one)[0, 0])


def warned(output: Output, share: float, novelty: float) -> tuple[str, ...]:
    """Of a network whose time is in such kernels, so composed."""
    found = Unfamiliar(np.array([[share]]), np.ones((1, 1)), np.array([[novelty]]), {(0, 0): ("pool",)})
    return doubts([network()], [output], Limits.of([output]), found)[0][0]


def network() -> Reading:
    graph = canonical(read_onnx("examples/resnet18.onnx"))
    return read(graph, runtime_kernels.tokenize(graph), "net")


def test_intervals_widen_with_novelty_beyond_what_is_usual() -> None:
    output = replace(OUTPUT, away=0.5, usual=0.2)
    assert half_width(output, 0, 1.0, 0.1) == pytest.approx(0.4)
    assert half_width(output, 0, 1.0, 0.6) == pytest.approx(math.hypot(0.4, 0.5 * math.sqrt(0.5)))
    assert half_width(output, 0, 1.0, 1.0) == pytest.approx(math.hypot(0.4, 0.5))


def test_novelty_widens_intervals_of_long_networks_less_where_that_is_told() -> None:
    output = replace(OUTPUT, away=0.8, away_long=0.3)
    widths = [half_width(output, 0, 1.0, 1.0, latency) for latency in (0.01, 0.5, 1.0, 2.0, 100.0)]
    away = [0.8, 0.8, 0.55, 0.3, 0.3]
    assert widths == pytest.approx([math.hypot(0.4, each) for each in away])
    untold = replace(OUTPUT, away=0.8)
    assert half_width(untold, 0, 1.0, 1.0, 100.0) == pytest.approx(math.hypot(0.4, 0.8))


def test_known_networks_that_take_long_have_a_width_of_their_own_where_that_is_told() -> None:
    output = replace(OUTPUT, quantiles={**OUTPUT.quantiles, "long": 0.2})
    assert [half_width(output, 0, 1.0, 0.0, ms) for ms in (0.1, 1.0, 10.0)] == pytest.approx([0.4, 0.3, 0.2])
    assert half_width(OUTPUT, 0, 1.0, 0.0, 10.0) == pytest.approx(0.4)


def test_errors_of_many_kernels_average_out_only_where_the_network_is_known() -> None:
    assert half_width(OUTPUT, 0, 1.0) == pytest.approx(0.4)
    assert half_width(OUTPUT, 0, 25.0) == pytest.approx(0.4 * (0.25 + 0.75 / 5))
    assert half_width(OUTPUT, 1, 25.0) == pytest.approx(0.6)
    assert half_width(OUTPUT, 2, 25.0) == pytest.approx(1.3)


def test_a_card_may_tell_the_width_of_doubted_networks() -> None:
    told = replace(OUTPUT, quantiles={**OUTPUT.quantiles, "doubted": 0.9})
    assert half_width(told, 2, 25.0) == pytest.approx(0.9)


def test_what_is_wrong_with_a_whole_target_does_not_average_out() -> None:
    relative = replace(OUTPUT, common=0.3)
    assert half_width(relative, 0, 25.0) == pytest.approx(math.hypot(0.16, 0.3))


def test_a_network_is_foreign_by_its_composition_whatever_its_kernels_are() -> None:
    usual = 0.5  # half of what is possible: 0.96 is 0.92 beyond it
    assert is_foreign([0, 0, 1, 1], [0.96, 0.97, 0.96, 0.97], usual, 0.4).tolist() == [False, True, False, True]


def test_a_warning_says_which_kernels_or_that_no_network_is_alike() -> None:
    output = replace(OUTPUT, away=0.5, usual=0.2)
    assert warned(output, 0.0, 0.5) == ()
    assert warned(output, 0.9, 0.5) == ()
    assert warned(output, 0.0, 0.99) == ("no network that was measured there divides its time among kernels alike",)
    assert warned(output, 0.9, 0.99) == ("90 % of the time is in kernels unlike any measured there: pool",)


def of_precision(device: str, precision: str) -> tuple[str, ...]:
    """Warnings of a network in a precision on a target where float32 files alone were measured."""
    found = Unfamiliar(*np.zeros((3, 1, 1)))
    outputs = [replace(OUTPUT, device=device)]
    return doubts([replace(network(), precision=precision)], outputs, Limits.of(outputs), found)[0][0]


def test_a_file_in_the_precision_of_the_target_is_what_the_target_runs() -> None:
    core = "epyc-turin:onnxruntime-1.32:{}:1t"
    assert of_precision(core.format("fp16"), "float16") == ()
    assert of_precision(core.format("fp16"), "float32") == ()
    assert "computes in float16, which was never measured there" in of_precision(core.format("fp32"), "float16")[0]
    assert of_precision(core.format("int8"), "int8") == (
        "is in int8 already: measured there were float32 files, converted",
    )


@pytest.mark.parametrize("precision", ["int8", "w8a16"])
def test_a_file_of_half_floats_is_quantised_as_one_of_floats_is(precision: str) -> None:
    assert of_precision(f"galaxy-s25-npu:qnn:{precision}", "float16") == ()


def test_a_figure_of_floats_is_told_as_such_and_one_of_integers_is_not() -> None:
    core = "epyc-milan:onnxruntime-1.32:fp32:1t"
    told = "which was never measured there (only float32): the figure is"
    assert of_precision(core, "float16") == (f"computes in float16, {told} that of float32",)
    assert of_precision(core, "uint8") == (f"computes in uint8, {told} reckoned from targets where integers were",)


def test_where_novelty_tells_nothing_kernels_decide_alone() -> None:
    assert warned(OUTPUT, STRANGE + 0.01, 0.0) == ("51 % of the time is in kernels unlike any measured there: pool",)
    assert warned(OUTPUT, STRANGE, FOREIGN + 0.01) == ()


def test_the_nearest_reference_is_one_of_those_that_were_measured_there() -> None:
    measure = Novelty(np.zeros(1), np.ones(1), np.array([[0.0], [3.0], [10.0]]))
    nearest = measure.nearest(np.array([[4.0], [9.0]]), ["100", "110", "001", "110"])
    assert nearest == pytest.approx(np.array([[4, 1, 6, 1], [9, 6, 1, 6]]))
