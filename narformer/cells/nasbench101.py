"""NAS-Bench-101 (Ying et al., 2019; Apache-2.0): accuracies of cells, from three layouts.

- `cells.csv`: module_hash, upper_triangle, operations, valid_accuracy_108, … (one validation run a cell).
- `nasbench_only108.tfrecord`, the official file: read here without TensorFlow.
- the JSON of NAR-Former's releases: a list of objects with `adjacency_matrix` (or `module_adjacency`),
  `module_operations`, `validation_accuracy` and `test_accuracy`.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from narformer.cells.cell import Cell, nasbench101_cell, nasbench101_from_matrix
from narformer.cells.dataset import CellDataset, cell_dataset
from narformer.datasets.dataset import data_root
from narformer.datasets.table import read_table
from narformer.errors import DataError
from narformer.frontends.onnx.protobuf import FIXED64, LENGTH, fields

EPOCHS = 108


def load_nasbench101(root: str | Path | None = None) -> CellDataset:
    """The 17,935 cells of `nasbench101/cells.csv` with validation accuracy after 108 epochs. Raises DataError."""
    return read_csv(data_root(root) / "nasbench101" / "cells.csv")


def read_csv(path: Path) -> CellDataset:
    """A table in the layout of `cells.csv`. Raises DataError, naming the row, for what is not a cell or a number."""
    rows = read_table(path, ("module_hash", "upper_triangle", "operations", "valid_accuracy_108"))
    cells, values = [], []
    for number, row in enumerate(rows, start=2):
        try:
            cells.append(nasbench101_cell(row["upper_triangle"], row["operations"].split(";")))
            values.append(100 * float(row["valid_accuracy_108"]))
        except (DataError, ValueError) as error:
            raise DataError(f"{path}, line {number}: {error}") from error
    return cell_dataset("nasbench101", "validation accuracy, one run", [r["module_hash"] for r in rows], cells, values)


def read_tfrecord(path: Path, metric: str = "validation") -> CellDataset:
    """The official file; accuracy after 108 epochs, mean of its runs. metric: `validation` or `test`.

    Raises DataError for a file that is not NAS-Bench-101's, or that ends in the middle of a record.
    """
    field = {"validation": 4, "test": 5}.get(metric)  # of EvaluationData
    if field is None:
        raise DataError(f"metric must be validation or test, not {metric!r}")
    cells: dict[str, Cell] = {}
    runs: dict[str, list[float]] = {}
    for number, record in enumerate(_tfrecords(path)):
        try:
            name, epochs, adjacency, operations, packed = json.loads(record)
            if int(epochs) != EPOCHS:
                continue
            words = operations.split(",")
            matrix = np.array([int(bit) for bit in adjacency]).reshape(len(words), len(words))
            final = max(_evaluations(base64.b64decode(packed)), key=lambda e: e.get(1, 0.0))
            value = final[field]
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path}: record {number} is not one of NAS-Bench-101 ({error})") from error
        cells.setdefault(name, nasbench101_from_matrix(matrix, words))
        runs.setdefault(name, []).append(100 * value)
    about = f"{metric} accuracy, mean of up to three runs"
    return cell_dataset(
        "nasbench101", about, list(cells), list(cells.values()), [float(np.mean(runs[name])) for name in cells]
    )


def read_json(path: Path, metric: str = "validation") -> CellDataset:
    """The layout of NAR-Former's releases. Raises DataError for a file that is not."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a JSON file that can be read ({error})") from error
    entries: list[Mapping[str, Any]] = list(content.values()) if isinstance(content, dict) else content
    names, cells, values = [], [], []
    for number, entry in enumerate(entries):
        try:
            matrix = entry.get("module_adjacency", entry.get("adjacency_matrix"))
            cells.append(nasbench101_from_matrix(matrix, entry["module_operations"]))
            values.append(100 * float(entry[f"{metric}_accuracy"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{path}: entry {number} lacks what a cell needs ({error})") from error
        names.append(str(entry.get("hash", number)))
    return cell_dataset("nasbench101", f"{metric} accuracy", names, cells, values)


def _tfrecords(path: Path) -> Iterator[bytes]:
    """Records of a TFRecord file: length (8 bytes), its checksum (4), the record, its checksum (4).

    Each record is a JSON list: hash, epochs, adjacency, operations, metrics as base64 of a protobuf message.
    """
    try:
        with path.open("rb") as file:
            while header := file.read(12):
                if len(header) < 12:
                    raise DataError(f"{path}: ends in the middle of a record; download it again")
                (length,) = struct.unpack("<Q", header[:8])
                if length > 1 << 24:
                    raise DataError(f"{path}: not a TFRecord file of NAS-Bench-101 (a record of {length} bytes)")
                record = file.read(length)
                if len(record) < length or len(file.read(4)) < 4:
                    raise DataError(f"{path}: ends in the middle of a record; download it again")
                yield record
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _evaluations(message: bytes) -> Iterator[dict[int, float]]:
    """Each EvaluationData of a ModelMetrics message, field number -> value.

    Fields: current_epoch 1, training_time 2, train_accuracy 3, validation_accuracy 4, test_accuracy 5.
    """
    for field, wire, _, start, end in fields(message, 0, len(message)):
        if field == 1 and wire == LENGTH:
            inner = fields(message, start, end)
            yield {f: struct.unpack("<d", message[a:b])[0] for f, w, _, a, b in inner if w == FIXED64}
