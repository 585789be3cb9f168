"""How many requests an address may make: so many a minute, and as many at once as it saved up."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

ADDRESSES = 10_000  # that are remembered


class Rate:
    """Each address has up to `a_minute` requests, which come back evenly over a minute; 0 for no limit."""

    def __init__(self, a_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.a_minute = a_minute
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, address: str) -> int:
        """Seconds after which the address may ask again; 0 for now, which counts as a request."""
        if not self.a_minute:
            return 0
        now = self._clock()
        left, then = self._left.pop(address, (self.a_minute, now))
        left = min(left + (now - then) * self.a_minute / 60, self.a_minute)
        allowed = left >= 1
        self._left[address] = (left - 1 if allowed else left, now)
        if len(self._left) > ADDRESSES:
            self._left.popitem(last=False)
        return 0 if allowed else math.ceil((1 - left) * 60 / self.a_minute)
