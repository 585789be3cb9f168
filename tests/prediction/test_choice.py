"""Choosing a pretrained network: the frontier, the limits, and answers that timm's tables tell by themselves."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import narformer
from narformer.datasets import pretrained
from narformer.errors import ConfigError, UnknownDeviceError
from narformer.prediction.choice import Choice, frontier, survey, with_network
from narformer.prediction.estimate import Estimate
from narformer.prediction.predictor import Predictor

COMPILED = "rtx4090:pytorch-2.9-compiled:fp16"


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.load()


def choice(name: str, ms: float, top1: float) -> Choice:
    return Choice(Estimate(name, "board", ms, ms, ms), 224, top1, 90.0, 5.0)


def test_the_frontier_has_those_that_no_other_surpasses() -> None:
    networks = [
        choice("slow", 9, 80),
        choice("slower and worse", 10, 79),
        choice("fast", 2, 70),
        choice("as fast and worse", 2, 60),
        choice("as good and slower", 3, 70),
        choice("fastest", 1, 50),
    ]
    found = frontier(networks)
    assert [(c.rank, c.network) for c in found] == [(1, "slow"), (2, "fast"), (3, "fastest")]


def test_a_network_of_the_users_stands_where_its_latency_belongs() -> None:
    listed = with_network(frontier([choice("slow", 9, 80), choice("fast", 2, 70)]), Estimate("mine", "board", 5, 4, 6))
    assert [c.network for c in listed] == ["slow", "mine", "fast"]
    assert listed[1].top1 is None
    assert listed[1].rank is None
    assert "mine" in listed.table().text()


def test_the_fastest_above_an_accuracy_is_that_of_timms_own_table(predictor: Predictor, data_root: Path) -> None:
    with (data_root / "timm" / "infer.csv").open(newline="") as file:
        steps = {
            (row["model"], row["img_size"]): float(row["step_ms"])
            for row in csv.DictReader(file)
            if row["hardware"] == "rtx4090" and row["compiled"] == "1" and row["layout"] == "nchw"
            if row["pytorch"] == "2.9.1" and row["batch_size"] == "1024"
        }
    with (data_root / "timm" / "imagenet.csv").open(newline="") as file:
        timed = [
            (steps[network], row["model"])
            for row in csv.DictReader(file)
            if (network := (row["model"].partition(".")[0], row["img_size"])) in steps and float(row["top1"]) >= 80
        ]
    found = survey(COMPILED, 1024, predictor).chosen(top1=80)
    assert (found[-1].latency_ms, found[-1].network) == min(timed) == (43.695, "levit_conv_256.fb_dist_in1k")


def test_limits_hold_and_the_most_accurate_comes_first(predictor: Predictor) -> None:
    surveyed = survey("i7-12700h:pytorch-2.4-compiled:fp32", 1, predictor)
    found = surveyed.chosen(max_ms=8)
    assert found[0].network == "levit_128.fb_dist_in1k"  # 7.74 ms, 78.49 % in timm's tables
    assert [c.rank for c in found] == list(range(1, len(found) + 1))
    accuracies = [c.top1 or 0 for c in found]
    latencies = [c.latency_ms for c in found]
    assert accuracies == sorted(accuracies, reverse=True)
    assert latencies == sorted(latencies, reverse=True)
    assert max(latencies) <= 8
    everyone = surveyed.chosen(max_ms=8, every=True)
    assert {c.network for c in found} < {c.network for c in everyone}
    assert not surveyed.chosen(max_ms=1e-4)


def test_weights_of_one_network_share_its_latency(predictor: Predictor) -> None:
    surveyed = survey(COMPILED, 3, predictor)
    resnets = [c for c in surveyed.networks if c.network.startswith("resnet50.") and c.size == 224]
    assert len(resnets) > 5
    assert len({c.latency_ms for c in resnets}) == 1
    assert {c.estimate.source for c in surveyed.networks} == {"predicted"}  # nothing was measured at batch 3
    assert all(c.estimate.low <= c.latency_ms <= c.estimate.high for c in surveyed.networks)


def test_every_set_of_weights_is_listed_or_counted_as_left_out(predictor: Predictor) -> None:
    surveyed = survey(COMPILED, 1, predictor)
    assert len(surveyed.networks) + surveyed.left_out == len(pretrained.weights())
    assert surveyed.left_out == 110


def test_peers_take_as_long(predictor: Predictor) -> None:
    found = survey("i7-12700h:pytorch-2.4-compiled:fp32", 1, predictor).alike(20.0)
    assert found
    assert all(18 <= c.latency_ms <= 22 for c in found)


def test_from_python_it_is_records(resnet18: Path) -> None:
    found = narformer.choose("rtx4090", batch_size=1024, top1=84, model=str(resnet18))
    records = found.records()
    assert {record["target"] for record in records} == {COMPILED}
    mine = next(record for record in records if record["top1"] is None)
    assert mine["batch_size"] == 1024
    assert mine["source"] == "predicted"
    assert records[0]["rank"] == 1
    assert records[0]["throughput"] == pytest.approx(1024e3 / records[0]["latency_ms"])


def test_what_cannot_be_asked_is_told(resnet18: Path) -> None:
    with pytest.raises(UnknownDeviceError, match="unknown target"):
        narformer.choose("rtx9999x")
    graph = narformer.read_onnx(resnet18, batch_size=2)
    for limits, message in (
        ({"max_ms": -1.0}, "max_ms=-1.0: give a number of at least 0"),
        ({"max_ms": "5"}, "max_ms='5'"),
        ({"top1": 101}, "top1=101: give a number from 0 to 100"),
        ({"top1": float("nan")}, "top1=nan"),
        ({"batch_size": 0}, "batch_size=0: give a whole number of at least 1"),
        ({"batch_size": "8"}, "batch_size='8'"),
    ):
        with pytest.raises(ConfigError, match=message):
            narformer.choose("rtx4090", **limits)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="batch size 2; choose at batch_size=2"):
        narformer.choose("rtx4090", model=graph)
    with pytest.raises(ConfigError, match="tally does not read tokens of kernels"):
        narformer.choose("adreno640", predictor="tally")
