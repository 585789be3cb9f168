"""The token cache: every network of a dataset parsed once, its tokens kept on disk and read through a memory map.

Kept are the raw integers of each token (12 times smaller than the features), which every tokenizer of whole networks
expands when a batch is asked for, and each network's graph statistics.
Chunks are written whole or not at all, so a killed build goes on where it stopped; the directory's name holds a digest
of the sources, so a stale cache is never read.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from narformer.datasets.dataset import Source
from narformer.errors import DataError, NarformerError
from narformer.tokens import narformer_v2, nnlp
from narformer.tokens.packing import FloatArray, PackedTokens, ranges
from narformer.tokens.raw import RawNodes, raw_nodes
from narformer.tokens.statistics import statistics

FORMAT = 2  # of what is kept; counts up when tokens change
CHUNK = 256
_COLUMNS = 13  # operation, eight attributes, four dims


@dataclass(frozen=True)
class Expansion:
    """How a tokenizer turns kept numbers into features: of the tokens of a batch, and of its networks."""

    features: Callable[[RawNodes], FloatArray]
    static: Callable[[npt.NDArray[np.float64]], FloatArray]


EXPANSIONS: Mapping[str, Expansion] = {
    "narformer_v2": Expansion(narformer_v2.features, narformer_v2.static_features),
    "nnlp": Expansion(nnlp.features, nnlp.static_features),
}


class TokenCache:
    """The tokens of many networks, by row, and their graph statistics (rows, S)."""

    def __init__(self, directory: Path, tokenizer: str) -> None:
        self._expansion = EXPANSIONS[tokenizer]
        self._tokens = np.load(directory / "tokens.npy", mmap_mode="r")
        self._edges = np.load(directory / "edges.npy", mmap_mode="r")
        self._static = np.load(directory / "static.npy")
        self.statistics: npt.NDArray[np.float64] = np.load(directory / "statistics.npy")
        self._token_offsets, self._edge_offsets = np.load(directory / "offsets.npy")

    def __len__(self) -> int:
        return len(self._static)

    def sizes(self) -> npt.NDArray[np.int64]:
        """Number of tokens of each network."""
        return np.asarray(np.diff(self._token_offsets))

    def batch(self, rows: npt.ArrayLike) -> PackedTokens:
        """The tokens of these rows as one batch, without a loop over networks."""
        rows = np.asarray(rows, dtype=np.int64)
        starts, sizes = self._token_offsets[rows], np.diff(self._token_offsets)[rows]
        edge_starts, edge_sizes = self._edge_offsets[rows], np.diff(self._edge_offsets)[rows]
        kept = np.asarray(self._tokens[ranges(starts, sizes)], dtype=np.int64)
        shift = np.repeat(np.cumsum(sizes) - sizes, edge_sizes)
        edges = (self._edges[ranges(edge_starts, edge_sizes)] + shift[:, None]).T.astype(np.int32)
        raw = RawNodes(kept[:, 0], kept[:, 1:9], kept[:, 9:], edges)
        graph = np.repeat(np.arange(len(rows), dtype=np.int32), sizes)
        return PackedTokens(
            self._expansion.features(raw),
            np.ascontiguousarray(edges),
            graph,
            self._expansion.static(self._static[rows]),
        )


def build_cache(
    sources: Sequence[Source],
    ids: Sequence[str],
    directory: Path,
    tokenizer: str,
    workers: int | None = None,
) -> TokenCache:
    """The cache of these networks below `directory`, filled by a pool of processes where it is not there yet.

    Raises DataError with the ids of networks that cannot be read, and where the disk is full.
    """
    digest = hashlib.sha256(repr((FORMAT, list(sources))).encode()).hexdigest()[:16]
    home = directory / digest
    if not (home / "complete.json").exists():
        try:
            home.mkdir(parents=True, exist_ok=True)
            _fill(sources, ids, home, workers or os.cpu_count() or 1)
        except OSError as error:
            raise DataError(
                f"{home}: the token cache cannot be written ({error.strerror}); free space and run again"
            ) from error
    return TokenCache(home, tokenizer)


def _fill(sources: Sequence[Source], ids: Sequence[str], home: Path, workers: int) -> None:
    jobs = [(home, c, sources[c : c + CHUNK], ids[c : c + CHUNK]) for c in range(0, len(sources), CHUNK)]
    missing = [job for job in jobs if not _chunk(home, job[1]).exists()]
    failures: list[str] = []
    with ProcessPoolExecutor(min(workers, max(1, len(missing)))) as pool:
        for failed in _progress(pool.map(_write_chunk, missing), len(missing)):
            failures += failed
    if failures:
        listed = "\n  ".join(failures[:10])
        raise DataError(f"{len(failures)} of {len(sources)} networks cannot be read:\n  {listed}")
    parts = [dict(np.load(_chunk(home, job[1]))) for job in jobs]
    arrays = {
        "tokens": np.concatenate([p["tokens"] for p in parts]),
        "edges": np.concatenate([p["edges"] for p in parts]),
        "static": np.concatenate([p["static"] for p in parts]),
        "statistics": np.concatenate([p["statistics"] for p in parts]),
        "offsets": np.stack(
            [
                np.concatenate([[0], np.cumsum(np.concatenate([p["sizes"] for p in parts]))]),
                np.concatenate([[0], np.cumsum(np.concatenate([p["edge_sizes"] for p in parts]))]),
            ]
        ),
    }
    for name, array in arrays.items():
        np.save(home / f"{name}.npy", array)
    (home / "complete.json").write_text(json.dumps({"format": FORMAT, "networks": len(sources)}))
    for job in jobs:
        _chunk(home, job[1]).unlink()


def _write_chunk(job: tuple[Path, int, Sequence[Source], Sequence[str]]) -> list[str]:
    """Tokenise one chunk into a file of its own; returns what could not be read, a line each."""
    home, start, sources, ids = job
    tokens, edges, static, summaries, failures = [], [], [], [], []
    for source, name in zip(sources, ids, strict=True):
        try:
            graph = source.graph()
        except NarformerError as error:
            failures.append(f"{name}: {error}")
            continue
        raw = raw_nodes(graph)
        tokens.append(np.column_stack([raw.operation, raw.attributes, raw.shapes]))
        edges.append(raw.edges.T)
        numbers = narformer_v2.static_numbers(graph)
        summaries.append(statistics(graph))
        static.append([numbers.batch_size, numbers.flops, numbers.parameters, numbers.memory_access])
    if failures:
        return failures
    kept = np.concatenate(tokens)
    if kept.size and kept.max() < 2**31:
        kept = kept.astype(np.int32)
    partial = home / f"{start}.partial.npz"
    np.savez(
        partial,
        tokens=kept,
        edges=np.concatenate(edges),
        static=np.array(static, dtype=np.float64),
        statistics=np.array(summaries),
        sizes=np.array([len(t) for t in tokens]),
        edge_sizes=np.array([len(e) for e in edges]),
    )
    partial.replace(_chunk(home, start))
    return []


def _chunk(home: Path, start: int) -> Path:
    return home / f"chunk-{start:08d}.npz"


def _progress(results: Iterator[list[str]], total: int) -> Iterator[list[str]]:
    """A progress bar on a terminal; nothing otherwise."""
    if not sys.stderr.isatty() or total < 4:
        return results
    from rich.console import Console
    from rich.progress import track

    return iter(track(results, "token cache", total=total, console=Console(stderr=True), transient=True))
