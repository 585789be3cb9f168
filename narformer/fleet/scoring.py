"""Work on very many things by a whole cluster, with Ray Data: what `narformer.processes` does with the cores of one.

What is worked on is fetched on this machine, where its files are, piece by piece as others have room for it; results
come back in the order of the items. Ray does again what a machine had under way that died, and gives each result once.
"""

from __future__ import annotations

import logging
import pickle
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, TypeVar

from narformer.errors import NarformerError, UserError, installing
from narformer.fleet import cluster
from narformer.loggers import heard

S = TypeVar("S")
T = TypeVar("T")
U = TypeVar("U")
R = TypeVar("R")
ITEMS_A_BLOCK = 32  # what Ray keeps, moves and does again at once
RETRIES = 4  # times that an item is begun: it may be what kills the process


def in_order_with(
    prepare: Callable[[], S], fetch: Callable[[T], U], work: Callable[[S, U], R], items: Sequence[T]
) -> Generator[R, None, None]:
    """`work(prepare(), fetch(item))` for every item, in order; connected to a cluster.

    fetch: runs on this machine. prepare: runs once in each process that works. All must be picklable, and of modules
    that every machine has. Raises what they raise where that is a NarformerError, and UserError where Ray gives up.
    """
    ray = cluster.load()
    try:
        from ray import data
    except ImportError as error:
        raise UserError(f"predicting on a fleet needs Ray Data: {installing('fleet')} ({error})") from error

    with heard("ray.data", "ray.data.util", "ray.data._internal", level=logging.CRITICAL):  # its progress and advice
        yield from _worked(ray, data, prepare, fetch, work, items)


def _worked(
    ray: Any,
    data: Any,
    prepare: Callable[[], S],
    fetch: Callable[[T], U],
    work: Callable[[S, U], R],
    items: Sequence[T],
) -> Generator[R, None, None]:
    context = data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    beside_us = {f"node:{ray.util.get_node_ip_address()}": 0.001}
    # In a list it stays a reference, which each process follows by itself: also one that Ray starts anew.
    shared = ray.put((prepare, work))
    attempts = ray.remote(_Attempts).options(num_cpus=0, resources=beside_us).remote()
    rows = [{"place": place, "item": pickle.dumps(item)} for place, item in enumerate(items)]
    cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
    blocks = max(1, -(-len(rows) // ITEMS_A_BLOCK), min(len(rows), 2 * cores))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Ray says to who calls it, not to the user
        results = (
            data.from_items(rows, override_num_blocks=blocks)
            .map(_Fetching(fetch), num_cpus=0, resources=beside_us)
            .map(
                _Working,
                fn_constructor_args=([shared], attempts),
                compute=data.ActorPoolStrategy(min_size=1, max_size=cores),
                num_cpus=1,
            )
        )
    try:
        for row in results.iter_rows():
            result = pickle.loads(row["result"])
            if isinstance(result, _Raised):
                raise result.error
            yield result
    except ray.exceptions.RayError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise UserError(f"the cluster gave up: {lines[-1] if lines else type(error).__name__}") from error


class _Raised(NamedTuple):
    """What one of our own errors travels as: Ray would wrap it in its own."""

    error: NarformerError


class _Fetching:
    """A row of Ray Data with what an item stands for."""

    def __init__(self, fetch: Callable[[Any], Any]) -> None:
        self.fetch = fetch

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        fetched = _caught(lambda: self.fetch(pickle.loads(row["item"])))
        return {"place": row["place"], "item": pickle.dumps(fetched)}


class _Attempts:
    """How often each item was begun: Ray begins an item whose process died again without end."""

    def __init__(self) -> None:
        self.begun: Counter[int] = Counter()

    def begin(self, place: int) -> int:
        self.begun[place] += 1
        return self.begun[place]


class _Working:
    """A process that works on rows of Ray Data."""

    def __init__(self, shared: Sequence[Any], attempts: Any) -> None:
        self.attempts = attempts
        self.prepare, self.work = cluster.load().get(shared[0])
        self.prepared: list[Any] = []

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"result": pickle.dumps(_caught(lambda: self._result(row)))}

    def _result(self, row: dict[str, Any]) -> Any:
        if cluster.load().get(self.attempts.begin.remote(int(row["place"]))) > RETRIES:
            raise UserError(f"the processes that worked on part {row['place'] + 1} died, {RETRIES} times")
        if not self.prepared:
            self.prepared.append(self.prepare())
        fetched = pickle.loads(row["item"])
        return fetched if isinstance(fetched, _Raised) else self.work(self.prepared[0], fetched)


def _caught(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except NarformerError as error:
        return _Raised(error)
