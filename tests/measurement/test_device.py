"""How machines are named, and what a network computes in."""

from __future__ import annotations

import pytest

from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph, Node, Operand, Tensor
from narformer.measurement import device as devices
from narformer.measurement.device import precision, short_version, slug, slug_of_cpuinfo, target_of
from narformer.measurement.drift import reference_network
from narformer.prediction.target import Target

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
    assert devices.hardware("cuda") == "l4"
    monkeypatch.setattr(devices, "_output", lambda command: "NVIDIA RTX Unheard Of")
    assert devices.hardware("cuda") == "nvidia-rtx-unheard-of"


def test_the_network_sets_the_precision() -> None:
    graph = read_onnx(reference_network(), batch_size=4)
    assert str(target_of(Target("x", "onnxruntime-1.32", "int8", 1), graph)) == "x:onnxruntime-1.32:fp32:1t"


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
