"""Two networks on the same targets: which is faster, by how much, and which kernels make the difference.

The ratio's interval is that of two independent errors: the squares of the two half widths, in logarithms, add up.
Networks that are alike are wrong alike, so theirs is on the safe side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from narformer.figures import milliseconds
from narformer.prediction.estimate import Estimate
from narformer.prediction.explanation import Explanation, Part
from narformer.records import Answers
from narformer.tables import Column, Table

LISTED = 8  # kernels of a comparison that are listed
NOTHING = 0.005  # of the slower network's time: differences below are not worth a line


class Difference(NamedTuple):
    """The time of some kernels in two networks, and how many of them each has."""

    name: str
    first_ms: float
    second_ms: float
    first_kernels: int
    second_kernels: int

    @property
    def ms(self) -> float:
        """How much longer the second network's take; negative where they are quicker."""
        return self.second_ms - self.first_ms

    def record(self, name: str) -> dict[str, Any]:
        """As JSON's types. name: what `self.name` is."""
        return {
            name: self.name,
            "first_ms": round(self.first_ms, 6),
            "second_ms": round(self.second_ms, 6),
            "difference_ms": round(self.ms, 6),
            "first_kernels": self.first_kernels,
            "second_kernels": self.second_kernels,
        }


@dataclass(frozen=True)
class Comparison:
    """Two networks on one target.

    parts: where the milliseconds of both go; None where the predictor does not know, as for a target that was adapted.

    >>> fast, slow = (Estimate(name, "gpu", ms, ms / 1.1, ms * 1.1) for name, ms in (("a", 10.0), ("b", 20.0)))
    >>> comparison = Comparison(fast, slow)
    >>> comparison, comparison.faster
    (Comparison('b' / 'a' on gpu: 2.00 (1.75 – 2.29)), 'first')
    """

    first: Estimate
    second: Estimate
    parts: tuple[Explanation, Explanation] | None = None

    @property
    def target(self) -> str:
        """What the latencies are of."""
        return self.first.target

    @property
    def same(self) -> bool:
        """Whether both are one network, under whatever names."""
        return bool(self.first.hash) and self.first.hash == self.second.hash

    @property
    def ratio(self) -> float:
        """The second network's latency as a multiple of the first one's."""
        return self.second.value / self.first.value

    @cached_property
    def interval(self) -> tuple[float, float]:
        """Holds the true ratio as often as the intervals of both networks hold theirs."""
        if self.same:
            return (self.ratio, self.ratio)
        down = math.hypot(_below(self.second), _above(self.first))
        up = math.hypot(_above(self.second), _below(self.first))
        return (self.ratio * math.exp(-down), self.ratio * math.exp(up))

    @property
    def faster(self) -> str:
        """ "first" or "second"; empty where the interval leaves it open."""
        low, high = self.interval
        return "first" if low > 1 else "second" if high < 1 else ""

    @cached_property
    def kinds(self) -> tuple[Difference, ...]:
        """Differences by kind of kernel, the largest first."""
        return () if self.parts is None else _differences(self.parts[0].kinds, self.parts[1].kinds)

    @cached_property
    def kernels(self) -> tuple[Difference, ...]:
        """Differences by what a kernel does and to data of which shape, the largest first; what both have cancels."""
        return () if self.parts is None else _differences(self.parts[0].kernels, self.parts[1].kernels)

    def record(self) -> dict[str, Any]:
        """A row of a CSV."""
        low, high = self.interval
        return {
            "target": self.target,
            "batch_size": self.first.batch_size,
            "first": self.first.model,
            "second": self.second.model,
            "first_hash": self.first.hash,
            "second_hash": self.second.hash,
            "first_ms": self.first.value,
            "second_ms": self.second.value,
            "ratio": self.ratio,
            "low": low,
            "high": high,
            "faster": self.faster,
            "source": " and ".join(dict.fromkeys((self.first.source, self.second.source))),
            "warnings": list(dict.fromkeys((*self.first.warnings, *self.second.warnings))),
        }

    def to_dict(self) -> dict[str, Any]:
        """`record`, and what makes the difference, as JSON's types."""
        return {
            **self.record(),
            "kinds": [difference.record("kind") for difference in self.kinds],
            "kernels": [difference.record("kernel") for difference in self.kernels[:LISTED]],
        }

    def difference_table(self, title: str, differences: Sequence[Difference], top: int | None = None) -> Table:
        """Differences as people read them, without those that are nothing. title: what they are by."""
        least = NOTHING * max(self.first.value, self.second.value)
        columns = (Column(title), *(Column(name, right=True) for name in ("first ms", "second ms", "difference")))
        rows = []
        for row in [d for d in differences if abs(d.ms) >= least][:top]:
            first, second = _times(row.first_kernels, row.first_ms), _times(row.second_kernels, row.second_ms)
            rows.append((row.name, first, second, signed(row.ms)))
        return Table(columns, tuple(rows))

    def __repr__(self) -> str:
        low, high = self.interval
        told = "the same network" if self.same else f"{_figure(self.ratio)} ({_figure(low)} – {_figure(high)})"
        return f"Comparison({self.second.model!r} / {self.first.model!r} on {self.target}: {told})"


