"""Progress on standard error where that is a terminal; nothing elsewhere, so that a log stays readable."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

Item = TypeVar("Item")


def track(items: Iterable[Item], text: str, total: int, least: int = 0) -> Iterator[Item]:
    """The items, with a bar while they are taken, if there are at least so many."""
    if total < least or not sys.stderr.isatty():
        yield from items
        return
    with _progress() as progress:
        yield from progress.track(items, total, description=text)


@contextmanager
def bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """A bar, to be called with what is done and all there is."""
    if not sys.stderr.isatty():
        yield lambda _done, _all: None
        return
    with _progress() as progress:
        task = progress.add_task(text, total=None)
        yield lambda done, all_: progress.update(task, completed=done, total=all_)


@contextmanager
def busy(text: str) -> Iterator[None]:
    """How long something has taken, where nobody can tell how long it will."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    with _progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()) as progress:
        progress.add_task(text, total=None)
        yield


def _progress(*columns: ProgressColumn) -> Progress:
    from rich.console import Console
    from rich.progress import Progress

    # Standard output is left alone: it may be a file, or another program's.
    return Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)
