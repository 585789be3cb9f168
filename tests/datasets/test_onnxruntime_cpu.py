"""Our own measurements: the plan, and the table as a dataset."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from narformer.datasets.onnxruntime_cpu import DEVICE, load_onnxruntime_cpu, planned, repeatability
from narformer.errors import DataError
from narformer.families.registry import FAMILIES

HEADER = "id,family,version,config,input_size,split,latency_ms,again_ms,spread_ms,peak_memory_mb\n"
ALEXNET = "alexnet,,11_5_3_3_3-64_192_384_256_256_4096_4096"


def test_the_plan_covers_every_family_and_named_architectures_once() -> None:
    rows = planned()
    count = Counter(row.source.family for row in rows)
    assert set(count) == {*FAMILIES, "named"}
    assert all(count[family] == 110 for family in FAMILIES)
    assert len({row.id for row in rows}) == len(rows)
    assert len({row.source for row in rows}) == len(rows)
    assert sum(row.split == "test" for row in rows) == round(0.2 * len(rows))
    assert rows == planned()
    # Half of a family at its own input size, the other half at others.
    assert Counter(row.source.input_size is None for row in rows if row.source.family == "vgg") == {True: 55, False: 55}


def test_the_latency_is_the_mean_of_two_processes_whose_difference_tells_of_its_noise(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        HEADER + f"a,{ALEXNET},96,train,8,16,.1,5\nb,{ALEXNET},,test,5,,.1,5\n"
        f"c,{ALEXNET},64,test,1,2.2,.1,5\nd,{ALEXNET},128,test,1,1.8,.1,5\n"
    )
    dataset = load_onnxruntime_cpu(path)
    # Twice as slow in the second; c and d then 10 % more and less. b was measured once.
    assert dataset.targets[:, 0] == pytest.approx([8.0, 5.0, 1.1**0.5, 0.9**0.5])
    assert dataset.devices == (DEVICE,)
    assert [s.graph().inputs[0].shape[2] for s in dataset.sources][:2] == [96, 224]
    found = repeatability(path)
    assert found["networks"] == 3
    assert found["factor"] == pytest.approx(2)
    assert found["mean"] == pytest.approx(20 / 3)
    assert found["median"] == pytest.approx(10)


def test_what_is_not_a_measurement_is_told(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(HEADER + f"a,{ALEXNET},96,train,-3,,0.1,50\n")
    with pytest.raises(DataError, match="'-3' is not a positive number"):
        load_onnxruntime_cpu(path)


def test_the_shipped_table_is_whole() -> None:
    dataset = load_onnxruntime_cpu()
    assert len(dataset) >= 1500
    assert {f"cpu_{row.id}": row.source for row in planned()}.items() >= dict(
        zip(dataset.ids, dataset.sources, strict=True)
    ).items()
    assert (dataset.targets > 0).all()
    found = repeatability()
    assert found["networks"] == len(dataset)
    assert found["median"] < 5
