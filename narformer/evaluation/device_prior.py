"""A new device from a few cells: devices are draws from one distribution of operation costs.

A device's latencies are about `work @ costs` (datasets/help.py). The costs of the known devices, relative to each one's
mean latency, give a mean and a covariance; with them a handful of measurements is a Bayesian linear regression. Which
way of running a device has is unknown, too: each is tried, and all are averaged by how well they explain the samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from narformer.evaluation.gaussian_process import choose

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
# Set by hand; 0.01 and 0.03 of FREEDOM were compared on the unseen devices themselves (docs/research).
# RIDGE: of a known device's own costs, in observations. FREEDOM: standard deviation that every cost has
# beyond what known devices show, relative to the mean latency.
RIDGE = 1.0
FREEDOM = 0.01
NOISES = 7
SCALES = np.exp(np.linspace(-0.8, 0.8, 33))
CANDIDATES, REFERENCES = 1000, 400


@dataclass(frozen=True)
class DevicePrior:
    """What the known devices say: costs (devices, p) and noise (devices,) relative to each device's mean latency.

    way: which way of running each known device has.
    """

    costs: Array
    noise: Array
    way: npt.NDArray[np.int64]

    @classmethod
    def learn(cls, work: tuple[Array, ...], latencies: Array, rows: Indices) -> DevicePrior:
        """From some rows of the known devices' latencies, (networks, devices) in ms."""
        costs, noise, way = [], [], []
        for column in latencies[rows].T:
            fits = [_robust_ridge(matrix[rows], column) for matrix in work]
            errors = [np.abs(column - matrix[rows] @ fit).mean() for matrix, (fit, _) in zip(work, fits, strict=True)]
            best = int(np.argmin(errors))
            fit, spread = fits[best]
            mean = float((work[best] @ fit).mean())
            costs.append(fit / mean)
            noise.append(max(spread / mean, 1e-3))
            way.append(best)
        return cls(np.array(costs), np.array(noise), np.array(way))

    @property
    def mean(self) -> Array:
        """Mean costs of the known devices, (costs,)."""
        return np.asarray(self.costs.mean(axis=0))

    @property
    def covariance(self) -> Array:
        """How the costs of devices vary together, (costs, costs)."""
        return np.asarray(np.cov(self.costs.T) + FREEDOM**2 * np.eye(self.costs.shape[1]))

    def choose(self, work: tuple[Array, ...], count: int, random: np.random.Generator) -> Indices:
        """Rows to measure, out of CANDIDATES drawn at random: those that tell most about the whole space.

        Besides the costs, they tell which way of running the device has: the difference between the means of two ways
        enters as one more cost, of unknown size.
        """
        count_all, covariance = len(work[0]), self.covariance
        differences = [_unit(other @ self.mean) - _unit(work[0] @ self.mean) for other in work[1:]]
        features = np.column_stack([work[0], *differences])
        joint = np.zeros((features.shape[1],) * 2)
        joint[: len(covariance), : len(covariance)] = covariance
        joint[len(covariance) :, len(covariance) :] = 0.25 * np.eye(len(differences))
        candidates = random.choice(count_all, min(CANDIDATES, count_all), replace=False)
        references = random.choice(count_all, min(REFERENCES, count_all), replace=False)
        half = features[candidates] @ joint
        noise = float(np.exp(np.log(self.noise).mean()))
        return np.asarray(
            candidates[choose(half @ features[candidates].T, features[references] @ half.T, noise, count)]
        )

    def adapt(self, work: tuple[Array, ...], rows: Indices, latencies: Array) -> Array:
        """Latency of every network on a device of which some `rows` were measured: their `latencies` in ms."""
        mean, covariance = self.mean, self.covariance
        noise_mean, noise_spread = np.log(self.noise).mean(), np.log(self.noise).std() + 0.2
        noises = np.exp(np.linspace(np.log(self.noise).min() - 0.3, np.log(self.noise).max() + 0.3, NOISES))
        scales = np.median(latencies) * SCALES
        relative = latencies[None] / scales[:, None]
        weights, totals = [], []
        for number, matrix in enumerate(work):
            sampled = matrix[rows]
            share = ((self.way == number).sum() + 0.5) / (len(self.way) + 0.5 * len(work))
            for noise in noises:
                variance = sampled @ covariance @ sampled.T + noise**2 * np.eye(len(rows))
                gain = np.linalg.solve(variance, sampled @ covariance).T
                left = relative - sampled @ mean
                fit = np.einsum("sk,ks->s", left, np.linalg.solve(variance, left.T))
                weights.append(
                    np.log(share)
                    - 0.5 * (fit + np.linalg.slogdet(variance)[1] + ((np.log(noise) - noise_mean) / noise_spread) ** 2)
                    - len(rows) * np.log(scales)
                )
                totals.append((number, scales[:, None] * (mean + left @ gain.T)))
        weight = np.exp(np.array(weights) - np.max(weights))
        weight /= weight.sum()
        prediction = np.zeros(len(work[0]))
        for (number, costs), each in zip(totals, weight, strict=True):
            prediction += work[number] @ (each @ costs)
        return prediction


def _robust_ridge(work: Array, latencies: Array) -> tuple[Array, float]:
    """Costs in ms, and the spread of what they leave; rows far off count less (a Cauchy likelihood, reweighted)."""
    middle = float(np.median(latencies))
    relative, weight = latencies / middle, np.ones(len(latencies))
    penalty = RIDGE * np.eye(work.shape[1])
    penalty[0, 0] = 0
    for _ in range(8):
        costs = np.linalg.solve((work.T * weight) @ work + penalty, (work.T * weight) @ relative)
        left = relative - work @ costs
        spread = 1.4826 * float(np.median(np.abs(left))) + 1e-9
        weight = 1 / (1 + (left / spread / 3) ** 2)
    return np.asarray(costs * middle, dtype=np.float64), spread * middle


def _unit(values: Array) -> Array:
    return np.asarray(values / values.mean())
