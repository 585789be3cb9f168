"""When to stop repeating a run, and what to say about its time. Pure logic: the clock is an argument.

Warm-up, then repeats until the standard error of their median is small enough or the budget is spent. Interruptions
only ever lengthen a run, so outliers are those beyond the upper fence alone (third quartile plus 1.5 interquartile
ranges, Tukey, 1977); they are counted and left out. The clock is monotonic: setting the wall clock changes nothing.

A machine that others share, or that gets hot, changes its speed within a second. So a reference network takes turns
with the one to be timed, and every chunk of runs is divided by how slow the reference was just before and after it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

# One run of a network. It returns the seconds it took where the runtime times itself (events on a GPU), else None.
Run = Callable[[], float | None]
Clock = Callable[[], float]
# Seconds of a network, then of the reference, in turns. On a busy virtual machine the quotient of the two repeats three
# times better than the network's own median; longer turns let the machine's speed change within one.
CHUNK_S, MARK_S = 0.075, 0.03


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

    @classmethod
    def lasting(cls, seconds: float) -> Plan:
        """Runs for so many seconds, whatever their error is by then."""
        return cls(budget_s=seconds, target=0.0, min_s=seconds, max_repeats=10_000_000)


@dataclass(frozen=True)
class Timing:
    """Median of the repeats, half the distance of their quartiles, both in ms; how many, and how many outliers.

    reference_ms: the reference's typical time meanwhile, at which speed of the machine the others are meant.
    min_ms, p90_ms, p99_ms, mean_ms: the fastest, what 90 and 99 in 100 runs are no slower than, and the mean, of all
    runs, outliers among them.
    """

    median_ms: float
    spread_ms: float
    repeats: int
    outliers: int
    relative_error: float
    reference_ms: float | None = None
    min_ms: float = math.nan
    p90_ms: float = math.nan
    p99_ms: float = math.nan
    mean_ms: float = math.nan


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


def time_runs(run: Run, plan: Plan, clock: Clock = time.perf_counter, reference: Run | None = None) -> Timing:
    """Repeat `run` as the plan says, in turns with `reference` if there is one, and sum it up.

    What the runs raise is not caught.
    """
    start = clock()
    while True:
        run()
        if clock() - start >= plan.warmup_s:
            break
    turns = _Turns(reference, clock)
    look = plan.min_repeats
    while True:
        turns.take(_seconds(run, clock))
        if turns.count < plan.min_repeats:
            continue
        if turns.spent >= plan.budget_s or turns.count >= plan.max_repeats:
            return turns.timing()
        # Looking costs a sort, so the next look is always a quarter further on.
        if turns.count >= look and turns.spent >= min(plan.min_s, plan.budget_s):
            timing = turns.timing()
            if timing.relative_error <= plan.target:
                return timing
            look = math.ceil(1.25 * turns.count)


class _Turns:
    """The runs so far, in chunks, and the reference's time before the first, between them and after the last."""

    def __init__(self, reference: Run | None, clock: Clock) -> None:
        self.reference, self.clock = reference, clock
        self.chunks: list[list[float]] = [[]]
        self.marks = [] if reference is None else [mark(reference, clock)]
        self.count, self.spent = 0, 0.0

    def take(self, seconds: float) -> None:
        self.chunks[-1].append(seconds)
        self.count += 1
        self.spent += seconds
        if self.reference is not None and sum(self.chunks[-1]) >= CHUNK_S:
            self._close()

    def timing(self) -> Timing:
        if self.reference is None:
            return summarise(self.chunks[0])
        if self.chunks[-1]:
            self._close()
        typical = float(np.median(self.marks))
        around = np.sqrt(np.multiply(self.marks[:-1], self.marks[1:]))
        steady = [np.multiply(chunk, typical / slow) for chunk, slow in zip(self.chunks, around, strict=False)]
        return replace(summarise(np.concatenate(steady)), reference_ms=1e3 * typical)

    def _close(self) -> None:
        assert self.reference is not None
        self.marks.append(mark(self.reference, self.clock))
        self.chunks.append([])


def mark(reference: Run, clock: Clock = time.perf_counter, at_least_s: float = MARK_S) -> float:
    """The reference's time now: the median of a few runs, in seconds."""
    seconds = [_seconds(reference, clock)]
    while sum(seconds) < at_least_s:
        seconds.append(_seconds(reference, clock))
    return float(np.median(seconds))


def _seconds(run: Run, clock: Clock) -> float:
    before = clock()
    own = run()
    return clock() - before if own is None else own


def summarise(seconds: Sequence[float] | npt.NDArray[np.float64]) -> Timing:
    """Median, spread and error of repeats in seconds, outliers left out.

    The standard error of a median is 1.2533 standard deviations over √n for normal errors, and a normal distribution's
    quartiles are 1.349 standard deviations apart; quartiles are not moved by what outliers remain.
    """
    values = np.asarray(seconds, dtype=np.float64)
    low, high = np.quantile(values, [0.25, 0.75])
    p90, p99 = np.quantile(values, [0.9, 0.99])
    kept = values[values <= high + 1.5 * (high - low)]
    low, median, high = np.quantile(kept, [0.25, 0.5, 0.75])
    error = 1.2533 * (high - low) / 1.349 / math.sqrt(len(kept))
    return Timing(
        median_ms=float(median * 1e3),
        spread_ms=float((high - low) / 2 * 1e3),
        repeats=len(kept),
        outliers=len(values) - len(kept),
        relative_error=float(error / median) if median > 0 else 0.0,
        min_ms=float(values.min() * 1e3),
        p90_ms=float(p90 * 1e3),
        p99_ms=float(p99 * 1e3),
        mean_ms=float(values.mean() * 1e3),
    )
