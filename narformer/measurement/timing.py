"""When to stop repeating a run, and what to say about its time. Pure logic: the clock is an argument.

Warm-up, then repeats until the standard error of their median is small enough or the budget is spent. Interruptions
only ever lengthen a run, so outliers are those beyond the upper fence alone (third quartile plus 1.5 interquartile
ranges, Tukey, 1977); they are counted and left out. The clock is monotonic: setting the wall clock changes nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

# One run of a network. It returns the seconds it took where the runtime times itself (events on a GPU), else None.
Run = Callable[[], float | None]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Plan:
    """How long to measure one network. Seconds are those of the timed runs, not of what comes between.

    budget_s: stop here whatever the error. target: relative standard error of the median that suffices.
    min_repeats: at least so many, beyond the budget if need be. min_s: at least so long, because a few lucky
    milliseconds say little about a machine. warmup_s: untimed runs for so long first, one at least.
    """

    budget_s: float = 2.0
    target: float = 0.01
    min_repeats: int = 5
    min_s: float = 0.5
    warmup_s: float = 0.1
    max_repeats: int = 20_000


@dataclass(frozen=True)
class Timing:
    """Median of the repeats, half the distance of their quartiles, both in ms; how many, and how many outliers."""

    median_ms: float
    spread_ms: float
    repeats: int
    outliers: int
    relative_error: float


def single_threaded(run: Run) -> Run:
    """The same run, timed by the processor time of this process, though never beyond the time on the clock.

    Both are one where nothing else runs. Where something does, the time that a run waits for a core is not the
    network's. With several threads their times would add up: those runs are timed by the clock.
    """

    def timed() -> float:
        clock, processor = time.perf_counter(), time.process_time()
        run()
        return min(time.process_time() - processor, time.perf_counter() - clock)

    return timed


def time_runs(run: Run, plan: Plan, clock: Clock = time.perf_counter) -> Timing:
    """Repeat `run` as the plan says and sum it up. What `run` raises is not caught."""
    start = clock()
    while True:
        run()
        if clock() - start >= plan.warmup_s:
            break
    seconds: list[float] = []
    spent = 0.0
    look = plan.min_repeats
    while True:
        before = clock()
        own = run()
        seconds.append(clock() - before if own is None else own)
        spent += seconds[-1]
        if len(seconds) < plan.min_repeats:
            continue
        if spent >= plan.budget_s or len(seconds) >= plan.max_repeats:
            return summarise(seconds)
        # Looking costs a sort, so the next look is always a quarter further on.
        if len(seconds) >= look and spent >= min(plan.min_s, plan.budget_s):
            timing = summarise(seconds)
            if timing.relative_error <= plan.target:
                return timing
            look = math.ceil(1.25 * len(seconds))


def summarise(seconds: Sequence[float]) -> Timing:
    """Median, spread and error of repeats in seconds, outliers left out.

    The standard error of a median is 1.2533 standard deviations over √n for normal errors, and a normal distribution's
    quartiles are 1.349 standard deviations apart; quartiles are not moved by what outliers remain.
    """
    values = np.asarray(seconds, dtype=np.float64)
    low, high = np.quantile(values, [0.25, 0.75])
    kept = values[values <= high + 1.5 * (high - low)]
    low, median, high = np.quantile(kept, [0.25, 0.5, 0.75])
    error = 1.2533 * (high - low) / 1.349 / math.sqrt(len(kept))
    return Timing(
        median_ms=float(median * 1e3),
        spread_ms=float((high - low) / 2 * 1e3),
        repeats=len(kept),
        outliers=len(values) - len(kept),
        relative_error=float(error / median) if median > 0 else 0.0,
    )
