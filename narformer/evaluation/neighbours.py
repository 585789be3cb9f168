"""The known networks nearest to a given one, by the predictor's embedding, with their measured latencies."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from narformer.datasets.dataset import Dataset, Source
from narformer.errors import DataError
from narformer.prediction.predictor import Predictor
from narformer.processes import in_order_with

Vectors = npt.NDArray[np.float32]
PART = 64  # networks whose vectors are kept together as they come


@dataclass(frozen=True)
class Neighbour:
    """A known network: its id, family, distance (0 to 2, cosine) and measured latencies in ms by device."""

    id: str
    family: str
    distance: float
    measured_ms: dict[str, float]


def embeddings(
    dataset: Dataset, predictor: str | None, cache: Path, show: Callable[[int, int], None] = lambda _done, _all: None
) -> Vectors:
    """The vector of every row, (rows, width), computed once by all cores and kept below `cache`.

    Interrupted, the same call goes on where it stopped: what is done is kept part by part.
    """
    key = hashlib.sha256(repr((predictor, Predictor.load(predictor).card.fingerprint, dataset.sources)).encode())
    path = cache / "embeddings" / f"{dataset.name}-{key.hexdigest()[:16]}.npy"
    if path.exists():
        return np.asarray(np.load(path))
    parts = [dataset.sources[start : start + PART] for start in range(0, len(dataset), PART)]
    home = path.with_suffix(".parts")
    files = [home / f"{number:05d}.npy" for number in range(len(parts))]
    try:
        home.mkdir(parents=True, exist_ok=True)
        missing = [k for k, file in enumerate(files) if not file.exists()]
        load = partial(Predictor.load, predictor)
        for number, vectors in enumerate(in_order_with(load, _embed, [parts[k] for k in missing])):
            _save(vectors.astype(np.float32), files[missing[number]])
            show(len(parts) - len(missing) + number + 1, len(parts))
        found: Vectors = np.concatenate([np.load(file) for file in files])
        _save(found, path)
        shutil.rmtree(home)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error
    return found


def _save(vectors: Vectors, path: Path) -> None:
    """Whole, or not at all."""
    unfinished = path.with_suffix(".partial.npy")
    np.save(unfinished, vectors)
    unfinished.replace(path)


def nearest(vector: npt.NDArray[np.float64], known: Vectors, dataset: Dataset, count: int) -> list[Neighbour]:
    """The `count` rows of `dataset` whose vectors point most nearly the same way."""
    unit = known / np.linalg.norm(known, axis=1, keepdims=True)
    distance = np.maximum(1 - unit @ (vector / np.linalg.norm(vector)), 0.0)  # rounded, it may be a little less
    rows = np.argsort(distance, kind="stable")[:count]
    return [Neighbour(dataset.ids[r], dataset.family[r], float(distance[r]), _measured(dataset, r)) for r in rows]


def _measured(dataset: Dataset, row: int) -> dict[str, float]:
    values = zip(dataset.devices, dataset.targets[row], strict=True)
    return {device: float(value) for device, value in values if np.isfinite(value)}


def _embed(predictor: Predictor, sources: tuple[Source, ...]) -> npt.NDArray[np.float64]:
    return predictor.embed([source.graph() for source in sources])
