"""Silence for one thread: torch logs and prints what it fails on before it raises, which the raised error says better.

Other threads log and print as ever: what is set up here lets pass all that does not come from a thread that asked for
silence.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any


class _Silence(logging.Filter):
    """threads: those that want it, each with how often it asked. stream: what sys.stderr was before the first did."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self.threads: dict[int, int] = {}
        self.stream: Any = None

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread not in self.threads

    # sys.stderr, while any thread wants silence.

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() in self.threads else self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["stream"], name)

    def enter(self) -> None:
        with self.lock:
            thread = threading.get_ident()
            if not self.threads:
                self.stream, sys.stderr = sys.stderr, self
            self.threads[thread] = self.threads.get(thread, 0) + 1
        for name, logger in list(logging.root.manager.loggerDict.items()):
            if name.partition(".")[0] == "torch" and isinstance(logger, logging.Logger):
                for handler in logger.handlers:
                    handler.addFilter(self)  # once; it stays, and lets all other threads pass

    def leave(self) -> None:
        with self.lock:
            thread = threading.get_ident()
            self.threads[thread] -= 1
            if not self.threads[thread]:
                del self.threads[thread]
            if not self.threads and sys.stderr is self:
                sys.stderr = self.stream


_SILENCE = _Silence()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Neither torch's log nor standard error hears of this thread within the block."""
    _SILENCE.enter()
    try:
        yield
    finally:
        _SILENCE.leave()
