"""timm's table: rows by network, size and batch; targets by their names; what is wrong with a table is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from narformer.datasets.kernel_cache import build_kernel_cache
from narformer.datasets.timm import load_timm
from narformer.errors import DataError
from narformer.evaluation.splits import left_out_folds

HEADER = "model,family,fold,split,hardware,precision,layout,compiled,pytorch,img_size,batch_size,step_ms,params_m\n"
ROWS = (
    "resnet18,resnet,3,train,rtx4090,amp,nchw,0,2.9.1,224,256,10.5,\n"
    "resnet18,resnet,3,train,rtx4090,amp,nhwc,0,2.4.0,224,256,8.5,\n"
    "resnet18,resnet,3,train,i7_12700h,fp32,nchw,1,2.4.0,224,1,20,\n"
    "mobilenetv3_small_050,mobilenetv3,4,test,rtx4090,amp,nchw,0,2.9.1,224,1024,22,\n"
)


def _root(folder: Path, rows: str) -> Path:
    (folder / "timm").mkdir()
    (folder / "timm" / "infer.csv").write_text(HEADER + rows)
    return folder


def test_a_row_is_a_network_a_size_and_a_batch(tmp_path: Path) -> None:
    dataset = load_timm(_root(tmp_path, ROWS))
    assert dataset.ids == ("resnet18@224x256", "resnet18@224x1", "mobilenetv3_small_050@224x1024")
    assert dataset.devices == (
        "rtx4090:pytorch-2.9:fp16",
        "rtx4090:pytorch-2.4-channels-last:fp16",
        "i7-12700h:pytorch-2.4-compiled:fp32",
    )
    np.testing.assert_array_equal(dataset.targets, [[10.5, 8.5, np.nan], [np.nan, np.nan, 20], [22, np.nan, np.nan]])
    assert dataset.batch == (256, 1, 1024)
    assert [task.name for task in left_out_folds(dataset)] == ["fold 3", "fold 4"]


def test_rows_of_a_network_whose_branches_are_not_merged_are_left_out(tmp_path: Path) -> None:
    merged = "mobileone_s0,byobnet,5,train,rtx4090,amp,nchw,0,2.9.1,224,256,30,2.08\n"
    branches = "mobileone_s0,byobnet,5,train,rtx4090,amp,nchw,0,2.4.0,224,256,90,5.29\n"
    with pytest.warns(UserWarning, match=r"1 rows of another form .* of 1 networks \(mobileone_s0"):
        dataset = load_timm(_root(tmp_path, ROWS + merged + branches))
    assert dataset.ids[-1] == "mobileone_s0@224x256"
    assert np.nanmax(dataset.targets[-1]) == np.nanmin(dataset.targets[-1]) == 30


def test_tokens_of_a_network_are_kept_once_and_multiplied_by_its_batches(tmp_path: Path) -> None:
    dataset = load_timm(_root(tmp_path, ROWS))
    cache = build_kernel_cache(dataset, tmp_path / "cache", workers=1)
    batch = cache.batch([0, 1])
    many, one = batch.features[batch.graph == 0], batch.features[batch.graph == 1]
    np.testing.assert_allclose(many[:, 0], 256 * one[:, 0])
    assert 1.80e9 < one[:, 0].sum() < 1.83e9  # ResNet-18's MACs
    assert np.expm1(cache.statistics[0, 0]) == pytest.approx(256 * np.expm1(cache.statistics[1, 0]))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ROWS + ROWS.splitlines(keepends=True)[0], "measured twice"),
        (ROWS.replace("10.5", "-1"), "not a positive number"),
        (ROWS.replace("resnet18", "resnet_of_mine").replace("mobilenetv3_small_050", "x"), "has none of its networks"),
    ],
)
def test_what_is_wrong_with_a_table_is_told(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_timm(_root(tmp_path, rows))


def test_networks_that_the_zoo_lacks_are_named(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="no_such_network@224"):
        dataset = load_timm(_root(tmp_path, ROWS + ROWS.splitlines()[0].replace("resnet18", "no_such_network") + "\n"))
    assert len(dataset) == 3
