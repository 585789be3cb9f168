"""Tokens of kernels, kept on disk: a network's once, whatever the batches it was measured at.

What is kept are the features as they are at the batch of the source's Graph; a row of the dataset is a network and a
factor on its batch. Pieces of a few hundred networks appear whole or not at all, named by a digest of their sources, so
a killed build goes on where it stopped.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from narformer.datasets.cache import LISTED, TokenCache, build_cache, source_digest
from narformer.datasets.dataset import Dataset, Source
from narformer.errors import DataError, NarformerError
from narformer.frontends.canonical import canonical
from narformer.processes import in_order
from narformer.tokens import runtime_kernels
from narformer.tokens.packing import PackedTokens, joined_edges, ranges
from narformer.tokens.statistics import statistics, with_batch

FORMAT = 15  # counts up when tokens or the canonical form change
CHUNK = 64
_ARRAYS = ("features", "edges", "sizes", "edge_sizes", "statistics")


class KernelCache:
    """The tokens of a dataset's rows, and their graph statistics (rows, S)."""

    def __init__(self, parts: Sequence[Path], place: npt.NDArray[np.int64], factors: npt.NDArray[np.float32]) -> None:
        loaded = []
        for part in parts:
            with np.load(part) as arrays:
                loaded.append({name: arrays[name] for name in _ARRAYS})
        joined = {name: np.concatenate([part[name] for part in loaded]) for name in _ARRAYS}
        self._features, self._edges = joined["features"], joined["edges"]
        self._sizes, self._edge_sizes = joined["sizes"], joined["edge_sizes"]
        self._starts = np.cumsum(self._sizes) - self._sizes
        self._edge_starts = np.cumsum(self._edge_sizes) - self._edge_sizes
        self._place, self._factors = place, factors
        self.statistics = with_batch(joined["statistics"][place], factors)

    def __len__(self) -> int:
        return len(self._place)

    def sizes(self) -> npt.NDArray[np.int64]:
        """Number of tokens of each row."""
        return np.asarray(self._sizes[self._place])

    def batch(self, rows: npt.ArrayLike) -> PackedTokens:
        """The tokens of these rows as one batch, without a loop over networks."""
        rows = np.asarray(rows, dtype=np.int64)
        place, factors = self._place[rows], self._factors[rows]
        sizes, edge_sizes = self._sizes[place], self._edge_sizes[place]
        features = self._features[ranges(self._starts[place], sizes)]
        return PackedTokens(
            runtime_kernels.with_batch(features, np.repeat(factors, sizes)),
            joined_edges(self._edges, self._edge_starts[place], edge_sizes, sizes),
            np.repeat(np.arange(len(rows), dtype=np.int32), sizes),
            factors[:, None].astype(np.float32),
        )


def cache_for(
    dataset: Dataset, tokenizer: str, directory: Path, workers: int | None = None
) -> TokenCache | KernelCache:
    """The tokens of a dataset's rows for a tokenizer, from the cache below `directory`, filled first if need be.

    Raises DataError as `build_cache` and `build_kernel_cache` do.
    """
    if tokenizer == "runtime_kernels":
        return build_kernel_cache(dataset, directory, workers)
    home = directory / dataset.name
    return build_cache(dataset.sources, dataset.ids, home, tokenizer, workers, dataset.factors)


def build_kernel_cache(dataset: Dataset, directory: Path, workers: int | None = None) -> KernelCache:
    """The cache of a dataset below `directory`, filled by a pool of processes where it is not there yet.

    Raises DataError with the ids of networks that cannot be read, where there are none, and where the disk is full.
    """
    if not len(dataset):
        raise DataError("there are no networks to tokenise: the dataset has no rows")
    place: dict[Source, int] = {}
    for source in dataset.sources:
        place.setdefault(source, len(place))
    sources = list(place)
    jobs = [(directory / f"kernels-{FORMAT}-{source_digest(chunk)}.npz", chunk) for chunk in _chunks(sources)]
    missing = [job for job in jobs if not job[0].exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        failures: list[str] = []
        for failed in in_order(_write, missing, workers):
            failures += failed
    except OSError as error:
        raise DataError(
            f"{directory}: the token cache cannot be written ({error.strerror or error}); "
            "free space, or choose another directory, and run again: what is finished is kept"
        ) from error
    if failures:
        listed = "\n  ".join(failures[:LISTED])
        more = f"\n  and {len(failures) - LISTED} more" if len(failures) > LISTED else ""
        raise DataError(f"{len(failures)} of {len(sources)} networks cannot be read:\n  {listed}{more}")
    rows = np.array([place[source] for source in dataset.sources], dtype=np.int64)
    return KernelCache([path for path, _ in jobs], rows, dataset.factors)


def _chunks(sources: Sequence[Source]) -> list[list[Source]]:
    """Some sources a piece. Where a piece ends is its last source's doing: datasets in common have pieces in common."""
    chunks: list[list[Source]] = [[]]
    for source in sources:
        chunks[-1].append(source)
        if int(source_digest([source]), 16) % CHUNK == 0 or len(chunks[-1]) == 4 * CHUNK:
            chunks.append([])
    return [chunk for chunk in chunks if chunk]


def _write(job: tuple[Path, Sequence[Source]]) -> list[str]:
    """Tokenise some networks into a file of their own; returns what could not be read, a line each."""
    path, sources = job
    features, edges, summaries, failures = [], [], [], []
    for source in sources:
        try:
            graph = canonical(source.graph())
            tokens = runtime_kernels.tokenize(graph)
        except NarformerError as error:
            failures.append(f"{source}: {error}")
            continue
        features.append(tokens.features)
        edges.append(tokens.edges.T)
        summaries.append(statistics(graph))
    if failures:
        return failures
    partial = path.with_name(f"{path.stem}.{os.getpid()}.partial.npz")
    try:
        np.savez(
            partial,
            features=np.concatenate(features),
            edges=np.concatenate(edges),
            sizes=np.array([len(each) for each in features]),
            edge_sizes=np.array([len(each) for each in edges]),
            statistics=np.array(summaries),
        )
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return []
