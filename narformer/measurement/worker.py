"""The process that runs networks: jobs come in on standard input, results go out on standard output, both pickled.

It is a process of its own, so that a network that crashes its runtime, takes all memory or never ends costs this
process and not the run. `python -m narformer.measurement.worker`, started by `narformer.measurement.supervisor`.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from narformer.errors import NarformerError
from narformer.measurement import memory
from narformer.measurement.data import own_data
from narformer.measurement.device import short_version
from narformer.measurement.drift import reference_network
from narformer.measurement.jobs import Job, Result, Setup
from narformer.measurement.runtimes.registry import runtime
from narformer.measurement.runtimes.runtime import Runtime
from narformer.measurement.timing import Run, mark, single_threaded, time_runs
from narformer.measurement.weights import Runnable, runnable
from narformer.prediction.target import measured_target


class Worker:
    """Runs jobs one after another."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.runtime: Runtime = runtime(setup.runtime)
        version = short_version(self.runtime.version())  # absent: said before the first job
        # The hardware's name is of no use here: the worker runs on whatever it is.
        self.target = measured_target("here", setup.runtime, version, setup.processor, threads=setup.threads)
        if setup.processor not in self.runtime.processors():
            known = ", ".join(self.runtime.processors())
            raise NarformerError(f"{setup.runtime} cannot run on {setup.processor!r} here, only on {known}")
        if setup.cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, setup.cores)
        network = runnable(reference_network())
        self.reference = self._load(network)
        self.reference()  # warm
        seconds = setup.first_reference_s
        self.first_reference_ms = 1e3 * mark(self.reference, at_least_s=seconds) if seconds else None

    def measure(self, job: Job) -> Result:
        """Never raises for what is wrong with the network."""
        try:
            network = runnable(job.source, job.batch_size, job.name, job.input_shapes)
            if job.data is not None:
                network = replace(network, inputs=own_data(job.data, network.graph))
            before = memory.restart_peak()
            run = self._load(network)
            timing = time_runs(run, self.setup.plan, reference=self.reference)
            highest = memory.peak()
        except Exception as error:
            return Result(failure=explain(error))
        taken = None if before is None or highest is None else max(highest - before, 0)
        return Result(
            timing.median_ms,
            timing.spread_ms,
            timing.repeats,
            timing.reference_ms,
            taken,
            first_reference_ms=self.first_reference_ms,
            min_ms=timing.min_ms,
            p90_ms=timing.p90_ms,
            p99_ms=timing.p99_ms,
            mean_ms=timing.mean_ms,
        )

    def _load(self, network: Runnable) -> Run:
        run = self.runtime.load(network, self.target)
        return single_threaded(run) if (self.setup.threads, self.setup.processor) == (1, "cpu") else run


def explain(error: Exception) -> str:
    """`kind: reason` in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    words = text.lower()
    if isinstance(error, MemoryError) or any(w in words for w in ("bad_alloc", "failed to allocate", "out of memory")):
        return f"out of memory: {text}"
    return f"rejected: {text}" if isinstance(error, NarformerError) else f"failed: {type(error).__name__}: {text}"


def serve(jobs: BinaryIO, results: BinaryIO) -> None:
    """Answer `Setup` with None or the reason why it cannot be, then each Job with its Result, until the input ends."""
    waiting: queue.Queue[Any] = queue.Queue()

    def listen() -> None:
        while True:
            try:
                waiting.put(pickle.load(jobs))
            except EOFError:
                _end()

    threading.Thread(target=listen, daemon=True).start()
    try:
        worker = Worker(waiting.get())
    except Exception as error:
        _answer(results, str(error) if isinstance(error, NarformerError) else f"{type(error).__name__}: {error}")
        return
    _answer(results, None)
    while True:
        _answer(results, worker.measure(waiting.get()))


def _end() -> None:
    """Whoever started us has gone: what runs now, here and in processes that a runtime started, is of no use."""
    if hasattr(os, "killpg") and os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _answer(results: BinaryIO, answer: object) -> None:
    pickle.dump(answer, results)
    results.flush()


def main(_: Sequence[str] = ()) -> None:
    """Answer jobs from standard input until it ends."""
    # Where memory ends, the system should end this process rather than the one that keeps the results.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    # Of our own, so that nobody else reads jobs: a runtime may fork, and its child waits for ever for the lock of a
    # standard input that a thread of ours is reading.
    jobs, results = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)  # what runtimes print goes where errors go
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=partial(os.close, jobs.fileno()))
        os.register_at_fork(after_in_child=partial(os.close, results.fileno()))
    serve(jobs, results)


if __name__ == "__main__":
    main()
