"""Measure networks on the machines of a cluster; every result is kept here at once, whoever measured it.

A machine is one agent (agent.py) that has it for itself and measures one network at a time. This process alone reads
networks, hands them out and writes to the store, so nothing is written twice and nothing that was written is lost:
what a machine had under way when it died is handed to another, and if this process dies, the same command goes on.
"""

from __future__ import annotations

import functools
import itertools
import mmap
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx

import narformer
from narformer.errors import ConfigError, NarformerError
from narformer.fleet import cluster
from narformer.fleet.agent import Agent, Offer, Wish
from narformer.fleet.cluster import Machine
from narformer.frontends.onnx.protobuf import strip_weights
from narformer.measurement.jobs import Job, Result
from narformer.measurement.session import Network, Opened, Outcome, Recorder, Settings, interruptible, new_session
from narformer.measurement.store import Store

LOOK_S = 1.0  # between two looks at who is there
BUSY_S = 20.0  # after which a machine that other work has is told
PATIENCE_S = 60.0  # for a machine to come where none is left
STORE_PATIENCE_S = 600.0  # for a database that is restarted
ATTEMPTS = 3  # at a machine that does not start, and at a network whose machine is lost
KNOWN_AT_ONCE = 50  # networks answered from the store before results are looked after again
READ_AHEAD = 64  # networks kept for the next target
# Contents of a file that a runtime needs as they are; other large ones are random where it runs.
KEPT = frozenset((onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.BOOL, onnx.TensorProto.STRING))


@dataclass
class _Work:
    """A network to measure for a wish, by their places. lost: machines, while they measured it."""

    network: int
    wish: int
    lost: int = 0
    key: tuple[str, str] | None = None  # of the network on its target, while it is under way


@dataclass
class _Member:
    """A machine that is asked. pending: what it will answer: its offers, while `work` is None, else a Result."""

    machine: Machine
    actor: Any
    pending: Any
    since: float
    work: _Work | None = None
    recorders: dict[int, Recorder] = field(default_factory=dict)  # by the wishes that it fulfils, the last one first
    told: bool = False


def measure(
    networks: Iterable[Network],
    *,
    wishes: Sequence[Wish],
    store: Store,
    settings: Settings,
    again: bool = False,
    report: Callable[[Outcome], None] = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Outcome]:
    """Measure networks on every wish's target, each on one of the machines that offer it; connected to a cluster.

    wishes: as `wishes_of` makes them. report: called after each result is in the store, in the order in which they
    come. tell: called with a line for what is worth knowing, such as a machine that was lost.
    Returns an Outcome for each target and network, in order. Raises as `session.measure` does, and ConfigError where no
    machine is left that could go on.
    """
    store.outlast(STORE_PATIENCE_S, tell)
    run = _Run(list(networks), list(wishes), store, settings, again, report, tell)
    try:
        return run.run()
    finally:
        run.end()


def wishes_of(wanted: Sequence[str], machines: Sequence[Machine]) -> list[Wish]:
    """What texts ask for, ids of targets or names of hardware; without any, all hardware that is offered.

    Raises ConfigError, with all that is offered, for what is not.
    """
    offered: dict[str, int] = {}
    for machine in machines:
        for name in machine.hardware:
            offered[name] = offered.get(name, 0) + 1
    if not offered:
        raise ConfigError(
            "no machine of the cluster says what it measures on; join it with: ray start --address=... "
            '--resources="$(narformer fleet offer)"'
        )
    if not wanted:
        return [Wish(name, asked=False) for name in sorted(offered)]
    found = [Wish.of(text) for text in dict.fromkeys(wanted)]
    for wish in found:
        if wish.hardware not in offered:
            there = ", ".join(f"{name} ({count})" for name, count in sorted(offered.items()))
            raise ConfigError(f"{wish}: no machine of the cluster offers {wish.hardware}; there are {there}")
    return found


