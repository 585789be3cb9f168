"""Our wider measurements: the plan, and the table as a dataset."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from narformer.datasets import zoo
from narformer.datasets.dataset import FamilySource
from narformer.datasets.onnxruntime_wide import (
    COLUMNS,
    CONVERTED,
    FILE,
    STORED,
    TABLE,
    DrawnSource,
    Known,
    StoredSource,
    digest,
    load_onnxruntime_wide,
    planned,
    split_of,
)
from narformer.datasets.table import read_table
from narformer.datasets.timm import ZooSource
from narformer.errors import DataError
from narformer.families.drawn.registry import KINDS, drawn

KNOWN = [
    Known("timm", "resnet18", 224, "resnet", 3, "test", 1820, 11.7),
    Known("timm", "resnet18", 288, "resnet", 3, "test", 3010, 11.7),
    Known("timm", "tinynet_e", 106, "efficientnet", 6, "train", 30, 2),
    Known("timm", "vit_giant", 518, "vision_transformer", 1, "train", 900_000, 1100),
]
HEADER = ",".join((*COLUMNS, "digest", "ms", "again_ms", "spread_ms", "peak_mb", "processor", "date")) + "\n"


def row(name: str, ms: str, batch: int = 1, precision: str = "fp32", threads: int = 1) -> str:
    source, _, rest = name.partition(":")
    rest, _, size = rest.partition("@")
    cells = [
        "id",
        source,
        rest,
        size or 0,
        batch,
        precision,
        threads,
        "family",
        4,
        "train",
        "",
        ms,
        0.1,
        5,
        "epyc-turin",
    ]
    return ",".join(map(str, cells)) + ",2026-11-26\n"


def test_every_beginning_of_the_plan_has_all_kinds_in_turns() -> None:
    rows = planned(KNOWN)
    assert len({row.id for row in rows}) == len(rows)
    assert set(KINDS) <= {row.family for row in rows[:150]}
    count = Counter(row.source for row in rows[:950])
    assert count["cpu"] == pytest.approx(50, abs=2)
    first = rows[:1910]
    assert {(row.batch, row.precision, row.threads) for row in first} == {(1, "fp32", 1)}
    later = {(row.batch, row.precision, row.threads) for row in rows[1911:]}
    kinds = {(4, "fp32", 1), (16, "fp32", 1), (1, "fp16", 1), (1, "int8", 1), (1, "int8-dynamic", 1), (1, "fp32", 2)}
    assert later == kinds | {(1, "fp32", 1)}
    # Those of two threads stand together: each change of their number costs a process.
    threads = [row.threads for row in rows]
    assert sum(a != b for a, b in itertools.pairwise(threads)) == 2


def test_the_zoo_s_networks_come_at_their_smallest_size_first_and_none_too_large_for_a_core() -> None:
    names = [row.id for row in planned(KNOWN) if row.source == "timm" and row.precision == "fp32" and row.batch == 1]
    names = [name for name in names if name.endswith(" 1t")]
    assert names == ["timm:tinynet_e@106 fp32 1t", "timm:resnet18@224 fp32 1t", "timm:resnet18@288 fp32 1t"]


def test_a_tenth_is_for_testing_and_the_same_network_is_on_one_side_however_it_runs() -> None:
    rows = [row for row in planned() if row.source == "drawn"]
    sides: dict[str, set[str]] = {}
    for row in rows:
        sides.setdefault(row.name, set()).add(row.split)
        assert row.split == split_of(row.name)
    assert all(len(side) == 1 for side in sides.values())
    assert 0.07 < np.mean([side == {"test"} for side in sides.values()]) < 0.13


def test_a_table_is_a_dataset_with_a_column_a_target(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        HEADER
        + row("drawn:attention 7", "2,4")
        + row("drawn:attention 7", "8,", batch=4)
        + row("timm:resnet18@224", "5,10", batch=4)
        + row("timm:resnet18@224", "3,6", batch=4, precision="int8")
        + row("cpu:vgg_3", "7,14", threads=2)
    )
    dataset = load_onnxruntime_wide(path)
    converted = "timm:resnet18@224x4 int8 1t"
    assert dataset.ids == ("drawn:attention 7", "drawn:attention 7x4", "timm:resnet18@224x4", converted, "cpu:vgg_3")
    assert dataset.devices == tuple(f"epyc-turin:onnxruntime-1.32:{how}" for how in ("fp32:1t", "int8:1t", "fp32:2t"))
    nan = np.nan
    # What int8 was measured of is a network too, which the target of float32 runs as its file says.
    expected = [[2, nan, nan], [8, nan, nan], [5, 3, nan], [3, nan, nan], [nan, nan, 7]]
    assert dataset.targets == pytest.approx(np.array(expected), nan_ok=True)
    # A drawn network is drawn at its batch; the others are rebuilt at batch 1.
    assert dataset.batch == (1, 1, 4, 1, 1)
    assert dataset.sources[:3] == (
        DrawnSource("attention", 7),
        DrawnSource("attention", 7, 4),
        ZooSource("resnet18", 224),
    )
    assert isinstance(dataset.sources[4], FamilySource)
    assert dataset.sources[1].graph().inputs[0].shape[0] == 4
    assert dataset.sources[2].graph().inputs[0].shape == (1, 3, 224, 224)


def test_a_measurement_that_is_there_twice_one_without_a_size_and_a_missing_table_are_told(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    with pytest.raises(DataError, match=r"t.csv: not there; benchmarks/measure_wide.py makes it"):
        load_onnxruntime_wide(path)
    path.write_text(HEADER + 2 * row("drawn:attention 7", "2,4"))
    with pytest.raises(DataError, match="attention 7 fp32 1t is there twice"):
        load_onnxruntime_wide(path)
    path.write_text(HEADER + row("timm:resnet18@big", "2,4"))
    with pytest.raises(DataError, match="row 2: invalid literal"):
        load_onnxruntime_wide(path)


@pytest.mark.skipif(not TABLE.exists(), reason="the table is not here; benchmarks/measure_wide.py makes it")
def test_the_shipped_table_is_whole_and_of_the_networks_that_are_drawn_now() -> None:
    dataset = load_onnxruntime_wide()
    assert np.isfinite(dataset.targets).any(axis=1).all()
    stored = [source for source in dataset.sources if isinstance(source, StoredSource)]
    assert {source.origin for source in stored} == {FILE, CONVERTED}
    assert {(source.origin, source.name) for source in stored} == {(e.source, e.name) for e in zoo.names(path=STORED)}
    assert all(len(source.graph()) for source in stored[::50])
    rows = [row for row in read_table(TABLE, (*COLUMNS, "digest")) if row["digest"]]
    for row in rows[:: max(len(rows) // 100, 1)]:
        kind, _, seed = row["name"].rpartition(" ")
        assert digest(drawn(kind, int(seed), int(row["batch"])).SerializeToString()) == row["digest"]
