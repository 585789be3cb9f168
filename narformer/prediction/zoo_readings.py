"""The networks of the zoo as predictors on tokens of kernels read them, made beforehand: a second instead of thirty.

The file `zoo-readings.bin` beside this one is a compressed archive of NumPy's arrays: tokens that differ, listed once
in the order in which they first occur, and for each network where in that list its tokens are.
`benchmarks/make_zoo_readings.py` makes it, after every change of tokens, statistics, canonical form or zoo.
"""

from __future__ import annotations

import functools
import io
import json
import lzma
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from narformer.datasets.zoo import Entry
from narformer.errors import DataError
from narformer.prediction.reading import Reading
from narformer.tokens import runtime_kernels
from narformer.tokens.packing import Tokens
from narformer.tokens.statistics import NAMES

FILE = Path(__file__).parent / "zoo-readings.bin"
_REMEDY = "make it with benchmarks/make_zoo_readings.py"


@functools.lru_cache(maxsize=1)
def zoo_readings(path: Path = FILE) -> Mapping[Entry, Reading]:
    """All of them, at batch 1. Raises DataError where the file cannot be read, or is of another version's tokens."""
    try:
        with np.load(io.BytesIO(lzma.decompress(path.read_bytes()))) as archive:
            arrays = {name: archive[name] for name in archive.files}
        networks = json.loads(arrays["networks"].tobytes())
        tokens = _unpacked(arrays)
        statistics = np.ascontiguousarray(arrays["statistics"].T).astype(np.float64)
    except (OSError, lzma.LZMAError, ValueError, KeyError) as error:
        raise DataError(f"{path}: cannot be read ({error}); {_REMEDY}") from error
    if arrays["distinct"].shape[0] != runtime_kernels.WIDTH or statistics.shape[1] != len(NAMES):
        raise DataError(f"{path}: has the tokens of another version; {_REMEDY}")
    return {
        Entry(source, name, size): Reading(
            name, each, numbers, nodes, frozenset(operators), frozenset(unknown), precision, batch_size
        )
        for (source, name, size, nodes, operators, unknown, precision, batch_size), each, numbers in zip(
            networks, tokens, statistics, strict=True
        )
    }


def write(readings: Mapping[Entry, Reading], path: Path = FILE) -> None:
    """Keep readings in a file."""
    networks = [
        [*entry, r.nodes, sorted(r.operators), sorted(r.unknown), r.precision, r.batch_size]
        for entry, r in readings.items()
    ]
    arrays: dict[str, Any] = {
        "networks": np.frombuffer(json.dumps(networks).encode(), dtype=np.uint8),
        "statistics": np.stack([r.statistics for r in readings.values()]).T.astype(np.float32),
        **_packed([r.tokens for r in readings.values()]),
    }
    file = io.BytesIO()
    np.savez(file, **arrays)
    path.write_bytes(lzma.compress(file.getvalue(), preset=9))


def _packed(tokens: Sequence[Tokens]) -> dict[str, npt.NDArray[Any]]:
    rows, first, place = np.unique(
        np.concatenate([each.features for each in tokens]), axis=0, return_index=True, return_inverse=True
    )
    order = np.argsort(first)
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    sources, readers = np.concatenate([each.edges for each in tokens], axis=1)
    return {
        "distinct": np.ascontiguousarray(rows[order].T),
        "steps": np.diff(number[place.ravel()], prepend=0).astype(np.int32),
        "sizes": np.array([len(each.features) for each in tokens], dtype=np.int32),
        "edge_counts": np.array([each.edges.shape[1] for each in tokens], dtype=np.int32),
        "source_steps": np.diff(sources, prepend=0).astype(np.int32),
        "reach": (readers - sources).astype(np.int32),
        "static": np.stack([each.static for each in tokens]),
    }


def _unpacked(arrays: Mapping[str, npt.NDArray[Any]]) -> list[Tokens]:
    features = np.ascontiguousarray(arrays["distinct"].T)[np.cumsum(arrays["steps"])]
    sources = np.cumsum(arrays["source_steps"], dtype=np.int32)
    edges = np.stack([sources, sources + arrays["reach"]])
    ends, edge_ends = np.cumsum(arrays["sizes"])[:-1], np.cumsum(arrays["edge_counts"])[:-1]
    parts = zip(np.split(features, ends), np.split(edges, edge_ends, axis=1), arrays["static"], strict=True)
    return [Tokens(*each) for each in parts]
