"""A Gaussian process of the ranks of cells' accuracies over their statistics, in NumPy alone."""

from __future__ import annotations

import itertools
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from narformer.errors import DataError

Array = npt.NDArray[np.float64]
SUBSET = 1500  # training cells on which kernel and noise are chosen
LENGTHS = (1.0, 2.0, 4.0, 8.0)
NOISES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
# Where the search for the weights of the groups begins: composition, gradients, correlations, edge operations.
START_WEIGHTS = (1.0, 0.5, 1.0, 1 / 32)
_CHUNK = 256  # cells of which a block of the kernel is held at once: about what a processor's cache holds


class GaussianProcess:
    """Regression of normal scores on statistics.

    fit: statistics (n, S) and targets (n,). predict: (m, S) -> scores (m,). groups (S,): statistics of one weight.
    """

    def __init__(self, groups: npt.NDArray[np.int64]) -> None:
        self.groups = groups

    def fit(self, statistics: Array, target: Array) -> GaussianProcess:
        """Raises DataError for fewer than 8 cells, or for cells whose statistics are all the same."""
        if len(statistics) < 8:
            raise DataError(f"{len(statistics)} cells are too few to learn from: give at least 8")
        self.mean, spread = statistics.mean(axis=0), statistics.std(axis=0)
        used = spread > 1e-9
        if not used.any():
            raise DataError("all training cells look the same")
        counts = np.bincount(self.groups[used], minlength=self.groups.max() + 1)
        self.scale = np.where(used, 1 / np.where(used, spread, 1) / np.sqrt(np.maximum(counts, 1)[self.groups]), 0.0)
        scores = normal_scores(target)
        some = np.random.default_rng(0).permutation(len(target))[:SUBSET]
        weights, length, noise = self._choose((statistics[some] - self.mean) * self.scale, scores[some])
        self.scale = self.scale * np.sqrt(weights)[self.groups] / length
        self.train = self._scaled(statistics).astype(np.float32)
        train = self.train.astype(np.float64)
        kernel = _matern(_squared(train, train))
        kernel[np.diag_indices_from(kernel)] += noise
        self.dual = np.linalg.solve(kernel, scores)
        return self

    def _scaled(self, statistics: Array) -> Array:
        """What distances are taken of, rounded as it is stored: a cell has no distance to itself."""
        return np.asarray((statistics - self.mean) * self.scale, dtype=np.float32).astype(np.float64)

    def _choose(self, x: Array, scores: Array) -> tuple[Array, float, float]:
        """Weights of the groups, length and noise of the largest marginal likelihood; weights by coordinate steps."""
        few = slice(0, 600)
        count = int(self.groups.max()) + 1
        parts = [_squared(x[few][:, self.groups == g], x[few][:, self.groups == g]) for g in range(count)]
        weights = np.array(START_WEIGHTS[:count])
        best = _evidence(sum(parts, start=np.zeros_like(parts[0])), scores[few])[0]
        for _ in range(5):
            before = best
            for group, factor in itertools.product(range(1, count), (0.5, 2.0)):
                tried = weights.copy()
                tried[group] *= factor
                evidence = _evidence(
                    sum((w * p for w, p in zip(tried, parts, strict=True)), start=np.zeros_like(parts[0])), scores[few]
                )[0]
                if evidence > best + 0.1:
                    best, weights = evidence, tried
            if best == before:
                break
        scaled = x * np.sqrt(weights)[self.groups]
        _, length, noise = _evidence(_squared(scaled, scaled), scores)
        return weights, length, noise

    def predict(self, statistics: Array) -> Array:
        """Scores, (m,). Beside them memory does not grow with m.

        In float64: the dual weights are of both signs and up to a thousand times the score, so that in float32 it would
        depend, in its second digit after the point, on the order in which a processor's library of products sums.
        """
        scores = np.empty(len(statistics))
        train = self.train.astype(np.float64)
        for start in range(0, len(statistics), _CHUNK):
            part = slice(start, start + _CHUNK)
            scores[part] = _matern(_squared(self._scaled(statistics[part]), train)) @ self.dual
        return scores


def _squared(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Squared distances between rows, (n, S), (m, S) -> (n, m)."""
    distance = a @ b.T
    distance *= -2
    distance += (a * a).sum(axis=1)[:, None]
    distance += (b * b).sum(axis=1)
    return np.asarray(np.maximum(distance, 0, out=distance))


def _matern(squared: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Matérn kernel with ν = 3/2 and length 1 (Rasmussen and Williams, 2006, equation 4.17), in place."""
    squared *= 3
    root = np.sqrt(squared, out=squared)
    kernel = np.exp(-root)
    root += 1
    kernel *= root
    return np.asarray(kernel)


def _evidence(squared: Array, scores: Array) -> tuple[float, float, float]:
    """Log marginal likelihood at the best length and noise, with these two; the kernel's scale is integrated out."""
    best = (-np.inf, LENGTHS[0], NOISES[0])
    for length in LENGTHS:
        values, vectors = np.linalg.eigh(_matern(squared / length**2))
        rotated = vectors.T @ scores
        for noise in NOISES:
            total = np.maximum(values, 0) + noise
            scale = (rotated**2 / total).mean()
            evidence = float(-0.5 * len(scores) * np.log(scale) - 0.5 * np.log(total).sum())
            if evidence > best[0]:
                best = (evidence, length, noise)
    return best


def normal_scores(target: npt.ArrayLike) -> Array:
    """Ranks as quantiles of the standard normal, ties sharing their mean rank."""
    values = np.asarray(target)
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts + 1) / 2)[inverse]
    normal = NormalDist()
    return np.array([normal.inv_cdf((r + 0.5) / len(values)) for r in rank])
