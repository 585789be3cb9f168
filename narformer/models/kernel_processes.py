"""Gaussian processes over kernels: what prices leave of the time of each kernel, near those that networks were made of.

Ours. A kernel of one shape takes the same time in every network, within a few percent, but prices miss it by a tenth or
two: how the loops of a library fit a shape is no sum of amounts of work. Kernels of one kind and of like sizes are
missed alike, products of matrices above all. A network's latency tells the sum of its kernels alone, and a profiler
their shares in some networks, so that factors of all kernels are fitted to all networks at once, as prices are. What a
process says is spanned by some of the kernels (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006,
section 8.3), and far from all of them it says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from narformer.models.columns import columns, one_hot_kinds, places
from narformer.models.gaussian_process import Held, alike
from narformer.models.price_fit import RATE, SHARES_WEIGHT, WARMUP, Shares, rounded, share_error, slow
from narformer.tokens import runtime_kernels as tokens

Array = npt.NDArray[np.float64]
REFERENCES = 192  # kernels of a kind that span what is said of the kind
FEWEST = 12  # kernels of a kind, with fewer of which nothing is said of it
DEVIATION = 0.4  # of what prices leave of a kernel, in ln(ms)
LENGTH = 6.5  # how far apart kernels are whose errors are still alike
PENALTY = 0.05  # of a standard deviation squared, beside a network's |ln(prediction / truth)|
ITERATIONS = 200
_JITTER = 1e-4
_KINDS = sorted(places(*tokens.MATRIX))
_SIZES = (
    *("rows", "columns", "depth", "products", "height", "window", "stride", "widest", "channels", "read", "written"),
    *("weights", "streamed", "operations", "macs", "absorbed", "within", "reordered", "pieces", "scalar", "steps"),
)
_OF_MACS = ("idle", "padding", "unblocked")  # as shares of a kernel's MACs
_MOST_IDLE = 2.0
_FLAG = 2.0  # how far apart a flag sets two kernels
_TOGETHER = 4  # blocks of channels that a processor works on at once
_WIDE = 256  # columns, from which on it hardly matters how they divide into blocks
COORDINATES = len(_SIZES) + len(_OF_MACS) + 2 + len(tokens.FLAGS)


def coordinates(features: Tensor) -> Tensor:
    """Where kernels stand: ln of sizes, shares of idle work, how columns fill blocks, flags: (T, COORDINATES)."""
    column = columns(features)
    sizes = torch.log1p(torch.cat([column[name] for name in _SIZES], dim=1))
    idle = torch.cat([column[name] for name in _OF_MACS], dim=1) / column["macs"].clamp_min(1)
    wide = column["columns"]
    last = torch.fmod(wide, tokens.LANES) / tokens.LANES * (wide < _WIDE)
    blocks = torch.fmod(torch.ceil(wide / tokens.LANES), _TOGETHER) / _TOGETHER * (wide < 2 * _WIDE)
    flags = _FLAG * features[:, len(tokens.COLUMNS) : tokens.FIRST_KIND]
    return torch.cat([sizes, idle.clamp(min=0.0, max=_MOST_IDLE), last, blocks, flags], dim=1)


class KernelProcesses(Held):
    """Processes of a group of outputs that share references. `forward` gives ln of factors of kernels, (T, outputs)."""

    references: Tensor  # (R, COORDINATES)
    kinds: Tensor  # (R, KINDS), 1 for a reference's kind
    weights: Tensor  # (R, outputs)

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.hold(np.zeros((1, COORDINATES)), np.zeros(1, dtype=np.int64), np.zeros((1, outputs)))

    def hold(self, references: Array, kinds: npt.NDArray[np.int64], weights: Array) -> None:
        """Take what was fitted. kinds: (R,) places in KINDS."""
        self.keep(references=references, kinds=np.eye(len(tokens.KINDS))[kinds], weights=weights)

    def forward(self, features: Tensor) -> Tensor:
        """ln of what to multiply each kernel's time by; 0 for one that is like none of its kind."""
        return kernel_factors([self], features)


def kernel_factors(processes: Sequence[KernelProcesses], features: Tensor) -> Tensor:
    """What processes say of kernels, as `KernelProcesses` tells it, (T, outputs of all)."""
    references, kinds = (torch.cat([getattr(one, name) for one in processes]) for name in ("references", "kinds"))
    same = kinds.T.index_select(0, one_hot_kinds(features).argmax(dim=1))
    common = alike(coordinates(features), references, LENGTH) * same
    parts = torch.split(common, [len(one.references) for one in processes], dim=1)
    return torch.cat([part @ one.weights for part, one in zip(parts, processes, strict=True)], dim=1)


class Kernels(NamedTuple):
    """The tokens of networks, one network after the other."""

    features: Tensor  # (T, WIDTH)
    ms: Tensor  # (T, outputs), by prices
    owner: Tensor  # (T,), the network


class _Kind(NamedTuple):
    """The distinct kernels of a kind: their places among all, and what spans what is said of them."""

    places: Tensor  # (N,)
    references: Tensor  # (M, COORDINATES) float64
    root: Tensor  # (M, M) float64, lower: root @ root.T is what the references have in common
    basis: Tensor  # (N, M): times independent numbers of deviation 1 it is what a process says, of deviation 1


class _Labels(NamedTuple):
    """What a profiler told: tokens, the kernel as part of which each ran, shares of kernels, and their networks."""

    tokens: Tensor
    kernel: Tensor
    share: Tensor
    network: Tensor


