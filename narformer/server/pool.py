"""Worker processes, each with a thread that talks to it: killed where it takes too long, replaced where it dies."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import Any, NamedTuple

from narformer.errors import ConfigError, NarformerError
from narformer.server.failures import Refused, body_of
from narformer.server.question import Question, Setup
from narformer.server.worker import READY, SPENT, main

START_SECONDS = 120.0  # for a worker to be ready, on a busy machine
END_SECONDS = 5.0


class Reply(NamedTuple):
    """Status and body of an HTTP response."""

    status: int
    body: bytes


class Gone(Exception):
    """The process has died."""


class Process:
    """One worker process, which is begun; `until_ready` waits for it."""

    def __init__(self, setup: Setup, target: Callable[[Connection, Setup], None], context: BaseContext) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        self.served = 0
        self._ending = threading.Lock()
        self.process: Any = context.Process(target=target, args=(theirs, setup), daemon=True)  # type: ignore[attr-defined]
        self.process.start()
        theirs.close()

    def until_ready(self) -> None:
        """Returns when it can be asked. Raises ConfigError, with its reason, where it cannot; it is ended then."""
        try:
            told = self._received(START_SECONDS)
        except (Gone, TimeoutError) as error:
            self.kill()
            raise ConfigError("a worker process of the service does not start; is there memory for it?") from error
        if told != READY:
            self.kill()
            raise ConfigError(json.loads(told)["error"]["message"])

    def ask(self, question: Question, seconds: float) -> bytes:
        """The worker's answer. Raises Gone where it died, TimeoutError where it takes longer."""
        try:
            self.connection.send(question)
        except OSError as error:
            raise Gone from error
        answer = self._received(seconds)
        self.served += 1
        return answer

    def _received(self, seconds: float) -> bytes:
        try:
            if self.connection.poll(seconds):
                return self.connection.recv_bytes()
        except (EOFError, OSError) as error:
            raise Gone from error
        raise TimeoutError

    def kill(self) -> None:
        """End it, whatever it does. Its own thread and the one that ends the service may both do so."""
        with self._ending:  # closed twice at once, a connection would close another's descriptor
            self.process.kill()
            self.process.join(END_SECONDS)
            self.connection.close()


class Pool:
    """So many worker processes, all of one setup. Use as a context manager: on leaving, they are ended.

    killed: how many were, by the reason: "time", "memory", "died".
    """

    def __init__(
        self,
        setup: Setup,
        workers: int,
        seconds: float,
        target: Callable[[Connection, Setup], None] = main,
    ) -> None:
        """seconds: for one question. target: what the processes run, for tests."""
        self.setup, self.workers, self.seconds = setup, workers, seconds
        self.killed: Counter[str] = Counter()
        self._target = target
        self._context = _context()
        self._mine = threading.local()
        self._all: set[Process] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._threads = ThreadPoolExecutor(workers, "narformer-worker")

    def __enter__(self) -> Pool:
        barrier = threading.Barrier(self.workers)
        try:
            for started in [self._threads.submit(self._start, barrier) for _ in range(self.workers)]:
                started.result()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def alive(self) -> int:
        """How many processes are there to answer."""
        with self._lock:
            return sum(process.process.is_alive() for process in self._all)

    @property
    def processes(self) -> tuple[int, ...]:
        """Their numbers."""
        with self._lock:
            return tuple(process.process.pid for process in self._all)

    def ask(self, question: Question) -> Future[Reply]:
        """The reply to a question, when a worker has time; errors are replies too."""
        return self._threads.submit(self._answer, question)

    def close(self) -> None:
        """End the processes; what is under way ends with them, and what waits is not begun."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            ending, self._all, self._closed = self._all, set(), True
        for process in ending:
            process.kill()

    def _start(self, barrier: threading.Barrier) -> None:
        """The thread's own process. All threads come here, because none goes on before the last one has."""
        try:
            self._process()
        finally:
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait(START_SECONDS)

    def _process(self) -> Process:
        process: Process | None = getattr(self._mine, "process", None)
        if process is None:
            process = Process(self.setup, self._target, self._context)
            with self._lock:
                closed = self._closed
                self._all.add(process)
            if closed:  # nobody else would end it
                process.kill()
                raise ConfigError("the service is ending")
            try:
                process.until_ready()
            except ConfigError:
                with self._lock:
                    self._all.discard(process)
                raise
            self._mine.process = process
        return process

    def _lose(self, reason: str) -> None:
        """End the thread's process; the next question starts another."""
        process, self._mine.process = self._mine.process, None
        self.killed[reason] += 1
        with self._lock:
            self._all.discard(process)
        process.kill()

    def _answer(self, question: Question) -> Reply:
        """Ask; where the process dies, or is spent by what it answered before, ask another one once."""
        answer = b""
        for _ in range(2):
            try:
                process = self._process()
                first = process.served == 0
                answer = process.ask(question, self.seconds)
            except Gone:
                self._lose("died")
                continue
            except TimeoutError:
                self._lose("time")
                return _reply(
                    Refused(
                        422,
                        f"given up: no answer within {self.seconds:g} s; predict it on your own machine",
                        "LimitError",
                    )
                )
            except NarformerError as error:
                return _reply(Refused(503, str(error), "Unavailable"))
            if answer[:1] == SPENT:
                self._lose("memory")
                if not first:
                    continue
            break
        else:
            if not answer:
                return _reply(Refused(500, "the process that read it died, twice; please report it", "Internal"))
        return Reply(int(answer[1:4]), answer[4:])


def _reply(error: Refused) -> Reply:
    return Reply(error.status, body_of(error))


def _context() -> BaseContext:
    """Processes that start fast and share nothing with ours: forked from one that only has the imports."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["narformer.server.worker"])
    return context
