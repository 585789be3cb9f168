"""Configs: number lists joined by `-`, numbers joined by `_`; and the grids from which variants were drawn.

Source: nn-Meter's published generator (Microsoft, MIT licence), as facts.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from narformer.errors import DataError

KERNELS = (1, 3, 5, 7)


def parse(family: str, config: str, lengths: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """The lists of a config. `lengths`: for each list the lengths it may have. Raises DataError, naming the config."""
    try:
        lists = [[int(number) for number in part.split("_")] for part in config.split("-")]
    except ValueError as error:
        raise DataError(f"{family} config {config!r}: expected numbers joined by `_`, lists joined by `-`") from error
    if len(lists) != len(lengths):
        raise DataError(f"{family} config {config!r}: expected {len(lengths)} lists joined by `-`, found {len(lists)}")
    for index, (values, allowed) in enumerate(zip(lists, lengths, strict=True)):
        if len(values) not in allowed:
            raise DataError(
                f"{family} config {config!r}: list {index + 1} has {len(values)} numbers, "
                f"expected {' or '.join(map(str, allowed))}"
            )
        if min(values) < 1:
            raise DataError(f"{family} config {config!r}: sizes must be at least 1")
    return lists


def join(*lists: Sequence[float]) -> str:
    return "-".join("_".join(map(str, values)) for values in lists)


def grid(start: float, end: float) -> list[float]:
    """Multipliers by repeated addition of 0.1, floating error kept: int(64 · 0.9999999999999999) is 63."""
    values, m = [], start
    while m <= end:
        values.append(m)
        m += 0.1
    return values


def scaled(rng: random.Random, base: Sequence[int], multipliers: Sequence[float]) -> list[int]:
    """Each base width times a multiplier of its own, cut to an integer."""
    return [int(width * rng.choice(multipliers)) for width in base]


def picks(rng: random.Random, choices: Sequence[int], count: int) -> list[int]:
    return [rng.choice(choices) for _ in range(count)]
