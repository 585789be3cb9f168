"""A new device from a handful of measurements: a Gaussian process over what other devices make of a network.

What a network costs on the known devices, by kind of work (matrix products by kernel size, depthwise ones,
activations, pooling, …), is known without measuring; its Profile. The logarithm of its latency on the new device is the
mean of the known devices' plus a Gaussian process of the profile: a constant (how fast the device is), the differences
between the known devices (which of them it is like), the shares of the kinds of work (which of them it is good at), and
closeness in graph statistics. How far it strays from the known devices and how noisy it is are averaged over, weighted
by how well they explain the measurements, so that intervals come out narrow only for a device like the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from narformer.tokens import physical

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
# Operators by group; convolutions further by window: dense of 1, 3, more, depthwise of at most 3, more.
KINDS = physical.COMMON + 5
_CONV = 1
# Standard deviations of the parts of the process, in ln(ms); the same for every device.
CONSTANT, DIFFERENCE, SHARE, MACS, NEAR = 3.0, 1.0, 0.5, 0.4, 0.3
REACH = 3.0  # distance in standardised statistics over which networks are alike
# Averaged over: how far the last three parts stray, in these standard deviations, and the noise of a measurement.
STRAYS = np.array([0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0])
NOISES = (0.02, 0.04, 0.08)
NOISE = 0.05  # while choosing what to measure
CHEAP = 0.1  # what a network tells is divided by this power of its latency
LEVEL = 0.9
_NORMAL_90 = 1.645


@dataclass(frozen=True)
class Profiles:
    """What is known of networks before they are measured, a row a network.

    parts (n, KINDS, devices): ms on the known devices, by kind of work. macs (n, KINDS): MACs by kind of work.
    statistics (n, S): graph statistics in standard deviations of networks at large.
    """

    parts: Array
    macs: Array
    statistics: Array

    def __len__(self) -> int:
        return len(self.parts)

    def rows(self, chosen: npt.ArrayLike) -> Profiles:
        """Those of some networks."""
        index = np.asarray(chosen, dtype=np.int64)
        return Profiles(self.parts[index], self.macs[index], self.statistics[index])

    @cached_property
    def known(self) -> Array:
        """ln(ms) on each known device, (n, devices)."""
        return np.asarray(np.log(self.parts.sum(axis=1)))

    @cached_property
    def mean(self) -> Array:
        """ln(ms), mean over the known devices: the guess before any measurement, up to the device's speed."""
        return np.asarray(self.known.mean(axis=1))

    @cached_property
    def differences(self) -> Array:
        """ln(ms) on each known device less their mean, (n, devices)."""
        return self.known - self.mean[:, None]

    @cached_property
    def shares(self) -> Array:
        """Square roots of each kind's share in a network's ms on each device, (n, KINDS · devices)."""
        share = self.parts / self.parts.sum(axis=1, keepdims=True)
        return np.asarray(np.sqrt(share).reshape(len(self), -1) / np.sqrt(self.parts.shape[2]))

    @cached_property
    def mac_shares(self) -> Array:
        """Square roots of each kind's share in a network's MACs, (n, KINDS)."""
        return np.asarray(np.sqrt(self.macs / np.maximum(self.macs.sum(axis=1, keepdims=True), 1)))


