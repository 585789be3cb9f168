"""The token cache: the same tokens as without it, after any kill, never those of other networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from narformer.datasets import cache as cache_module
from narformer.datasets.cache import build_cache
from narformer.datasets.dataset import FamilySource, FileSource
from narformer.errors import DataError
from narformer.families.registry import sample
from narformer.graph import Graph
from narformer.tokens.narformer_v2 import tokenize
from narformer.tokens.packing import pack

SOURCES = [
    FamilySource(v.family, v.config, v.version) for f in ("alexnet", "resnet", "googlenet") for v in sample(f, 3)
]
IDS = [f"network_{i}" for i in range(len(SOURCES))]


@dataclass(frozen=True)
class Forbidden:
    """A source that must not be asked again."""

    inner: FamilySource

    def __repr__(self) -> str:
        return repr(self.inner)

    def graph(self) -> Graph:
        raise AssertionError("parsed again")


def test_a_batch_equals_the_tokens_of_its_networks(tmp_path: Path) -> None:
    cache = build_cache(SOURCES, IDS, tmp_path, "narformer_v2", workers=1)
    assert len(cache) == len(SOURCES)
    rows = [4, 0, 8, 4]
    expected = pack([tokenize(SOURCES[r].graph()) for r in rows])
    batch = cache.batch(rows)
    np.testing.assert_array_equal(batch.features, expected.features)
    np.testing.assert_array_equal(batch.edges, expected.edges)
    np.testing.assert_array_equal(batch.graph, expected.graph)
    np.testing.assert_array_equal(batch.static, expected.static)


def test_a_complete_cache_is_not_built_again(tmp_path: Path) -> None:
    first = build_cache(SOURCES, IDS, tmp_path, "narformer_v2", workers=1)
    again = build_cache([Forbidden(s) for s in SOURCES], IDS, tmp_path, "narformer_v2", workers=1)
    np.testing.assert_array_equal(first.sizes(), again.sizes())


def test_a_killed_build_keeps_its_finished_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "CHUNK", 4)
    broken = [*SOURCES[:8], FileSource(str(tmp_path / "absent.onnx"))]
    with pytest.raises(DataError, match=r"network_8: .*absent.onnx: no such file"):
        build_cache(broken, IDS, tmp_path / "cache", "narformer_v2", workers=1)
    (home,) = (tmp_path / "cache").iterdir()
    assert sorted(p.name for p in home.iterdir()) == ["chunk-00000000.npz", "chunk-00000004.npz"]
    (tmp_path / "absent.onnx").write_bytes(next(iter(sample("alexnet", 1))).build().SerializeToString())
    resumed = [*(Forbidden(s) for s in broken[:8]), broken[8]]
    cache = build_cache(resumed, IDS, tmp_path / "cache", "narformer_v2", workers=1)  # type: ignore[list-item]
    assert cache.sizes().tolist() == [len(s.graph()) + 1 for s in broken]


def test_other_networks_have_another_cache(tmp_path: Path) -> None:
    build_cache(SOURCES[:2], IDS[:2], tmp_path, "narformer_v2", workers=1)
    other = build_cache(SOURCES[1:3], IDS[1:3], tmp_path, "narformer_v2", workers=1)
    np.testing.assert_array_equal(other.batch([0]).features, tokenize(SOURCES[1].graph()).features)


def test_an_unwritable_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="token cache cannot be written"):
        build_cache(SOURCES[:1], IDS[:1], tmp_path / "file", "narformer_v2", workers=1)
