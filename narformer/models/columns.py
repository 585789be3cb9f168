"""Columns of runtime kernels' tokens by name, and which kernels are of which kinds, as models read them.

All are (T, 1) or (T, n), so that what is computed of them is put side by side as it is. A column taken by itself is a
node of the exported file, and a prediction runs each: all columns are split at once, and kinds are looked up by one
product with a matrix of zeros and ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from narformer.tokens import runtime_kernels as tokens


def columns(features: Tensor) -> dict[str, Tensor]:
    """The numbers of tokens by the names of `tokens.COLUMNS`, (T, 1) each."""
    return named(tokens.COLUMNS, features[:, : len(tokens.COLUMNS)])


def named(names: Iterable[str], values: Tensor) -> dict[str, Tensor]:
    """The columns of values (T, n) by n names, (T, 1) each."""
    return dict(zip(names, torch.split(values, 1, dim=1), strict=True))


def places(*names: str) -> list[int]:
    """Where kinds stand among `tokens.KINDS`."""
    return [tokens.KINDS.index(name) for name in names]


def one_hot_kinds(features: Tensor) -> Tensor:
    """1 for the kind of each token, (T, kinds); 0 for one without a kind, which fills a batch up."""
    return features[:, tokens.FIRST_KIND : tokens.FIRST_WINDOW]


def is_among(features: Tensor, *sets: Sequence[int]) -> Tensor:
    """1 for each token whose kind is among those of a set, (T, sets). sets: places of kinds."""
    members = torch.zeros(len(tokens.KINDS), len(sets))
    for number, kinds in enumerate(sets):
        members[list(kinds), number] = 1
    return one_hot_kinds(features) @ members.to(features)
