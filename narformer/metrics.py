"""Metrics of predictors. Targets that were not measured are the caller's to leave out.

Shared errors: ValueError where lengths differ, where there is nothing to compare, where a value is not a number, and,
for relative errors, where a target is 0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


def mape(prediction: npt.ArrayLike, target: npt.ArrayLike) -> float:
    """Mean absolute percentage error, in percent of the target."""
    return float(100 * np.mean(_relative_errors(prediction, target)))


def rmspe(prediction: npt.ArrayLike, target: npt.ArrayLike) -> float:
    """Root mean square percentage error, in percent of the target."""
    return float(100 * np.sqrt(np.mean(_relative_errors(prediction, target) ** 2)))


def acc(prediction: npt.ArrayLike, target: npt.ArrayLike, tolerance: float) -> float:
    """Acc(δ): share, 0 to 1, of predictions whose relative error is at most `tolerance` (0.1 for 10 %)."""
    return float(np.mean(_relative_errors(prediction, target) <= tolerance))


def spearman(prediction: npt.ArrayLike, target: npt.ArrayLike) -> float:
    """Spearman's rank correlation, ties given their mean rank; NaN where either side is constant."""
    p, t = _checked(prediction, target)
    a, b = _ranks(p) - (len(p) + 1) / 2, _ranks(t) - (len(t) + 1) / 2
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale else float("nan")


def kendall_tau(prediction: npt.ArrayLike, target: npt.ArrayLike) -> float:
    """Kendall's tau-b, in O(n log n) by counting inversions (Knight, 1966); NaN where either side is constant."""
    p, t = _checked(prediction, target)
    order = np.lexsort((t, p))
    p, t = p[order], t[order]
    pairs = len(p) * (len(p) - 1) // 2
    tied_p, tied_t = _tied_pairs(p), _tied_pairs(np.sort(t))
    same = (p[1:] == p[:-1]) & (t[1:] == t[:-1])
    tied_both = _pairs_in_runs(same)
    discordant = _inversions(t)
    concordant = pairs - tied_p - tied_t + tied_both - discordant
    scale = np.sqrt(float(pairs - tied_p) * float(pairs - tied_t))
    return float((concordant - discordant) / scale) if scale else float("nan")


def _relative_errors(prediction: npt.ArrayLike, target: npt.ArrayLike) -> Values:
    """|prediction − target| / |target|, so that 11 for 10 is an error of 0.1 and not of 0.10000000000000009."""
    p, t = _checked(prediction, target)
    if not t.all():
        raise ValueError("a target is 0: relative errors need targets other than 0")
    return np.asarray(np.abs(p - t) / np.abs(t))


def _checked(prediction: npt.ArrayLike, target: npt.ArrayLike) -> tuple[Values, Values]:
    p, t = np.asarray(prediction, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if p.shape != t.shape or p.ndim != 1:
        raise ValueError(f"predictions and targets must be two lists of one length, not {p.shape} and {t.shape}")
    if not len(p):
        raise ValueError("nothing to compare: no predictions")
    if not (np.isfinite(p).all() and np.isfinite(t).all()):
        raise ValueError("predictions and targets must be finite numbers")
    return p, t


def _ranks(values: Values) -> Values:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _tied_pairs(ordered: Values) -> int:
    return _pairs_in_runs(ordered[1:] == ordered[:-1])


def _pairs_in_runs(same_as_next: npt.NDArray[np.bool_]) -> int:
    """Pairs within runs of equal neighbours: a run of k has k(k−1)/2."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], same_as_next.astype(np.int8), [0]])))
    lengths = edges[1::2] - edges[::2] + 1
    return int(np.sum(lengths * (lengths - 1) // 2))


def _inversions(values: Values) -> int:
    """Pairs in descending order: a merge sort from the bottom up, all blocks of one size merged at once."""
    ranks = np.unique(values, return_inverse=True)[1].astype(np.int64)
    count, total, width, top = len(ranks), 0, 1, int(ranks.max()) + 1
    position = np.arange(count)
    while width < count:
        # Sorting by (pair of blocks, value), ties keeping their order, merges each left block with its right one.
        pair = position // (2 * width)
        order = np.argsort(pair * top + ranks, kind="stable")
        from_left = (order // width) % 2 == 0
        # A right element is smaller than every left element of its pair that comes after it.
        left_before = np.cumsum(from_left) - np.where(
            pair > 0, np.cumsum(from_left)[np.maximum(pair * 2 * width - 1, 0)], 0
        )
        left_size = np.minimum(width, count - pair * 2 * width)
        total += int(np.sum((left_size - left_before)[~from_left]))
        ranks = ranks[order]
        width *= 2
    return total
