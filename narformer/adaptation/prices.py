"""A new device from a handful of measurements: known devices' milliseconds by kind of kernel, priced anew.

What a network costs on known devices is told by a predictor, kernel by kernel. On the new device a kind of kernel costs
a geometric mean of what it costs on the devices most related to it, times e to three numbers: of the device, of the
kind's class (products of matrices, element by element, movement of data, …) and of the kind. Besides, each kernel, MAC,
byte of activations and byte of weights costs something. All of these numbers, and how much each relative counts for,
are Gaussian beforehand, with the deviations below; the logarithm of a latency is that of the sum, plus a Gaussian
process of closeness in graph statistics, plus noise. A few rounds of Gauss-Newton find the numbers that explain the
measurements best, and what is not known of them makes the intervals.

Intervals are then widened, or narrowed, by how far each measured network is from what the others tell of it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from narformer.tokens import runtime_kernels

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
KINDS = len(runtime_kernels.KINDS)
# Deviations of the numbers, in ln(ms): of the device, a class, a kind; of what a relative counts for; of what a kernel,
# a MAC and a byte cost besides, whose share is OWN_SHARE before anything is known.
DEVICE, CLASS, KIND, RELATIVE, OWN = 3.0, 0.2, 0.15, 0.3, 1.5
OWN_SHARE = 0.03
# What is wrong with a network is wrong with those near to it, in standardised statistics; and the noise.
NEAR, REACH, NOISE = 0.15, 1.0, 0.08
ROUNDS, STEP = 12, 2.0
LOOKED_AT = 10.0  # measurements that the deviations above are worth, where intervals are made wider or narrower
CHEAP = 0.1  # what a network tells is divided by this power of its latency
LEVEL = 0.9
_NORMAL_90 = 1.645
_FAINT = 1e-5  # of a network's time: a kind of kernel costs at least so much wherever it is there at all
# By kind: the device, the kind's class, the kind.
_CLASSES = np.array(runtime_kernels.CLASS_OF_KIND)
_NUMBERS = np.column_stack([np.ones(KINDS), np.eye(_CLASSES.max() + 1)[_CLASSES], np.eye(KINDS)])
_DEVIATIONS = np.concatenate([[DEVICE], np.full(_CLASSES.max() + 1, CLASS), np.full(KINDS, KIND)])


@dataclass(frozen=True)
class Profiles:
    """What is known of networks before they are measured, a row a network.

    parts (n, KINDS, relatives): ms on known devices by kind of kernel. work (n, 4): kernels, MACs, bytes of
    activations, bytes of weights. statistics (n, S): of the Graphs, in standard deviations of networks at large.
    """

    parts: Array
    work: Array
    statistics: Array

    def __len__(self) -> int:
        return len(self.parts)

    def rows(self, chosen: npt.ArrayLike) -> Profiles:
        """Those of some networks."""
        index = np.asarray(chosen, dtype=np.int64)
        return Profiles(self.parts[index], self.work[index], self.statistics[index])

    @cached_property
    def total(self) -> Array:
        """ms on each relative, (n, relatives)."""
        return np.asarray(self.parts.sum(axis=1))

    @cached_property
    def there(self) -> npt.NDArray[np.bool_]:
        """Which kinds of kernels a network has, (n, KINDS)."""
        return np.asarray((self.parts > 0).any(axis=2))

    @cached_property
    def logs(self) -> Array:
        """ln(ms) by kind, (n, KINDS, relatives)."""
        return np.asarray(np.log(np.maximum(self.parts, _FAINT * self.total[:, None])))


class _Model:
    """Latencies as a function of the numbers: before any measurement all of them are 0."""

    def __init__(self, networks: Profiles, weights: Array) -> None:
        """networks: those that set the scale of what is compared, the measured ones or the candidates."""
        self.weights = weights
        # A relative may come to count more than the others; all of them together count once.
        self.apart = np.eye(len(weights)) - 1 / len(weights)
        self.speed = np.log(np.median(networks.total, axis=0))  # relatives count alike, however fast each is
        self.deviations = np.concatenate([_DEVIATIONS, np.full(len(weights), RELATIVE), np.full(4, OWN)])
        guess = np.log(self._by_kind(networks, np.zeros(len(self.deviations))).sum(axis=1))
        work = np.log(np.maximum(networks.work, 1.0))
        self.own = np.log(OWN_SHARE) + np.median(guess[:, None] - work, axis=0)

    def _by_kind(self, networks: Profiles, numbers: Array) -> Array:
        first, last = len(_DEVIATIONS), len(_DEVIATIONS) + len(self.weights)
        counted = self.weights + self.apart @ numbers[first:last]
        mixed = (networks.logs - self.speed) @ counted + _NUMBERS @ numbers[:first]
        return np.where(networks.there, np.exp(mixed), 0.0)

    def __call__(self, networks: Profiles, numbers: Array) -> tuple[Array, Array]:
        """ln(ms), (n,), and its derivative by the numbers, (n, numbers)."""
        kinds = self._by_kind(networks, numbers)
        # Work of which there is none costs as much as one unit of it: next to nothing.
        own = np.maximum(networks.work, 1.0) * np.exp(self.own + numbers[0] + numbers[-4:])
        total = kinds.sum(axis=1) + own.sum(axis=1)
        kinds, own = kinds / total[:, None], own / total[:, None]
        by_kind = kinds @ _NUMBERS
        by_kind[:, 0] += own.sum(axis=1)
        mixed = np.einsum("nk,nkr->nr", kinds, networks.logs - self.speed) @ self.apart
        return np.log(total), np.concatenate([by_kind, mixed, own], axis=1)

    def covariance(self, a: Profiles, b: Profiles, slopes: tuple[Array, Array]) -> Array:
        """Of ln(ms) of networks, given the derivatives of both by the numbers: (len(a), len(b))."""
        squares = (a.statistics**2).sum(axis=1)[:, None] + (b.statistics**2).sum(axis=1)
        squares -= 2 * a.statistics @ b.statistics.T
        near = NEAR**2 * np.exp(-np.sqrt(np.maximum(squares, 0) / a.statistics.shape[1]) / REACH)
        return np.asarray((slopes[0] * self.deviations**2) @ slopes[1].T + near)


class Adaptation:
    """The prices of a new device, given the measured latencies (ms) of some networks.

    weights: what each relative counts for before any measurement, equally much by default; they sum to 1.

    >>> parts = np.random.default_rng(0).random((5, KINDS, 2))
    >>> profiles = Profiles(parts, work=parts[:, :4, 0] * 1e6, statistics=parts[:, :3, 1])
    >>> known = Adaptation(profiles.rows([0, 1, 2]), [3.1, 2.9, 3.4])
    >>> latency, deviation = known.predict(profiles.rows([3, 4]))
    >>> latency.shape, bool((deviation > 0).all())
    ((2,), True)
    """

    def __init__(
        self, measured: Profiles, latencies: Sequence[float] | Array, weights: Sequence[float] | None = None
    ) -> None:
        relatives = measured.parts.shape[2]
        self.measured = measured
        self.model = _Model(measured, np.full(relatives, 1 / relatives) if weights is None else np.array(weights))
        target = np.log(np.asarray(latencies, dtype=np.float64))
        self.start = np.zeros(len(self.model.deviations))
        self.start[0] = np.median(target - self.model(measured, self.start)[0])
        self.numbers = self.start.copy()
        for _ in range(ROUNDS):
            self._solve(target)
            step = self.start + self.model.deviations**2 * (self._slopes.T @ self._solved) - self.numbers
            self.numbers += step * min(1.0, STEP / max(float(np.abs(step).max()), 1e-12))
        self._solve(target)
        alone = self._solved / np.sqrt(np.diag(self._inverse))  # of each network, in deviations, as the others tell it
        self.scale = float(np.sqrt((LOOKED_AT + (alone**2).sum()) / (LOOKED_AT + len(target))))

    def _solve(self, target: Array) -> None:
        """The posterior where the model is straight around the present numbers."""
        guess, self._slopes = self.model(self.measured, self.numbers)
        within = self.model.covariance(self.measured, self.measured, (self._slopes, self._slopes))
        self._inverse = np.linalg.inv(within + NOISE**2 * np.eye(len(target)))
        self._solved = self._inverse @ (target - guess + self._slopes @ (self.numbers - self.start))

    def predict(self, networks: Profiles) -> tuple[Array, Array]:
        """Latency in ms, and standard deviation of its logarithm for one measurement: (n,), (n,)."""
        guess, slopes = self.model(networks, self.numbers)
        across = self.model.covariance(networks, self.measured, (slopes, self._slopes))
        mean = guess - slopes @ (self.numbers - self.start) + across @ self._solved
        own = (slopes**2) @ self.model.deviations**2 + NEAR**2 + NOISE**2
        variance = own - np.einsum("ij,jk,ik->i", across, self._inverse, across)
        return np.exp(mean), self.scale * np.sqrt(np.maximum(variance, NOISE**2))

    def expected_error(self, networks: Profiles) -> float:
        """Mean absolute percentage error to be expected on these networks, by the model's own spread."""
        return float(100 * np.sqrt(2 / np.pi) * self.predict(networks)[1].mean())


