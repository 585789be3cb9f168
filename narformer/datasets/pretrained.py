"""Pretrained weights with their ImageNet accuracy, and where the networks were timed: timm's results, in the package.

Two small compressed tables beside this file, excerpts of the `results/` of huggingface/pytorch-image-models
(Apache-2.0): `pretrained-accuracy.csv.xz` has the weights, `pretrained-latency.csv.xz` step times of their networks.
`benchmarks/make_pretrained_tables.py` makes both; `xz --decompress` shows what is in them.
"""

from __future__ import annotations

import csv
import functools
import io
import lzma
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from narformer.datasets.timm import target_id
from narformer.errors import DataError

ACCURACY = Path(__file__).parent / "pretrained-accuracy.csv.xz"
LATENCY = Path(__file__).parent / "pretrained-latency.csv.xz"
ACCURACY_COLUMNS = ("model", "img_size", "top1", "top5", "param_count")
TARGET_COLUMNS = ("hardware", "precision", "layout", "compiled", "pytorch")
LATENCY_COLUMNS = (*TARGET_COLUMNS, "model", "img_size", "batch_size", "step_ms")


class Weights(NamedTuple):
    """Trained weights of one network, at the image size at which they were tested.

    name: `network.tag`, as `timm.create_model` takes it. top1, top5: ImageNet accuracy on the validation images, in
    percent. parameters: in millions.
    """

    name: str
    size: int
    top1: float
    top5: float
    parameters: float

    @property
    def network(self) -> str:
        """The architecture: what all its weights have in common."""
        return self.name.partition(".")[0]


class Timed(NamedTuple):
    """One network at one image size and batch size, and the milliseconds that a batch took."""

    network: str
    size: int
    batch_size: int
    latency_ms: float


@functools.lru_cache(maxsize=1)
def weights() -> tuple[Weights, ...]:
    """All weights, the most accurate first. Raises DataError where the table cannot be read."""
    rows = [
        Weights(name, int(size), float(top1), float(top5), float(parameters))
        for name, size, top1, top5, parameters in _rows(ACCURACY, ACCURACY_COLUMNS)
    ]
    return tuple(sorted(rows, key=lambda row: (-row.top1, row.name, row.size)))


@functools.lru_cache(maxsize=1)
def timed() -> Mapping[str, Sequence[Timed]]:
    """Measurements of the networks that have weights, by target. Raises DataError where the table cannot be read."""
    found: dict[tuple[str, ...], list[Timed]] = {}
    for row in _rows(LATENCY, LATENCY_COLUMNS):
        *target, network, size, batch, ms = row
        found.setdefault(tuple(target), []).append(Timed(network, int(size), int(batch), float(ms)))
    return {target_id(*target): rows for target, rows in found.items()}


def _rows(path: Path, columns: Sequence[str]) -> list[list[str]]:
    """The rows of a table, without its head. Raises DataError where it is absent, or not what it should be."""
    try:
        header, *rows = csv.reader(io.StringIO(lzma.decompress(path.read_bytes()).decode()))
    except (OSError, lzma.LZMAError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); install narformer again") from error
    if tuple(header) != tuple(columns) or any(len(row) != len(columns) for row in rows):
        raise DataError(f"{path}: not the table of this version; make it with benchmarks/make_pretrained_tables.py")
    return rows
