"""Prices of work fitted to all networks at once.

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
RATE, WARMUP = 0.01, 20
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
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (iteration + 1) / WARMUP) * (1 - iteration / iterations)
        table = priced.table()
        total = torch.zeros((), device=table.device)
        for block in blocks:
            prices = table.index_select(0, block.columns).index_select(1, block.outputs)
            latency = _Product.apply(block.work, block.transposed, prices)  # type: ignore[no-untyped-call]
            error = (torch.log(latency.clamp_min(1e-9)) - block.truth).nan_to_num(0.0)
            error = torch.sqrt(error.square() + _ROUNDED**2) - _ROUNDED
            total = total + (error * weights[block.outputs]).sum()
        loss = total / known + priced.penalty()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if (iteration + 1) % WARMUP == 0:
            yield iteration + 1, iterations, float(total.detach() / known)


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
