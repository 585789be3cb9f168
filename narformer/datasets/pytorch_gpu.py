"""Ours, on a GPU of a data centre: the zoo's networks, timed with PyTorch on an NVIDIA H100, eager and compiled.

`pytorch-gpu.csv` beside this file has a row a measurement, which says what ran and how, and its milliseconds.
`benchmarks/measure_gpu.py` makes it; docs/reference/datasets.md tells how and on what machine.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from narformer.datasets import zoo
from narformer.datasets.dataset import Dataset
from narformer.datasets.qai_hub import one_graph
from narformer.datasets.table import Row, positive, read_table
from narformer.datasets.timm import ZooSource, target_id
from narformer.errors import DataError

TABLE = Path(__file__).parent / "pytorch-gpu.csv"
# What one of the columns says of a target; those of less are in the table, and nobody learns from them.
LEAST_NETWORKS = 5
COLUMNS = (
    *("source", "name", "size", "family", "fold", "split", "hardware", "precision", "layout", "compiled", "pytorch"),
    *("batch", "ms", "spread_ms", "min_ms", "steps"),
)


def load_pytorch_gpu(path: Path = TABLE, least: int = LEAST_NETWORKS) -> Dataset:
    """A row a network, image size and batch size; a column a target, NaN where it was not measured.

    Targets of fewer than `least` networks are left out. Raises DataError for a missing or malformed table, one with two
    measurements of the same, and where the zoo lacks one of its networks.
    """
    place: dict[tuple[str, str, int, int], int] = {}
    kept: list[Row] = []
    measured: dict[tuple[int, str], float] = {}
    known = set(zoo.names())
    for line, row in enumerate(read_table(path, COLUMNS), 2):
        where = f"{path}, line {line}"
        try:
            key = (row["source"], row["name"], int(row["size"]), int(row["batch"]))
            int(row["fold"])
        except ValueError as error:
            raise DataError(f"{where}: {error}") from error
        if zoo.Entry(*key[:3]) not in known:
            raise DataError(f"{where}: the zoo has no {key[1]} at {key[2]} of {key[0]}")
        if row["split"] not in ("train", "test"):
            raise DataError(f"{where}: split is {row['split']!r}, neither train nor test")
        if key not in place:
            place[key] = len(kept)
            kept.append(row)
        target = target_id(*(row[c] for c in ("hardware", "precision", "layout", "compiled", "pytorch")))
        if (place[key], target) in measured:
            raise DataError(f"{where}: {key[1]} at {key[2]}, batch {key[3]} was measured twice on {target}")
        measured[place[key], target] = positive(row["ms"], f"{where}, ms")
    networks: dict[str, set[str]] = {}
    for number, target in measured:
        networks.setdefault(target, set()).add(kept[number]["name"])
    devices = tuple(target for target, names in networks.items() if len(names) >= least)
    targets = np.full((len(kept), len(devices)), np.nan)
    for (number, target), ms in measured.items():
        if target in devices:
            targets[number, devices.index(target)] = ms
    dataset = Dataset(
        name="pytorch-gpu",
        ids=tuple(f"pytorch-gpu:{source}:{name}@{size}x{times}" for source, name, size, times in place),
        sources=tuple(ZooSource(name, size, source) for source, name, size, _ in place),
        family=tuple(row["family"] for row in kept),
        split=tuple(row["split"] for row in kept),
        targets=targets,
        devices=devices,
        batch=tuple(size for *_, size in place),
        fold=tuple(int(row["fold"]) for row in kept),
        network=tuple(one_graph(name) if source == "qai_hub" else name for source, name, _, _ in place),
    )
    return dataset.subset(np.flatnonzero(np.isfinite(targets).any(axis=1)))
