"""Ours: networks of every family, and architectures known by name, timed with ONNX Runtime on one CPU core.

The table `onnxruntime-cpu.csv` beside this file has a row a network: what rebuilds it (family, version, config, input
size), its latency, and that in a second process, hours apart. The dataset has their geometric mean; how they differ
tells how far to trust it.
How it was measured is in docs/reference/datasets.md; `benchmarks/measure_dataset.py` does it again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from narformer.datasets.dataset import Dataset, FamilySource, sha1_order
from narformer.datasets.table import milliseconds, read_table
from narformer.families import named
from narformer.families.registry import FAMILIES, sample

TABLE = Path(__file__).parent / "onnxruntime-cpu.csv"
DEVICE = "epyc-milan:onnxruntime-1.32:fp32:1t"
PER_FAMILY = 110
SEED = 7
# Every other variant of a family has its own input size; the others take turns.
SIZES = (96, 128, 160, 192, 256)
SMALL_SIZES = (16, 48, 64)  # nasbench201, whose own is 32
TEST_SHARE = 0.2
_TIMES = ("latency_ms", "again_ms")


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
    """All measured networks. Their latencies are at the speed of the first process. Raises DataError."""
    rows = read_table(path, ("id", "family", "version", "config", "input_size", "split", *_TIMES))
    times = milliseconds(path, rows, _TIMES)
    latency = np.exp(np.nanmean(np.log(times) - [0.0, _slower(times)], axis=1, keepdims=True))
    return Dataset(
        name="onnxruntime-cpu",
        ids=tuple(f"cpu_{r['id']}" for r in rows),  # nn-Meter's networks have the same names
        sources=tuple(
            FamilySource(r["family"], r["config"], r["version"], int(r["input_size"]) if r["input_size"] else None)
            for r in rows
        ),
        family=tuple(r["family"] for r in rows),
        split=tuple(r["split"] for r in rows),
        targets=latency,
        devices=(DEVICE,),
    )


def _slower(times: npt.NDArray[np.float64]) -> float:
    """By what factor, in ln, the second process was slower: the median over networks, 0 where none were measured twice.

    The host, its neighbours and the clock are not the same in two processes hours apart.
    """
    difference = np.log(times[:, 1] / times[:, 0])
    return float(np.nanmedian(difference)) if np.isfinite(difference).any() else 0.0


def repeatability(path: Path = TABLE) -> dict[str, float]:
    """How far the second process was from the first, in percent: mean, median, 90th and 99th percentile.

    Beyond `factor`, by which all of the second's latencies are longer.
    """
    times = milliseconds(path, read_table(path, _TIMES), _TIMES)
    common = _slower(times)
    difference = np.log(times[:, 1] / times[:, 0])
    error = 100 * np.abs(np.expm1(difference[np.isfinite(difference)] - common))
    return {
        "networks": len(error),
        "factor": math.exp(common),
        "mean": float(error.mean()),
        "median": float(np.median(error)),
        "p90": float(np.quantile(error, 0.9)),
        "p99": float(np.quantile(error, 0.99)),
    }
