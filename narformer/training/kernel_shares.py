"""Labels of kernels: which share of a run's time each takes, where a profiler told, and the loss over them.

Ours. A network's latency alone does not say which of its kernels is slow; shares do, sixty labels a network. They are
compared within a network, so that a profiler that slows all kernels alike changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from narformer.datasets.profiles import Profile
from narformer.errors import DataError
from narformer.tokens.packing import ranges


class Labels(NamedTuple):
    """Of the kernels of a batch that have any: their tokens, whose first one is given, their shares and networks."""

    tokens: Tensor  # (K,) places in the batch
    first: Tensor  # (K,) the place in the batch of the first token that ran with it
    share: Tensor  # (K,) 0 for those that are not the first
    network: Tensor  # (K,) places in the batch


class KernelShares:
    """The profiles of a dataset's rows, ready to be laid beside a batch.

    profiles: a row each, None where there is none; all of one output. sizes: numbers of tokens of the rows.
    Raises DataError for a profile with another number of tokens than its row.
    """

    def __init__(self, profiles: Sequence[Profile | None], sizes: npt.NDArray[np.int64]) -> None:
        for row, profile in enumerate(profiles):
            if profile is not None and len(profile.shares) != sizes[row]:
                raise DataError(
                    f"row {row}: a profile of {len(profile.shares)} tokens for a network of {sizes[row]}; "
                    "take profiles again (benchmarks/profile_kernels.py)"
                )
        there = [profile for profile in profiles if profile is not None]
        self._sizes = np.asarray(sizes, dtype=np.int64)
        self._labelled = np.array([0 if p is None else len(p.shares) for p in profiles], dtype=np.int64)
        self._starts = np.cumsum(self._labelled) - self._labelled
        self._shares = np.concatenate([p.shares for p in there]) if there else np.zeros(0, dtype=np.float32)
        self._first = np.concatenate([p.groups for p in there]) if there else np.zeros(0, dtype=np.int64)

    def batch(self, rows: npt.NDArray[np.int64]) -> Labels | None:
        """The labels of these rows, packed one after another into a batch; None where there are none."""
        labelled, sizes = self._labelled[rows], self._sizes[rows]
        if not labelled.any():
            return None
        at = ranges(self._starts[rows], labelled)
        start = np.repeat(np.cumsum(sizes) - sizes, labelled)
        return Labels(
            torch.from_numpy(ranges(np.cumsum(sizes) - sizes, labelled)),
            torch.from_numpy(start + self._first[at]),
            torch.from_numpy(self._shares[at]),
            torch.from_numpy(np.repeat(np.arange(len(rows)), labelled)),
        )


def share_loss(each: Tensor, labels: Labels, networks: int) -> Tensor:
    """Sum over networks of the mean |ln(predicted share / share)|, kernels weighted by their shares.

    each: ms of the tokens of the batch, (T,). networks: how many the batch has.
    """
    labels = Labels(*(column.to(each.device) for column in labels))
    together = torch.zeros_like(each).index_add(0, labels.first, each[labels.tokens])
    known = labels.share > 0
    share, network = labels.share[known], labels.network[known]
    ln = torch.log(together[labels.tokens[known]].clamp_min(1e-9)) - torch.log(share)
    total = torch.zeros(networks, dtype=each.dtype, device=each.device).index_add(0, network, share)
    mean = torch.zeros_like(total).index_add(0, network, share * ln) / total.clamp_min(1e-9)
    return (share * (ln - mean[network]).abs()).sum()
