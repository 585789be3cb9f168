"""Keeps one worker process at work: starts it, gives it jobs, ends it where it does not answer, starts another."""

from __future__ import annotations

import os
import queue
import signal
import sys

from narformer.errors import ConfigError
from narformer.measurement.child import GONE, Child
from narformer.measurement.jobs import Job, Result, Setup

# PyTorch compiles the reference network first, which takes minutes on a busy machine.
START_TIMEOUT_S = 600.0
# Seconds in which a worker that says no more ends by itself, so that its exit code tells why.
EPITAPH_S = 5.0


class Supervisor:
    """One worker at a time. Use as a context manager: on leaving, the worker is ended."""

    def __init__(self, setup: Setup, timeout_s: float = 60.0, command: tuple[str, ...] | None = None) -> None:
        self.setup = setup
        self.timeout_s = timeout_s
        self.command = command or (sys.executable, "-m", "narformer.measurement.worker")
        self._worker: Child | None = None

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def measure(self, job: Job) -> Result:
        """The job's result; a failure where the worker crashes, is killed, or does not answer in time.

        Raises ConfigError where no worker can be started: then nothing can be measured at all.
        """
        worker = self._worker or self._started()
        worker.send(job)
        try:
            answer = worker.answer(self.timeout_s)
        except queue.Empty:
            self.stop()
            return Result(failure=f"timeout: not measured within {self.timeout_s:g} s")
        if answer is GONE:
            return Result(failure=self._epitaph())
        assert isinstance(answer, Result)
        if answer.failure.startswith("out of memory"):
            self.stop()  # what the attempt has left behind would harm the next
        return answer

    def stop(self) -> None:
        """End the worker, whatever it does, and the processes that it has started."""
        if self._worker is not None:
            worker, self._worker = self._worker, None
            worker.end()

    def _started(self) -> Child:
        worker = self._worker = Child(self.command, {**os.environ, "OMP_NUM_THREADS": str(self.setup.threads)})
        worker.send(self.setup)
        try:
            answer = worker.answer(START_TIMEOUT_S)
        except queue.Empty:
            self.stop()
            raise ConfigError(f"the measuring process did not start within {START_TIMEOUT_S:g} s") from None
        if answer is GONE:
            raise ConfigError(f"the measuring process does not start: {self._epitaph()}")
        if answer is not None:
            self.stop()
            raise ConfigError(str(answer))
        return worker

    def _epitaph(self) -> str:
        """Why the worker says no more, from its exit code and last words."""
        assert self._worker is not None
        worker, self._worker = self._worker, None
        code, words = worker.end(EPITAPH_S)
        if code is None:
            return "crashed: the measuring process no longer answers"
        if -code == getattr(signal, "SIGKILL", 9):
            return "out of memory: the measuring process was killed (signal 9), most likely because memory ran out"
        reason = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"crashed: the measuring process died ({reason}){': ' if words else ''}{words}"
