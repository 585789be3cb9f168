"""The datasets and devices by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from narformer.datasets import nasbench101, nasbench201
from narformer.datasets.cells import CellDataset
from narformer.datasets.dataset import Dataset, concat
from narformer.datasets.nnlqp import NASBENCH201_DEVICE, load_nasbench201, load_nnlqp
from narformer.datasets.nnmeter import load_nnmeter
from narformer.datasets.onnxruntime_cpu import DEVICE as ONNXRUNTIME_CPU
from narformer.datasets.onnxruntime_cpu import load_onnxruntime_cpu
from narformer.datasets.onnxruntime_wide import load_onnxruntime_wide
from narformer.datasets.qai_hub import HEXAGON, load_qai_hub
from narformer.datasets.timm import load_timm
from narformer.errors import DataError


def _spelt(hardware: str) -> str:
    """`Galaxy S25 NPU` of `galaxy-s25-npu`: words with digits and short ones are names of models."""
    words = hardware.split("-")
    return " ".join(w.upper() if w in ("npu", "q", "iq") or any(c.isdigit() for c in w) else w.title() for w in words)


# Hardware, runtime and batch of each device id.
DEVICES: Mapping[str, str] = {
    "cortexA76cpu": "Pixel 4 CPU (Cortex-A76), TFLite 2.1, batch 1",
    "adreno640": "Xiaomi Mi 9 GPU (Adreno 640), TFLite 2.1, batch 1",
    "adreno630": "Pixel 3 XL GPU (Adreno 630), TFLite 2.1, batch 1",
    "myriadvpu": "Intel Myriad X VPU, OpenVINO 2019R2, batch 1",
    NASBENCH201_DEVICE: "NVIDIA GTX 1660 GPU, TensorRT 7.1, float32, batch 1",
    ONNXRUNTIME_CPU: "AMD EPYC (Milan), one core, ONNX Runtime 1.32, float32, batch 1",
    **{
        f"epyc-turin:onnxruntime-1.32:{precision}:{threads}t": f"AMD EPYC (Turin), {cores}, ONNX Runtime 1.32, {spelt}"
        for threads, cores in ((1, "one core"), (2, "two cores"))
        for precision, spelt in (("fp32", "float32"), ("fp16", "float16"), ("int8", "int8"), ("int8-dynamic", "int8"))
    },
    **{
        f"{hardware}:{runtime}:fp16": f"{name}, {told}, float16 autocast"
        for hardware, name in (
            ("rtx3090", "NVIDIA RTX 3090"),
            ("rtx4090", "NVIDIA RTX 4090"),
            ("rtx5090", "NVIDIA RTX 5090"),
        )
        for runtime, told in (
            ("pytorch-2.1", "PyTorch 2.1"),
            ("pytorch-2.1-channels-last", "PyTorch 2.1, channels last"),
            ("pytorch-2.4", "PyTorch 2.4"),
            ("pytorch-2.4-channels-last", "PyTorch 2.4, channels last"),
            ("pytorch-2.4-compiled", "PyTorch 2.4, compiled"),
            ("pytorch-2.9", "PyTorch 2.9"),
            ("pytorch-2.9-compiled", "PyTorch 2.9, compiled"),
        )
    },
    "i7-12700h:pytorch-2.4-compiled:fp32": "Intel Core i7-12700H, PyTorch 2.4, compiled, float32",
    **{
        f"{hardware}:{runtime}:{precision}": f"{_spelt(hardware)} (Hexagon v{generation}), {told}, {spelt}, batch 1"
        for hardware, generation in HEXAGON.items()
        for runtime, told in (
            ("tflite", "TFLite"),
            ("onnxruntime", "ONNX Runtime"),
            ("qnn", "Qualcomm's runtime (QNN)"),
        )
        for precision, spelt in (("fp16", "float16"), ("int8", "int8"), ("w8a16", "int8 weights, int16 activations"))
    },
}

# What targets have in common: groups of targets share prices in predictors that know them (models/tally2.py).
_TAGS: Mapping[str, tuple[str, ...]] = {
    "cortexA76cpu": ("cpu", "arm cpu", "tflite", "fp32"),
    "adreno640": ("gpu", "adreno", "tflite", "fp32"),
    "adreno630": ("gpu", "adreno", "tflite", "fp32"),
    "myriadvpu": ("npu", "openvino", "fp16"),
    NASBENCH201_DEVICE: ("gpu", "nvidia gpu", "tensorrt", "fp32"),
    ONNXRUNTIME_CPU: ("cpu", "x86 cpu", "onnxruntime", "fp32"),
}


def tags(device: str) -> tuple[str, ...]:
    """The groups to which a target belongs, itself the last; one that is not known belongs to itself alone."""
    if device in _TAGS:
        return ("all", *_TAGS[device], device)
    parts = device.split(":")
    if len(parts) < 3:
        return ("all", device)
    hardware, runtime, precision = parts[:3]
    if hardware.endswith("-npu"):
        return _npu_tags(device, hardware, runtime, precision)
    words = runtime.split("-")
    kind = ("gpu", "nvidia gpu") if hardware.startswith(("rtx", "gtx", "h100", "h200")) else ("cpu", "x86 cpu")
    how = words[0]
    if how == "pytorch":
        how += " compiled" if "compiled" in words else " eager"
    layout = (f"{kind[-1]}, {how}, channels last",) if "channels" in words else ()
    return (
        "all",
        *kind,
        words[0],
        how,
        f"{kind[-1]}, {how}",
        *layout,
        hardware,
        f"{hardware}, {how}",
        precision,
        *parts[3:],
        device,
    )


def _npu_tags(device: str, hardware: str, runtime: str, precision: str) -> tuple[str, ...]:
    """Qualcomm's NPUs: by generation, runtime and precision, and by pairs of these."""
    generation = f"hexagon v{HEXAGON[hardware]}" if hardware in HEXAGON else "hexagon"
    return (
        *("all", "hexagon", "npu", precision, runtime),
        *(f"hexagon, {precision}", f"hexagon, {runtime}", f"hexagon, {runtime}, {precision}"),
        *(generation, f"{generation}, {precision}", f"{generation}, {runtime}"),
        *(hardware, f"{hardware}, {precision}", f"{hardware}, {runtime}"),
        device,
    )


