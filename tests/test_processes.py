"""One pool of processes: order, what is prepared, and what happens when something goes wrong."""

from __future__ import annotations

import os
import signal
from functools import partial

import pytest

from narformer.processes import WAITING, ProcessDiedError, cores, in_order, in_order_with


def _square(number: int) -> int:
    return number * number


def _with(state: tuple[int, str], number: int) -> tuple[int, str, int]:
    return (state[0], state[1], number)


def _prepared(text: str) -> tuple[int, str]:
    return (os.getpid(), text)


def _fails_at_seven(number: int) -> int:
    if number == 7:
        raise ValueError("seven")
    return number


def _dies_at_seven(number: int) -> int:
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("jobs", [1, 2, None])
def test_results_come_in_the_order_of_the_items(jobs: int | None) -> None:
    numbers = list(range(5 * WAITING))
    assert list(in_order(_square, numbers, jobs)) == [number * number for number in numbers]
    assert list(in_order(_square, [], jobs)) == []


def test_what_work_needs_is_prepared_once_a_process() -> None:
    found = list(in_order_with(partial(_prepared, "loaded"), _with, range(12), 2))
    assert [(text, number) for _, text, number in found] == [("loaded", number) for number in range(12)]
    assert 1 <= len({process for process, _, _ in found} - {os.getpid()}) <= 2
    alone = list(in_order_with(partial(_prepared, "loaded"), _with, range(3), 1))
    assert {process for process, _, _ in alone} == {os.getpid()}


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_work_raises_is_raised_after_what_came_before(jobs: int) -> None:
    found: list[int] = []
    with pytest.raises(ValueError, match="seven"):
        found.extend(in_order(_fails_at_seven, range(20), jobs))
    assert found == list(range(7))


def test_a_killed_process_is_told_with_the_first_item_that_has_no_result() -> None:
    with pytest.raises(ProcessDiedError) as caught:
        list(in_order(_dies_at_seven, range(20), 2))
    assert caught.value.item <= 7


def test_there_is_a_core_at_least() -> None:
    assert cores() >= 1
