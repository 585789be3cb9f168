"""Our table of a GPU: rows by network, size and batch; targets by their names; what is wrong with a table is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from narformer.cost import graph_cost
from narformer.datasets import zoo
from narformer.datasets.dataset import concat
from narformer.datasets.pytorch_gpu import COLUMNS, TABLE, load_pytorch_gpu
from narformer.datasets.table import read_table
from narformer.errors import DataError
from narformer.prediction.target import Target
from narformer.prediction.target_groups import groups

ROWS = (
    "timm,resnet18,224,resnet,3,train,h100,amp,nchw,0,2.11.0,1,1.5,0.1,1.4,20\n"
    "timm,resnet18,224,resnet,3,train,h100,amp,nchw,1,2.11.0,1,0.5,0.1,0.4,20\n"
    "timm,resnet18,224,resnet,3,train,h100,amp,nhwc,0,2.11.0,64,2.5,0.1,2.4,20\n"
    "qai_hub,bert_base_uncased_hf,0,encoder of text,0,test,h100,bf16,nchw,0,2.11.0,1,4,0.1,3.9,20\n"
)


def _table(folder: Path, rows: str) -> Path:
    path = folder / "pytorch-gpu.csv"
    path.write_text(",".join(COLUMNS) + "\n" + rows)
    return path


def test_a_row_is_a_network_a_size_and_a_batch(tmp_path: Path) -> None:
    dataset = load_pytorch_gpu(_table(tmp_path, ROWS), least=1)
    assert dataset.ids == (
        "pytorch-gpu:timm:resnet18@224x1",
        "pytorch-gpu:timm:resnet18@224x64",
        "pytorch-gpu:qai_hub:bert_base_uncased_hf@0x1",
    )
    assert dataset.devices == (
        "h100:pytorch-2.11:fp16",
        "h100:pytorch-2.11-compiled:fp16",
        "h100:pytorch-2.11-channels-last:fp16",
        "h100:pytorch-2.11:bf16",
    )
    nan = np.nan
    np.testing.assert_array_equal(dataset.targets, [[1.5, 0.5, nan, nan], [nan, nan, 2.5, nan], [nan, nan, nan, 4]])
    assert (dataset.batch, dataset.network) == ((1, 64, 1), ("resnet18", "resnet18", "bert_base_uncased_hf"))
    assert dataset.sources[0].graph().inputs[0].shape == (1, 3, 224, 224)


def test_targets_of_few_networks_and_rows_of_these_alone_are_left_out(tmp_path: Path) -> None:
    more = "timm,resnet34,224,resnet,3,train,h100,amp,nchw,0,2.11.0,1,2.5,0.1,1.4,20\n"
    dataset = load_pytorch_gpu(_table(tmp_path, ROWS + more), least=2)
    assert dataset.devices == ("h100:pytorch-2.11:fp16",)
    np.testing.assert_array_equal(dataset.targets, [[1.5], [2.5]])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ROWS + ROWS.splitlines(keepends=True)[0], "line 6: resnet18 at 224, batch 1 was measured twice on h100"),
        (ROWS.replace("1.5", "0"), "line 2, ms: '0' is not a positive number"),
        (ROWS.replace("resnet18", "resnet_of_mine"), "line 2: the zoo has no resnet_of_mine at 224 of timm"),
        (ROWS.replace("train", "?"), "line 2: split is '\\?'"),
        (ROWS.replace(",224,", ",wide,"), "line 2: .*'wide'"),
    ],
)
def test_what_is_wrong_with_a_table_is_told(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_pytorch_gpu(_table(tmp_path, rows))


def test_the_shipped_table_is_of_the_zoo_and_of_known_hardware() -> None:
    known = set(zoo.names())
    rows = read_table(TABLE, COLUMNS)
    assert all(zoo.Entry(row["source"], row["name"], int(row["size"])) in known for row in rows)
    for device in load_pytorch_gpu().devices:
        facts = Target.parse(device).facts
        assert (facts.name, facts.group) == ("h100", "nvidia gpu")
        assert (facts.peak["fp16"], facts.bandwidth) == (989e12, 3.35e12)


def test_latencies_are_none_that_the_hardware_could_not_have() -> None:
    """Multiply-accumulates at the datasheet's peak take less: a mistaken batch or unit would show."""
    dataset = load_pytorch_gpu()
    macs: dict[str, float] = {}
    for row, source in enumerate(dataset.sources):
        name = dataset.network[row]
        macs.setdefault(name, graph_cost(source.graph()).macs)
        for column, device in enumerate(dataset.devices):
            peak = Target.parse(device).facts.peak["fp32" if device.endswith("fp32") else "fp16"]
            ms = dataset.targets[row, column]
            assert not ms < 1e3 * 2 * macs[name] * dataset.batch[row] / peak


def test_its_targets_share_groups_with_the_gpus_of_timm() -> None:
    rtx, h100 = "rtx5090:pytorch-2.9-compiled:fp16", "h100:pytorch-2.11-compiled:fp16"
    together, alone = (set(each) for each in groups([rtx, h100, "i7-12700h:pytorch-2.4-compiled:fp32"])[:2])
    assert len(together & alone) >= 2


def test_it_is_one_dataset_with_others(tmp_path: Path) -> None:
    first = load_pytorch_gpu(_table(tmp_path, ROWS), least=1)
    shipped = load_pytorch_gpu()
    joined = concat("both", [first, shipped])
    assert len(joined) == len(first) + len(shipped)
    assert (joined.network[0], joined.batch[-1]) == ("resnet18", shipped.batch[-1])