def fit_kernels(
    process: KernelProcesses, kernels: Kernels, truth: Tensor, shares: Shares | None = None, seed: int = 0
) -> Iterator[tuple[int, int, float]]:
    """Fit a process in place; yields iterations done, all, and the mean |ln(prediction / truth)|.

    truth: (networks, outputs) ln(ms), NaN where not measured. shares: of kernels, `output` being one of the process and
    `rows` networks. Each output's process is a common one and its own, both as likely to be large.
    """
    distinct, place = _distinct(kernels.features)
    kinds = _kinds(kernels.features[distinct], kernels.ms, place, np.random.default_rng(seed))
    if not kinds:
        return
    labels = None if shares is None else _labels(shares, kernels.owner)
    networks, outputs = truth.shape
    known = torch.isfinite(truth).sum()
    common = {k: torch.zeros(len(kind.references), 1, requires_grad=True) for k, kind in kinds.items()}
    own = {k: torch.zeros(len(kind.references), outputs, requires_grad=True) for k, kind in kinds.items()}
    optimizer = torch.optim.Adam([*common.values(), *own.values()], lr=RATE, betas=(0.9, 0.99))
    places = torch.cat([kind.places for kind in kinds.values()])
    for iteration in range(ITERATIONS):
        slow(optimizer, iteration, ITERATIONS)
        said = torch.cat([DEVIATION * (kind.basis @ (common[k] + own[k])) for k, kind in kinds.items()])
        factors = torch.zeros(len(distinct), outputs).index_put((places,), said)
        each = kernels.ms * torch.exp(factors).index_select(0, place)
        latency = torch.zeros_like(truth).index_add(0, kernels.owner, each).clamp_min(1e-9)
        total = rounded((torch.log(latency) - truth).nan_to_num(0.0)).sum()
        loss = total
        if labels is not None and shares is not None:
            loss = loss + SHARES_WEIGHT * _share_error(labels, each[:, shares.output], networks)
        sizes = sum(v.square().sum() for v in (*common.values(), *own.values()))
        loss = (loss + PENALTY * sizes) / known
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if (iteration + 1) % WARMUP == 0:
            yield iteration + 1, ITERATIONS, float(total.detach() / known)
    with torch.no_grad():
        weights = [
            DEVIATION * torch.linalg.solve_triangular(kind.root.T, (common[k] + own[k]).double(), upper=True)
            for k, kind in kinds.items()
        ]
    process.hold(
        torch.cat([kind.references for kind in kinds.values()]).numpy(),
        np.repeat(list(kinds), [len(kind.references) for kind in kinds.values()]),
        torch.cat(weights).numpy(),
    )


def _distinct(features: Tensor) -> tuple[Tensor, Tensor]:
    """The first token of each distinct kernel, and the place of each token's among them."""
    rows = torch.cat([one_hot_kinds(features), coordinates(features)], dim=1).numpy()
    rows = np.ascontiguousarray(rows)
    whole = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1])))[:, 0]
    _, first, place = np.unique(whole, return_index=True, return_inverse=True)
    return torch.from_numpy(first), torch.from_numpy(place.reshape(-1))


def _kinds(features: Tensor, ms: Tensor, place: Tensor, random: np.random.Generator) -> dict[int, _Kind]:
    """By kind, with as references those kernels that take the most time, by chance."""
    where = coordinates(features).double()
    kind = tokens.kinds(features.numpy())
    time = torch.zeros(len(features)).index_add(0, place, ms.mean(dim=1)).sqrt().double().numpy() + 1e-9
    found = {}
    for k in _KINDS:
        mine = np.flatnonzero(kind == k)
        if len(mine) < FEWEST:
            continue
        chosen = mine
        if len(mine) > REFERENCES:
            chosen = np.sort(random.choice(mine, REFERENCES, replace=False, p=time[mine] / time[mine].sum()))
        references = where[chosen]
        root = torch.linalg.cholesky(alike(references, references, LENGTH) + _JITTER * torch.eye(len(references)))
        basis = torch.linalg.solve_triangular(root, alike(references, where[mine], LENGTH), upper=False).T
        found[k] = _Kind(torch.from_numpy(mine), references, root, basis.float().contiguous())
    return found


def _labels(shares: Shares, owner: Tensor) -> _Labels:
    """Shares of kernels; tokens that ran as one are one kernel."""
    first = np.searchsorted(owner.numpy(), shares.rows)
    parts: tuple[list[npt.NDArray[np.generic]], ...] = ([], [], [], [])
    count = 0
    for row, start, share, group in zip(shares.rows, first, shares.shares, shares.groups, strict=True):
        names, kernel = np.unique(group, return_inverse=True)
        told = share[names] > 0
        number = np.cumsum(told) - 1
        there = np.flatnonzero(told[kernel])
        found = (start + there, count + number[kernel[there]], share[names][told], np.full(told.sum(), row))
        for part, values in zip(parts, found, strict=True):
            part.append(values)
        count += int(told.sum())
    return _Labels(*(torch.from_numpy(np.concatenate(part)) for part in parts))


def _share_error(labels: _Labels, ms: Tensor, networks: int) -> Tensor:
    """`share_error` of labels, by the ms of tokens."""
    told = torch.zeros_like(labels.share).index_add(0, labels.kernel, ms.index_select(0, labels.tokens))
    ln = torch.log(told.clamp_min(1e-9)) - torch.log(labels.share)
    return share_error(ln, labels.share, labels.network, networks)
