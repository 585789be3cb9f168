"""Prices of work, and factors of tiles, fitted to all networks at once.

Ours. Without a correction a network's latency is a product of its work, a sparse row that never changes, and a table of
prices. Going through all networks costs milliseconds then, so prices are fitted by whole gradients: batch by batch,
those of rare kernels and of targets with few measurements overshoot again and again.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

ITERATIONS = 300
TILE_ITERATIONS = 200
RATE, WARMUP = 0.03, 20
_ROUNDED = 0.02  # below this error, in ln, the loss is a parabola
_BATCH = 256


class Priced(Protocol):
    """What has prices: `table` (columns of work, outputs), parameters, and a penalty."""

    def table(self) -> Tensor:
        """ms a unit of each column of work takes on each output."""

    def penalty(self) -> Tensor:
        """Added to the loss."""

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """What is fitted."""


class _Block(NamedTuple):
    """Networks measured on the same outputs, or nearly: their work, sparse, over the columns that any of them has."""

    work: Tensor  # (networks, columns)
    transposed: Tensor
    columns: Tensor
    outputs: Tensor
    truth: Tensor  # (networks, outputs) ln(ms), NaN where not measured


class _Product(torch.autograd.Function):
    """A sparse constant times a dense matrix."""

    @staticmethod
    def forward(ctx: Any, sparse: Tensor, transposed: Tensor, dense: Tensor) -> Tensor:
        ctx.transposed = transposed
        return sparse @ dense

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, Tensor]:
        return None, None, ctx.transposed @ gradients[0]


def fit_prices(
    priced: Priced,
    work: Callable[[npt.NDArray[np.int64]], Tensor],
    targets: Tensor,
    weights: Tensor,
    iterations: int = ITERATIONS,
) -> Iterator[tuple[int, int, float]]:
    """Fit `priced` in place to the mean |ln(prediction / truth)|; yields iterations done, all, and the loss.

    work: of rows of targets, (rows, columns). targets: (rows, outputs) ms, NaN where not measured. weights: (outputs,).
    """
    blocks = list(_blocks(work, targets))
    known = torch.isfinite(targets).sum()
    optimizer = torch.optim.Adam(priced.parameters(), lr=RATE, betas=(0.9, 0.99))
    for iteration in range(iterations):
        _slow(optimizer, iteration, iterations)
        table = priced.table()
        total = torch.zeros((), device=table.device)
        for block in blocks:
            prices = table.index_select(0, block.columns).index_select(1, block.outputs)
            latency = _Product.apply(block.work, block.transposed, prices)  # type: ignore[no-untyped-call]
            total = total + (_error(latency, block.truth) * weights[block.outputs]).sum()
        loss = total / known + priced.penalty()
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
        _slow(optimizer, iteration, iterations)
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


def _error(latency: Tensor, truth: Tensor) -> Tensor:
    """Nearly |ln(latency / truth)|, of ms and ln(ms); 0 where not measured."""
    error = (torch.log(latency.clamp_min(1e-9)) - truth).nan_to_num(0.0)
    return torch.sqrt(error.square() + _ROUNDED**2) - _ROUNDED


def _slow(optimizer: torch.optim.Optimizer, iteration: int, iterations: int) -> None:
    """A rate that rises at first, then falls to 0."""
    for group in optimizer.param_groups:
        group["lr"] = RATE * min(1, (iteration + 1) / WARMUP) * (1 - iteration / iterations)


def _blocks(work: Callable[[npt.NDArray[np.int64]], Tensor], targets: Tensor) -> Iterator[_Block]:
    """Rows by the first output that they were measured on: datasets have outputs of their own."""
    finite = torch.isfinite(targets).cpu()
    first = finite.int().argmax(dim=1)
    for output in torch.unique(first[finite.any(dim=1)]).tolist():
        rows = torch.nonzero((first == output) & finite.any(dim=1))[:, 0]
        outputs = torch.nonzero(finite[rows].any(dim=0))[:, 0].to(targets.device)
        parts = [work(rows[k : k + _BATCH].numpy()).cpu().to_sparse() for k in range(0, len(rows), _BATCH)]
        whole = torch.cat(parts).coalesce()
        columns, place = torch.unique(whole.indices()[1], return_inverse=True)
        at = torch.stack([whole.indices()[0], place])
        shape = (len(rows), len(columns))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch calls its sparse rows a beta
            sparse = torch.sparse_coo_tensor(at, whole.values(), shape).coalesce().to(targets.device)
            by_row, by_column = sparse.to_sparse_csr(), sparse.t().coalesce().to_sparse_csr()
        yield _Block(
            by_row,
            by_column,
            columns.to(targets.device),
            outputs,
            torch.log(targets[rows.to(targets.device)][:, outputs]),
        )
