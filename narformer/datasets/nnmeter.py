"""nn-Meter's measurements (Zhang et al., MobiSys 2021; Microsoft, MIT licence): 24,000 networks on four devices.

Tables `networks.csv` (twelve families, id, family, version, config) and `nasbench201.csv` (cells), latencies in ms.
"""

from __future__ import annotations

from pathlib import Path

from narformer.datasets.dataset import Dataset, FamilySource, concat, data_root
from narformer.datasets.table import milliseconds, read_table

DEVICES = (
    "cortex-a76:tflite-2.1:fp32",
    "adreno-640:tflite-2.1:fp32",
    "adreno-630:tflite-2.1:fp32",
    "myriad-x:openvino-2019r2:fp16",
)
_COLUMNS = ("cortexA76cpu_ms", "adreno640_ms", "adreno630_ms", "myriadvpu_ms")  # as the tables call them


def load_nnmeter(root: str | Path | None = None) -> Dataset:
    """All networks, NAS-Bench-201's as family `nasbench201`. Raises DataError for a missing or malformed table."""
    directory = data_root(root) / "nnmeter"
    return concat("nnmeter", [_networks(directory / "networks.csv"), _cells(directory / "nasbench201.csv")])


def _networks(path: Path) -> Dataset:
    rows = read_table(path, ("id", "family", "version", "config", "split", *_COLUMNS))
    return Dataset(
        name="nnmeter-networks",
        ids=tuple(r["id"] for r in rows),
        sources=tuple(FamilySource(r["family"], r["config"], r["version"]) for r in rows),
        family=tuple(r["family"] for r in rows),
        split=tuple(r["split"] for r in rows),
        targets=milliseconds(path, rows, _COLUMNS),
        devices=DEVICES,
    )


def _cells(path: Path) -> Dataset:
    rows = read_table(path, ("id", "arch", "split", *_COLUMNS))
    return Dataset(
        name="nnmeter-nasbench201",
        ids=tuple(r["id"] for r in rows),
        sources=tuple(FamilySource("nasbench201", r["arch"]) for r in rows),
        family=("nasbench201",) * len(rows),
        split=tuple(r["split"] for r in rows),
        targets=milliseconds(path, rows, _COLUMNS),
        devices=DEVICES,
    )
