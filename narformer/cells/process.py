"""A Gaussian process of the ranks of cells' accuracies over their statistics, in NumPy alone.

Its kernel is Matérn's with ν = 3/2 over statistics each of which has a weight of its own. Weights and noise are the
most probable ones given the training cells (MacKay, 1992): the logarithm of a statistic's weight is its group's plus
a normal deviation, found by a fixed number of steps of Adam, so that every processor takes the same way.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from narformer.errors import DataError

Array = npt.NDArray[np.float64]
SUBSET = 1500  # training cells on which weights and noise are chosen
LENGTH = 4.0  # of the kernel, in standard deviations of a group of statistics, where the choice begins
# Where the weights of the groups begin: composition, gradients, correlations, edge operations.
START_WEIGHTS = (1.0, 0.5, 1.0, 1 / 32)
NOISE = 0.03  # where the noise begins, as a share of the kernel
# Standard deviations of the logarithms, in the prior: a group's weight, a statistic's within it, the noise.
GROUP_SPREAD, OWN_SPREAD, NOISE_SPREAD = 1.5, 1.0, 2.0
STEPS, RATE = 60, 0.15  # of Adam; the rate falls to nothing over the second half
_DECIMALS = 3  # of the logarithms that are kept: what differs by rounding from processor to processor is cut off
_CHUNK = 256  # cells of which a block of the kernel is held at once: about what a processor's cache holds


class GaussianProcess:
    """Regression of normal scores on statistics.

    fit: statistics (n, S) and targets (n,). predict: (m, S) -> scores (m,). groups (S,): which statistics are alike.
    noise_share: the share of the scores' variance that the fit puts down to noise.
    """

    mean: Array
    scale: Array
    train: npt.NDArray[np.float32]
    dual: Array
    noise_share: float

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
        start = np.array(START_WEIGHTS)[self.groups] / np.maximum(counts, 1)[self.groups]
        self.scale = np.where(used, np.sqrt(start) / np.where(used, spread, 1) / LENGTH, 0.0)
        scores = normal_scores(target)
        some = np.random.default_rng(0).permutation(len(target))[:SUBSET]
        weights, noise = _most_probable(
            ((statistics[some] - self.mean) * self.scale)[:, used], scores[some], self.groups[used]
        )
        self.scale[used] *= np.sqrt(weights)
        self.train = self._scaled(statistics).astype(np.float32)
        train = self.train.astype(np.float64)
        kernel, _ = _matern(_squared(train, train))
        kernel[np.diag_indices_from(kernel)] += noise
        self.dual = np.linalg.solve(kernel, scores)
        self.noise_share = float(noise * (scores @ self.dual) / len(scores) / max(scores.var(), 1e-12))
        return self

    def _scaled(self, statistics: Array) -> Array:
        """What distances are taken of, rounded as it is stored: a cell has no distance to itself."""
        return np.asarray((statistics - self.mean) * self.scale, dtype=np.float32).astype(np.float64)

    def predict(self, statistics: Array) -> Array:
        """Scores, (m,). Beside them memory does not grow with m.

        In float64: the dual weights are of both signs and up to a thousand times the score, so that in float32 it would
        depend, in its second digit after the point, on the order in which a processor's library of products sums.
        """
        scores = np.empty(len(statistics))
        train = self.train.astype(np.float64)
        for start in range(0, len(statistics), _CHUNK):
            part = slice(start, start + _CHUNK)
            kernel, _ = _matern(_squared(self._scaled(statistics[part]), train))
            scores[part] = kernel @ self.dual
        return scores


def _most_probable(x: Array, scores: Array, groups: npt.NDArray[np.int64]) -> tuple[Array, float]:
    """Factors on the squares of the statistics' scales, (S,), and the noise.

    x (n, S): statistics as scaled at first; scores (n,); groups (S,). The kernel's scale is integrated out.
    """
    n, count = len(x), int(groups.max()) + 1
    squares = x * x

    def factors(point: Array) -> Array:
        return np.asarray(np.exp(point[:count][groups] + point[count:-1]))

    def slope(point: Array) -> Array:
        """Of minus the logarithm of the posterior: by the weights of groups, of statistics, and by the noise."""
        weights, noise = factors(point), np.exp(point[-1])
        scaled = x * np.sqrt(weights)
        kernel, change = _matern(_squared(scaled, scaled))
        kernel[np.diag_indices(n)] += noise
        inverse = np.linalg.inv(kernel)
        dual = inverse @ scores
        pull = (inverse - np.outer(dual, dual) * (n / (scores @ dual))) / 2  # by each number of the kernel
        by_distance = pull * change
        # Σ_ab by_distance_ab (x_as − x_bs)², for every statistic s by one product.
        own = 2 * (by_distance.sum(axis=1) @ squares - np.einsum("as,as->s", x, by_distance @ x)) * weights
        return np.concatenate(
            [
                np.bincount(groups, own, minlength=count) + point[:count] / GROUP_SPREAD**2,
                own + point[count:-1] / OWN_SPREAD**2,
                [np.trace(pull) * noise + (point[-1] - np.log(NOISE)) / NOISE_SPREAD**2],
            ]
        )

    point = np.append(np.zeros(count + x.shape[1]), np.log(NOISE))
    mean, square = np.zeros_like(point), np.zeros_like(point)
    for step in range(1, STEPS + 1):
        towards = slope(point)
        mean = 0.9 * mean + 0.1 * towards
        square = 0.95 * square + 0.05 * towards**2
        rate = RATE * min(1.0, 2 * (1 - step / (STEPS + 1)))
        point = point - rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.95**step)) + 1e-3)
    point = point.round(_DECIMALS)
    return factors(point), float(np.exp(point[-1]))


def _squared(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Squared distances between rows, (n, S), (m, S) -> (n, m)."""
    distance = a @ b.T
    distance *= -2
    distance += (a * a).sum(axis=1)[:, None]
    distance += (b * b).sum(axis=1)
    return np.asarray(np.maximum(distance, 0, out=distance))


def _matern(squared: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Matérn kernel with ν = 3/2 and length 1 (Rasmussen and Williams, 2006, equation 4.17), and its derivative.

    squared: distances squared, which the derivative is by; they are overwritten.
    """
    squared *= 3
    root = np.sqrt(squared, out=squared)
    decay = np.exp(-root)
    root += 1
    root *= decay
    decay *= -1.5
    return root, decay


def normal_scores(target: npt.ArrayLike) -> Array:
    """Ranks as quantiles of the standard normal, ties sharing their mean rank."""
    values = np.asarray(target)
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts + 1) / 2)[inverse]
    normal = NormalDist()
    return np.array([normal.inv_cdf((r + 0.5) / len(values)) for r in rank])
