"""Gaussian processes over what networks are made of: what prices leave of their latencies, near those measured.

A network's composition is how its time divides among kinds of kernels and terms of their work. Networks of like
composition err alike, so the error of those measured tells that of one nearby; far from all of them the process says
nothing and the sum of prices stands. Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), sections
2.2 and 8.3.2 (subset of regressors).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Array = npt.NDArray[np.float64]
WIDTH = 48  # numbers of a composition that are kept: its principal components
ALL, REFERENCES = 6000, 1500  # up to so many networks a process holds all compositions, of more so many
DEVIATION = 0.15  # of what prices leave, in ln(ms), before anything was measured
LENGTH = 0.4  # how far apart compositions are whose errors are still alike
SIZE = 0.15  # how much ln of the time counts beside a composition
NOISES = (0.03, 0.1, 0.3)  # of measurements and all that compositions do not say, in ln(ms)
_FOLDS = 4
_TUNED_ON = 1200  # rows on which the noise is chosen
_WORTH = 0.98  # of the error without a process, above which there is none


class Fitted(NamedTuple):
    """Processes of several outputs that share references: their coordinates, and what they say."""

    center: Array  # (composition,)
    axes: Array  # (composition, width)
    references: Array  # (R, width + 1)
    weights: Array  # (R, outputs)
    measured: npt.NDArray[np.bool_]  # (R, outputs)


class Held(nn.Module):
    """What was fitted, as buffers; those of a checkpoint have as many references as were saved."""

    def keep(self, **values: npt.ArrayLike) -> None:
        """Take these, by their names."""
        for name, value in values.items():
            self.register_buffer(name, torch.from_numpy(np.asarray(value, dtype=np.float32)))

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: object) -> None:
        for name in [name for name, _ in self.named_buffers(recurse=False) if prefix + name in state_dict]:
            self.register_buffer(name, torch.empty_like(state_dict[prefix + name]))
        super()._load_from_state_dict(state_dict, prefix, *rest)


class Processes(Held):
    """Processes of a group of outputs. `forward` gives what to add in ln(ms), and how novel, 0 to 1: (B, outputs)."""

    center: Tensor
    axes: Tensor
    references: Tensor
    weights: Tensor
    measured: Tensor

    def __init__(self, composition: int, outputs: int) -> None:
        super().__init__()
        nothing = Fitted(
            np.zeros(composition),
            np.zeros((composition, WIDTH)),
            np.zeros((1, WIDTH + 1)),
            np.zeros((1, outputs)),
            np.ones((1, outputs), dtype=np.bool_),
        )
        self.hold(nothing)

    def hold(self, fitted: Fitted) -> None:
        """Take what was fitted."""
        self.keep(**fitted._asdict())

    def forward(self, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        """What to add to ln(ms), and 1 less the squared correlation with the nearest measured: (B, outputs) each."""
        return told([self], coordinates[None])


def coordinates(processes: Sequence[Processes], compositions: Tensor, ms: Tensor) -> Tensor:
    """Where networks stand for each of some processes, (processes, B, width + 1).

    compositions: (B, processes, composition). ms: (B, processes).
    """
    centers, axes = (torch.stack([getattr(one, name) for one in processes]) for name in ("center", "axes"))
    composed = torch.bmm(compositions.transpose(0, 1) - centers[:, None], axes)
    return torch.cat([composed, SIZE * torch.log(ms).T[:, :, None]], dim=2)


def told(processes: Sequence[Processes], coordinates: Tensor) -> tuple[Tensor, Tensor]:
    """What each process says of networks: to add to ln(ms), and how novel, (B, outputs of all) each.

    coordinates: (processes, B, width + 1). What is done number by number is done for the references of all at once.
    """
    left = _left(coordinates).unbind()
    apart = [where @ _right(one.references).T for where, one in zip(left, processes, strict=True)]
    common = closeness(torch.cat(apart, dim=1), LENGTH)
    parts = torch.split(common, [len(one.references) for one in processes], dim=1)
    both = list(zip(parts, processes, strict=True))
    nearest = torch.cat([(each[:, None] * one.measured.T).amax(dim=2) for each, one in both], dim=1)
    return DEVIATION**2 * torch.cat([each @ one.weights for each, one in both], dim=1), 1 - nearest.square()


def alike(one: Tensor, other: Tensor, length: float) -> Tensor:
    """How much what is said of points has in common, 0 to 1: (N, D) and (M, D) points -> (N, M)."""
    return closeness(_left(one) @ _right(other).T, length)


def closeness(apart: Tensor, length: float) -> Tensor:
    """`alike` of points whose distances have these squares."""
    return torch.exp(apart.clamp_min(0).sqrt() / -length)


def _left(points: Tensor) -> Tensor:
    """What times `_right` of other points gives squares of distances, in one product: (…, D) -> (…, D + 2)."""
    squares = points.square().sum(dim=-1, keepdim=True)
    return torch.cat([-2 * points, squares, torch.ones_like(squares)], dim=-1)


def _right(points: Tensor) -> Tensor:
    squares = points.square().sum(dim=-1, keepdim=True)
    return torch.cat([points, torch.ones_like(squares), squares], dim=-1)


def fit(compositions: Array, ms: Array, residuals: Array, seed: int = 0) -> Fitted:
    """Processes fitted to what prices leave.

    compositions (N, composition) and ms (N,): of networks, by prices. residuals (N, outputs): ln(truth / prices), NaN
    where not measured.
    """
    random = np.random.default_rng(seed)
    known = np.isfinite(residuals)
    whole = len(ms) <= ALL
    chosen = np.arange(len(ms)) if whole else np.sort(random.permutation(len(ms))[:REFERENCES])
    center = compositions.mean(axis=0)
    axes = np.linalg.eigh((compositions - center).T @ (compositions - center))[1][:, : -WIDTH - 1 : -1]
    axes = np.pad(axes, ((0, 0), (0, WIDTH - axes.shape[1])))
    points = np.column_stack([(compositions - center) @ axes, SIZE * np.log(ms)])
    references = points[chosen]
    weights = np.zeros((len(chosen), residuals.shape[1]))
    for output, there in enumerate(known.T):
        rows = np.flatnonzero(there)
        noise = _noise(points[rows], residuals[rows, output], random)
        if noise is None:
            continue
        mine = there[chosen]
        if whole:
            inner = covariance(points[rows], points[rows]) + noise**2 * np.eye(len(rows))
            weights[mine, output] = np.linalg.solve(inner, residuals[rows, output])
        else:
            weights[mine, output] = _subset(references[mine], points[rows], residuals[rows, output], noise)
    return Fitted(center, axes, references, weights, known[chosen])


def covariance(one: Array, other: Array) -> Array:
    """(N, D) and (M, D) points -> (N, M)."""
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)
    distance = np.sqrt(np.maximum(squares - 2 * one @ other.T, 0))
    return np.asarray(DEVIATION**2 * np.exp(-distance / LENGTH))


def _subset(references: Array, points: Array, residuals: Array, noise: float) -> Array:
    """Weights of references, from all points (Rasmussen and Williams, equation 8.14)."""
    if not len(references):
        return np.zeros(0)
    cross = covariance(references, points)
    inner = noise**2 * covariance(references, references) + cross @ cross.T
    return np.asarray(np.linalg.solve(inner + 1e-8 * np.eye(len(references)), cross @ residuals))


def _noise(points: Array, residuals: Array, random: np.random.Generator) -> float | None:
    """The noise with which points left out are told best; None where a process tells them no better than none."""
    if len(points) < 2 * _FOLDS:
        return None
    chosen = random.permutation(len(points))[:_TUNED_ON]
    points, residuals = points[chosen], residuals[chosen]
    # What is the same network under several names is left out together: others of its kind would tell it too well.
    _, same = np.unique(points.round(4), axis=0, return_inverse=True)
    fold = random.permutation(same.max() + 1)[same] % _FOLDS
    best, least = None, _WORTH * float(np.abs(residuals).mean())
    for noise in NOISES:
        error = 0.0
        for k in range(_FOLDS):
            rest, left = points[fold != k], points[fold == k]
            inner = covariance(rest, rest) + noise**2 * np.eye(len(rest))
            told = covariance(left, rest) @ np.linalg.solve(inner, residuals[fold != k])
            error += float(np.abs(told - residuals[fold == k]).sum())
        if error / len(points) < least:
            best, least = noise, error / len(points)
    return best
