"""When repeats stop and what is said of them, on a clock that only the runs move."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from narformer.measurement.timing import Plan, single_threaded, summarise, time_runs


class FakeClock:
    """Stands still but for the runs: run k takes the k-th of `lengths` seconds, the last one for ever."""

    def __init__(self, *lengths: float) -> None:
        self.now = 1024.0
        self.lengths = lengths
        self.runs = 0

    def __call__(self) -> float:
        return self.now

    def run(self) -> None:
        self.now += self.lengths[min(self.runs, len(self.lengths) - 1)]
        self.runs += 1


def test_steady_runs_stop_as_soon_as_the_plan_allows() -> None:
    clock = FakeClock(1 / 64)
    timing = time_runs(clock.run, Plan(min_s=0.5, warmup_s=0.125), clock)
    assert (timing.median_ms, timing.spread_ms, timing.relative_error) == (1000 / 64, 0.0, 0.0)
    assert timing.repeats == 32
    assert clock.runs == 32 + 8


def test_warm_up_is_not_timed() -> None:
    clock = FakeClock(3.0, 0.01)
    assert time_runs(clock.run, Plan(warmup_s=0.1), clock).median_ms == pytest.approx(10)


def test_noisy_runs_go_on_until_the_budget_is_spent() -> None:
    clock = FakeClock(*[0.01, 0.02] * 1000)
    timing = time_runs(clock.run, Plan(budget_s=2.0, target=0.001, warmup_s=0.0), clock)
    assert timing.repeats == pytest.approx(2.0 / 0.015, abs=2)
    assert timing.relative_error > 0.001


def test_a_slow_network_is_repeated_five_times_whatever_the_budget() -> None:
    clock = FakeClock(10.0)
    timing = time_runs(clock.run, Plan(budget_s=2.0), clock)
    assert timing.repeats == 5
    assert clock.runs == 6


def test_a_budget_below_the_shortest_time_wins() -> None:
    clock = FakeClock(1 / 64)
    assert time_runs(clock.run, Plan(budget_s=0.125, target=0.0, warmup_s=0.0), clock).repeats == 8


def test_more_repeats_than_the_most_are_not_made() -> None:
    clock = FakeClock(1e-9)
    assert time_runs(clock.run, Plan(max_repeats=100, warmup_s=0.0), clock).repeats == 100


def test_a_run_that_times_itself_is_believed() -> None:
    clock = FakeClock(0.01)

    def on_events() -> float:
        clock.run()
        return 0.002

    assert time_runs(on_events, Plan(), clock).median_ms == pytest.approx(2)


def test_slow_outliers_are_left_out_and_fast_ones_kept() -> None:
    timing = summarise([0.010, 0.011, 0.012, 0.013, 0.014, 0.5, 0.001])
    # Percentiles are those of all runs, outliers among them: that is what they are asked for.
    assert timing.min_ms == 1.0
    assert 14.0 < timing.p90_ms < timing.p99_ms < 500.0
    assert timing.mean_ms == pytest.approx(561 / 7)
    assert (timing.outliers, timing.repeats) == (1, 6)
    assert timing.median_ms == pytest.approx(11.5)


def test_spread_is_half_the_distance_of_the_quartiles() -> None:
    timing = summarise([0.001, 0.002, 0.003, 0.004, 0.005])
    assert (timing.median_ms, timing.spread_ms) == (pytest.approx(3), pytest.approx(1))
    # 1.2533 · (2 ms / 1.349) / √5 over 3 ms
    assert timing.relative_error == pytest.approx(0.277, abs=0.001)


class SharedMachine:
    """A machine whose speed is not its own: `slow(now)` says by which factor everything takes longer."""

    def __init__(self, slow: Callable[[float], float]) -> None:
        self.now, self.slow = 0.0, slow

    def clock(self) -> float:
        return self.now

    def running(self, seconds: float) -> Callable[[], None]:
        def run() -> None:
            self.now += seconds * self.slow(self.now)

        return run


def test_the_reference_takes_out_what_slows_both() -> None:
    """A neighbour doubles all times for most of every second; by itself the median tells of that, the quotient not."""
    plan = Plan(budget_s=2.0, target=0.0)
    shared = SharedMachine(lambda now: 2.0 if now % 1 < 0.8 else 1.0)
    alone = time_runs(shared.running(0.01), plan, shared.clock)
    assert alone.median_ms == pytest.approx(20, rel=0.05)
    shared = SharedMachine(lambda now: 2.0 if now % 1 < 0.8 else 1.0)
    timing = time_runs(shared.running(0.01), plan, shared.clock, reference=shared.running(0.003))
    assert timing.reference_ms is not None
    assert timing.median_ms / timing.reference_ms == pytest.approx(10 / 3, rel=0.02)
    assert timing.spread_ms < 0.5 * alone.spread_ms


def test_on_a_steady_machine_the_reference_changes_nothing() -> None:
    steady = SharedMachine(lambda now: 1.0)
    timing = time_runs(steady.running(0.5), Plan(), steady.clock, reference=steady.running(0.004))
    assert timing.median_ms == pytest.approx(500)
    assert timing.reference_ms == pytest.approx(4)
    assert timing.repeats == 5


def test_what_a_run_raises_is_passed_on() -> None:
    def broken() -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        time_runs(broken, Plan())


def test_waiting_is_no_processor_time() -> None:
    assert single_threaded(lambda: time.sleep(0.05))() < 0.04


def test_processor_time_never_exceeds_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, processor = iter([5.0, 5.5]), iter([1.0, 9.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(time, "process_time", lambda: next(processor))
    assert single_threaded(lambda: None)() == pytest.approx(0.5)


def test_setting_the_wall_clock_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden() -> float:
        raise AssertionError("the wall clock was read")

    monkeypatch.setattr(time, "time", forbidden)
    timing = time_runs(lambda: None, Plan(budget_s=0.001, warmup_s=0.0, min_s=0.0, min_repeats=5))
    assert timing.repeats + timing.outliers >= 5
