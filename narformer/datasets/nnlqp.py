"""NNLQP's layout (Liu et al., ICPP 2022; Apache-2.0), also that of a dataset of your own, and one of its tables.

A directory holds `gt.txt` (or `gt_stage.txt`) and the ONNX files that it names, a line each:
`GraphID OnnxPath BatchSize LatencyMs ModelType PlatformId [Stage]`.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from narformer.datasets.dataset import Dataset, FamilySource, FileSource, data_root, read_lines
from narformer.datasets.table import milliseconds, positive, read_table
from narformer.errors import DataError

NASBENCH201_DEVICE = "gtx1660:tensorrt-7.1:fp32"  # NNLQP calls it gpu-gtx1660-trt7.1-fp32
_FILES = ("gt_stage.txt", "gt.txt")


def load_nnlqp(directory: str | Path) -> Dataset:
    """A directory in NNLQP's layout; a row a network and batch size, a device a platform.

    Without a stage column every fifth network of a family, in the order of the file, is a test row. A latency of `nan`
    means: not measured yet. Raises DataError, naming file and line, for a malformed line.
    """
    directory = Path(directory)
    path = next((directory / name for name in _FILES if (directory / name).is_file()), None)
    if path is None:
        raise DataError(f"{directory}: no gt.txt or gt_stage.txt; NNLQP's layout has one beside the ONNX files")
    networks: dict[tuple[str, int], int] = {}
    family: list[str] = []
    stage: list[str] = []
    labels: list[dict[str, float]] = []
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        where = f"{path}, line {number}"
        if len(fields) not in (6, 7):
            raise DataError(f"{where}: expected GraphID OnnxPath BatchSize LatencyMs ModelType PlatformId [Stage]")
        _, file, batch, latency, model_type, platform = fields[:6]
        if not batch.isdigit() or int(batch) < 1:
            raise DataError(f"{where}: {batch!r} is not a batch size")
        value = math.nan if latency.lower() == "nan" else positive(latency, where)
        key = (file, int(batch))
        if key not in networks:
            networks[key] = len(networks)
            family.append(model_type)
            stage.append(fields[6] if len(fields) == 7 else "")
            labels.append({})
        if platform in labels[networks[key]]:
            raise DataError(f"{where}: {file} at batch size {batch} was already measured on {platform}")
        labels[networks[key]][platform] = value
    if not networks:
        raise DataError(f"{path}: no measurements")
    devices = tuple(dict.fromkeys(p for row in labels for p in row))
    return Dataset(
        name=directory.resolve().name,
        ids=tuple(f"{file}@{batch}" for file, batch in networks),
        sources=tuple(FileSource(str(directory / file), batch) for file, batch in networks),
        family=tuple(family),
        split=tuple(_split(family, stage)),
        targets=np.array([[row.get(d, math.nan) for d in devices] for row in labels]),
        devices=devices,
    )


def _split(family: list[str], stage: list[str]) -> list[str]:
    """The stage where it is given; otherwise every fifth network of each family tests."""
    seen: dict[str, int] = {}
    split = []
    for name, given in zip(family, stage, strict=True):
        seen[name] = seen.get(name, 0) + 1
        if given:
            split.append("test" if given.startswith(("test", "val")) else "train")
        else:
            split.append("test" if seen[name] % 5 == 0 else "train")
    return split


def load_nasbench201(root: str | Path | None = None) -> Dataset:
    """NNLQP's NAS-Bench-201 family with its official stages, as the table `nnlqp/nasbench201.csv`."""
    path = data_root(root) / "nnlqp" / "nasbench201.csv"
    rows = read_table(path, ("graph_id", "arch", "gtx1660_ms", "stage"))
    return Dataset(
        name="nnlqp-nasbench201",
        ids=tuple(f"nnlqp_{r['graph_id']}" for r in rows),
        sources=tuple(FamilySource("nasbench201", r["arch"]) for r in rows),
        family=("nasbench201",) * len(rows),
        split=tuple(r["stage"] for r in rows),
        targets=milliseconds(path, rows, ("gtx1660_ms",)),
        devices=(NASBENCH201_DEVICE,),
    )
