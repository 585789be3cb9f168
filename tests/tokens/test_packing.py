"""Packing: a batch is its networks one after another, whatever their sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from narformer.tokens.packing import Tokens, pack, ranges


def tokens(size: int, seed: int) -> Tokens:
    rng = np.random.default_rng(seed)
    edges = np.array([(a, b) for a in range(size) for b in range(a + 1, size) if rng.random() < 0.4], dtype=np.int32)
    features = rng.normal(size=(size, 3)).astype(np.float32)
    return Tokens(features, edges.reshape(-1, 2).T, rng.normal(size=2).astype(np.float32))


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_each_network_is_found_again_in_its_batch(sizes: list[int]) -> None:
    several = [tokens(size, seed) for seed, size in enumerate(sizes)]
    packed = pack(several)
    for k, one in enumerate(several):
        mine = np.flatnonzero(packed.graph == k)
        np.testing.assert_array_equal(packed.features[mine], one.features)
        inside = np.isin(packed.edges[0], mine)
        np.testing.assert_array_equal(packed.edges[:, inside] - mine[0], one.edges)
        np.testing.assert_array_equal(packed.static[k], one.static)
    assert packed.edges.shape[1] == sum(t.edges.shape[1] for t in several)


def test_nothing_cannot_be_packed() -> None:
    with pytest.raises(ValueError, match="nothing"):
        pack([])


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 6)), max_size=6))
def test_ranges_are_python_ranges(pairs: list[tuple[int, int]]) -> None:
    starts, sizes = np.array([p[0] for p in pairs], dtype=int), np.array([p[1] for p in pairs], dtype=int)
    assert ranges(starts, sizes).tolist() == [n for start, size in pairs for n in range(start, start + size)]