class Comparisons(Answers[Comparison]):
    """Comparisons in order, network by network and target by target.

    >>> import narformer
    >>> files = ("examples/resnet18.onnx", "examples/mobilenet_v2.onnx")
    >>> [comparison.faster for comparison in narformer.compare(*files, devices=["adreno-640", "myriad-x"])]
    ['second', '']
    """

    def records(self) -> list[dict[str, Any]]:
        """A row a comparison, without its kernels."""
        return [comparison.record() for comparison in self]

    def table(self) -> Table:
        """A line a comparison."""
        titles = ("first ms", "second ms", "second / first", f"{self[0].first.level if self else 0.9:.0%} interval")
        columns = [Column("target"), *(Column(title, right=True) for title in titles), Column("faster")]
        several = len({comparison.second.model for comparison in self}) > 1
        if several:
            columns.insert(0, Column("second", short=True))
        rows = []
        for each in self:
            low, high = each.interval
            told = (
                each.target,
                milliseconds(each.first.value),
                milliseconds(each.second.value),
                _figure(each.ratio),
                f"{_figure(low)} – {_figure(high)}",
                "the same" if each.same else each.faster or "open",
            )
            rows.append((each.second.model, *told) if several else told)
        return Table(tuple(columns), tuple(rows))


def signed(ms: float) -> str:
    """A difference in milliseconds.

    >>> signed(1.234), signed(-0.5)
    ('+1.23', '−0.500')
    """
    return ("−" if ms < 0 else "+") + milliseconds(abs(ms))


def _differences(first: Sequence[Part], second: Sequence[Part]) -> tuple[Difference, ...]:
    before = {part.name: part for part in first}
    after = {part.name: part for part in second}
    found = []
    for name in dict.fromkeys((*before, *after)):
        one, other = before.get(name, Part(name, 0, 0.0)), after.get(name, Part(name, 0, 0.0))
        found.append(Difference(name, one.ms, other.ms, one.nodes, other.nodes))
    return tuple(sorted(found, key=lambda difference: (-abs(difference.ms), difference.name)))


def _times(kernels: int, ms: float) -> str:
    return f"{kernels} × {milliseconds(ms / kernels)}" if kernels else "–"


def _below(estimate: Estimate) -> float:
    """How far below its value the interval reaches, in ln(ms)."""
    return math.log(estimate.value / estimate.low) if estimate.low > 0 else math.inf


def _above(estimate: Estimate) -> float:
    return math.log(estimate.high / estimate.value)


def _figure(ratio: float) -> str:
    return milliseconds(ratio)
