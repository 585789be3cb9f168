"""Work on very many things by a whole cluster, with Ray Data: what `narformer.processes` does with the cores of one.

What is worked on is fetched on this machine, where its files are, piece by piece as others have room for it; results
come back in the order of the items. Ray does again what a machine had under way that died, and gives each result once.
"""

from __future__ import annotations

import logging
import pickle
import warnings
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

from narformer.errors import NarformerError, UserError
from narformer.fleet import cluster

S = TypeVar("S")
T = TypeVar("T")
U = TypeVar("U")
R = TypeVar("R")
ITEMS_A_BLOCK = 32  # what Ray keeps, moves and does again at once
RETRIES = 3  # of one item whose process or machine died: an item may be what kills it


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
        raise UserError(f"predicting on a fleet needs Ray Data: pip install 'narformer[fleet]' ({error})") from error

    for name in ("ray.data", "ray.data.util"):  # its own progress and advice
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("ray.data._internal").setLevel(logging.CRITICAL)
    context = data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # In a list it stays a reference, which each process follows by itself: also one that Ray starts anew.
    shared = ray.put((prepare, work))
    rows = [{"item": pickle.dumps(item)} for item in items]
    cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
    blocks = max(1, -(-len(rows) // ITEMS_A_BLOCK), min(len(rows), 2 * cores))
    with warnings.catch_warnings():  # of what Ray 2.64 will want otherwise; see pyproject.toml
        warnings.simplefilter("ignore")
        results = (
            data.from_items(rows, override_num_blocks=blocks)
            .map(_Fetching(fetch), num_cpus=0, resources={f"node:{ray.util.get_node_ip_address()}": 0.001})
            .map(
                _Working,
                fn_constructor_args=([shared],),
                compute=data.ActorPoolStrategy(min_size=1, max_size=cores),
                num_cpus=1,
                max_restarts=RETRIES,
                max_task_retries=RETRIES,
            )
        )
    try:
        for row in results.iter_rows():
            yield pickle.loads(row["result"])
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, NarformerError):
            raise cause from error
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise UserError(f"the cluster gave up: {lines[-1] if lines else type(error).__name__}") from error


class _Fetching:
    """A row of Ray Data with what an item stands for."""

    def __init__(self, fetch: Callable[[Any], Any]) -> None:
        self.fetch = fetch

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        return {"item": pickle.dumps(self.fetch(pickle.loads(row["item"])))}


class _Working:
    """A process that works on rows of Ray Data."""

    def __init__(self, shared: Sequence[Any]) -> None:
        prepare, self.work = cluster.load().get(shared[0])
        self.state = prepare()

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        return {"result": pickle.dumps(self.work(self.state, pickle.loads(row["item"])))}
