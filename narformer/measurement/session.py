"""Measure many networks, one after another, and keep each result at once. Can be stopped and taken up again.

Networks that the store has for this device are answered from it. What cannot be measured becomes a measurement too,
with the reason in place of a latency, and the run goes on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, TypeAlias

import onnx

from narformer.errors import ConfigError, NarformerError, StoreError
from narformer.frontends.canonical import network_hash
from narformer.frontends.onnx import read_onnx
from narformer.frontends.sizes import Size
from narformer.graph import Graph
from narformer.measurement import device as devices
from narformer.measurement.data import own_data
from narformer.measurement.drift import FIRST_S, REFERENCE_NAME, reference_network
from narformer.measurement.jobs import Job, Result, Setup
from narformer.measurement.measurement import Measurement
from narformer.measurement.runtimes.registry import runtime
from narformer.measurement.store import Store
from narformer.measurement.supervisor import Supervisor
from narformer.measurement.timing import Plan
from narformer.prediction.target import Target, measured_target

CLAIM_S = 60.0  # beyond its timeout, after which who is measuring a network must have died
WAIT_S = 0.5  # between two looks at what another run measures
GO_ON = "Mend it and give the same command again: it goes on where it stopped"

Source: TypeAlias = Path | bytes | onnx.ModelProto | Callable[[], Path | bytes | onnx.ModelProto]


@dataclass(frozen=True)
class Network:
    """A network to measure. source: an ONNX file, or what makes one when its turn has come.

    batch_size, input_shapes, dims: sizes of its inputs, as `read_onnx` takes them. data: an .npz file with what they
    hold; without one, arrays of a sane scale.
    """

    name: str
    source: Source
    batch_size: int | None = None
    input_shapes: Mapping[str, Sequence[Size]] = field(default_factory=dict)
    dims: Mapping[str, int] = field(default_factory=dict)
    data: Path | None = None

    def open(self) -> Opened:
        """Read it. Raises NarformerError where that cannot be done."""
        source = self.source() if callable(self.source) else self.source
        source = source.SerializeToString() if isinstance(source, onnx.ModelProto) else source
        graph = read_onnx(
            source, batch_size=self.batch_size, input_shapes=self.input_shapes, dims=self.dims, name=self.name
        )
        if self.data is not None:
            own_data(self.data, graph)  # what does not fit is told before anything runs
        return Opened(_job(self, source, graph), graph)


class Opened(NamedTuple):
    """A network that was read: what a worker is told of it, and its Graph."""

    job: Job
    graph: Graph


@dataclass(frozen=True)
class Settings:
    """How to measure. Without `hardware` this machine's name; without `cores` the last ones of this process.

    timeout_s: for one network, loading included.
    """

    runtime: str = "onnxruntime"
    processor: str = "cpu"
    threads: int = 1
    hardware: str | None = None
    cores: tuple[int, ...] | None = None
    timeout_s: float = 60.0
    plan: Plan = field(default_factory=Plan)

    def target(self) -> Target:
        """The target that networks in float32 are measured on.

        Raises ConfigError for an unknown runtime or a name that no hardware can have, MissingExtraError for a runtime
        that is not installed.
        """
        version = devices.short_version(runtime(self.runtime).version())
        hardware = self.hardware or devices.hardware(self.processor)
        return measured_target(hardware, self.runtime, version, self.processor, threads=self.threads)

    def setup(self, first_reference_s: float) -> Setup:
        """What a worker on this machine is told of them."""
        cores = _cores(self.threads) if self.cores is None else self.cores
        return Setup(self.runtime, self.processor, self.threads, cores, self.plan, first_reference_s)


@dataclass(frozen=True)
class Outcome:
    """What became of one network. source: "measured" now, "stored" before, "failed" now or before."""

    name: str
    source: str
    measurement: Measurement

    def to_dict(self) -> dict[str, Any]:
        """As JSON's types."""
        return {**self.measurement.record(), "model": self.name, "source": self.source}


def measure(
    networks: Iterable[Network | tuple[str, Source] | str | Path],
    *,
    store: Store,
    settings: Settings | None = None,
    again: bool = False,
    share: bool = False,
    report: Callable[[Outcome], None] = lambda _: None,
    acknowledge: Callable[[], None] = lambda: None,
) -> list[Outcome]:
    """Measure networks that the store does not have for this device (all of them, `again`).

    networks: paths, or names with what gives the ONNX model. report: called after each one is in the store.
    share: with other runs that have the same store, on machines like this one. What another is measuring is left
    to it, and answered from the store at the end. acknowledge: called when Ctrl-C is pressed.

    Raises StoreError where the store cannot be written (all before is in it), ConfigError and MissingExtraError where
    nothing can be measured, KeyboardInterrupt after Ctrl-C, once the network under way is in the store.
    """
    settings = settings or Settings()
    base = settings.target()
    outcomes: list[Outcome] = []
    elsewhere: deque[Network] = deque()  # what another run is measuring
    with _Session(settings, base, store, share and not again) as session, interruptible(acknowledge) as interrupted:

        def take(network: Network) -> None:
            outcome = session.outcome(network, again)
            if outcome is None:
                elsewhere.append(network)
            else:
                outcomes.append(outcome)
                report(outcome)
            if interrupted():
                raise KeyboardInterrupt

        for network in networks:
            take(_network(network))
        while elsewhere:
            before = len(elsewhere)
            take(elsewhere.popleft())
            if len(elsewhere) == before:
                time.sleep(WAIT_S)
    return outcomes


