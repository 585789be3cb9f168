"""Adapted devices: their files, and predictors that know them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from narformer.adaptation.device import AdaptedDevice, adapt, adapted_device, check_name, devices_directory, profile
from narformer.adaptation.predictor import PredictorWithAdapted, default_predictor, with_adapted
from narformer.cli.main import app
from narformer.errors import ConfigError, DataError, UnknownDeviceError
from narformer.families.registry import sample
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


def _timed(predictor: Predictor, graphs: list[Graph]) -> list[tuple[Graph, float]]:
    return [(g, FACTOR * ms) for g, ms in zip(graphs, predictor.latencies(graphs)[:, 0], strict=True)]


def test_the_profile_of_a_network_sums_to_its_latency(predictor: Predictor, graphs: list[Graph]) -> None:
    found = profile(graphs, predictor)
    np.testing.assert_allclose(found.parts.sum(axis=1), predictor.latencies(graphs), rtol=1e-5)
    assert (found.parts > 0).all()


def test_a_device_like_a_known_one_is_predicted_well_on_networks_it_never_measured(
    predictor: Predictor, graphs: list[Graph], slow: AdaptedDevice
) -> None:
    others = graphs[2::3]
    estimates = PredictorWithAdapted(predictor, [slow]).predict(others, ["slow"])
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
    others = profile(graphs[2::3], predictor)
    np.testing.assert_allclose(back.process.predict(others)[0], slow.process.predict(others)[0], rtol=1e-3)
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
    known = PredictorWithAdapted(predictor, [slow])
    batched = read_onnx(next(iter(sample("squeezenet", 1))).build(batch_size=4096), name="batched")
    (usual,), (warned,) = known.predict(graphs[:1], ["slow"]), known.predict([batched], ["slow"])
    assert any("unlike any measured" in warning or "batch size" in warning for warning in warned.warnings)
    assert usual.warnings == ()
    assert warned.high_ms / warned.latency_ms > 1.2 * usual.high_ms / usual.latency_ms


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
    with pytest.raises(ConfigError, match="2 measurements; at least 3"):
        adapt("x", _timed(predictor, graphs[:2]), "a test", predictor)
    with pytest.raises(ConfigError, match="not a positive number"):
        adapt("x", [(g, 0.0) for g in graphs[:3]], "a test", predictor)


@pytest.mark.parametrize("change", ["{", '{"format": 9}', '{"format": 2, "networks": []}', "[]"])
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
