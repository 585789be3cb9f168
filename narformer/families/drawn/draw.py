"""Random choices that are the same for ever: all from `random.Random.random`, the one method that Python promises."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draw:
    """Choices that follow from a text, one after another."""

    def __init__(self, text: str) -> None:
        self._random = random.Random(text).random

    def chance(self, share: float) -> bool:
        return self._random() < share

    def choice(self, options: Sequence[T]) -> T:
        return options[int(self._random() * len(options))]

    def real(self, low: float, high: float) -> float:
        """Log-uniform: as likely between 1 and 10 as between 10 and 100."""
        return low * math.exp(self._random() * math.log(high / low))

    def integer(self, low: int, high: int) -> int:
        """Log-uniform, both ends included; low is at least 1."""
        return min(max(round(self.real(low - 0.5, high + 0.5)), low), high)

    def channels(self, low: int, high: int) -> int:
        """Two times in three a multiple of 8 or 16, as people choose; otherwise any number."""
        count = self.integer(low, high)
        if self.chance(0.34):
            return count
        step = 16 if count >= 64 else 8
        return max(min(round(count / step) * step, high), min(step, high))

    def shuffled(self, items: Sequence[T]) -> list[T]:
        rest, taken = list(items), []
        while rest:
            taken.append(rest.pop(int(self._random() * len(rest))))
        return taken

    def shape(self, elements: float, rank: int) -> tuple[int, ...]:
        """So many axes whose product is about `elements`."""
        cuts = sorted(self._random() for _ in range(rank - 1))
        shares = [b - a for a, b in zip([0.0, *cuts], [*cuts, 1.0], strict=True)]
        return tuple(max(round(elements**share), 1) for share in shares)