def _job(network: Network, source: Path | bytes, graph: Graph) -> Job:
    """What the worker is told: the batch size, or, where more was given than that, the shapes that it came to."""
    if not network.input_shapes and not network.dims:
        return Job(network.name, source, network.batch_size, data=network.data)
    shapes = {name: tensor.shape for name, tensor in zip(graph.input_names, graph.inputs, strict=True)}
    return Job(network.name, source, input_shapes=shapes, data=network.data)


def summary(outcomes: Iterable[Outcome]) -> str:
    """How many were measured, answered from the store, and failed, by reason.

    >>> summary([])
    'nothing to measure'
    """
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        reason = outcome.measurement.failure.partition(":")[0]
        counts[f"failed ({reason})" if reason else outcome.source] += 1
    words = {"measured": "measured", "stored": "answered from the store"}
    ordered = sorted(counts.items(), key=lambda item: (item[0] not in words, item[0]))
    return ", ".join(f"{count} {words.get(key, key)}" for key, count in ordered) or "nothing to measure"


class _Session:
    """One run on this machine: a worker, and who writes down what comes of it."""

    def __init__(self, settings: Settings, base: Target, store: Store, share: bool) -> None:
        self.share = share
        machine = f"{devices.machine()}, {base.runtime_name} {runtime(settings.runtime).version()}"
        self.recorder = Recorder(base, store, machine)
        self.supervisor = Supervisor(settings.setup(self.recorder.first_reference_s), settings.timeout_s)

    def __enter__(self) -> _Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.supervisor.stop()
        if self.share:
            with contextlib.suppress(StoreError):  # a claim ends after a while by itself
                self.recorder.release()

    def outcome(self, network: Network, again: bool) -> Outcome | None:
        """Answer from the store, or measure and store; None where another run is measuring it."""
        try:
            opened = network.open()
        except NarformerError as error:
            return self.recorder.unreadable(network, error)
        known = None if again else self.recorder.known(network, opened.graph)
        if known is not None:
            return known
        if self.share and not self.recorder.claim(opened.graph, self.supervisor.timeout_s + CLAIM_S):
            return None
        return self.recorder.record(network, opened.graph, self.supervisor.measure(opened.job))


def _mended(network: Network, failed: Measurement) -> bool:
    """Whether a network's file was written after its measurement failed."""
    if not isinstance(network.source, str | Path):
        return False
    try:
        return os.stat(network.source).st_mtime > datetime.fromisoformat(failed.measured_at).timestamp()
    except (OSError, ValueError):
        return False


