"""From the token cache to batches of tensors, and from batches to predictions."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from narformer.tokens.packing import PackedTokens

Indices = npt.NDArray[np.int64]


class TokenSource(Protocol):
    """Whatever gives the tokens of several networks as one batch: the cache on disk, or a list in memory."""

    def batch(self, indices: Indices) -> PackedTokens: ...


def split_rows(ids: Sequence[str], shares: Sequence[float]) -> list[Indices]:
    """Split rows at random but for ever: by SHA-1 order of their ids, one group a share, and the rest as the last group.

    Adding rows to a dataset moves few of the others, and no seed has to be kept.
    """
    order = np.argsort([hashlib.sha1(i.encode()).hexdigest() for i in ids], kind="stable")
    bounds = np.round(np.cumsum([0.0, *shares]) * len(ids)).astype(int)
    groups = [order[a:b] for a, b in itertools.pairwise(bounds)]
    return [np.sort(group) for group in [*groups, order[bounds[-1] :]]]


def to_tensors(batch: PackedTokens, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features, edges, graph and static features as tensors on `device`, in the order in which models take them."""
    return (
        torch.from_numpy(batch.features).to(device),
        torch.from_numpy(batch.edges.astype(np.int64)).to(device),
        torch.from_numpy(batch.graph.astype(np.int64)).to(device),
        torch.from_numpy(batch.static).to(device),
    )


@torch.inference_mode()
def predict_rows(model: nn.Module, source: TokenSource, rows: Indices, batch_size: int = 64) -> npt.NDArray[np.float64]:
    """Predictions for rows of a token source, in float32, without dropout: (rows, outputs)."""
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    parts = [
        model(*to_tensors(source.batch(rows[start : start + batch_size]), device)).cpu().double().numpy()
        for start in range(0, len(rows), batch_size)
    ]
    model.train(training)
    return np.concatenate(parts)
