"""Columns by name and kinds by sets: the numbers that are in tokens, for each token by itself."""

from __future__ import annotations

import torch

from narformer.models.columns import columns, is_among, named, one_hot_kinds, places
from narformer.tokens import runtime_kernels as tokens


def _tokens(*kinds: str) -> torch.Tensor:
    """A token for each kind, whose columns count on from 100 times its number; "" for one without a kind."""
    features = torch.zeros(len(kinds), tokens.WIDTH)
    for row, kind in enumerate(kinds):
        features[row, : len(tokens.COLUMNS)] = torch.arange(len(tokens.COLUMNS)) + 100.0 * row
        if kind:
            features[row, tokens.FIRST_KIND + tokens.KINDS.index(kind)] = 1
    return features


def test_each_column_has_its_name() -> None:
    found = columns(_tokens("run", "add"))
    assert tuple(found) == tokens.COLUMNS
    for place, name in enumerate(tokens.COLUMNS):
        assert found[name].tolist() == [[place], [100 + place]]
    assert {name: value.tolist() for name, value in named("ab", torch.tensor([[1, 2]])).items()} == {
        "a": [[1]],
        "b": [[2]],
    }


def test_kinds_are_looked_up_in_sets() -> None:
    features = _tokens("convolution", "add", "")
    assert one_hot_kinds(features).sum(dim=1).tolist() == [1, 1, 0]
    found = is_among(features, places("convolution", "add"), places("add"), [])
    assert found.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
