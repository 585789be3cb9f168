"""The token cache: the same tokens as without it, after any kill, never those of other networks."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from narformer.datasets import cache as cache_module
from narformer.datasets.cache import build_cache, source_digest
from narformer.datasets.dataset import FamilySource, FileSource
from narformer.datasets.timm import ZooSource
from narformer.errors import ConfigError, DataError
from narformer.families.registry import build, sample
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph
from narformer.tokens import nnlp
from narformer.tokens.narformer_v2 import tokenize
from narformer.tokens.packing import pack
from narformer.tokens.statistics import statistics

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

    def state(self) -> object:
        return self.inner.state()


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


@pytest.mark.parametrize("tokenizer", ["narformer_v2", "nnlp"])
def test_rows_at_several_batches_have_the_tokens_of_files_at_these_batches(tmp_path: Path, tokenizer: str) -> None:
    source, other = SOURCES[0], SOURCES[4]
    model = build(source.family, source.config, source.version)
    factors = np.array([8, 1, 3], dtype=np.float32)
    cache = build_cache([source, other, source], ["a", "b", "a at 3"], tmp_path, tokenizer, 1, factors)
    expand = {"narformer_v2": tokenize, "nnlp": nnlp.tokenize}[tokenizer]
    graphs = [read_onnx(model, batch_size=8), other.graph(), read_onnx(model, batch_size=3)]
    expected = pack([expand(graph) for graph in graphs])
    batch = cache.batch([0, 1, 2])
    np.testing.assert_allclose(batch.features, expected.features, atol=1e-6)
    np.testing.assert_allclose(batch.static, expected.static, rtol=1e-6)
    np.testing.assert_allclose(cache.statistics, [statistics(graph) for graph in graphs])
    np.testing.assert_array_equal(cache.sizes(), [len(expand(graph).features) for graph in graphs])


def test_tokens_that_cannot_say_a_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="several batches, which the tokens of kernels cannot say"):
        build_cache(SOURCES[:1], IDS[:1], tmp_path, "kernels", 1, np.array([2], dtype=np.float32))


def test_a_source_that_became_another_network_has_another_cache() -> None:
    class Kept(NamedTuple):
        content: str

        def graph(self) -> Graph:
            raise AssertionError

        def state(self) -> str:
            return self.content

        def __repr__(self) -> str:
            return "Kept()"

    assert source_digest([Kept("a")]) == source_digest([Kept("a")])
    assert source_digest([Kept("a")]) != source_digest([Kept("b")])
    stored = ZooSource("resnet18", 224)
    assert stored.state() == ZooSource("resnet18", 224).state() is not None
    assert ZooSource("resnet18", 225).state() is None


def test_a_tokenizer_that_cannot_be_kept_is_told_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs a row in EXPANSIONS"):
        build_cache([Forbidden(SOURCES[0])], ["a"], tmp_path, "narformer_v2_released")


def test_a_complete_cache_is_not_built_again(tmp_path: Path) -> None:
    first = build_cache(SOURCES, IDS, tmp_path, "narformer_v2", workers=1)
    again = build_cache([Forbidden(s) for s in SOURCES], IDS, tmp_path, "narformer_v2", workers=1)
    np.testing.assert_array_equal(first.sizes(), again.sizes())


def test_a_killed_build_keeps_its_finished_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "CHUNK", 4)
    broken = [*SOURCES[:8], FileSource(str(tmp_path / "absent.onnx"))]
    with pytest.raises(DataError, match=r"network_8: .*absent.onnx: no such file"):
        build_cache(broken, IDS, tmp_path / "cache", "narformer_v2", workers=1)
    chunks = list((tmp_path / "cache").iterdir())
    assert len(chunks) == 2
    (tmp_path / "absent.onnx").write_bytes(next(iter(sample("alexnet", 1))).build().SerializeToString())
    resumed = [*(Forbidden(s) for s in broken[:8]), broken[8]]
    cache = build_cache(resumed, IDS, tmp_path / "cache", "narformer_v2", workers=1)  # type: ignore[list-item]
    assert cache.sizes().tolist() == [len(s.graph()) + 1 for s in broken]
    assert [p.is_dir() for p in (tmp_path / "cache").iterdir()] == [True], "chunks go once the cache is whole"


def test_a_killed_assembly_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", lambda *_: _interrupt())
        with pytest.raises(KeyboardInterrupt):
            build_cache(SOURCES, IDS, tmp_path, "narformer_v2", workers=1)
    assert not any(p.is_dir() for p in tmp_path.iterdir())
    cache = build_cache([Forbidden(s) for s in SOURCES], IDS, tmp_path, "narformer_v2", workers=1)
    assert len(cache) == len(SOURCES)


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_a_file_written_anew_is_read_anew(tmp_path: Path) -> None:
    source = FileSource(str(tmp_path / "network.onnx"))
    for family in ("alexnet", "resnet"):
        Path(source.path).write_bytes(next(iter(sample(family, 1))).build().SerializeToString())
        tokens = build_cache([source], ["a"], tmp_path / "cache", "narformer_v2", workers=1).tokens(0)
        expected = tokenize(source.graph())
        np.testing.assert_array_equal(tokens.features, expected.features)
        np.testing.assert_array_equal(tokens.edges, expected.edges)
        np.testing.assert_array_equal(tokens.static, expected.static)


def test_many_unreadable_networks_are_counted(tmp_path: Path) -> None:
    absent = [FileSource(str(tmp_path / f"{k}.onnx")) for k in range(13)]
    with pytest.raises(DataError, match=r"(?s)^13 of 13 networks .*id_9: .*and 3 more$"):
        build_cache(absent, [f"id_{k}" for k in range(13)], tmp_path / "cache", "narformer_v2", workers=1)


def test_no_networks_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no networks"):
        build_cache([], [], tmp_path, "narformer_v2")


def test_a_full_disk_is_told_and_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: Path, **arrays: object) -> None:
        file.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache_module.np, "savez", full)
    with pytest.raises(DataError, match=r"No space left on device.*free space"):
        build_cache(SOURCES[:2], IDS[:2], tmp_path, "narformer_v2", workers=1)
    assert not list(tmp_path.iterdir())


def test_other_networks_have_another_cache(tmp_path: Path) -> None:
    build_cache(SOURCES[:2], IDS[:2], tmp_path, "narformer_v2", workers=1)
    other = build_cache(SOURCES[1:3], IDS[1:3], tmp_path, "narformer_v2", workers=1)
    np.testing.assert_array_equal(other.batch([0]).features, tokenize(SOURCES[1].graph()).features)


def test_an_unwritable_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="token cache cannot be written"):
        build_cache(SOURCES[:1], IDS[:1], tmp_path / "file", "narformer_v2", workers=1)
