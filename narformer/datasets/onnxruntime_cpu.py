"""Ours: networks of every family, and architectures known by name, timed with ONNX Runtime on one CPU core.

The table `onnxruntime-cpu.csv` beside this file has a row a network: what rebuilds it (family, version, config, input
size), its latency, and that in a second process of its own, which tells how far to trust the first.
How it was measured is in docs/datasets.md; `benchmarks/measure_dataset.py` does it again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from narformer.datasets.dataset import Dataset, FamilySource, sha1_order
from narformer.datasets.table import milliseconds, read_table
from narformer.families import named
from narformer.families.registry import FAMILIES, sample

TABLE = Path(__file__).parent / "onnxruntime-cpu.csv"
DEVICE = "amd-epyc-milan-onnxruntime1.32-cpu-fp32-t1-b1"
PER_FAMILY = 110
SEED = 7
# Every other variant of a family has its own input size; the others take turns.
SIZES = (96, 128, 160, 192, 256)
SMALL_SIZES = (16, 48, 64)  # nasbench201, whose own is 32
TEST_SHARE = 0.2


@dataclass(frozen=True)
class Planned:
    """One network to measure."""

    id: str
    source: FamilySource
    split: str


def planned() -> list[Planned]:
    """The networks of the dataset, families taking turns, so that the first thousand are as varied as all."""
    rounds: list[list[tuple[str, FamilySource]]] = [[] for _ in range(PER_FAMILY)]
    for family in FAMILIES:
        others = SMALL_SIZES if family == "nasbench201" else SIZES
        for turn, variant in enumerate(sample(family, PER_FAMILY, seed=SEED)):
            size = others[turn // 2 % len(others)] if turn % 2 else None
            source = FamilySource(family, variant.config, variant.version, size)
            rounds[turn].append((f"{family}_{turn}", source))
    for version in named.VERSIONS:
        for turn, size in enumerate(named.sizes(version)):
            rounds[turn].append((f"{version}_{size}", FamilySource("named", str(size), version)))
    rows = [row for turn in rounds for row in turn]
    tests = set(sha1_order([name for name, _ in rows])[: round(TEST_SHARE * len(rows))].tolist())
    return [Planned(name, source, "test" if k in tests else "train") for k, (name, source) in enumerate(rows)]


def load_onnxruntime_cpu(path: Path = TABLE) -> Dataset:
    """All measured networks, with the latency in the first process. Raises DataError."""
    rows = read_table(path, ("id", "family", "version", "config", "input_size", "split", "latency_ms"))
    return Dataset(
        name="onnxruntime-cpu",
        ids=tuple(f"cpu_{r['id']}" for r in rows),  # nn-Meter's networks have the same names
        sources=tuple(
            FamilySource(r["family"], r["config"], r["version"], int(r["input_size"]) if r["input_size"] else None)
            for r in rows
        ),
        family=tuple(r["family"] for r in rows),
        split=tuple(r["split"] for r in rows),
        targets=milliseconds(path, rows, ("latency_ms",)),
        devices=(DEVICE,),
    )


def repeatability(path: Path = TABLE) -> dict[str, float]:
    """How far the second process was from the first, in percent: mean, median, 90th and 99th percentile.

    Beyond `factor`, which all latencies of the second have in common: each process compares with the time of its own
    first reference run, and that moment's speed was not the other's.
    """
    rows = read_table(path, ("latency_ms", "again_ms"))
    both = np.log(milliseconds(path, rows, ("latency_ms", "again_ms")))
    difference = (both[:, 1] - both[:, 0])[np.isfinite(both).all(axis=1)]
    common = float(np.median(difference))
    error = 100 * np.abs(np.expm1(difference - common))
    return {
        "networks": len(error),
        "factor": math.exp(common),
        "mean": float(error.mean()),
        "median": float(np.median(error)),
        "p90": float(np.quantile(error, 0.9)),
        "p99": float(np.quantile(error, 0.99)),
    }