def kinds(features: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Kind of work of each physical token, (T,)."""
    first = physical.NUMBERS + len(physical.CLASSES)
    groups, windows = features[:, first : first + physical.COMMON], features[:, first + physical.COMMON :]
    # An operator whose group is rare counts with those that only change the view: it has no column of its own.
    kind = np.where(groups.any(axis=1), groups.argmax(axis=1), physical.COMMON - 2)
    window, depthwise = windows.argmax(axis=1), features[:, physical.DEPTHWISE] > 0.5
    conv = kind == _CONV
    kind[conv & ~depthwise & (window == 1)] = physical.COMMON
    kind[conv & ~depthwise & (window > 1)] = physical.COMMON + 1
    kind[conv & depthwise & (window <= 1)] = physical.COMMON + 2
    kind[conv & depthwise & (window > 1)] = physical.COMMON + 3
    return np.asarray(kind)


def covariance(a: Profiles, b: Profiles, stray: float = 1.0) -> Array:
    """Covariance of the process between networks, (len(a), len(b)), in ln(ms)²."""
    parts = SHARE**2 * (a.shares @ b.shares.T) + MACS**2 * (a.mac_shares @ b.mac_shares.T)
    distances = _squared_distances(a.statistics, b.statistics) / a.statistics.shape[1]
    parts += NEAR**2 * np.exp(-np.sqrt(distances) / REACH)
    return np.asarray(CONSTANT**2 + DIFFERENCE**2 * (a.differences @ b.differences.T) + stray**2 * parts)


def _variance(a: Profiles, stray: float) -> Array:
    parts = SHARE**2 * (a.shares**2).sum(axis=1) + MACS**2 * (a.mac_shares**2).sum(axis=1) + NEAR**2
    return np.asarray(CONSTANT**2 + DIFFERENCE**2 * (a.differences**2).sum(axis=1) + stray**2 * parts)


def _squared_distances(a: Array, b: Array) -> Array:
    return np.asarray(np.maximum((a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T, 0))


class Adaptation:
    """The process, given the measured latencies (ms) of some networks.

    >>> parts = np.random.default_rng(0).random((5, KINDS, 2))
    >>> profiles = Profiles(parts, parts.sum(axis=2), parts[:, :3, 0])
    >>> known = Adaptation(profiles.rows([0, 1, 2]), [3.1, 2.9, 3.4])
    >>> latency, deviation = known.predict(profiles.rows([3, 4]))
    >>> latency.shape, deviation.shape
    ((2,), (2,))
    """

    def __init__(self, measured: Profiles, latencies: Sequence[float] | Array) -> None:
        self.measured = measured
        left = np.log(np.asarray(latencies, dtype=np.float64)) - measured.mean
        self._fits: list[tuple[float, float, Array, Array]] = []
        evidence = []
        for stray in STRAYS:
            within = covariance(measured, measured, stray)
            for noise in NOISES:
                root = np.asarray(np.linalg.cholesky(within + noise**2 * np.eye(len(left))), dtype=np.float64)
                solved: Array = np.asarray(np.linalg.solve(root, left))
                self._fits.append((float(stray), noise, root, solved))
                prior = (np.log(stray) / 0.7) ** 2
                evidence.append(-0.5 * (solved @ solved + prior) - np.log(np.diag(root)).sum())
        weight = np.exp(np.array(evidence) - np.max(evidence))
        self._weight = weight / weight.sum()

    def predict(self, networks: Profiles) -> tuple[Array, Array]:
        """Latency in ms, and standard deviation of its logarithm for one measurement: (n,), (n,)."""
        means, variances = [], []
        for stray in STRAYS:
            across = covariance(networks, self.measured, float(stray))
            own = _variance(networks, float(stray))
            for fitted, noise, root, solved in self._fits:
                if fitted == stray:
                    half = np.linalg.solve(root, across.T)
                    means.append(half.T @ solved)
                    variances.append(own - (half**2).sum(axis=0) + noise**2)
        spread = np.array(means)
        mean = self._weight @ spread
        variance = self._weight @ (np.array(variances) + (spread - mean) ** 2)
        return np.exp(networks.mean + mean), np.sqrt(variance)


def half_width(deviation: Array) -> Array:
    """Half width in ln(ms) of the interval that holds 90 % of measurements."""
    return np.asarray(_NORMAL_90 * deviation)


def choose(within: Array, across: Array, noise: float, count: int, *, cost: Array | None = None) -> Indices:
    """Which of the candidates to measure, one after another: each takes most variance from the references.

    within (n, n), across (references, n): covariances. cost: what the gain of each is divided by.
    """
    within, across = within.copy(), across.copy()
    closed = np.zeros(len(within), dtype=bool)
    chosen: list[int] = []
    while len(chosen) < count and not closed.all():
        gain = (across**2).sum(axis=0) / (np.diag(within) + noise**2) / (1.0 if cost is None else cost)
        gain[closed] = -1
        best = int(gain.argmax())
        chosen.append(best)
        closed[best] = True
        variance = within[best, best] + noise**2
        here, there = within[:, best].copy(), across[:, best].copy()
        within -= np.outer(here, here) / variance
        across -= np.outer(there, here) / variance
    return np.array(chosen, dtype=np.int64)
