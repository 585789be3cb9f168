"""What a known device would make of networks, learned from its own measurements alone: for honest adaptation.

A predictor shipped for several devices was trained on all of them, so it may not stand for the known ones where one of
them plays the new device. Here each device has a model of its own, fast enough to fit that many of them are no burden:
a Gaussian process over the work of a network by kind and its graph statistics, and a roofline that shares out the ms.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from narformer.datasets.cache import TokenCache
from narformer.evaluation.gaussian_process import KINDS, kinds
from narformer.tokens.physical import amounts

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
FOLDS = 5
NOISE, REACH = 0.02, 3.0
_CLIP = 4.0
_ROUNDS = 300


def work_by_kind(tokens: TokenCache) -> Array:
    """MACs, bytes and calls of each network by kind of work: (n, KINDS, 3). The cache is one of physical tokens."""
    parts = []
    for start in range(0, len(tokens), 64):
        batch = tokens.batch(np.arange(start, min(start + 64, len(tokens))))
        numbers = np.column_stack([amounts(batch.features, "macs", "traffic"), np.ones(len(batch.graph))])
        work = np.zeros((len(batch.static), KINDS, 3))
        np.add.at(work, (batch.graph, kinds(batch.features)), numbers)
        parts.append(work)
    return np.concatenate(parts)


def standardised(statistics: Array, rows: Indices) -> Array:
    """In standard deviations of `rows`; columns that do not vary there left out, far values clipped."""
    varying = statistics[rows].std(axis=0) > 1e-3
    values = statistics[:, varying]
    return np.asarray(np.clip((values - values[rows].mean(axis=0)) / values[rows].std(axis=0), -_CLIP, _CLIP))


def known_device(work: Array, statistics: Array, latencies: Array, fit: Indices) -> Array:
    """ms of every network on one device by kind of work, (n, KINDS), from its latencies on the rows `fit`.

    Rows of `fit` are predicted without themselves, in FOLDS parts, so that their errors are those of other rows.
    """
    numbers = np.column_stack([np.log1p(work).reshape(len(work), -1), statistics])
    inputs = standardised(numbers, fit)
    target = np.log(np.where(np.isfinite(latencies), latencies, 1.0))
    total = _process(inputs, target, fit)
    fold = np.random.default_rng(0).integers(0, FOLDS, len(fit))
    for number in range(FOLDS):
        held, rest = fit[fold == number], fit[fold != number]
        total[held] = _process(inputs, target, rest, held)
    costs = _roofline(work[fit].reshape(len(fit), -1), latencies[fit])
    parts = (work.reshape(len(work), -1) * costs).reshape(work.shape).sum(axis=2)
    return np.asarray(np.exp(total)[:, None] * parts / parts.sum(axis=1, keepdims=True))


def _process(inputs: Array, target: Array, fit: Indices, rows: Indices | None = None) -> Array:
    """Posterior mean of a process with constant, linear and exponential covariance, fitted on `fit`, at `rows`."""
    points = inputs if rows is None else inputs[rows]

    def covariance(a: Array, b: Array) -> Array:
        product = a @ b.T
        squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * product
        distance = np.sqrt(np.maximum(squares, 0) / inputs.shape[1])
        return np.asarray(np.exp(-distance / REACH) + product / inputs.shape[1])

    middle = target[fit].mean()
    within = covariance(inputs[fit], inputs[fit]) + NOISE**2 * np.eye(len(fit))
    return np.asarray(middle + covariance(points, inputs[fit]) @ np.linalg.solve(within, target[fit] - middle))


def _roofline(work: Array, latencies: Array) -> Array:
    """Non-negative ms a MAC, a byte and a call of each kind, by least squares of relative errors."""
    relative = work / latencies[:, None]
    scale = np.maximum(relative.max(axis=0), 1e-12)
    product = (relative / scale).T @ (relative / scale)
    product += 1e-9 * np.trace(product) / len(product) * np.eye(len(product))
    wanted = (relative / scale).sum(axis=0)
    costs = np.zeros(len(product))
    for _ in range(_ROUNDS):
        for k in range(len(costs)):
            costs[k] = max(0.0, costs[k] + (wanted[k] - product[k] @ costs) / product[k, k])
    return np.asarray(costs / scale)
