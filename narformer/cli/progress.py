"""Progress on standard error: a bar with the time left on a terminal, a line now and then elsewhere.

Neither begins at once: what is over soon leaves nothing, so that a log stays readable. `--quiet` keeps both back.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

from narformer.cli.notes import quiet, tell
from narformer.figures import duration

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

Item = TypeVar("Item")
BAR_S = 1.0  # after which a bar appears
FIRST_S, NEXT_S = 10.0, 60.0  # after which a line is written, and then the next


class Show(Protocol):
    """To be called with what is done, all there is, and what was done last."""

    def __call__(self, done: int, all_: int, last: str = "") -> None:
        """Show it."""


def track(items: Iterable[Item], text: str, total: int, least: int = 2) -> Iterator[Item]:
    """The items, with progress while they are taken, if there are at least so many."""
    if total < least:
        yield from items
        return
    with bar(text) as show:
        show(0, total)
        for done, item in enumerate(items, start=1):
            yield item
            show(done, total)


@contextmanager
def bar(text: str) -> Iterator[Show]:
    """Progress of work that tells how far it is."""
    if not sys.stderr.isatty() or quiet():
        yield _Lines(text)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    last = TextColumn("{task.fields[last]}")
    progress = _progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), last
    )
    task = progress.add_task(text, total=None, last="")
    with _appearing(progress):
        yield lambda done, all_, last="": progress.update(task, completed=done, total=all_, last=last)


@contextmanager
def busy(text: str) -> Iterator[None]:
    """How long something has taken, where nobody can tell how long it will."""
    if not sys.stderr.isatty() or quiet():
        with _now_and_then(text):
            yield
        return
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    progress = _progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    progress.add_task(text, total=None)
    with _appearing(progress):
        yield


class _Lines:
    """A line now and then, with the time that what is left will take if it goes on as before."""

    def __init__(self, text: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.text, self.clock = text, clock
        self.begun = clock()
        self.next = self.begun + FIRST_S

    def __call__(self, done: int, all_: int, last: str = "") -> None:
        now = self.clock()
        if now < self.next or not 0 < done < all_:
            return
        left = duration((now - self.begun) / done * (all_ - done))
        tell(f"narformer: {self.text}: {done:,} of {all_:,}, about {left} left")
        self.next = now + NEXT_S


@contextmanager
def _now_and_then(text: str) -> Iterator[None]:
    """A line now and then that it is still going on, from a thread of its own."""
    over = threading.Event()
    begun = time.monotonic()

    def lines() -> None:
        wait = FIRST_S
        while not over.wait(wait):
            tell(f"narformer: {text}: {duration(time.monotonic() - begun)} so far")
            wait = NEXT_S

    thread = threading.Thread(target=lines, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()


@contextmanager
def _appearing(progress: Progress) -> Iterator[None]:
    """Shown once it has taken a moment, and gone at the end."""
    timer = threading.Timer(BAR_S, progress.start)
    timer.daemon = True
    if BAR_S:
        timer.start()
    else:
        progress.start()
    try:
        yield
    finally:
        timer.cancel()
        if BAR_S:
            timer.join()
        progress.stop()


def _progress(*columns: ProgressColumn) -> Progress:
    from rich.console import Console
    from rich.progress import Progress

    # Standard output is left alone: it may be a file, or another program's.
    return Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)
