"""The token cache: every network of a dataset parsed once, its tokens kept on disk and read through a memory map.

Kept are the raw integers of each token (12 times smaller than the features), which every tokenizer of whole networks
expands when a batch is asked for, and each network's graph statistics.
Chunks and the finished cache appear whole or not at all, so a killed build goes on where it stopped, and several
processes may build the same cache at once. Their names hold a digest of the sources, the state of their files included,
so a stale one is never read.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from narformer.datasets.dataset import Source
from narformer.errors import ConfigError, DataError, NarformerError
from narformer.processes import cores, in_order
from narformer.tokens import narformer_v2, physical
from narformer.tokens.packing import PackedTokens, Tokens, joined_edges, ranges
from narformer.tokens.raw import RawNodes, raw_nodes
from narformer.tokens.registry import EXPANSIONS
from narformer.tokens.statistics import statistics, with_batch

FORMAT = 4  # of what is kept; counts up when tokens change, or what the families build
LEAST, CHUNK = 32, 256  # networks that one process reads at a time
LISTED = 10  # networks named in the message where some cannot be read


class TokenCache:
    """The tokens of many networks, by row, and their graph statistics (rows, S)."""

    def __init__(
        self,
        directory: Path,
        tokenizer: str,
        place: npt.NDArray[np.int64] | None = None,
        factors: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """place, factors (rows,): which network each row is, and at how many times its batch; each once without."""
        self._expansion = EXPANSIONS[tokenizer]
        self._tokens = np.load(directory / "tokens.npy", mmap_mode="r")
        self._edges = np.load(directory / "edges.npy", mmap_mode="r")
        self._work = np.load(directory / "work.npy", mmap_mode="r") if tokenizer in ("physical", "kernels") else None
        self._static = np.load(directory / "static.npy")
        statistics: npt.NDArray[np.float64] = np.load(directory / "statistics.npy")
        self._token_offsets, self._edge_offsets = np.load(directory / "offsets.npy")
        self._place = np.arange(len(self._static)) if place is None else place
        self._factors = np.ones(len(self._place), dtype=np.int64) if factors is None else factors.astype(np.int64)
        self.statistics = statistics[self._place]
        if factors is not None:
            self.statistics = with_batch(self.statistics, factors)

    def __len__(self) -> int:
        return len(self._place)

    def sizes(self) -> npt.NDArray[np.int64]:
        """Number of tokens of each row."""
        return np.asarray(np.diff(self._token_offsets)[self._place])

    def tokens(self, row: int) -> Tokens:
        """The tokens of one network."""
        one = self.batch([row])
        return Tokens(one.features, one.edges, one.static[0])

    def batch(self, rows: npt.ArrayLike) -> PackedTokens:
        """The tokens of these rows as one batch, without a loop over networks."""
        factors = self._factors[np.asarray(rows, dtype=np.int64)]
        rows = self._place[np.asarray(rows, dtype=np.int64)]
        starts, sizes = self._token_offsets[rows], np.diff(self._token_offsets)[rows]
        edge_starts, edge_sizes = self._edge_offsets[rows], np.diff(self._edge_offsets)[rows]
        places = ranges(starts, sizes)
        kept = np.asarray(self._tokens[places], dtype=np.int64)
        work = None if self._work is None else np.asarray(self._work[places])
        edges = joined_edges(self._edges, edge_starts, edge_sizes, sizes)
        # What a batch multiplies are the first dims; kernels that have no batch in theirs are few and small.
        shapes = kept[:, 9:] * np.pad(np.repeat(factors, sizes)[:, None], ((0, 0), (0, 3)), constant_values=1)
        raw = RawNodes(kept[:, 0], kept[:, 1:9], shapes, edges, work)
        if self._expansion.fused is not None:
            raw = self._expansion.fused(raw)
        graph = np.repeat(np.arange(len(rows), dtype=np.int32), sizes)
        return PackedTokens(
            self._expansion.features(raw),
            np.ascontiguousarray(raw.edges),
            graph,
            self._expansion.static(_static_with_batch(self._static[rows], factors)),
        )


def _static_with_batch(numbers: npt.NDArray[np.float64], factors: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Batch size, FLOPs, parameters and memory access (B, 4) at so many times the batch.

    The authors' FLOPs leave the batch out; memory access is elements of outputs and parameters.
    """
    batch, flops, parameters, access = numbers.T
    return np.stack([batch * factors, flops, parameters, (access - parameters) * factors + parameters], axis=1)


