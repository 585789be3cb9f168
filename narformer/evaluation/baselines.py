"""Predictors that any other has to beat: fits to FLOPs and memory traffic, and boosted trees on graph statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from narformer.tokens.statistics import NAMES

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
_MACS, _BYTES = NAMES.index("log_macs"), NAMES.index("log_activation_bytes")
_PARAMETERS = NAMES.index("log_parameters")


class Baseline(Protocol):
    """fit: graph statistics (rows, S), latencies (rows,) in ms, none missing. predict: (rows, S) -> (rows,)."""

    def fit(self, statistics: Array, target: Array) -> None:
        """Learn from statistics (rows, S) and latencies in ms (rows,)."""

    def predict(self, statistics: Array) -> Array:
        """Latencies in ms of statistics (rows, S), (rows,)."""


class FlopsFit:
    """Latency proportional to FLOPs; the factor with the least squared relative error."""

    def fit(self, statistics: Array, target: Array) -> None:
        """Learn from statistics (rows, S) and latencies in ms (rows,)."""
        self._factors = _relative_least_squares(self._terms(statistics), target)

    def predict(self, statistics: Array) -> Array:
        """Latencies in ms of statistics (rows, S), (rows,)."""
        return np.asarray(self._terms(statistics) @ self._factors)

    def _terms(self, statistics: Array) -> Array:
        return np.expm1(statistics[:, [_MACS]])


class FlopsMemoryFit(FlopsFit):
    """Latency linear in FLOPs, in bytes of activations read and written, and a constant; no factor below zero."""

    def _terms(self, statistics: Array) -> Array:
        return np.column_stack([np.expm1(statistics[:, [_MACS, _BYTES]]), np.ones(len(statistics))])


class LineFit(FlopsFit):
    """Latency linear in MACs, bytes of activations, parameters, and a constant; no factor below zero."""

    def _terms(self, statistics: Array) -> Array:
        return np.column_stack([np.expm1(statistics[:, [_MACS, _BYTES, _PARAMETERS]]), np.ones(len(statistics))])


class BoostedTrees:
    """Gradient-boosted trees (scikit-learn's) on all graph statistics, of the logarithm of the latency."""

    def __init__(self) -> None:
        from sklearn.ensemble import HistGradientBoostingRegressor

        self._trees: Any = HistGradientBoostingRegressor(max_iter=300, random_state=0)

    def fit(self, statistics: Array, target: Array) -> None:
        """Learn from statistics (rows, S) and latencies in ms (rows,)."""
        self._trees.fit(statistics, np.log(target))

    def predict(self, statistics: Array) -> Array:
        """Latencies in ms of statistics (rows, S), (rows,)."""
        return np.asarray(np.exp(self._trees.predict(statistics)))


def _relative_least_squares(terms: Array, target: Array) -> Array:
    """Factors ≥ 0 that minimise Σ (terms·factors / target − 1)²."""
    from scipy.optimize import nnls

    scaled = terms / target[:, None]
    size = np.maximum(scaled.max(axis=0), 1e-300)
    factors, _ = nnls(scaled / size, np.ones(len(target)))
    return np.asarray(factors / size)


BASELINES: Mapping[str, type[Baseline]] = {
    "flops": FlopsFit,
    "flops_memory": FlopsMemoryFit,
    "line": LineFit,
    "boosted_trees": BoostedTrees,
}


def fit_predict(name: str, statistics: Array, targets: Array, fit: Indices, test: Indices) -> Array:
    """One baseline a device: targets (rows, devices) with NaN where not measured -> predictions (test, devices)."""
    prediction = np.full((len(test), targets.shape[1]), np.nan)
    for column in range(targets.shape[1]):
        rows = fit[np.isfinite(targets[fit, column])]
        if len(rows):
            baseline = BASELINES[name]()
            baseline.fit(statistics[rows], targets[rows, column])
            prediction[:, column] = baseline.predict(statistics[test])
    return prediction