# Least ms of a run and of a kernel on each kind of hardware. An x86 core's are measured (a lone Relu takes 2.6 µs, two
# hundred of the smallest nodes 90 µs); the others are what no runtime of theirs has been seen to undercut.
_LEAST: Mapping[str, tuple[float, float]] = {
    "x86 cpu": (2e-3, 3e-4),
    "arm cpu": (5e-3, 1e-3),
    "nvidia gpu": (5e-3, 1.5e-3),
    "adreno": (5e-2, 5e-3),
    "hexagon": (3e-2, 2e-4),
    "npu": (5e-2, 2e-3),
}


def least_ms(device: str) -> tuple[float, float]:
    """What a run, and each kernel of it, take at least on a target, in ms."""
    return next((_LEAST[tag] for tag in tags(device) if tag in _LEAST), (1e-3, 1e-4))


def groups(devices: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """For each target the numbers of its groups; groups that have the same targets are one."""
    members: dict[str, tuple[int, ...]] = {}
    for place, device in enumerate(devices):
        for tag in dict.fromkeys(tags(device)):
            members[tag] = (*members.get(tag, ()), place)
    number = {targets: k for k, targets in enumerate(dict.fromkeys(members.values()))}
    return tuple(tuple(k for targets, k in number.items() if place in targets) for place in range(len(devices)))


def load_dataset(name: str, root: str | Path | None = None) -> Dataset:
    """`nnmeter`, `nnlqp/nasbench201`, `onnxruntime-cpu`, `onnxruntime-wide`, `timm`, `qai_hub`, or a directory.

    A directory has NNLQP's layout.

    Raises DataError for any other name. Several joined by `+` are one dataset, with the devices of all.
    """
    if "+" in name and not Path(name).is_dir():
        return concat(name.replace("/", "-"), [load_dataset(part, root) for part in name.split("+")])
    if name == "nnmeter":
        return load_nnmeter(root)
    if name == "nnlqp/nasbench201":
        return load_nasbench201(root)
    if name == "onnxruntime-cpu":
        return load_onnxruntime_cpu()
    if name == "onnxruntime-wide":
        return load_onnxruntime_wide()
    if name == "timm":
        return load_timm(root)
    if name == "qai_hub":
        return load_qai_hub(root)
    if Path(name).is_dir():
        return load_nnlqp(name)
    known = "nnmeter, nnlqp/nasbench201, onnxruntime-cpu, onnxruntime-wide, timm, qai_hub"
    raise DataError(f"no dataset {name!r}: neither one of {known}, nor a directory in NNLQP's layout")


def load_cells(space: str, root: str | Path | None = None, file: Path | None = None) -> CellDataset:
    """Accuracies of the cells of `nasbench101` or `nasbench201`: the public table, or a `file` in its layout."""
    if space == "nasbench101":
        return nasbench101.read_csv(file) if file else nasbench101.load_nasbench101(root)
    if space == "nasbench201":
        return nasbench201.read_csv(file) if file else nasbench201.load_nasbench201(root)
    raise DataError(f"no cells of {space!r}: neither nasbench101 nor nasbench201")
