"""A process of our own to talk to: pickled messages go to its standard input and come from its standard output.

Nothing here waits for ever, whatever the process does and whatever processes it starts: those inherit its pipes and
may outlive it, so the end of a pipe does not tell its death, and a pipe may never end. Reading, writing and waiting
each have a thread, and who asks for an answer waits as long as it wants to. The process leads a session of its own,
and what runs in that session ends with it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from typing import IO, Any

from narformer.errors import ConfigError

# What is said instead of an answer where none will come any more.
GONE = object()
# Seconds for a process that was killed to be gone; one that a driver holds may stay.
ENDING_S = 10.0
# Seconds after its death in which its last answer, still in the pipe, is read.
LAST_ANSWER_S = 1.0


class Child:
    """Starts the command. Raises ConfigError where it cannot be started."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        try:
            self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed when the process has ended
        except OSError as error:
            raise ConfigError(f"no temporary file can be made ({error.strerror}); set TMPDIR, or make room") from error
        try:
            # A session of its own: Ctrl-C is for us, who then let the network under way finish.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=dict(environment),
                start_new_session=True,
            )
        except OSError as error:
            self._errors.close()
            raise ConfigError(f"{command[0]}: cannot be started ({error.strerror})") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._messages: queue.Queue[Any] = queue.Queue()
        self._answers: queue.Queue[Any] = queue.Queue()
        self._ended = threading.Event()
        self._reaping = threading.Lock()
        self._reading = _thread(_read, self._process.stdout, self._answers)
        self._writing = _thread(_write, self._process.stdin, self._messages)
        _thread(self._watch)

    def send(self, message: object) -> None:
        """Returns at once; a message that cannot be delivered any more is lost."""
        self._messages.put(message)

    def answer(self, timeout_s: float) -> Any:
        """The next answer; GONE where the process has ended or says no more. Raises queue.Empty after the time."""
        return self._answers.get(timeout=timeout_s)

    def end(self, patience_s: float = 0.0) -> tuple[int | None, str]:
        """Kill it, and what is left in its session, unless it ends by itself within some seconds.

        Returns its exit code (negative for a signal; None where it had to be killed), and the last line of its errors.
        """
        by_itself = self._ended.wait(patience_s)
        self._kill()
        self._ended.wait(ENDING_S)
        self._messages.put(None)
        for thread in (self._writing, self._reading):  # each closes its pipe, unless it never ends
            thread.join(LAST_ANSWER_S)
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read()[-4000:].decode(errors="replace").splitlines()]
        self._errors.close()
        code = self._process.returncode if by_itself else None
        return code, next((line for line in reversed(lines) if line), "")

    def _watch(self) -> None:
        """Wait for its death, end what it leaves behind, and see to it that whoever waits for an answer is told."""
        if hasattr(os, "waitid"):
            # A process that has ended keeps its number until it is asked how, so that no other is killed under it.
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
            self._kill()
            with self._reaping:
                self._process.wait()
        else:
            self._process.wait()
        self._ended.set()
        self._reading.join(LAST_ANSWER_S)
        self._answers.put(GONE)

    def _kill(self) -> None:
        """Kill the process and all of its session's group."""
        with self._reaping, contextlib.suppress(OSError):
            if self._process.returncode is not None:
                return
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()


def _thread(target: Any, *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread


def _read(pipe: IO[bytes], answers: queue.Queue[Any]) -> None:
    """Hand on what is said; an answer cut short is none."""
    with contextlib.suppress(OSError), pipe:
        while True:
            try:
                answers.put(pickle.load(pipe))
            except Exception:  # the end, or bytes that are no pickle, for which pickle raises anything
                answers.put(GONE)
                return


def _write(pipe: IO[bytes], messages: queue.Queue[Any]) -> None:
    """Write messages until there is None, or nobody to read them."""
    with contextlib.suppress(OSError), pipe:
        while (message := messages.get()) is not None:
            pickle.dump(message, pipe)
            pipe.flush()
