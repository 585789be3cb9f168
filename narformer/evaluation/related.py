"""Related targets: those that have most in common with a new one, and what datasheets tell of the two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from narformer.prediction.target import Target
from narformer.prediction.target_groups import tags


def related(device: str, known: Sequence[str]) -> list[str]:
    """Known targets, the most related first.

    By groups that they share, then the same runtime to its version, then the nearest generation of an NPU, the nearest
    peak, the nearest year. What is not public of one of the two is as far as can be.
    """
    mine, target = set(tags(device)), Target.parse(device)

    def order(other: str) -> tuple[int, bool, float, float, float, str]:
        theirs = Target.parse(other)
        generation = _apart(target.facts.npu_generation, theirs.facts.npu_generation)
        peaks, year = peak_ratio(target, theirs), _apart(target.facts.year, theirs.facts.year)
        peak = np.inf if peaks is None else abs(float(np.log(peaks)))
        return -len(mine & set(tags(other))), theirs.runtime != target.runtime, generation, peak, year, other

    return sorted(known, key=order)


def _apart(a: int | None, b: int | None) -> float:
    return np.inf if a is None or b is None else abs(a - b)


def peak_ratio(target: Target, other: Target) -> float | None:
    """How many times the operations a second of the other a target's hardware has; None where that is not public.

    In the precision of each; where that is not public for both, in one that is.
    """
    mine, theirs = target.facts.peak, other.facts.peak
    if target.precision in mine and other.precision in theirs:
        return mine[target.precision] / theirs[other.precision]
    return next(
        (mine[each] / theirs[each] for each in ("int8", "fp16", "fp32") if each in mine and each in theirs), None
    )


def datasheet_factor(device: str, relative: str) -> float:
    """By how much a target should take longer than a related one, from what makers publish; 1 where they do not.

    The geometric mean of the ratios of peak and of bandwidth: networks are bound by the one here, by the other there.
    """
    target, other = Target.parse(device), Target.parse(relative)
    ratios = [peak_ratio(target, other)]
    if target.facts.bandwidth and other.facts.bandwidth:
        ratios.append(target.facts.bandwidth / other.facts.bandwidth)
    there = [np.log(ratio) for ratio in ratios if ratio]
    return float(np.exp(-np.mean(there))) if there else 1.0
