"""Sessions: answered from the store, resumed, interrupted, failing; with a worker that only pretends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest

from narformer.errors import ConfigError, MissingExtraError, StoreError
from narformer.families.registry import build
from narformer.frontends.canonical import network_hash
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph
from narformer.measurement import session
from narformer.measurement.drift import REFERENCE_NAME, reference_network
from narformer.measurement.jobs import Job, Result, Setup
from narformer.measurement.measurement import Measurement
from narformer.measurement.runtimes.onnxruntime import OnnxRuntime
from narformer.measurement.session import Network, Outcome, Settings, measure, pinned, summary
from narformer.measurement.store import Store

SETTINGS = Settings(hardware="desk")


class FakeSupervisor:
    """Answers each job with the next of `results`; the last one for ever."""

    setups: list[Setup]
    jobs: list[Job]
    results: list[Result]

    def __init__(self, setup: Setup, timeout_s: float) -> None:
        type(self).setups.append(setup)
        self.timeout_s = timeout_s

    def measure(self, job: Job) -> Result:
        cls = type(self)
        cls.jobs.append(job)
        return cls.results.pop(0) if len(cls.results) > 1 else cls.results[0]

    def stop(self) -> None:
        pass


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> type[FakeSupervisor]:
    monkeypatch.setattr(session, "Supervisor", FakeSupervisor)
    monkeypatch.setattr(OnnxRuntime, "version", lambda self: "1.32.0")
    FakeSupervisor.setups, FakeSupervisor.jobs = [], []
    FakeSupervisor.results = [Result(10.0, 1.0, 20, 4.0, 1 << 20)]
    return FakeSupervisor


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store.db") as opened:
        yield opened


def cell(number: int) -> Callable[[], onnx.ModelProto]:
    op = ("skip_connect", "nor_conv_1x1", "nor_conv_3x3")[number]
    return lambda: build("nasbench201", f"|none~0|+|none~0|none~1|+|{op}~0|none~1|none~2|")


CELLS = [(f"cell{k}", cell(k)) for k in range(3)]


def without_reference(store: Store) -> list[Measurement]:
    return [m for m in store.find() if m.model != REFERENCE_NAME]


def test_a_second_run_answers_from_the_store(worker: type[FakeSupervisor], store: Store) -> None:
    first = measure(CELLS, settings=SETTINGS, store=store)
    second = measure(CELLS, settings=SETTINGS, store=store)
    assert [o.source for o in first] == ["measured"] * 3
    assert [o.source for o in second] == ["stored"] * 3
    assert [o.measurement for o in first] == [o.measurement for o in second]
    assert len(worker.jobs) == 3
    assert first[0].measurement.device == "desk:onnxruntime-1.32:fp32:1t"


def test_the_same_network_under_another_name_is_known(worker: type[FakeSupervisor], store: Store) -> None:
    measure(CELLS[:1], settings=SETTINGS, store=store)
    outcomes = measure([("another name", CELLS[0][1])], settings=SETTINGS, store=store)
    assert (outcomes[0].source, outcomes[0].name, outcomes[0].to_dict()["model"]) == ("stored", *["another name"] * 2)


def test_again_measures_again(worker: type[FakeSupervisor], store: Store) -> None:
    measure(CELLS[:1], settings=SETTINGS, store=store)
    worker.results = [Result(12.0, 1.0, 20, 4.0)]
    assert measure(CELLS[:1], settings=SETTINGS, store=store, again=True)[0].measurement.latency_ms == 12.0
    assert len(without_reference(store)) == 2


def test_why_one_file_failed_says_nothing_of_another_nor_of_itself_once_mended(
    worker: type[FakeSupervisor], store: Store, tmp_path: Path
) -> None:
    files = [tmp_path / "first.onnx", tmp_path / "second.onnx"]
    for file in files:
        onnx.save(CELLS[0][1](), file)
        os.utime(file, (0, 0))  # long before it fails
    first, second = (Network(str(file), file) for file in files)
    worker.results = [Result(failure="rejected: an opset of its own"), Result(10.0, 1.0, 20, 4.0)]
    assert [o.source for o in measure([first, second], settings=SETTINGS, store=store)] == ["failed", "measured"]
    # The network is known now, whatever its file is called.
    assert measure([first], settings=SETTINGS, store=store)[0].source == "stored"


def test_a_file_that_was_mended_is_tried_again(worker: type[FakeSupervisor], store: Store, tmp_path: Path) -> None:
    file = tmp_path / "first.onnx"
    onnx.save(CELLS[0][1](), file)
    os.utime(file, (0, 0))
    network = Network(str(file), file)
    worker.results = [Result(failure="rejected: an opset of its own"), Result(10.0, 1.0, 20, 4.0)]
    assert [measure([network], settings=SETTINGS, store=store)[0].source for _ in range(2)] == ["failed", "failed"]
    os.utime(file, (2e9, 2e9))
    assert measure([network], settings=SETTINGS, store=store)[0].source == "measured"


def test_another_number_of_threads_is_another_target_and_the_batch_size_is_kept(
    worker: type[FakeSupervisor], store: Store
) -> None:
    settings = Settings(hardware="desk", threads=2)
    outcomes = measure([Network("cell", CELLS[0][1], batch_size=4)], settings=settings, store=store)
    measured = outcomes[0].measurement
    assert (measured.device, measured.batch_size, measured.precision) == ("desk:onnxruntime-1.32:fp32:2t", 4, "fp32")
    plain = measure(CELLS[:1], settings=settings, store=store)
    assert [(o.source, o.measurement.batch_size) for o in plain] == [("measured", 1)]


def test_failures_are_rows_and_are_not_tried_again_unasked(worker: type[FakeSupervisor], store: Store) -> None:
    worker.results = [Result(failure="timeout: not measured within 60 s"), Result(10.0, 1.0, 20, 4.0)]
    outcomes = measure(CELLS, settings=SETTINGS, store=store)
    assert [o.source for o in outcomes] == ["failed", "measured", "measured"]
    rows = store.find(failed=True)
    assert [(r.latency_ms, r.failure) for r in rows] == [(None, "timeout: not measured within 60 s")]
    assert measure(CELLS[:1], settings=SETTINGS, store=store)[0].source == "failed"
    assert len(worker.jobs) == 3
    assert measure(CELLS[:1], settings=SETTINGS, store=store, again=True)[0].source == "measured"


def test_what_cannot_be_read_is_a_row_without_a_graph(
    worker: type[FakeSupervisor], store: Store, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"nonsense")
    outcomes = measure([bad, tmp_path / "absent.onnx", CELLS[0]], settings=SETTINGS, store=store)
    assert [o.source for o in outcomes] == ["failed", "failed", "measured"]
    assert outcomes[1].measurement.failure == "unreadable: no such file"
    assert [m.graph for m in store.find(failed=True)] == [""]  # an absent file says nothing of the network
    assert "no such file" in outcomes[1].measurement.failure
    assert [job.name for job in worker.jobs] == ["cell0"]


def test_drift_is_reckoned_from_the_first_reference_on_the_device(worker: type[FakeSupervisor], store: Store) -> None:
    worker.results = [Result(10.0, 1.0, 20, reference_ms=4.0), Result(15.0, 1.5, 20, reference_ms=6.0)]
    first, second = measure(CELLS[:2], settings=SETTINGS, store=store)
    assert (first.measurement.drift, first.measurement.latency_ms) == (1.0, 10.0)
    assert (second.measurement.drift, second.measurement.latency_ms, second.measurement.spread_ms) == (1.5, 10.0, 1.0)
    # A later session, in which the machine is twice as slow as at first.
    worker.results = [Result(20.0, 2.0, 20, reference_ms=8.0)]
    (third,) = measure(CELLS[2:], settings=SETTINGS, store=store)
    assert (third.measurement.drift, third.measurement.latency_ms) == (2.0, 10.0)
    assert third.measurement.session != first.measurement.session
    reference = read_onnx(reference_network())
    assert [m.latency_ms for m in store.find(graph=network_hash(reference))] == [4.0]
    assert [setup.first_reference_s > 0 for setup in worker.setups] == [True, False]  # taken once, with care


def test_the_store_says_what_the_device_is_unless_told_before(worker: type[FakeSupervisor], store: Store) -> None:
    measure([Network("a", cell(0))], store=store, settings=SETTINGS)
    (described,) = store.devices()
    assert "GiB" in described.description or "cores" in described.description
    assert described.description.endswith("onnxruntime 1.32.0")
    store.describe(described.id, "the one under the desk")
    measure([Network("b", cell(1))], store=store, settings=SETTINGS)
    assert [d.description for d in store.devices()] == ["the one under the desk"]


def test_networks_are_made_when_their_turn_has_come(worker: type[FakeSupervisor], store: Store) -> None:
    made: list[str] = []

    def lazily(name: str, make: Callable[[], onnx.ModelProto]) -> Callable[[], bytes]:
        def work() -> bytes:
            made.append(name)
            return bytes(make().SerializeToString())

        return work

    seen: list[int] = []
    networks = ((name, lazily(name, make)) for name, make in CELLS)
    measure(networks, settings=SETTINGS, store=store, report=lambda outcome: seen.append(len(made)))
    assert seen == [1, 2, 3]


def test_ctrl_c_ends_after_the_network_under_way_is_stored(worker: type[FakeSupervisor], store: Store) -> None:
    def interrupt(job: Job) -> Result:
        os.kill(os.getpid(), signal.SIGINT)
        return Result(10.0, 1.0, 20, 4.0)

    handler = signal.getsignal(signal.SIGINT)
    worker_measure, FakeSupervisor.measure = FakeSupervisor.measure, lambda self, job: interrupt(job)  # type: ignore[method-assign]
    try:
        with pytest.raises(KeyboardInterrupt):
            measure(CELLS, settings=SETTINGS, store=store)
    finally:
        FakeSupervisor.measure = worker_measure  # type: ignore[method-assign]
    assert [m.model for m in without_reference(store)] == ["cell0"]
    assert signal.getsignal(signal.SIGINT) is handler
    assert [o.source for o in measure(CELLS, settings=SETTINGS, store=store)] == ["stored", "measured", "measured"]


def test_a_store_that_cannot_be_written_ends_the_run_and_says_how_to_go_on(
    worker: type[FakeSupervisor], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure(CELLS[:1], settings=SETTINGS, store=store)

    def full(self: Store, measurement: Measurement, graph: Graph | None) -> None:
        raise StoreError("store.db: the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "add", full)
        with pytest.raises(StoreError, match=r"disk is full.*same command again"):
            measure(CELLS, settings=SETTINGS, store=store)
    assert [o.source for o in measure(CELLS, settings=SETTINGS, store=store)] == ["stored", "measured", "measured"]


def test_an_absent_runtime_is_said_before_anything_is_measured(
    worker: type[FakeSupervisor], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(self: OnnxRuntime) -> str:
        raise MissingExtraError("ONNX Runtime is not installed: pip install onnxruntime")

    monkeypatch.setattr(OnnxRuntime, "version", absent)
    with pytest.raises(MissingExtraError, match="pip install onnxruntime"):
        measure(CELLS, settings=SETTINGS, store=store)
    with pytest.raises(ConfigError, match="unknown runtime 'abacus'; known are onnxruntime, openvino"):
        measure(CELLS, settings=Settings(runtime="abacus"), store=store)
    assert not worker.jobs


def test_the_summary_counts_reasons() -> None:
    def outcome(source: str, failure: str = "") -> Outcome:
        return Outcome("n", source, Measurement("g", "n", "d", None if failure else 1.0, failure=failure))

    outcomes = [
        outcome("failed", "timeout: not measured within 60 s"),
        outcome("measured"),
        outcome("stored"),
        outcome("failed", "timeout: not measured within 5 s"),
        outcome("failed", "crashed: the measuring process died (signal 6)"),
    ]
    assert summary(outcomes) == "1 measured, 1 answered from the store, 1 failed (crashed), 2 failed (timeout)"


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not pin processes")
def test_pinning_takes_cores_that_there_are() -> None:
    allowed = sorted(os.sched_getaffinity(0))
    assert pinned(allowed[0], 1) == (allowed[0],)
    with pytest.raises(ConfigError, match="cannot be used"):
        pinned(max(allowed), 2)


def test_what_another_run_measures_is_left_to_it_and_then_answered_from_the_store(
    worker: type[FakeSupervisor], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other run is a claim, and a measurement that comes while this one waits."""
    monkeypatch.setattr(session, "WAIT_S", 0.0)
    networks = [Network(op, relu_like(op)) for op in ("Relu", "Tanh")]
    first = networks[0].open().graph
    hash, target = network_hash(first), str(SETTINGS.target())
    assert store.claim(hash, target, "the other", 60)
    seen: list[tuple[str, str]] = []

    def report(outcome: Outcome) -> None:
        seen.append((outcome.name, outcome.source))
        if outcome.name == "Tanh":
            store.add(Measurement(hash, "theirs", target, 1.0, batch_size=1, precision="fp32"), first)

    measure(networks, store=store, settings=SETTINGS, share=True, report=report)
    assert seen == [("Tanh", "measured"), ("Relu", "stored")]
    assert store.claim(network_hash(networks[1].open().graph), target, "the other", 60)  # given back at the end


def relu_like(op: str) -> onnx.ModelProto:
    x, y = (onnx.helper.make_tensor_value_info(name, 1, [1, 8]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node(op, ["x"], ["y"])], op, [x], [y])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
