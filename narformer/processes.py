"""Work on many things by all cores: one pool of processes for whoever needs one.

Results come in the order of the items, however long each took, and a bounded number of them waits for an earlier one.
Ctrl-C is heard by the process that started the others, which it ends. Modules are imported where a pool is made: a
command that needs none should not wait for them.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from narformer.errors import UserError

if TYPE_CHECKING:
    from concurrent.futures import Future

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")
WAITING = 4  # items a process that are begun: bounds the memory of results that wait for an earlier one


class ProcessDiedError(UserError):
    """A process of the pool was killed, perhaps for want of memory. item: the first that has no result."""

    def __init__(self, item: int) -> None:
        super().__init__("a process was killed, perhaps for want of memory; fewer processes need less")
        self.item = item


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(work: Callable[[T], R], items: Sequence[T], jobs: int | None = None) -> Generator[R, None, None]:
    """`work(item)` for every item, in order, by `jobs` processes (all cores by default).

    By this process alone where one is asked for, or there is one item. `work`, items and results must be picklable.
    Raises what `work` raises, and ProcessDiedError.
    """
    return in_order_with(_nothing, partial(_alone, work), items, jobs)


def in_order_with(
    prepare: Callable[[], S], work: Callable[[S, T], R], items: Sequence[T], jobs: int | None = None
) -> Generator[R, None, None]:
    """As `in_order`, for work that needs something loaded: `work(prepare(), item)`, prepared once a process."""
    jobs = min(jobs or cores(), len(items))
    if jobs < 2:
        state = prepare()
        for item in items:
            yield work(state, item)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, initializer=_start, initargs=(prepare,))
    done = 0
    try:
        waiting: deque[Future[R]] = deque()
        for item in items:
            with _ctrl_c_waits():  # here the pool starts its processes
                waiting.append(pool.submit(_work, work, item))
            if len(waiting) == WAITING * jobs:
                yield waiting.popleft().result()
                done += 1
        while waiting:
            yield waiting.popleft().result()
            done += 1
    except BaseException as error:
        # Also Ctrl-C, and a reader of the results that has gone: what is under way is of no use any more.
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        if isinstance(error, BrokenProcessPool):
            raise ProcessDiedError(done) from error
        raise
    pool.shutdown()


@contextmanager
def _ctrl_c_waits() -> Iterator[None]:
    """Ctrl-C waits, and processes started meanwhile never hear it: the first one hears it, and ends the others."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_prepared: list[Any] = []  # of a process of the pool


def _start(prepare: Callable[[], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where signals cannot be blocked while a process starts
    _prepared[:] = [prepare()]


def _work(work: Callable[[Any, T], R], item: T) -> R:
    return work(_prepared[0], item)


def _nothing() -> None:
    return None


def _alone(work: Callable[[T], R], _: None, item: T) -> R:
    return work(item)
