"""Datasets: tiny hand-made files in the public layouts, and clear errors for malformed ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from narformer.datasets.dataset import Dataset, FamilySource, concat, quick
from narformer.datasets.nnlqp import load_nasbench201, load_nnlqp
from narformer.datasets.nnmeter import load_nnmeter
from narformer.datasets.registry import load_dataset
from narformer.errors import DataError
from narformer.families.registry import build, sample

HEADER = "id,family,version,config,macs,cortexA76cpu_ms,adreno640_ms,adreno630_ms,myriadvpu_ms,split"
CELL = "|none~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|none~2|"


def nnmeter_files(root: Path, rows: list[str]) -> Path:
    (root / "nnmeter").mkdir(parents=True)
    (root / "nnmeter" / "networks.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    cells = [
        "id,nb201_index,arch,C,N,cortexA76cpu_ms,adreno640_ms,adreno630_ms,myriadvpu_ms,cifar10_accuracy,split",
        f"nasbench201_5,5,{CELL},16,5,7.5,2.5,3.5,4.5,93.1,test",
    ]
    (root / "nnmeter" / "nasbench201.csv").write_text("\n".join(cells) + "\n")
    return root


ALEXNET = "alexnet_0,alexnet,,11_5_3_3_3-64_192_384_256_256_4096_4096,674956032,84.5,,16.1,10.1,train"


def test_nnmeter_rows_labels_and_gaps(tmp_path: Path) -> None:
    dataset = load_nnmeter(nnmeter_files(tmp_path, [ALEXNET]))
    assert dataset.ids == ("alexnet_0", "nasbench201_5")
    assert dataset.devices == (
        "cortex-a76:tflite-2.1:fp32",
        "adreno-640:tflite-2.1:fp32",
        "adreno-630:tflite-2.1:fp32",
        "myriad-x:openvino-2019r2:fp16",
    )
    np.testing.assert_array_equal(dataset.targets, [[84.5, np.nan, 16.1, 10.1], [7.5, 2.5, 3.5, 4.5]])
    assert dataset.family == ("alexnet", "nasbench201")
    assert dataset.rows("test").tolist() == [1]
    assert len(dataset.sources[0].graph()) == 20


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ALEXNET.replace("84.5", "fast"), r"networks.csv, row 2, cortexA76cpu_ms: 'fast' is not a positive number"),
        (ALEXNET.replace("84.5", "-1"), "'-1' is not a positive number"),
        (ALEXNET.replace(",train", ""), "line 2: 10 values expected"),
        ("\n".join([ALEXNET, ALEXNET]), "an id must be unique"),
    ],
)
def test_malformed_tables_are_told_with_their_place(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_nnmeter(nnmeter_files(tmp_path, [row]))


def test_absent_and_foreign_tables_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="with --data or NARFORMER_DATA"):
        load_nnmeter(tmp_path / "nowhere")
    with pytest.raises(DataError, match="cannot be read"):
        load_nnmeter(tmp_path)
    root = nnmeter_files(tmp_path, [ALEXNET])
    (root / "nnmeter" / "networks.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="no column id, family"):
        load_nnmeter(root)


def nnlqp_directory(root: Path, lines: list[str]) -> Path:
    (root / "onnx").mkdir(parents=True)
    for number, variant in enumerate(sample("squeezenet", 2)):
        (root / "onnx" / f"{number}.onnx").write_bytes(variant.build().SerializeToString())
    (root / "gt.txt").write_text("\n".join(lines) + "\n")
    return root


LINES = [
    "1 onnx/0.onnx 1 2.5 squeezenet gpu train",
    "2 onnx/0.onnx 1 7.5 squeezenet cpu train",
    "3 onnx/0.onnx 8 20.0 squeezenet gpu test",
    "4 onnx/1.onnx 1 nan squeezenet gpu test",
]


def test_nnlqp_platforms_become_devices_and_batch_sizes_rows(tmp_path: Path) -> None:
    dataset = load_dataset(str(nnlqp_directory(tmp_path / "mine", LINES)))
    assert dataset.name == "mine"
    assert dataset.devices == ("gpu", "cpu")
    np.testing.assert_array_equal(dataset.targets, [[2.5, 7.5], [20.0, np.nan], [np.nan, np.nan]])
    assert dataset.split == ("train", "test", "test")
    assert dataset.sources[1].graph().batch_size == 8


def test_nnlqp_without_stages_tests_every_fifth_of_a_family(tmp_path: Path) -> None:
    lines = [f"{i} onnx/{i}.onnx 1 1.0 family{i % 2} gpu" for i in range(20)]
    dataset = load_nnlqp(nnlqp_directory(tmp_path, lines))
    assert [i for i, split in enumerate(dataset.split) if split == "test"] == [8, 9, 18, 19]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 onnx/0.onnx 1 2.5", "gt.txt, line 1: expected GraphID OnnxPath"),
        ("1 onnx/0.onnx 0 2.5 f gpu", "'0' is not a batch size"),
        ("1 onnx/0.onnx 1 0 f gpu", "'0' is not a positive number"),
        ("1 onnx/0.onnx 1 1 f gpu\n2 onnx/0.onnx 1 2 f gpu", "line 2.*already measured on gpu"),
        ("# nothing", "no measurements"),
    ],
)
def test_malformed_nnlqp_lines_are_told(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_nnlqp(nnlqp_directory(tmp_path, [line]))


def test_nnlqps_nasbench201_table(tmp_path: Path) -> None:
    (tmp_path / "nnlqp").mkdir()
    text = f"graph_id,nnlqp_id,nb201_index,arch,gtx1660_ms,stage\n7,1,2,{CELL},0.45,train\n"
    (tmp_path / "nnlqp" / "nasbench201.csv").write_text(text)
    dataset = load_nasbench201(tmp_path)
    assert (dataset.ids, dataset.devices) == (("nnlqp_7",), ("gtx1660:tensorrt-7.1:fp32",))
    assert dataset.targets.tolist() == [[0.45]]


def test_the_shared_tables_are_read_whole(data_root: Path) -> None:
    dataset = load_dataset("nnmeter", data_root)
    assert len(dataset) == 22_372 + 1_898
    assert np.isfinite(dataset.targets[:, 0]).sum() >= 22_017
    assert len(set(dataset.family)) == 13
    official = load_dataset("nnlqp/nasbench201", data_root)
    assert (len(official.rows("train")), len(official.rows("test"))) == (1800, 200)


def tiny(name: str, device: str, count: int = 3) -> Dataset:
    return Dataset(
        name=name,
        ids=tuple(f"{name}{i}" for i in range(count)),
        sources=tuple(FamilySource("nasbench201", CELL) for _ in range(count)),
        family=tuple("ab"[i % 2] for i in range(count)),
        split=tuple("train" if i % 3 else "test" for i in range(count)),
        targets=np.arange(1.0, count + 1)[:, None],
        devices=(device,),
    )


def test_concat_unites_devices() -> None:
    both = concat("both", [tiny("x", "p", 2), tiny("y", "q", 1)])
    assert both.devices == ("p", "q")
    np.testing.assert_array_equal(both.targets, [[1, np.nan], [2, np.nan], [np.nan, 1]])
    assert both.with_devices(["q"]).targets[:, 0].tolist()[2] == 1
    with pytest.raises(DataError, match="no device r"):
        both.with_devices(["r"])


def test_the_quick_form_is_fixed_and_bounded() -> None:
    dataset = tiny("n", "p", 900)
    small = quick(dataset)
    counts = {(f, s): 0 for f in "ab" for s in ("train", "test")}
    for key in zip(small.family, small.split, strict=True):
        counts[key] += 1
    assert counts == {("a", "train"): 150, ("b", "train"): 150, ("a", "test"): 50, ("b", "test"): 50}
    shuffled = dataset.subset(np.random.default_rng(0).permutation(900))
    assert set(quick(shuffled).ids) == set(small.ids)


def test_unknown_datasets_are_told() -> None:
    with pytest.raises(DataError, match="no dataset 'nnmetr'; did you mean nnmeter"):
        load_dataset("onnxruntime-cpu+nnmetr")
    with pytest.raises(DataError, match="no dataset 'imagenet'"):
        load_dataset("imagenet")


def test_sources_rebuild_their_network() -> None:
    from narformer.frontends.onnx import read_onnx

    assert FamilySource("nasbench201", CELL).graph().hash == read_onnx(build("nasbench201", CELL)).hash


def test_datasets_are_joined_by_plus(tmp_path: Path) -> None:
    for name, device in (("one", "p"), ("two", "q")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "gt.txt").write_text(f"0 {name}.onnx 1 5.0 vgg {device}\n")
    dataset = load_dataset(f"{tmp_path / 'one'}+{tmp_path / 'two'}")
    assert dataset.devices == ("p", "q")
    assert dataset.ids == ("one.onnx@1", "two.onnx@1")
    assert "/" not in dataset.name
    assert [row.tolist() for row in np.isfinite(dataset.targets)] == [[True, False], [False, True]]