class Recorder:
    """What the store has of networks on one target, and what is written there of new results.

    base: the target as networks in float32 run on it. machine: what its id leaves out. session: id of this run.
    Its methods raise StoreError.
    """

    def __init__(self, base: Target, store: Store, machine: str, session: str = "") -> None:
        self.base = base
        self.store = store
        self.machine = machine
        self.id = session or new_session()
        self.reference = read_onnx(reference_network(), name=REFERENCE_NAME)
        self.baseline_ms = self._known_reference()
        self.described: set[str] = set()

    @property
    def first_reference_s(self) -> float:
        """Seconds for which a worker times the reference network first: none where its first time is known."""
        return FIRST_S if self.baseline_ms is None else 0.0

    def key(self, graph: Graph) -> tuple[str, str]:
        """What the store knows a network's measurements here by: its hash and its target's id."""
        return network_hash(graph), str(devices.target_of(self.base, graph))

    def known(self, network: Network, graph: Graph) -> Outcome | None:
        """What the store has of a network, a failure of this file too; None where it has nothing.

        Why another file of the same network failed (its opset, what only its form has) may not hold of this one, nor of
        this one once it was mended.
        """
        hash, target = self.key(graph)
        known = self.store.latest(hash, target)
        if known is not None:
            return Outcome(network.name, "stored", known)
        failed = [one for one in self.store.find(graph=hash, device=target, failed=True) if one.model == network.name]
        return Outcome(network.name, "failed", failed[-1]) if failed and not _mended(network, failed[-1]) else None

    def claim(self, graph: Graph, seconds: float) -> bool:
        """Tell other runs that this one is measuring a network; False where another one is."""
        try:
            return self.store.claim(network_hash(graph), str(devices.target_of(self.base, graph)), self.id, seconds)
        except StoreError as error:
            raise StoreError(f"{error}. {GO_ON}") from error

    def release(self) -> None:
        """Give back what this run has claimed."""
        self.store.release(self.id)

    def record(self, network: Network, graph: Graph, result: Result) -> Outcome:
        """Write down what came of a network; in the store when this returns."""
        return self._stored(network, self._measurement(network, graph, result), graph)

    def unreadable(self, network: Network, error: NarformerError) -> Outcome:
        """Write down why a network cannot be read, unless that says nothing of the network."""
        reason = " ".join(str(error).removeprefix(f"{network.name}: ").split())
        measurement = self._measurement(network, None, Result(failure=f"unreadable: {reason}"))
        if (
            isinstance(error.__cause__, OSError) or network.data is not None
        ):  # absent, kept from us, or fed what is wrong
            return Outcome(network.name, "failed", measurement)
        return self._stored(network, measurement, None)

    def _measurement(self, network: Network, graph: Graph | None, result: Result) -> Measurement:
        target = devices.target_of(self.base, graph) if graph else self.base
        drift = self._drift(result)
        return Measurement(
            graph=network_hash(graph) if graph else "",
            model=network.name,
            device=str(target),
            latency_ms=None if result.median_ms is None else result.median_ms / drift,
            spread_ms=None if result.spread_ms is None else result.spread_ms / drift,
            repeats=result.repeats,
            drift=drift,
            peak_memory_bytes=result.peak_memory_bytes,
            failure=result.failure,
            session=self.id,
            measured_at=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            batch_size=graph.batch_size if graph else network.batch_size or 1,
            precision=target.precision if graph else "",
            **{name: None if ms is None else ms / drift for name, ms in result.more_ms().items()},
        )

    def _drift(self, result: Result) -> float:
        """The reference's time over its first on this device, which the store keeps like any measurement."""
        if result.reference_ms is None:
            return 1.0
        if self.baseline_ms is None:
            self.baseline_ms = self._first_reference(result.first_reference_ms or result.reference_ms)
        return result.reference_ms / self.baseline_ms

    def _known_reference(self) -> float | None:
        known = self.store.find(
            graph=network_hash(self.reference), device=str(devices.target_of(self.base, self.reference)), failed=False
        )
        return known[0].latency_ms if known else None

    def _first_reference(self, now_ms: float) -> float:
        known_ms = self._known_reference()  # another session may have been first meanwhile
        if known_ms is not None:
            return known_ms
        record = self._measurement(Network(REFERENCE_NAME, b""), self.reference, Result())
        self._write(replace(record, latency_ms=now_ms), self.reference)
        return now_ms

    def _stored(self, network: Network, measurement: Measurement, graph: Graph | None) -> Outcome:
        self._write(measurement, graph)
        return Outcome(network.name, "failed" if measurement.failure else "measured", measurement)

    def _describe(self, device: str) -> None:
        """Say in the store what the device's id leaves out, unless someone has said more."""
        self.described.add(device)
        if not any(known.id == device and known.description for known in self.store.devices()):
            self.store.describe(device, self.machine)

    def _write(self, measurement: Measurement, graph: Graph | None) -> None:
        try:
            self.store.add(measurement, graph)
            if measurement.device not in self.described:
                self._describe(measurement.device)
        except StoreError as error:
            raise StoreError(f"{error}. {GO_ON}") from error


def new_session() -> str:
    """An id for a run."""
    return uuid.uuid4().hex[:12]


def _network(network: Network | tuple[str, Source] | str | Path) -> Network:
    if isinstance(network, Network):
        return network
    return Network(*network) if isinstance(network, tuple) else Network(str(network), Path(network))


def _cores(threads: int) -> tuple[int, ...]:
    """The last cores of those this process may use: the first ones serve interrupts more often."""
    if not hasattr(os, "sched_getaffinity"):
        return ()
    cores = sorted(os.sched_getaffinity(0))
    return tuple(cores[-threads:]) if threads <= len(cores) else ()


def pinned(first: int, threads: int) -> tuple[int, ...]:
    """The cores from `first` on, one a thread. Raises ConfigError where this process may not use them."""
    if not hasattr(os, "sched_getaffinity"):
        raise ConfigError("this system does not let a process choose its cores; leave --pin out")
    cores, allowed = tuple(range(first, first + threads)), os.sched_getaffinity(0)
    if not allowed.issuperset(cores):
        raise ConfigError(f"cores {', '.join(map(str, cores))} cannot be used; there are {sorted(allowed)}")
    return cores


@contextmanager
def interruptible(acknowledge: Callable[[], None] = lambda: None) -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed since: the first is noted, the second interrupts at once."""
    pressed = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()
        acknowledge()

    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)