def build_cache(
    sources: Sequence[Source],
    ids: Sequence[str],
    directory: Path,
    tokenizer: str,
    workers: int | None = None,
    factors: npt.NDArray[np.float32] | None = None,
) -> TokenCache:
    """The cache of these networks below `directory`, filled by a pool of processes where it is not there yet.

    factors: at how many times the batch of its source's Graph each row is; a source that is there for several rows is
    read once. Only for tokenizers whose tokens are shapes (nnlp, narformer_v2).
    Raises DataError with the ids of networks that cannot be read, where there are none, and where the disk is full.
    """
    if tokenizer not in EXPANSIONS:
        raise ConfigError(
            f"tokens of {tokenizer!r} cannot be kept for a training: it needs a row in EXPANSIONS of "
            f"narformer/tokens/registry.py, as {', '.join(EXPANSIONS)} have"
        )
    if not sources:
        raise DataError("there are no networks to tokenise: the dataset has no rows")
    place = None
    if factors is not None and (factors != 1).any():
        if tokenizer not in ("nnlp", "narformer_v2"):
            raise DataError(
                f"the networks were measured at several batches, which the tokens of {tokenizer} cannot say"
            )
        first: dict[Source, int] = {}
        place = np.array([first.setdefault(source, len(first)) for source in sources], dtype=np.int64)
        ids = [ids[row] for row in np.unique(place, return_index=True)[1]]
        sources = list(first)
    home = directory / source_digest(sources)
    if not home.is_dir():
        try:
            directory.mkdir(parents=True, exist_ok=True)
            _fill(sources, ids, home, workers or cores())
        except OSError as error:
            raise DataError(
                f"{home}: the token cache cannot be written ({error.strerror or error}); "
                "free space, or choose another directory, and run again: what is finished is kept"
            ) from error
    return TokenCache(home, tokenizer, place, None if place is None else factors)


def source_digest(sources: Sequence[Source]) -> str:
    """Names a cache: another where any source differs, or what stands behind it was written anew."""
    return hashlib.sha256(repr((FORMAT, [(s, s.state()) for s in sources])).encode()).hexdigest()[:16]


def _fill(sources: Sequence[Source], ids: Sequence[str], home: Path, workers: int) -> None:
    size = min(CHUNK, max(LEAST, -(-len(sources) // workers)))
    jobs = [
        (home.parent / f"{source_digest(sources[c : c + size])}.npz", sources[c : c + size], ids[c : c + size])
        for c in range(0, len(sources), size)
    ]
    missing = [job for job in jobs if not job[0].exists()]
    failures: list[str] = []
    for failed in _progress(in_order(_write_chunk, missing, workers), len(missing)):
        failures += failed
    if failures:
        listed = "\n  ".join(failures[:LISTED])
        more = f"\n  and {len(failures) - LISTED} more" if len(failures) > LISTED else ""
        raise DataError(f"{len(failures)} of {len(sources)} networks cannot be read:\n  {listed}{more}")
    chunks = [chunk for chunk, _, _ in jobs]
    _assemble(chunks, home)
    for chunk in chunks:
        chunk.unlink(missing_ok=True)


def _assemble(chunks: Sequence[Path], home: Path) -> None:
    """All chunks as one cache, written beside `home` and then renamed."""
    partial = home.with_name(f"{home.name}.{os.getpid()}.partial")
    try:
        parts = []
        for chunk in chunks:
            with np.load(chunk) as part:
                parts.append(dict(part))
        arrays = {
            name: np.concatenate([p[name] for p in parts])
            for name in ("tokens", "work", "edges", "static", "statistics")
        }
        sizes = (np.concatenate([p[name] for p in parts]) for name in ("sizes", "edge_sizes"))
        arrays["offsets"] = np.stack([np.concatenate([[0], np.cumsum(s)]) for s in sizes])
        partial.mkdir(exist_ok=True)
        for name, array in arrays.items():
            np.save(partial / f"{name}.npy", array)
        partial.rename(home)
    except OSError:
        # Another process may have finished the same cache meanwhile, and removed the chunks.
        if not home.is_dir():
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_chunk(job: tuple[Path, Sequence[Source], Sequence[str]]) -> list[str]:
    """Tokenise one chunk into a file of its own; returns what could not be read, a line each."""
    chunk, sources, ids = job
    tokens, work, edges, static, summaries, failures = [], [], [], [], [], []
    for source, name in zip(sources, ids, strict=True):
        try:
            graph = source.graph()
        except NarformerError as error:
            failures.append(f"{name}: {error}")
            continue
        raw = raw_nodes(graph)
        tokens.append(np.column_stack([raw.operation, raw.attributes, raw.shapes]))
        work.append(physical.node_work(graph))
        edges.append(raw.edges.T)
        numbers = narformer_v2.static_numbers(graph)
        summaries.append(statistics(graph))
        static.append([numbers.batch_size, numbers.flops, numbers.parameters, numbers.memory_access])
    if failures:
        return failures
    kept = np.concatenate(tokens)
    if kept.size and kept.max() < 2**31:
        kept = kept.astype(np.int32)
    partial = chunk.with_name(f"{chunk.stem}.{os.getpid()}.partial.npz")
    try:
        np.savez(
            partial,
            tokens=kept,
            work=np.concatenate(work),
            edges=np.concatenate(edges),
            static=np.array(static, dtype=np.float64),
            statistics=np.array(summaries),
            sizes=np.array([len(t) for t in tokens]),
            edge_sizes=np.array([len(e) for e in edges]),
        )
        partial.replace(chunk)
    finally:
        partial.unlink(missing_ok=True)
    return []


def _progress(results: Iterator[list[str]], total: int) -> Iterator[list[str]]:
    """A progress bar on a terminal; nothing otherwise."""
    if not sys.stderr.isatty() or total < 4:
        return results
    from rich.console import Console
    from rich.progress import track

    return iter(track(results, "token cache", total=total, console=Console(stderr=True), transient=True))
