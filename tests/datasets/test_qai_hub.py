"""Qualcomm AI Hub's table: which rows are learned from, what is left out and counted, targets, and broken tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from narformer.datasets import zoo
from narformer.datasets.dataset import data_root
from narformer.datasets.kernel_cache import build_kernel_cache
from narformer.datasets.qai_hub import family, fold, hardware, load_qai_hub, one_graph
from narformer.datasets.registry import load_dataset
from narformer.datasets.table import read_table
from narformer.datasets.timm import load_timm
from narformer.errors import DataError
from narformer.prediction import hardware as registry
from narformer.prediction.target_groups import groups, least_ms, tags

HEADER = (
    "model,component,precision,device,chipset,htp,runtime,latency_ms,unit,npu_layers,gpu_layers,cpu_layers,"
    "peak_memory_mb_min,peak_memory_mb_max,qairt,split\n"
)


def row(
    model: str,
    latency: str,
    *,
    component: str = "Whole",
    precision: str = "float",
    device: str = "Samsung Galaxy S25",
    runtime: str = "tflite",
    unit: str = "NPU",
    cpu_layers: int = 0,
    split: str = "train",
) -> str:
    layers = f"{10 if unit == 'NPU' else 0},0,{cpu_layers}"
    return f"{model},{component},{precision},{device},chip,79,{runtime},{latency},{unit},{layers},1,2,2.50,{split}\n"


TWO = row("resnet18", "0.7") + row("yamnet", "0.2", split="test")


def _root(folder: Path, rows: str) -> Path:
    (folder / "qai_hub").mkdir()
    (folder / "qai_hub" / "perf.csv").write_text(HEADER + rows)
    return folder


def test_a_row_is_a_network_and_a_target_is_hardware_runtime_and_precision(tmp_path: Path) -> None:
    rows = TWO + row("resnet18", "0.25", precision="w8a8") + row("yamnet", "0.1", precision="w8a8", split="test")
    dataset = load_qai_hub(_root(tmp_path, rows), least=2)
    assert dataset.ids == ("resnet18", "yamnet")
    assert dataset.devices == ("galaxy-s25-npu:tflite:fp16", "galaxy-s25-npu:tflite:int8")
    assert dataset.split == ("train", "test")
    np.testing.assert_array_equal(dataset.targets, [[0.7, 0.25], [0.2, 0.1]])
    cache = build_kernel_cache(dataset, tmp_path / "cache", workers=1)
    assert 1.80e9 < cache.batch([0]).features[:, 0].sum() < 1.83e9  # ResNet-18's MACs


def test_rows_that_ran_elsewhere_or_are_of_unknown_networks_are_counted_by_reason(tmp_path: Path) -> None:
    rows = (
        TWO
        + row("resnet50", "9", cpu_layers=1)
        + row("resnet50", "9", unit="CPU", runtime="qnn_dlc", cpu_layers=10)
        + row("network_of_no_package", "1")
        + row("yolov3", "2.2")
        + row("resnet50", "9", precision="w8a16_mixed_int16")
        + row("resnet50", "9", runtime="genie")
        + row("resnet50", "1.2", runtime="onnx")
    )
    with pytest.warns(UserWarning, match="rows left out, of 9") as told:
        dataset = load_qai_hub(_root(tmp_path, rows), least=2)
    assert dataset.devices == ("galaxy-s25-npu:tflite:fp16",)
    assert dataset.ids == ("resnet18", "yamnet")
    for part in (
        "layers not on the NPU alone: 2",
        "a network that the zoo does not have: 1",
        "not what was measured: 1",
        "a mixed precision: 1",
        "another runtime: 1",
        "a target of too few networks: 1",
    ):
        assert part in str(told[0].message)


def test_a_device_whose_latencies_are_all_another_s_is_left_out(tmp_path: Path) -> None:
    copy = TWO.replace("Samsung Galaxy S25", "Dragonwing Q-8750")
    other = copy.replace("Dragonwing Q-8750", "Snapdragon X2 Elite CRD").replace("0.2,", "0.3,")
    with pytest.warns(UserWarning, match="latencies are all another's: 2"):
        dataset = load_qai_hub(_root(tmp_path, copy + TWO + other), least=2)
    assert dataset.devices == ("galaxy-s25-npu:tflite:fp16", "snapdragon-x2-elite-npu:tflite:fp16")


def test_a_compiled_binary_stands_in_where_no_dlc_was_measured(tmp_path: Path) -> None:
    rows = (
        row("resnet18", "0.9", runtime="qnn_context_binary")
        + row("resnet18", "0.8", runtime="qnn_dlc")
        + row("whisper_base", "30", component="encoder", runtime="voice_ai")
    )
    with pytest.warns(UserWarning, match="nearer runtime: 1"):
        dataset = load_qai_hub(_root(tmp_path, rows), least=2)
    assert dataset.devices == ("galaxy-s25-npu:qnn:fp16",)
    assert dict(zip(dataset.ids, dataset.targets[:, 0], strict=True)) == {"resnet18": 0.8, "whisper_base:encoder": 30}


def test_networks_of_one_graph_count_once_and_stay_together(tmp_path: Path) -> None:
    rows = row("opus_mt_de_en", "1", component="decoder") + row("opus_mt_en_de", "1.1", component="decoder")
    with pytest.raises(DataError, match="no target of it has 2 networks"):
        load_qai_hub(_root(tmp_path, rows), least=2)
    for names in (
        ("opus_mt_de_en:encoder", "opus_mt_en_ja:encoder"),
        ("whisper_large_v3_turbo:decoder", "whisper_large_v3_turbo_quantized:decoder"),
        ("depth_anything", "depth_anything_v2"),
        ("esrgan", "real_esrgan_x4plus"),
    ):
        assert len({one_graph(name) for name in names}) == 1
        assert len({zoo.load(name, source="qai_hub").hash for name in names}) == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            TWO + row("resnet18", "0.8"),
            "line 4: resnet18 Whole float Samsung Galaxy S25 tflite is there twice, in line 2",
        ),
        (TWO.replace("0.7", "0"), "line 2, latency_ms: '0' is not a positive number"),
        (TWO.replace("test", "later"), "line 3: split is 'later'"),
        (row("no_such_network", "1"), "no target of it has 20 networks"),
    ],
)
def test_what_is_wrong_with_a_table_is_told(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_qai_hub(_root(tmp_path, rows))


def test_a_missing_directory_and_a_missing_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"qai_hub/perf.csv: cannot be read \(No such file"):
        load_dataset("qai_hub", tmp_path)
    with pytest.raises(DataError, match=r"nowhere: there are no public datasets; .* with --data or NARFORMER_DATA"):
        load_dataset("qai_hub", tmp_path / "nowhere")


def test_a_zoo_of_other_versions_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "zoo.bin"
    zoo.write([], path, {**zoo.CHECKED, "timm": "0.9.2"})
    with pytest.raises(DataError, match=r"zoo.bin: made with timm 0\.9\.2, .*install timm==1\.0\.31"):
        zoo.check_versions(path)
    zoo.check_versions()
    monkeypatch.setattr(zoo, "made_by", lambda path=zoo.FILE: {"timm": "0.9.2"})
    (tmp_path / "timm").mkdir()
    columns = (
        "model,family,fold,split,hardware,precision,layout,compiled,pytorch,img_size,batch_size,step_ms,params_m\n"
    )
    (tmp_path / "timm" / "infer.csv").write_text(
        columns + "resnet18,resnet,3,train,rtx4090,amp,nchw,0,2.9.1,224,256,10.5,\n"
    )
    for load in (load_timm, load_qai_hub):
        with pytest.raises(DataError, match=r"timm 0\.9\.2"):
            load(_root(tmp_path, TWO) if load is load_qai_hub else tmp_path)


def test_hardware_is_named_as_people_name_it() -> None:
    for device, name in (
        ("Samsung Galaxy S22 5G", "galaxy-s22-npu"),
        ("Dragonwing IQ-9075 EVK", "dragonwing-iq-9075-npu"),
        ("QCS8550 (Proxy)", "qcs8550-npu"),
        ("Snapdragon X Elite CRD", "snapdragon-x-elite-npu"),
    ):
        assert hardware(device) == name
        assert registry.hardware(name) is registry.hardware(device)
        assert registry.hardware(name).group == "hexagon"


def test_npus_share_groups_by_generation_runtime_and_precision() -> None:
    s24, ventuno = "galaxy-s24-npu:qnn:int8", "arduino-ventuno-q-npu:qnn:int8"
    assert {"npu", "hexagon v75", "qnn", "int8", "hexagon, qnn, int8"} <= set(tags(s24)) & set(tags(ventuno))
    assert {"galaxy-s24-npu", "galaxy-s24-npu, int8"} <= set(tags(s24)) & set(tags("galaxy-s24-npu:tflite:int8"))
    assert "npu" in tags("galaxy-s99-npu:tflite:fp16")
    belongs = groups((s24, ventuno, "galaxy-s25-npu:tflite:fp16"))
    assert set(belongs[0]) & set(belongs[1]) - set(belongs[2])
    assert least_ms(s24) != least_ms("myriadvpu")


def test_families_are_kinds_of_networks() -> None:
    assert family("whisper_base:encoder") == family("distil_whisper:decoder")
    assert family("bert_base_uncased_hf") == family("minilm_v2") != family("resnet50")
    assert family("yamnet") == "yamnet"
    assert fold("opus_mt_de_en:encoder") == fold("opus_mt_en_ja:decoder")
    assert {fold(entry.name) for entry in zoo.names("qai_hub")} == set(range(10))


@pytest.mark.filterwarnings("ignore:.*left out")
def test_no_latency_of_the_whole_table_is_below_what_a_run_takes_at_least() -> None:
    try:
        path = data_root() / "qai_hub" / "perf.csv"
        read_table(path, ("model",))
    except DataError as error:
        pytest.skip(str(error))
    dataset = load_qai_hub()
    assert len(dataset) > 110
    assert np.isfinite(dataset.targets).any(axis=1).all()
    assert len(dataset.devices) == len(set(dataset.devices)) > 90
    assert all(np.nanmin(dataset.targets[:, k]) > least_ms(device)[0] for k, device in enumerate(dataset.devices))
