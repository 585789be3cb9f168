"""timm's own benchmark of its networks (huggingface/pytorch-image-models, `results/`, Apache-2.0): 12 targets.

The table `infer.csv` has a row a measurement: model, family (timm's module name), fold of left-out families, split,
hardware, precision, layout, compiled or not, version of PyTorch, image and batch size, milliseconds a step. The
networks themselves are the zoo's (datasets/zoo.py), which has their structure.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from narformer.cost import graph_cost
from narformer.datasets import zoo
from narformer.datasets.dataset import Dataset, data_root
from narformer.datasets.table import Row, positive, read_table
from narformer.errors import DataError
from narformer.graph import Graph

_COLUMNS = (
    *("model", "family", "fold", "split", "hardware", "precision", "layout", "compiled", "pytorch"),
    *("img_size", "batch_size", "step_ms", "params_m"),
)
# How far millions of parameters may be from the zoo's, as they are rounded and for all else, of one form of a network.
_ROUNDED, _SAME = 0.0051, 5e-4
_HARDWARE = {"i7_12700h": "i7-12700h"}
_PRECISION = {"amp": "fp16"}  # float16 autocast


@dataclass(frozen=True)
class ZooSource:
    """A network of the zoo at one image size (0 where it has none), batch 1. origin: the list that has it."""

    name: str
    size: int
    origin: str = "timm"

    def graph(self) -> Graph:
        """The zoo's network."""
        return zoo.load(self.name, self.size or None, source=self.origin)

    def state(self) -> str | None:
        """That of its part of the zoo's file."""
        return zoo.state(zoo.Entry(self.origin, self.name, self.size))


def target_id(hardware: str, precision: str, layout: str, compiled: str, pytorch: str) -> str:
    """`rtx4090:pytorch-2.9-compiled:fp16` from the table's columns."""
    runtime = f"pytorch-{'.'.join(pytorch.split('.')[:2])}"
    runtime += "-compiled" if compiled == "1" else ""
    runtime += "-channels-last" if layout == "nhwc" else ""
    return f"{_HARDWARE.get(hardware, hardware)}:{runtime}:{_PRECISION.get(precision, precision)}"


def load_timm(root: str | Path | None = None) -> Dataset:
    """A row a network, image size and batch size; NaN where a target has none.

    Networks that the zoo does not have are left out, and so are rows of another form of a network than the zoo's, with
    branches that are not merged; warnings tell them. Raises DataError for a missing or malformed table, one with two
    measurements of the same, and where the zoo has none of its networks or was made with other versions than were
    checked against the table.
    """
    path = data_root(root) / "timm" / "infer.csv"
    table = read_table(path, _COLUMNS)
    zoo.check_versions()
    other = _other_forms(table)
    if other:
        names = sorted({table[place]["model"] for place in other})
        warnings.warn(
            f"{path}: left out, {len(other)} rows of another form of a network than the zoo's, with branches that are "
            f"not merged: of {len(names)} networks ({', '.join(names[:3])}, …)",
            stacklevel=2,
        )
    devices = tuple(dict.fromkeys(target_id(*(row[c] for c in _COLUMNS[4:9])) for row in table))
    place: dict[tuple[str, int, int], int] = {}
    targets: list[list[float]] = []
    kept = []
    for line, row in enumerate(table, 2):
        if line - 2 in other:
            continue
        key = (row["model"], int(row["img_size"]), int(row["batch_size"]))
        if key not in place:
            place[key] = len(targets)
            targets.append([np.nan] * len(devices))
            kept.append(row)
        column = devices.index(target_id(*(row[c] for c in _COLUMNS[4:9])))
        if not np.isnan(targets[place[key]][column]):
            raise DataError(f"{path}, line {line}: {key[0]} at {key[1]}, batch {key[2]} was measured twice on the same")
        targets[place[key]][column] = positive(row["step_ms"], f"{path}, line {line}, step_ms")
    known = {(entry.name, entry.size) for entry in zoo.names("timm")}
    missing = sorted({f"{name}@{size}" for name, size, _ in place if (name, size) not in known})
    there = [k for k, (name, size, _) in enumerate(place) if (name, size) in known]
    if not there:
        raise DataError(f"{path}: the zoo has none of its networks ({', '.join(missing[:5])}, …)")
    if missing:
        warnings.warn(f"{path}: left out, for the zoo does not have them: {', '.join(missing)}", stacklevel=2)
    keys = list(place)
    dataset = Dataset(
        name="timm",
        ids=tuple(f"{name}@{size}x{batch}" for name, size, batch in keys),
        sources=tuple(ZooSource(name, size) for name, size, _ in keys),
        family=tuple(row["family"] for row in kept),
        split=tuple(row["split"] for row in kept),
        targets=np.array(targets),
        devices=devices,
        batch=tuple(batch for _, _, batch in keys),
        fold=tuple(int(row["fold"]) for row in kept),
        network=tuple(name for name, _, _ in keys),
    )
    return dataset.subset(there)


def _other_forms(table: Sequence[Row]) -> set[int]:
    """Places of rows whose networks have other parameters than the zoo's, where rows of a network differ in them.

    Networks are trained with branches and normalisations that are one convolution when they run: older measurements
    are of the one, newer ones and the zoo of the other.
    """
    told: dict[tuple[str, str], set[str]] = {}
    for row in table:
        told.setdefault((row["model"], row["img_size"]), set()).add(row["params_m"])
    known = {(entry.name, str(entry.size)) for entry in zoo.names("timm")}
    millions = {
        key: graph_cost(zoo.load(key[0], int(key[1]), source="timm")).parameters / 1e6
        for key, values in told.items()
        if len(values - {""}) > 1 and key in known
    }

    def is_other(row: Row) -> bool:
        here = millions.get((row["model"], row["img_size"]))
        if here is None or not row["params_m"]:
            return False
        return abs(float(row["params_m"]) - here) > max(_ROUNDED, _SAME * here)

    return {place for place, row in enumerate(table) if is_other(row)}
