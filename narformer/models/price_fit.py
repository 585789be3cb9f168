"""Prices of work, and factors of tiles, fitted to all networks at once.

Ours. Without a correction a network's latency is a product of its work, a sparse row that never changes, and a table of
prices. Going through all networks costs milliseconds then, so prices are fitted by whole gradients: batch by batch,
those of rare kernels and of targets with few measurements overshoot again and again.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

ITERATIONS = 300
TILE_ITERATIONS = 200
SHARES_WEIGHT = 0.6  # of what profilers told of a network's kernels, beside its latency
RATE, WARMUP = 0.03, 20
_ROUNDED = 0.02  # below this error, in ln, the loss is a parabola
_BATCH = 256


class Priced(Protocol):
    """What has prices: `table` (columns of work, outputs), parameters, and a penalty."""

    def table(self) -> Tensor:
        """ms a unit of each column of work takes on each output."""

    def penalty(self) -> Tensor:
        """Added to the loss."""

    def launching(self) -> Tensor:
        """ms that a host takes for each kernel, (outputs,): a network takes that at least for all of them; else 0."""

    def calls(self) -> Tensor:
        """1 for each column of work that counts kernels, (columns,)."""

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """What is fitted."""


class _Block(NamedTuple):
    """Networks measured on the same outputs, or nearly: their work, sparse, over the columns that any of them has."""

    work: Tensor  # (networks, columns)
    transposed: Tensor
    kernels: Tensor  # (networks,), how many there are
    columns: Tensor
    outputs: Tensor
    truth: Tensor  # (networks, outputs) ln(ms), NaN where not measured


class Shares(NamedTuple):
    """Where the time of some networks goes on one output, as a profiler told: labels of kernels beside latencies.

    rows: of the targets fitted to. shares, groups: of each network's tokens, as `datasets.profiles.Profile` has them.
    """

    output: int
    rows: npt.NDArray[np.int64]
    shares: Sequence[npt.NDArray[np.float32]]
    groups: Sequence[npt.NDArray[np.int64]]


class _Kernels(NamedTuple):
    """Kernels with a share: their work, sparse, as a block of networks of their own, their shares and networks."""

    block: _Block
    share: Tensor
    network: Tensor
    networks: int


class _Product(torch.autograd.Function):
    """A sparse constant times a dense matrix."""

    @staticmethod
    def forward(ctx: Any, sparse: Tensor, transposed: Tensor, dense: Tensor) -> Tensor:
        ctx.transposed = transposed
        return sparse @ dense

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, Tensor]:
        return None, None, ctx.transposed @ gradients[0]


Tokens = Callable[[npt.NDArray[np.int64]], tuple[Tensor, Tensor]]
Work = Callable[[Tensor, Tensor, int], Tensor]


def fit_prices(
    priced: Priced,
    tokens_of: Tokens,
    work: Work,
    targets: Tensor,
    weights: Tensor,
    shares: Shares | None = None,
    iterations: int = ITERATIONS,
) -> Iterator[tuple[int, int, float]]:
    """Fit `priced` in place to the mean |ln(prediction / truth)|; yields iterations done, all, and the loss.

    tokens_of: features and owners of the tokens of rows of targets. work: of features, owners and how many there are,
    (owners, columns). targets: (rows, outputs) ms, NaN where not measured. weights: (outputs,). shares: of kernels,
    compared within a network, so that a profiler that slows all kernels alike changes nothing.
    """
    calls = priced.calls()
    blocks = list(_blocks(lambda rows: work(*tokens_of(rows), len(rows)), targets, calls))
    kernels = None if shares is None or not len(shares.rows) else _kernels(shares, tokens_of, work, targets, calls)
    known = torch.isfinite(targets).sum()
    optimizer = torch.optim.Adam(priced.parameters(), lr=RATE, betas=(0.9, 0.99))
    for iteration in range(iterations):
        slow(optimizer, iteration, iterations)
        table, launching = priced.table(), priced.launching()
        total = torch.zeros((), device=table.device)
        for block in blocks:
            latency = torch.maximum(_latency(block, table), block.kernels[:, None] * launching[block.outputs])
            total = total + (_error(latency, block.truth) * weights[block.outputs]).sum()
        data = total / known
        if kernels is not None and shares is not None:
            data = data + SHARES_WEIGHT * weights[shares.output] * _kernel_error(kernels, table) / known
        loss = data + priced.penalty()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if (iteration + 1) % WARMUP == 0:
            yield iteration + 1, iterations, float(total.detach() / known)


def fit_tiles(
    by_tile: torch.nn.Parameter,
    shaped: Callable[[npt.NDArray[np.int64]], tuple[Tensor, Tensor, Tensor, Tensor]],
    targets: Tensor,
    penalty: Callable[[int], Tensor],
    iterations: int = TILE_ITERATIONS,
) -> Iterator[tuple[int, int, float]]:
    """Fit ln of factors of kernels, two a kernel, in place; yields iterations done, all, and the loss.

    by_tile: (factors, outputs). shaped: of rows of targets, the ms of each of their tokens (T, outputs), the places of
    its two factors (T,), one past the last where it has none, and the row that it belongs to (T,). targets: (rows,
    outputs) ms, NaN where not measured.
    """
    rows = torch.isfinite(targets).any(dim=1).nonzero()[:, 0]
    parts = []
    for start in range(0, len(rows), _BATCH):
        each, first, second, owner = shaped(rows[start : start + _BATCH].cpu().numpy())
        parts.append((each, first, second, owner + start))
    each, first, second, owner = (torch.cat(column) for column in zip(*parts, strict=True))
    truth = torch.log(targets[rows])
    known = torch.isfinite(truth).sum()
    optimizer = torch.optim.Adam([by_tile], lr=RATE, betas=(0.9, 0.99))
    for iteration in range(iterations):
        slow(optimizer, iteration, iterations)
        factors = torch.cat([by_tile, by_tile.new_zeros(1, by_tile.shape[1])])
        times = torch.exp(factors.index_select(0, first) + factors.index_select(0, second))
        latency = torch.zeros_like(truth).index_add(0, owner, each * times)
        total = _error(latency, truth).sum() / known
        loss = total + penalty(len(rows))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if (iteration + 1) % WARMUP == 0:
            yield iteration + 1, iterations, float(total.detach())


def _latency(block: _Block, table: Tensor) -> Tensor:
    """ms of each row of a block on its outputs, by a table of prices."""
    prices = table.index_select(0, block.columns).index_select(1, block.outputs)
    latency: Tensor = _Product.apply(block.work, block.transposed, prices)  # type: ignore[no-untyped-call]
    return latency


def _error(latency: Tensor, truth: Tensor) -> Tensor:
    """Nearly |ln(latency / truth)|, of ms and ln(ms); 0 where not measured."""
    return rounded((torch.log(latency.clamp_min(1e-9)) - truth).nan_to_num(0.0))


def rounded(ln: Tensor, below: float = _ROUNDED) -> Tensor:
    """Nearly |ln|, a parabola where it is small."""
    return torch.sqrt(ln.square() + below**2) - below


def slow(optimizer: torch.optim.Optimizer, iteration: int, iterations: int, rate: float = RATE) -> None:
    """A rate that rises at first, then falls to 0."""
    for group in optimizer.param_groups:
        group["lr"] = rate * min(1, (iteration + 1) / WARMUP) * (1 - iteration / iterations)


def _kernels(shares: Shares, tokens_of: Tokens, work: Work, targets: Tensor, calls: Tensor) -> _Kernels:
    """The labels as a block; tokens that ran as one kernel are one."""
    parts, kept, owners = [], [], []
    for start in range(0, len(shares.rows), _BATCH // 4):
        places = range(start, min(start + _BATCH // 4, len(shares.rows)))
        features, _ = tokens_of(shares.rows[list(places)])
        kernel, share, network = [], [], []
        count = 0
        for place in places:
            first, mine = np.unique(shares.groups[place], return_inverse=True)
            kernel.append(mine + count)
            share.append(shares.shares[place][first])
            network.append(np.full(len(first), place))
            count += len(first)
        labels = np.concatenate(share)
        there = torch.from_numpy(np.flatnonzero(labels > 0))
        each = work(features, torch.from_numpy(np.concatenate(kernel)).to(features.device), count).cpu()
        parts.append(each[there].to_sparse())
        kept.append(labels[labels > 0])
        owners.append(np.concatenate(network)[labels > 0])
    share_of, network_of = np.concatenate(kept), np.concatenate(owners)
    ms = targets[torch.from_numpy(shares.rows[network_of]).to(targets.device), shares.output]
    on = torch.tensor([shares.output], device=targets.device)
    truth = torch.log(torch.from_numpy(share_of).to(targets.device) * ms)[:, None]
    return _Kernels(
        _block(torch.cat(parts), on, truth, calls),
        torch.from_numpy(share_of).to(targets.device),
        torch.from_numpy(network_of).to(targets.device),
        len(shares.rows),
    )


def _kernel_error(kernels: _Kernels, table: Tensor) -> Tensor:
    """`share_error` of labels, by a table of prices."""
    ln = (torch.log(_latency(kernels.block, table).clamp_min(1e-9)) - kernels.block.truth)[:, 0]
    return share_error(ln, kernels.share, kernels.network, kernels.networks)


def share_error(ln: Tensor, share: Tensor, network: Tensor, networks: int) -> Tensor:
    """Sum over networks of the mean error of their kernels, by share, beside what all of a network's have in common.

    ln, share, network: of kernels (K,), the error in ln, the share of a network's time, and the network.
    """
    nothing = torch.zeros(networks, device=ln.device)
    total = nothing.index_add(0, network, share).clamp_min(1e-9)
    common = nothing.index_add(0, network, share * ln) / total
    return (share * rounded(ln - common[network])).sum()


def _blocks(work: Callable[[npt.NDArray[np.int64]], Tensor], targets: Tensor, calls: Tensor) -> Iterator[_Block]:
    """Rows by the first output that they were measured on: datasets have outputs of their own."""
    finite = torch.isfinite(targets).cpu()
    first = finite.int().argmax(dim=1)
    for output in torch.unique(first[finite.any(dim=1)]).tolist():
        rows = torch.nonzero((first == output) & finite.any(dim=1))[:, 0]
        outputs = torch.nonzero(finite[rows].any(dim=0))[:, 0]
        parts = [work(rows[k : k + _BATCH].numpy()).cpu().to_sparse() for k in range(0, len(rows), _BATCH)]
        outputs = outputs.to(targets.device)
        yield _block(torch.cat(parts), outputs, torch.log(targets[rows.to(targets.device)][:, outputs]), calls)


def _block(work: Tensor, outputs: Tensor, truth: Tensor, calls: Tensor) -> _Block:
    """work: sparse, (rows, columns). truth: (rows, outputs) ln(ms)."""
    whole = work.coalesce()
    columns, place = torch.unique(whole.indices()[1], return_inverse=True)
    at = torch.stack([whole.indices()[0], place])
    device = truth.device
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch calls its sparse rows a beta
        sparse = torch.sparse_coo_tensor(at, whole.values(), (len(truth), len(columns))).coalesce().to(device)
        by_row, by_column = sparse.to_sparse_csr(), sparse.t().coalesce().to_sparse_csr()
    columns = columns.to(device)
    return _Block(by_row, by_column, by_row @ calls.to(device)[columns], columns, outputs, truth)
