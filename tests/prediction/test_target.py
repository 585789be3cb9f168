"""Targets: one grammar read and written alike, former ids, and what a text selects."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narformer.errors import ConfigError, UnknownDeviceError
from narformer.prediction.target import Target, canonical_id, measured_target, parse_former, select

NAME = st.from_regex(r"[a-z0-9]+([.-][a-z0-9]+){0,3}", fullmatch=True)
KNOWN = (
    "cortex-a76:tflite-2.1:fp32",
    "adreno-640:tflite-2.1:fp32",
    "adreno-630:tflite-2.1:fp32",
    "epyc-milan:onnxruntime-1.32:fp32:1t",
    "rtx4090:pytorch-2.9:fp16",
    "rtx4090:pytorch-2.9-compiled:fp16",
    "rtx4090:pytorch-2.4:fp16",
    "my-board",
)


@given(NAME, NAME, NAME, st.none() | st.integers(1, 256))
def test_an_id_is_read_back_as_the_target_that_wrote_it(
    hardware: str, runtime: str, precision: str, threads: int | None
) -> None:
    target = Target(hardware, runtime, precision, threads)
    assert Target.parse(str(target)) == target
    assert canonical_id(str(target)) == str(target)


@given(st.text(max_size=40) | st.from_regex(r"[a-z0-9:.-]{0,30}", fullmatch=True))
def test_any_text_is_a_target_or_refused(text: str) -> None:
    try:
        target = Target.parse(text)
    except ConfigError:
        return
    assert Target.parse(str(target)) == target
    assert canonical_id(text) == str(target)


@pytest.mark.parametrize(
    ("id", "parts"),
    [
        ("rtx4090:pytorch-2.9-compiled:fp16", ("pytorch", "2.9", "compiled")),
        ("rtx4090:pytorch-2.4-channels-last:fp16", ("pytorch", "2.4", "channels-last")),
        ("galaxy-s25-npu:tflite:int8", ("tflite", "", "")),
        ("galaxy-s25-npu:qnn-dlc:fp16", ("qnn-dlc", "", "")),
        ("x:pytorch-compiled:fp16", ("pytorch", "", "compiled")),
        ("myriad-x:openvino-2019r2:fp16", ("openvino", "2019r2", "")),
        ("l4:onnxruntime-1.32-tensorrt:fp32", ("onnxruntime", "1.32", "tensorrt")),
    ],
)
def test_a_runtime_is_a_name_a_version_and_a_variant(id: str, parts: tuple[str, str, str]) -> None:
    target = Target.parse(id)
    assert (target.runtime_name, target.version, target.variant) == parts


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rtx4090",
        "rtx4090:pytorch-2.9",
        "a:b:c:d",
        "a:b:c:0t",
        "a:b:c:-1t",
        "a:b:c:1t:2",
        "A:b:c",
        "a::c",
        "a:b:fp 32",
    ],
)
def test_what_is_no_target_is_refused_with_the_grammar(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not a target; write hardware:runtime"):
        Target.parse(text)


@pytest.mark.parametrize(
    ("former", "id"),
    [
        ("cortexA76cpu", "cortex-a76:tflite-2.1:fp32"),
        ("adreno640", "adreno-640:tflite-2.1:fp32"),
        ("adreno630", "adreno-630:tflite-2.1:fp32"),
        ("myriadvpu", "myriad-x:openvino-2019r2:fp16"),
        ("gpu-gtx1660-trt7.1-fp32", "gtx1660:tensorrt-7.1:fp32"),
        ("amd-epyc-milan-onnxruntime1.32-cpu-fp32-t1-b1", "epyc-milan:onnxruntime-1.32:fp32:1t"),
        ("amd-epyc-turin-torchcompile2.13-cpu-fp32-t2-b4", "epyc-turin:pytorch-2.13-compiled:fp32:2t"),
        ("nvidia-l4-onnxruntime1.32-cuda-fp16-t1-b8", "l4:onnxruntime-1.32:fp16"),
        ("nvidia-l4-onnxruntime1.32-tensorrt-fp16-t1-b8", "l4:onnxruntime-1.32-tensorrt:fp16"),
        ("intel-core-i7-1370p-openvino2026.4-gpu-fp32-t1-b1", "intel-core-i7-1370p:openvino-2026.4-gpu:fp32"),
    ],
)
def test_a_former_id_is_the_target_it_was(former: str, id: str) -> None:
    assert str(Target.parse(former)) == canonical_id(former) == id
    assert select([former], [id, *KNOWN]) == [id]


@given(st.from_regex(r"[a-z0-9.-]{1,20}-onnxruntime1\.32-cpu-fp32-t[0-9]{1,3}-b[0-9]{1,4}", fullmatch=True))
def test_every_id_that_a_measurement_had_is_a_target(former: str) -> None:
    found = parse_former(former)
    assert found is not None
    assert canonical_id(former) == str(found[0])
    assert found[1] == int(former.rpartition("-b")[2])


def test_other_names_stay_as_they_are() -> None:
    assert [canonical_id(name) for name in ("my-board", "P4", "", "x:y")] == ["my-board", "P4", "", "x:y"]
    assert parse_former("rtx4090:pytorch-2.9:fp16") is None


def test_only_a_cpu_has_threads() -> None:
    assert str(measured_target("amd-epyc-turin", "onnxruntime", "1.32", "cpu", threads=2)).endswith(":fp32:2t")
    assert str(measured_target("nvidia-l4", "pytorch", "2.13", "cuda", "fp16", 2)) == "l4:pytorch-2.13:fp16"


@pytest.mark.parametrize(
    ("wanted", "selected"),
    [
        (["rtx4090"], KNOWN[4:7]),
        (["RTX4090"], KNOWN[4:7]),
        (["nvidia-geforce-rtx-4090"], KNOWN[4:7]),
        (["rtx4090:pytorch-2.9"], KNOWN[4:5]),
        (["rtx4090:pytorch-2.9-c"], KNOWN[5:6]),
        (["rtx"], KNOWN[4:7]),
        (["epyc"], KNOWN[3:4]),
        (["my"], ("my-board",)),
        (["my-board", "cortex", "cortexA76cpu"], ("my-board", KNOWN[0])),
        ([], ()),
    ],
)
def test_hardware_and_unique_beginnings_select(wanted: list[str], selected: tuple[str, ...]) -> None:
    assert select(wanted, KNOWN) == list(selected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adreno", r"adreno: stands for several targets \(adreno-640:tflite-2.1:fp32, adreno-630"),
        ("rtx4090:pytorch", "stands for several targets"),
        ("rtx4900", "unknown target rtx4900: did you mean rtx4090"),
        ("cortex-a67", "did you mean cortex-a76"),
        ("cortexA78cpu", "did you mean cortex-a76"),
        ("", "unknown target : there are"),
        ("zzzzzz", "there are cortex-a76:tflite-2.1:fp32, .* and 2 more"),
    ],
)
def test_what_selects_nothing_is_told_what_is_near(text: str, message: str) -> None:
    with pytest.raises(UnknownDeviceError, match=message) as told:
        select([text], KNOWN)
    assert "\n" not in str(told.value)
