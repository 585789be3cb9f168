"""The agent of one machine: what it offers and refuses, and that one worker measures at a time."""

from __future__ import annotations

import re

import pytest

import narformer
from narformer.errors import ConfigError
from narformer.fleet import agent
from narformer.fleet.agent import Agent, Offer, Wish
from narformer.measurement.jobs import Job, Result, Setup
from narformer.measurement.runtimes.onnxruntime import OnnxRuntime
from narformer.measurement.session import Settings

ORT = "alpha:onnxruntime-1.32:fp32:1t"


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnnxRuntime, "version", lambda self: "1.32.0")
    monkeypatch.setattr(OnnxRuntime, "processors", lambda self: ("cpu",))


def offers(wish: Wish, *offered: str, settings: Settings | None = None, version: str = "") -> Offer:
    made = Agent(settings or Settings(), (wish,), offered or ("alpha",), version or narformer.__version__)
    return made.offers()[0]


def test_a_machine_is_what_its_resource_is_called() -> None:
    offer = offers(Wish("alpha"))
    assert str(offer.target) == ORT
    assert "onnxruntime 1.32.0" in offer.machine
    assert str(offers(Wish.of(ORT)).target) == ORT
    assert str(offers(Wish("alpha"), settings=Settings(threads=2)).target) == "alpha:onnxruntime-1.32:fp32:2t"


@pytest.mark.parametrize(
    ("wish", "settings", "reason"),
    [
        (Wish("beta"), Settings(), "it offers alpha"),
        (Wish("alpha"), Settings(processor="cuda"), "onnxruntime cannot run on 'cuda' there, only on cpu"),
        (Wish("alpha"), Settings(threads=100_000), "100000 threads: it has"),
        (Wish("alpha"), Settings(runtime="torchvision"), "torchvision"),
        (Wish.of("alpha:onnxruntime-1.18:fp32:1t"), Settings(), "this machine has .*onnxruntime-1.32:fp32:1t"),
    ],
)
def test_what_a_machine_cannot_do_is_refused(wish: Wish, settings: Settings, reason: str) -> None:
    offer = offers(wish, settings=settings)
    assert offer.target is None
    assert re.search(reason, offer.refusal)


def test_another_version_of_narformer_is_refused() -> None:
    assert "narformer 0.0.1" not in offers(Wish("alpha")).refusal
    assert offers(Wish("alpha"), version="0.0.1").refusal.endswith("here 0.0.1")


def test_a_processor_is_not_taken_for_another_hardware_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent.devices, "hardware", lambda processor: "alpha")
    assert offers(Wish("alpha"), "alpha", "h100").refusal == ""
    assert offers(Wish("h100"), "alpha", "h100").refusal == "cpu is alpha there, not h100"


def test_a_worker_is_ended_before_another_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    class FakeSupervisor:
        def __init__(self, setup: Setup, timeout_s: float) -> None:
            self.name = f"{setup.threads}t"
            events.append(f"start {self.name}")

        def measure(self, job: Job) -> Result:
            return Result(1.0)

        def stop(self) -> None:
            events.append(f"stop {self.name}")

    monkeypatch.setattr(agent, "Supervisor", FakeSupervisor)
    wishes = (Wish.of(ORT), Wish.of("alpha:onnxruntime-1.32:fp32:2t"))
    made = Agent(Settings(), wishes, ("alpha",), narformer.__version__)
    for wish in (0, 0, 1):
        assert made.measure(wish, 0.0, Job("net", b"")) == Result(1.0)
    assert events == ["start 1t", "stop 1t", "start 2t"]


def test_a_wish_is_a_target_or_hardware() -> None:
    assert Wish.of("galaxy-s25") == Wish("galaxy-s25")
    assert Wish.of(ORT) == Wish("alpha", ORT)
    with pytest.raises(ConfigError, match="is not a target"):
        Wish.of("alpha:what")
    with pytest.raises(ConfigError, match=r"write epyc-milan:onnxruntime-1.32:fp32:1t and --batch-size 4"):
        Wish.of("amd-epyc-milan-onnxruntime1.32-cpu-fp32-t1-b4")
