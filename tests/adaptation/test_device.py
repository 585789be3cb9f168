"""Adapted devices: their files, and predictors that know them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import narformer
from narformer.adaptation.device import AdaptedDevice, Sample, adapt, adapted_device, check_name, devices_directory
from narformer.adaptation.predictor import AdaptedDevices, default_predictor, with_adapted
from narformer.adaptation.profile import profile, relatives
from narformer.cli.main import app
from narformer.cost import graph_cost
from narformer.errors import ConfigError, DataError, UnknownDeviceError
from narformer.families.registry import sample
from narformer.frontends.canonical import network_hash
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph
from narformer.prediction.predictor import Predictor

FACTOR = 3.0


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.load()


@pytest.fixture(scope="module")
def graphs() -> list[Graph]:
    variants = [v for name in ("squeezenet", "mobilenetv2", "nasbench201") for v in sample(name, 4)]
    return [read_onnx(v.build(), name=f"{v.family} {v.config}") for v in variants]


@pytest.fixture(scope="module")
def slow(predictor: Predictor, graphs: list[Graph]) -> AdaptedDevice:
    """A Cortex-A76 at a third of its speed, as eight networks show it."""
    return adapt("slow", _timed(predictor, graphs[::3] + graphs[1::3]), "a test", predictor)


def _timed(predictor: Predictor, graphs: list[Graph]) -> list[Sample]:
    latencies = FACTOR * predictor.latencies(graphs)[:, 0]
    return [Sample(predictor.read(g), network_hash(g), ms) for g, ms in zip(graphs, latencies, strict=True)]


def test_the_profile_of_a_network_sums_to_its_latency(predictor: Predictor, graphs: list[Graph]) -> None:
    targets = predictor.devices[::3]
    found = profile([predictor.read(graph) for graph in graphs], predictor, targets)
    np.testing.assert_allclose(found.total, predictor.latencies(graphs)[:, ::3], rtol=1e-5)
    kernels, macs, _, weights = found.work[0]  # of a SqueezeNet
    assert kernels > 26
    assert macs == pytest.approx(graph_cost(graphs[0]).macs)
    assert weights == pytest.approx(4 * graph_cost(graphs[0]).parameters, rel=0.02)


def test_relatives_are_those_that_share_most_with_a_target(predictor: Predictor) -> None:
    targets, weights = relatives("rtx4080:pytorch-2.9-compiled:fp16", predictor.devices)
    assert {"rtx4090:pytorch-2.9-compiled:fp16", "rtx5090:pytorch-2.9-compiled:fp16"} <= set(targets[:3])
    assert sum(weights) == pytest.approx(1)
    assert list(weights) == sorted(weights, reverse=True)
    unknown, weights = relatives("times.csv", predictor.devices)
    assert len({target.partition(":")[0] for target in unknown}) == len(unknown)  # as different as there are
    assert weights == pytest.approx([1 / len(unknown)] * len(unknown))


def test_a_device_like_a_known_one_is_predicted_well_on_networks_it_never_measured(
    predictor: Predictor, graphs: list[Graph], slow: AdaptedDevice
) -> None:
    others = graphs[2::3]
    estimates = predictor.with_further(AdaptedDevices.of(slow)).predict(others, ["slow"])
    truth = FACTOR * predictor.latencies(others)[:, 0]
    assert np.mean([abs(e.latency_ms / t - 1) for e, t in zip(estimates, truth, strict=True)]) < 0.15
    for estimate, latency in zip(estimates, truth, strict=True):
        assert estimate.source == "adapted"
        assert estimate.low_ms < estimate.latency_ms < estimate.high_ms
        assert estimate.low_ms < latency < estimate.high_ms


def test_a_file_gives_the_same_device_back(slow: AdaptedDevice, graphs: list[Graph], predictor: Predictor) -> None:
    path = slow.save()
    back = AdaptedDevice.read(path)
    assert (back.name, back.networks, back.latencies) == (slow.name, slow.networks, slow.latencies)
    others = profile([predictor.read(graph) for graph in graphs[2::3]], predictor, slow.relatives)
    np.testing.assert_allclose(back.prices.predict(others)[0], slow.prices.predict(others)[0], rtol=1e-3)
    assert path.parent == devices_directory()
    assert [p.name for p in path.parent.iterdir()] == ["slow.json"]


def test_the_default_predictor_knows_adapted_devices_in_the_order_asked_for(
    slow: AdaptedDevice, graphs: list[Graph]
) -> None:
    assert "slow" not in default_predictor().devices
    slow.save()
    known = default_predictor()
    found = known.predict(graphs[:2], ["slow", "adreno640"])
    assert [(e.model, e.device) for e in found] == [
        (g.name, d) for g in graphs[:2] for d in ("slow", "adreno-640:tflite-2.1:fp32")
    ]
    plain = Predictor.load().predict(graphs[:2], ["adreno640"])
    assert found[1::2] == plain
    assert known.predict([], ["slow"]) == []
    with pytest.raises(UnknownDeviceError, match="quick"):
        known.predict(graphs, ["quick"])


def test_what_the_predictor_warns_of_makes_adapted_intervals_wider_too(
    predictor: Predictor, graphs: list[Graph], slow: AdaptedDevice
) -> None:
    known = predictor.with_further(AdaptedDevices.of(slow))
    batched = read_onnx(next(iter(sample("squeezenet", 1))).build(batch_size=4096), name="batched")
    (usual,), (warned,) = known.predict(graphs[:1], ["slow"]), known.predict([batched], ["slow"])
    assert any("unlike any measured" in warning or "batch size" in warning for warning in warned.warnings)
    assert usual.warnings == ()
    assert warned.high_ms / warned.latency_ms > 1.2 * usual.high_ms / usual.latency_ms


def test_a_batch_that_was_not_measured_on_the_device_is_told(
    predictor: Predictor, graphs: list[Graph], slow: AdaptedDevice
) -> None:
    known = predictor.with_further(AdaptedDevices.of(slow))
    (estimate,) = known.predict_batches(graphs[:1], [8], ["slow"])
    assert estimate.warnings == ("batch size 8 was never measured there (only 1): an extrapolation",)
    assert estimate.batch_size == 8
    assert estimate.extrapolated
    assert not known.predict(graphs[:1], ["slow"])[0].extrapolated


def test_names_that_cannot_be_are_refused(predictor: Predictor) -> None:
    check_name("my-phone_2.1", predictor)
    for name, message in (
        ("../evil", "letters"),
        ("", "letters"),
        ("adreno640", "knows this target already"),
        ("rtx4090", "knows"),
    ):
        with pytest.raises(ConfigError, match=message):
            check_name(name, predictor)


def test_too_few_or_impossible_latencies_are_refused(predictor: Predictor, graphs: list[Graph]) -> None:
    with pytest.raises(ConfigError, match="only 2 measured; at least 3"):
        adapt("x", _timed(predictor, graphs[:2]), "a test", predictor)
    with pytest.raises(ConfigError, match="not a positive number"):
        adapt("x", [sample._replace(latency_ms=0.0) for sample in _timed(predictor, graphs[:3])], "a test", predictor)
    with pytest.raises(ConfigError, match="tally does not tell kinds of kernels apart"):
        adapt("x", _timed(predictor, graphs[:3]), "a test", Predictor.load("tally"))


@pytest.mark.parametrize("change", ["{", '{"format": 9}', '{"format": 3, "networks": []}', "[]"])
def test_a_broken_file_is_named(change: str) -> None:
    path = devices_directory() / "broken.json"
    path.parent.mkdir()
    path.write_text(change)
    with pytest.raises(DataError, match=r"broken\.json"):
        adapted_device("broken")


def test_devices_of_another_predictor_are_left_alone_and_those_of_an_older_one_told(
    slow: AdaptedDevice, predictor: Predictor
) -> None:
    path = slow.save()
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "predictor": "another"}))
    assert with_adapted(predictor) is predictor
    path.write_text(json.dumps({**data, "fingerprint": "0"}))
    known = with_adapted(predictor)
    with pytest.raises(DataError, match="adapt again"):
        known.predict([], ["slow"])
    (path.parent / "broken.json").write_text("{")
    known = with_adapted(predictor)
    assert known.devices == predictor.devices  # which are answered as before
    with pytest.raises(DataError, match=r"broken\.json"):
        known.predict([], ["broken"])


def test_a_device_that_is_not_there_is_told_with_those_that_are(slow: AdaptedDevice, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there are: none"):
        adapted_device("slow")
    slow.save()
    with pytest.raises(DataError, match="there are: slow"):
        adapted_device("fast")


def test_an_adapted_device_is_not_explained_and_the_reason_is_told(
    slow: AdaptedDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NARFORMER_DEVICES", str(tmp_path))
    slow.save()
    answer = CliRunner().invoke(app, ["explain", "examples/resnet18.onnx", "--device", "slow"])
    assert isinstance(answer.exception, ConfigError)
    assert "slow is adapted" in str(answer.exception)
    answer = CliRunner().invoke(app, ["explain", "examples/resnet18.onnx", "--device", "slower"])
    assert isinstance(answer.exception, UnknownDeviceError)


def test_every_target_has_a_column_of_latencies_adapted_ones_too(
    predictor: Predictor, graphs: list[Graph], slow: AdaptedDevice
) -> None:
    known = predictor.with_further(AdaptedDevices.of(slow))
    assert known.targets == known.devices == (*predictor.targets, "slow")
    assert known.own_targets == predictor.targets
    found = known.latencies(graphs[:3])
    assert found.shape == (3, len(known.targets))
    np.testing.assert_array_equal(found[:, :-1], predictor.latencies(graphs[:3]))
    np.testing.assert_allclose(found[:, -1], [e.latency_ms for e in known.predict(graphs[:3], ["slow"])])
    assert predictor.targets == known.own_targets  # it is not changed by what it was given to


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        ([("a.onnx", "3")], "a.onnx: the latency '3' is no number of milliseconds"),
        ([("a.onnx", None)], "a.onnx: the latency None is no number"),
        ([("a.onnx", True)], "a.onnx: the latency True is no number"),
        ([("a.onnx", 1.0, 2)], "give pairs of a network and its latency in milliseconds"),
        ({"a.onnx": 1.0}, "'a.onnx': give pairs of a network and its latency"),
    ],
)
def test_measurements_from_python_are_pairs_of_a_network_and_a_number(measured: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        narformer.adapt("mine", measured)  # type: ignore[arg-type]