def half_width(deviation: Array) -> Array:
    """Half width in ln(ms) of the interval that holds 90 % of measurements."""
    return np.asarray(_NORMAL_90 * deviation)


class Design:
    """Which networks to measure: those that tell most of all candidates, and of two that tell as much, the faster."""

    def __init__(self, candidates: Profiles, weights: Sequence[float] | None = None) -> None:
        relatives = candidates.parts.shape[2]
        model = _Model(candidates, np.full(relatives, 1 / relatives) if weights is None else np.array(weights))
        guess, slopes = model(candidates, np.zeros(len(model.deviations)))
        self._left = model.covariance(candidates, candidates, (slopes, slopes))
        self._cost = np.exp(CHEAP * guess)

    def next(self, excluded: Collection[int] = ()) -> int | None:
        """The candidate to measure next, given those `measured` before; None where none is left."""
        gain = (self._left**2).sum(axis=0) / (np.diag(self._left) + NOISE**2) / self._cost
        gain[list(excluded)] = -1
        best = int(gain.argmax())
        return best if gain[best] >= 0 else None

    def measured(self, index: int) -> None:
        """Take in that a candidate was measured; what it showed does not matter for the choice of the next."""
        here = self._left[:, index].copy()
        self._left -= np.outer(here, here) / (here[index] + NOISE**2)

    def choose(self, count: int) -> Indices:
        """So many candidates, the most telling first."""
        chosen: list[int] = []
        while len(chosen) < count and (best := self.next(chosen)) is not None:
            chosen.append(best)
            self.measured(best)
        return np.array(chosen, dtype=np.int64)
