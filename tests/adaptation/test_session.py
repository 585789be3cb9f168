"""Adapting by measuring, with a device that is made: what is chosen, replaced, and when it stops."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from narformer.adaptation import session as adapting
from narformer.adaptation.predictor import AdaptedDevices
from narformer.adaptation.session import (
    Comparison,
    Pool,
    candidates,
    measure_and_adapt,
    network_of,
    summary,
    unmeasured,
    validate,
)
from narformer.datasets import zoo
from narformer.frontends.canonical import network_hash
from narformer.frontends.onnx import read_onnx
from narformer.measurement.measurement import Measurement
from narformer.measurement.session import Network, Outcome, Settings
from narformer.prediction.predictor import Predictor

ABSENT: Any = None  # a store that nothing here opens


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.load()


@pytest.fixture(scope="module")
def pool(predictor: Predictor) -> Pool:
    return Pool.of_zoo(predictor, "made", most=40)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, predictor: Predictor) -> list[str]:
    """Networks in the order in which they were measured, on a device five times slower than the Cortex-A76.

    The second of them always fails.
    """
    names: list[str] = []

    def measure(networks: Iterable[Network], report: Callable[[Outcome], None], **_: object) -> None:
        for network in networks:
            names.append(network.name)
            assert callable(network.source)
            graph = read_onnx(network.source(), batch_size=network.batch_size, name=network.name)
            latency = (
                None if network.name == names[:2][-1] != names[0] else 5 * float(predictor.latencies([graph])[0, 0])
            )
            failure = "" if latency else "out of memory"
            measurement = Measurement(network_hash(graph), network.name, "made", latency, failure=failure)
            report(Outcome(network.name, "failed" if failure else "measured", measurement))

    monkeypatch.setattr(adapting, "measure", measure)
    return names


def test_candidates_are_real_networks_that_are_quick_to_measure_each_at_its_smallest_image() -> None:
    found = candidates()
    assert len(found) > 500
    names = [(entry.source, entry.name) for entry in found]
    assert len(set(names)) == len(names)
    assert zoo.Entry("timm", "resnet50", 160) in found
    assert zoo.Entry("timm", "vit_large_patch16_224", 224) not in found  # 60 GMACs


def test_a_network_of_the_zoo_is_measured_as_the_onnx_that_it_stands_for() -> None:
    network = network_of(zoo.Entry("timm", "resnet18", 160))
    assert network.name == "resnet18@160"
    assert callable(network.source)
    assert network_hash(read_onnx(network.source())) == network_hash(zoo.load("resnet18", 160))
    four = network_of(zoo.Entry("timm", "resnet18", 160), 4)
    assert (four.name, four.batch_size) == ("resnet18@160 at batch size 4", 4)
    assert callable(four.source)
    again = zoo.load("resnet18", 160).with_batch(4)
    assert network_hash(read_onnx(four.source(), batch_size=4)) == network_hash(again)


def test_networks_take_turns_at_the_batch_sizes_asked_for(predictor: Predictor, asked: list[str]) -> None:
    pool = Pool.of_zoo(predictor, "made", most=12, batch_sizes=(1, 8))
    assert [reading.batch_size for reading in pool.readings] == list(pool.batch_sizes)
    assert set(pool.batch_sizes) == {1, 8}
    device = measure_and_adapt("made", pool, 6, settings=Settings(), store=ABSENT, predictor=predictor)
    assert set(device.batch_sizes) == {1, 8}
    assert {"at batch size 8" in name for name in asked} == {True, False}


def test_what_fails_is_replaced_and_nothing_is_measured_twice(
    asked: list[str], pool: Pool, predictor: Predictor
) -> None:
    device = measure_and_adapt("slow", pool, 12, settings=Settings(), store=ABSENT, predictor=predictor)
    assert len(device.networks) == 12
    assert len(asked) == len(set(asked)) == 13
    assert asked[1].partition("@")[0] not in device.networks
    graph = zoo.load("resnet18", 224)
    (estimate,) = predictor.with_further(AdaptedDevices.of(device)).predict([graph], ["slow"])
    assert abs(estimate.latency_ms / (5 * predictor.latencies([graph])[0, 0]) - 1) < 0.15


def test_the_choice_is_the_same_when_the_command_is_given_again(
    asked: list[str], pool: Pool, predictor: Predictor
) -> None:
    for samples in (4, 8):
        measure_and_adapt("slow", pool, samples, settings=Settings(), store=ABSENT, predictor=predictor)
    assert asked[:5] == asked[5:10]


def test_it_stops_once_the_expected_error_is_reached(asked: list[str], pool: Pool, predictor: Predictor) -> None:
    device = measure_and_adapt(
        "slow", pool, 12, settings=Settings(), store=ABSENT, predictor=predictor, target_error=60.0
    )
    assert len(device.networks) == adapting.ENOUGH


def test_validation_takes_networks_that_were_not_measured(asked: list[str], pool: Pool, predictor: Predictor) -> None:
    device = measure_and_adapt("slow", pool, 10, settings=Settings(), store=ABSENT, predictor=predictor)
    failing = asked[1].partition("@")[0]
    chosen = [pair for pair in unmeasured(7, device.hashes) if pair[0].name != failing][:6]
    hashes = {network_hash(graph) for _, graph in chosen}
    assert len(hashes) == 6
    assert not hashes & set(device.hashes)
    assert not {network_hash(graph) for _, graph in unmeasured(6, hashes)} & hashes
    known = predictor.with_further(AdaptedDevices.of(device))
    comparisons = validate(device, chosen, settings=Settings(), store=ABSENT, predictor=known)
    for comparison, (_, graph) in zip(comparisons, chosen, strict=True):
        assert comparison.measured == pytest.approx(5 * predictor.latencies([graph])[0, 0])
    assert np.mean([abs(c.error) for c in comparisons]) < 15


def test_the_summary_counts_errors_and_coverage() -> None:
    rows = [
        Comparison("0", "m", "mine", predicted, 8.0, 12.0, measured)
        for predicted, measured in ((10, 10), (10, 8), (10, 20))
    ]
    assert summary(rows) == {"networks": 3, "mape": 25.0, "acc_10": 33.3, "covers": 66.7, "median_error": 0.0}
