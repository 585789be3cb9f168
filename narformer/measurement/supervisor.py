"""Keeps one worker process at work: starts it, gives it jobs, ends it where it does not answer, starts another."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from typing import IO, Any

from narformer.errors import ConfigError
from narformer.measurement.jobs import Job, Result, Setup

# PyTorch compiles the reference network first, which takes minutes on a busy machine.
START_TIMEOUT_S = 600.0
_GONE = object()


class Supervisor:
    """One worker at a time. Use as a context manager: on leaving, the worker is ended."""

    def __init__(self, setup: Setup, timeout_s: float = 60.0, command: tuple[str, ...] | None = None) -> None:
        self.setup = setup
        self.timeout_s = timeout_s
        self.command = command or (sys.executable, "-m", "narformer.measurement.worker")
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.Queue[Any] = queue.Queue()
        self._errors: IO[bytes] | None = None

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def measure(self, job: Job) -> Result:
        """The job's result; a failure where the worker crashes, is killed, or does not answer in time.

        Raises ConfigError where no worker can be started: then nothing can be measured at all.
        """
        if self._process is None:
            self._start()
        try:
            self._send(job)
            answer = self._answers.get(timeout=self.timeout_s)
        except queue.Empty:
            self.stop()
            return Result(failure=f"timeout: not measured within {self.timeout_s:g} s")
        except OSError:  # it died before it had read the job
            answer = _GONE
        if answer is _GONE:
            return Result(failure=self._epitaph())
        assert isinstance(answer, Result)
        if answer.failure.startswith("out of memory"):
            self.stop()  # what the attempt has left behind would harm the next
        return answer

    def stop(self) -> None:
        """End the worker, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout, self._errors):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # what was not yet sent to it is lost with it
                        pipe.close()
            self._process = self._errors = None

    def _start(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.setup.threads)}
        try:
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed when the worker ends
        except OSError as error:
            raise ConfigError(f"no temporary file can be made ({error.strerror}); set TMPDIR, or make room") from error
        # A session of its own: Ctrl-C is for us, who then let the network under way finish.
        self._process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            start_new_session=True,
        )
        self._answers = queue.Queue()
        assert self._process.stdout is not None
        threading.Thread(target=_listen, args=(self._process.stdout, self._answers), daemon=True).start()
        try:
            self._send(self.setup)
            answer = self._answers.get(timeout=START_TIMEOUT_S)
        except queue.Empty:
            self.stop()
            raise ConfigError(f"the measuring process did not start within {START_TIMEOUT_S:g} s") from None
        except OSError:
            answer = _GONE
        if answer is _GONE:
            raise ConfigError(f"the measuring process does not start: {self._epitaph()}")
        if answer is not None:
            self.stop()
            raise ConfigError(str(answer))

    def _send(self, message: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        pickle.dump(message, self._process.stdin)
        self._process.stdin.flush()

    def _epitaph(self) -> str:
        """Why the worker is gone, from its exit code and last words."""
        assert self._process is not None
        assert self._errors is not None
        code = self._process.wait()
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read()[-4000:].decode(errors="replace").splitlines()]
        words = next((line for line in reversed(lines) if line), "")
        self.stop()
        if -code == getattr(signal, "SIGKILL", 9):
            return "out of memory: the measuring process was killed (signal 9), most likely because memory ran out"
        reason = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"crashed: the measuring process died ({reason}){': ' if words else ''}{words}"


def _listen(pipe: IO[bytes], answers: queue.Queue[Any]) -> None:
    """Hand on what the worker says; an answer cut short is none."""
    while True:
        try:
            answers.put(pickle.load(pipe))
        except Exception:  # the end, or bytes that are no pickle, for which pickle raises anything
            answers.put(_GONE)
            return