class _Run:
    def __init__(
        self,
        networks: list[Network],
        wishes: list[Wish],
        store: Store,
        settings: Settings,
        again: bool,
        report: Callable[[Outcome], None],
        tell: Callable[[str], None],
    ) -> None:
        self.ray = cluster.load()
        self.networks, self.wishes, self.store, self.settings = networks, wishes, store, settings
        self.again, self.report, self.tell = again, report, tell
        self.id = new_session()
        self.fresh: list[Iterator[int]] = [iter(range(len(networks))) for _ in wishes]
        self.returned: list[deque[_Work]] = [deque() for _ in wishes]
        self.outcomes: list[dict[int, Outcome]] = [{} for _ in wishes]
        self.members: dict[str, _Member] = {}  # by the machine's id
        self.failures: dict[str, int] = {}  # attempts at a machine that came to nothing
        self.reasons: dict[str, str] = {}  # of the last one
        self.refused: dict[int, dict[str, str]] = {wish: {} for wish in range(len(wishes))}  # reasons by machine
        self.dropped: set[int] = set()  # wishes that nobody can fulfil
        self.alone_since: dict[int, float] = {}  # wishes that have work and no machine
        self.waiting: dict[tuple[str, str], list[_Work]] = {}  # for the same network that is under way
        self.looked = 0.0
        self.open = functools.lru_cache(maxsize=READ_AHEAD)(self._open)

    def run(self) -> list[Outcome]:
        with interruptible() as interrupted:
            while True:
                if time.monotonic() - self.looked >= LOOK_S:
                    self._look()
                more = not interrupted() and self._hand_out()
                if not any(member.work for member in self.members.values()) and (interrupted() or self._done()):
                    break
                self._listen(0.0 if more else LOOK_S)
            if interrupted():
                raise KeyboardInterrupt
        return [by[network] for by in self.outcomes for network in sorted(by)]

    def end(self) -> None:
        """Leave all machines to others."""
        for member in self.members.values():
            self.ray.kill(member.actor)

    def _done(self) -> bool:
        return all(len(by) == len(self.networks) for k, by in enumerate(self.outcomes) if k not in self.dropped)

    # --- who is there

    def _look(self) -> None:
        self.looked = time.monotonic()
        there = {machine.id: machine for machine in cluster.machines()}
        for id in [id for id, member in self.members.items() if id not in there and member.pending is None]:
            self._lose(self.members[id], "it left the cluster")
        wanted = {wish.hardware for k, wish in enumerate(self.wishes) if k not in self.dropped}
        for id, machine in there.items():
            if id not in self.members and wanted & set(machine.hardware) and self.failures.get(id, 0) < ATTEMPTS:
                actor = self.ray.remote(Agent).options(**machine.whole)
                agent = actor.remote(self.settings, tuple(self.wishes), machine.hardware, narformer.__version__)
                self.members[id] = _Member(machine, agent, agent.offers.remote(), time.monotonic())
        for member in self.members.values():
            late = time.monotonic() - member.since > BUSY_S
            if member.pending is not None and member.work is None and late and not member.told:
                member.told = True
                self.tell(f"{member.machine.host}: waiting for it; other work of the cluster has it")
        for k, wish in enumerate(self.wishes):
            self._see_to(k, wish, there.values())

    def _see_to(self, k: int, wish: Wish, there: Iterable[Machine]) -> None:
        """Where no machine is left for a wish, wait for one; raises ConfigError where that is in vain."""
        served = any((m.work is None and m.pending is not None) or k in m.recorders for m in self.members.values())
        if k in self.dropped or len(self.outcomes[k]) == len(self.networks) or served:
            self.alone_since.pop(k, None)
            return
        offering = [machine for machine in there if wish.hardware in machine.hardware]
        if offering and all(m.id in self.refused[k] or self.failures.get(m.id, 0) >= ATTEMPTS for m in offering):
            first = offering[0]
            why = self.refused[k].get(first.id) or f"{first.host}: it does not start: {self.reasons.get(first.id)}"
            if wish.asked:
                raise ConfigError(f"{wish}: no machine can measure it: {why}")
            self.tell(f"{wish}: left out, no machine can measure it: {why}")
            self.dropped.add(k)
            return
        now = time.monotonic()
        if now - self.alone_since.setdefault(k, now) >= PATIENCE_S:
            left = len(self.networks) - len(self.outcomes[k])
            raise ConfigError(
                f"{wish}: no machine that offers it is left, and {left} of {len(self.networks)} networks are not "
                "measured; give the same command again when there is one: it goes on where it stopped"
            )

    def _lose(self, member: _Member, reason: str) -> None:
        """Forget a machine; what it had under way is for another."""
        id, host, work = member.machine.id, member.machine.host, member.work
        del self.members[id]
        if work is None and not member.recorders:
            self.failures[id], self.reasons[id] = self.failures.get(id, 0) + 1, reason
            if self.failures[id] == ATTEMPTS:
                self.tell(f"{host}: left out, it does not start: {reason}")
            return
        if work is None:
            self.tell(f"{host} was lost: {reason}")
            return
        name = self.networks[work.network].name
        work.lost += 1
        if work.lost < ATTEMPTS:
            self.tell(f"{host} was lost while it measured {name}, which is measured again: {reason}")
            self._take_back(work)
            return
        self._keep(member, work, Result(failure=f"crashed: the machine that measured it was lost, {ATTEMPTS} times"))

    # --- work

    def _hand_out(self) -> bool:
        """Give every idle machine a network. Returns whether there may be more to do at once."""
        left = itertools.count(KNOWN_AT_ONCE, -1)
        for member in list(self.members.values()):
            if member.pending is not None:
                continue
            for wish, recorder in list(member.recorders.items()):
                work = self._next(wish, recorder, left)
                if work is None:
                    continue
                job = self.open(work.network).job
                member.work = work
                member.pending = member.actor.measure.remote(wish, recorder.first_reference_s, job)
                member.recorders = {wish: recorder, **member.recorders}
                break
        return next(left) <= 0

    def _next(self, wish: int, recorder: Recorder, left: Iterator[int]) -> _Work | None:
        """The next network that has to be measured; those that the store has are answered meanwhile."""
        while next(left) > 0:
            work = self.returned[wish].popleft() if self.returned[wish] else None
            if work is None:
                place = next(self.fresh[wish], None)
                if place is None:
                    return None
                work = _Work(place, wish)
            network = self.networks[work.network]
            try:
                opened = self.open(work.network)
            except NarformerError as error:
                self._report(work, recorder.unreadable(network, error))
                continue
            key = recorder.key(opened.graph)
            if key in self.waiting:
                self.waiting[key].append(work)
                continue
            known = None if self.again else recorder.known(network, opened.graph)
            if known is None:
                self.waiting[key], work.key = [], key
                return work
            self._report(work, known)
        return None

    def _open(self, network: int) -> Opened:
        opened = self.networks[network].open()
        return opened._replace(job=sendable(opened.job))

    def _listen(self, seconds: float) -> None:
        """Take what has been answered; wait for it no longer than so many seconds."""
        by_pending = {member.pending: member for member in self.members.values() if member.pending is not None}
        if not by_pending:
            time.sleep(min(seconds, LOOK_S / 10))
            return
        ready, _ = self.ray.wait(list(by_pending), num_returns=1, timeout=seconds)
        for pending in ready:
            self._hear(by_pending[pending])

    def _hear(self, member: _Member) -> None:
        try:
            answer = self.ray.get(member.pending)
        except self.ray.exceptions.RayTaskError as error:
            self._refused(member, error.cause if isinstance(error.cause, NarformerError) else error)
            return
        except self.ray.exceptions.RayError as error:
            self._lose(member, _first_line(error))
            return
        work, member.work, member.pending = member.work, None, None
        if work is None:
            self._join(member, answer)
            return
        self._keep(member, work, answer)

    def _join(self, member: _Member, offers: Sequence[Offer]) -> None:
        machine = member.machine
        for k, (wish, offer) in enumerate(zip(self.wishes, offers, strict=True)):
            if wish.hardware not in machine.hardware:
                continue
            if offer.target is None:
                self.refused[k][machine.id] = f"{machine.host}: {offer.refusal}"
                if wish.asked:
                    self.tell(f"{machine.host}: does not measure {wish}: {offer.refusal}")
                continue
            member.recorders[k] = Recorder(offer.target, self.store, offer.machine, f"{self.id}-{machine.host}")
        if not member.recorders:
            self.failures[machine.id] = ATTEMPTS
            del self.members[machine.id]
            self.ray.kill(member.actor)

    def _refused(self, member: _Member, error: Exception) -> None:
        """It lives, but cannot measure: what it had is for another machine, if one can."""
        work, member.work, member.pending = member.work, None, None
        if work is None:
            self._lose(member, _first_line(error))
            return
        self.refused[work.wish][member.machine.id] = f"{member.machine.host}: {_first_line(error)}"
        self.tell(f"{member.machine.host}: does not measure {self.wishes[work.wish]}: {_first_line(error)}")
        del member.recorders[work.wish]
        self._take_back(work)

    def _take_back(self, work: _Work) -> None:
        self.returned[work.wish].appendleft(work)
        self._release(work)

    def _keep(self, member: _Member, work: _Work, result: Result) -> None:
        recorder = member.recorders[work.wish]
        self._report(work, recorder.record(self.networks[work.network], self.open(work.network).graph, result))
        self._release(work)

    def _release(self, work: _Work) -> None:
        """Whoever waits for the same network need not wait any more: it is in the store, or has to be measured."""
        if work.key is not None:
            self.returned[work.wish].extend(self.waiting.pop(work.key))
            work.key = None

    def _report(self, work: _Work, outcome: Outcome) -> None:
        self.outcomes[work.wish][work.network] = outcome
        self.report(outcome)


def sendable(job: Job) -> Job:
    """The job with the bytes of its file, but for large weights: another machine has its own, random ones."""
    if isinstance(job.source, bytes):
        return replace(job, source=strip_weights(job.source, KEPT))
    with Path(job.source).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return replace(job, source=strip_weights(mapped, KEPT))


def _first_line(error: BaseException) -> str:
    """What an error says, without where: Ray adds the whole road to it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if "ray::" in str(error) and lines else lines[0] if lines else type(error).__name__)[:300]
