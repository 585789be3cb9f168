"""Ids of devices: what they say, what is read back, and how machines are named."""

from __future__ import annotations

import pytest

from narformer.errors import ConfigError
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph, Node, Operand, Tensor
from narformer.measurement import device as devices
from narformer.measurement.device import Device, precision, short_version, slug, slug_of_cpuinfo
from narformer.measurement.drift import reference_network

MILAN = """processor	: 0
vendor_id	: AuthenticAMD
cpu family	: 25
model		: 1
model name	: AMD EPYC

processor	: 1
vendor_id	: AuthenticAMD
model name	: something else
"""
XEON = """processor : 0
vendor_id : GenuineIntel
cpu family : 6
model : 106
model name : Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz
"""
RASPBERRY = """processor	: 0
BogoMIPS	: 108.00
CPU implementer	: 0x41
CPU architecture: 8
CPU variant	: 0x4
CPU part	: 0xd0b
CPU revision	: 1

Revision	: d04170
Model		: Raspberry Pi 5 Model B Rev 1.0
"""


def test_an_id_says_everything_and_is_read_back() -> None:
    device = Device("amd-epyc-milan", "onnxruntime", "1.32", "cpu", "fp32", 1, 1)
    assert device.id == "amd-epyc-milan-onnxruntime1.32-cpu-fp32-t1-b1"
    assert Device.parse(device.id) == device


@pytest.mark.parametrize(
    "text", ["cortexA76cpu", "a-onnxruntime-cpu-fp32-t1-b1", "a-onnxruntime1.2-cpu-fp33-t1-b1", ""]
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="devices --here"):
        Device.parse(text)


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        (MILAN, "amd-epyc-milan"),
        (XEON, "intel-xeon-platinum-8370c"),
        (RASPBERRY, "raspberry-pi-5-model-b-rev-1-0-cortex-a76"),
        ("", "unknown-cpu"),
    ],
)
def test_machines_are_named_by_what_they_are(cpuinfo: str, name: str) -> None:
    assert slug_of_cpuinfo(cpuinfo) == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("AMD Ryzen 9 7950X 16-Core Processor", "amd-ryzen-9-7950x"),
        ("13th Gen Intel(R) Core(TM) i7-1370P", "intel-core-i7-1370p"),
        ("AMD Ryzen 7 5700U with Radeon Graphics", "amd-ryzen-7-5700u"),
        ("Apple M2", "apple-m2"),
        ("NVIDIA H100 80GB HBM3", "nvidia-h100-80gb-hbm3"),
    ],
)
def test_slugs(name: str, expected: str) -> None:
    assert slug(name) == expected


def test_versions_keep_major_and_minor() -> None:
    assert [short_version(v) for v in ("2.13.0+cpu", "2026.4.1-123", "1.32", "odd")] == [
        "2.13",
        "2026.4",
        "1.32",
        "0.0",
    ]


def test_a_gpu_names_the_device_of_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_output", lambda command: "NVIDIA L4\nNVIDIA T4")
    assert devices.hardware("cuda") == "nvidia-l4"


def test_the_network_sets_batch_and_precision() -> None:
    graph = read_onnx(reference_network(), batch_size=4)
    assert Device("x", "onnxruntime", "1.32").of(graph).id == "x-onnxruntime1.32-cpu-fp32-t1-b4"


@pytest.mark.parametrize(
    ("op", "weight", "expected"),
    [
        ("Conv", "float32", "fp32"),
        ("Conv", "float16", "fp16"),
        ("Conv", "bfloat16", "bf16"),
        ("Conv", "float64", "fp64"),
        ("QLinearConv", "int8", "int8"),
        ("Gather", "int64", "fp32"),
    ],
)
def test_precision_is_that_of_weights_and_operators(op: str, weight: str, expected: str) -> None:
    out = Tensor((1, 2))
    node = Node("n", op, (Operand(Tensor((2, 2), weight), name="w"),), (out,))
    assert precision(Graph((node,), (Tensor((1, 2), "int64"),))) == expected
