"""What every comparison here gives: a row that names the baseline, both sides' median, the ratio, and peak memory.

Both sides run in one process, in turns, so that a busy or a slow machine is the same for both.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

ROUNDS = 5


@dataclass(frozen=True)
class Row:
    """One comparison.

    ours, theirs: medians over `rounds`, in `unit`. ratio: how many times better ours is, the median over the rounds.
    megabytes, their_megabytes: peak memory of a process that does it once, imports and data included.
    """

    what: str
    baseline: str
    unit: str
    ours: float
    theirs: float
    ratio: float
    rounds: int
    megabytes: float | None = None
    their_megabytes: float | None = None


def compare(
    what: str,
    baseline: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    items: int = 1,
    unit: str = "ms",
    rounds: int = ROUNDS,
    repeats: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> Row:
    """Time two functions in turns, after a round that warms up; each does the same work, of `items` items.

    unit: "ms" for an item, or anything else for items a second. repeats: calls of a function in one round.
    """
    megabytes, their_megabytes = peak_megabytes(ours), peak_megabytes(theirs)
    seconds: list[tuple[float, float]] = []
    for number in range(rounds + 1):
        taken = []
        for function in (ours, theirs):
            started = clock()
            for _ in range(repeats):
                function()
            taken.append((clock() - started) / repeats / items)
        if number:
            seconds.append((taken[0], taken[1]))
    mine, other = (statistics.median(side) for side in zip(*seconds, strict=True))
    ratio = statistics.median(b / a for a, b in seconds)
    mine, other = (1000 * mine, 1000 * other) if unit == "ms" else (1 / mine, 1 / other)
    return Row(what, baseline, unit, mine, other, ratio, rounds, megabytes, their_megabytes)


def peak_megabytes(function: Callable[[], object]) -> float:
    """Peak memory of a child process that makes one call, imports and data included; of several, the largest's."""
    sys.stdout.flush()
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # memory that was freed is not there for the child to fill
    child = os.fork()
    if child == 0:
        try:
            if "torch" in sys.modules:  # its other threads are the parent's, and a child would wait for them for ever
                sys.modules["torch"].set_num_threads(1)
            function()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    _, status, usage = os.wait4(child, 0)  # of the child and of its own children, the largest
    if status:
        raise SystemExit("this failed in a child process")
    return usage.ru_maxrss / 1024


def print_table(rows: Sequence[Row]) -> None:
    """As Markdown, so that a page of the manual can take it as it is."""
    print("| what | narformer | baseline | | ratio | peak MB, narformer | peak MB, baseline |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        memory = [("" if m is None else f"{m:.0f}") for m in (row.megabytes, row.their_megabytes)]
        sides = [f"{_figure(side)} {row.unit}" for side in (row.ours, row.theirs)]
        print(f"| {row.what} | {sides[0]} | {row.baseline} | {sides[1]} | **{row.ratio:.2f}** | {' | '.join(memory)} |")


def _figure(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def main(description: str | None, rows: Callable[[], Sequence[Row]]) -> None:
    """A script of one benchmark: its rows as a table, or with --json as an array."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    made = rows()
    if as_json:
        print(json.dumps([asdict(row) for row in made], indent=1))
    else:
        print_table(made)
