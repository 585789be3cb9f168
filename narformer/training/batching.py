"""From the token cache to batches of tensors, and from batches to predictions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from narformer.datasets.dataset import sha1_order
from narformer.tokens.packing import PackedTokens

# Tokens of a batch are rounded up to a multiple of this: about 6 % more of them at the paper's batch size.
TOKEN_MULTIPLE = 256
Indices = npt.NDArray[np.int64]


class TokenSource(Protocol):
    """Whatever gives the tokens of several networks as one batch: the cache on disk, or a list in memory."""

    def batch(self, indices: Indices) -> PackedTokens:
        """The tokens of these rows as one batch."""


def split_rows(ids: Sequence[str], shares: Sequence[float]) -> list[Indices]:
    """Split rows at random but for ever, by SHA-1 order of their ids: a group a share, the rest as the last group.

    Rows of the same id stay together. Adding rows to a dataset moves few of the others, and no seed has to be kept.
    """
    names, row_of = np.unique(np.array(ids), return_inverse=True)
    order = sha1_order(names.tolist())
    bounds = [*np.round(np.cumsum([0.0, *shares]) * len(names)).astype(int), len(names)]
    group_of = np.zeros(len(names), dtype=np.int64)
    for group, (start, end) in enumerate(itertools.pairwise(bounds)):
        group_of[order[start:end]] = group
    return [np.flatnonzero(group_of[row_of] == group) for group in range(len(shares) + 1)]


def to_tensors(batch: PackedTokens, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features, edges, graph and static features as tensors on `device`, in the order in which models take them.

    A last network of empty tokens rounds the number of tokens up, so that few different sizes occur: matrix libraries
    compile a kernel for each size they meet, which takes longer than the product. Its prediction is to be dropped.
    """
    filling = -len(batch.features) % TOKEN_MULTIPLE
    networks = len(batch.static)
    return (
        torch.from_numpy(np.pad(batch.features, ((0, filling), (0, 0)))).to(device),
        torch.from_numpy(batch.edges.astype(np.int64)).to(device),
        torch.from_numpy(np.pad(batch.graph.astype(np.int64), (0, filling), constant_values=networks)).to(device),
        torch.from_numpy(np.pad(batch.static, ((0, 1), (0, 0)))).to(device),
    )


@torch.inference_mode()
def predict_rows(model: nn.Module, source: TokenSource, rows: Indices, batch_size: int = 64) -> npt.NDArray[np.float64]:
    """Predictions for rows of a token source, in float32, without dropout: (rows, outputs)."""
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    parts = []
    for start in range(0, len(rows), batch_size):
        batch = source.batch(rows[start : start + batch_size])
        prediction = model(*to_tensors(batch, device))[: len(batch.static)]
        parts.append(prediction.cpu().double().numpy())
    model.train(training)
    return np.concatenate(parts)
