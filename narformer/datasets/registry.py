"""The datasets and devices by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from narformer.datasets import nasbench101, nasbench201
from narformer.datasets.cells import CellDataset
from narformer.datasets.dataset import Dataset, concat
from narformer.datasets.nnlqp import NASBENCH201_DEVICE, load_nasbench201, load_nnlqp
from narformer.datasets.nnmeter import load_nnmeter
from narformer.datasets.onnxruntime_cpu import DEVICE as ONNXRUNTIME_CPU
from narformer.datasets.onnxruntime_cpu import load_onnxruntime_cpu
from narformer.errors import DataError

# Hardware, runtime and batch of each device id.
DEVICES: Mapping[str, str] = {
    "cortexA76cpu": "Pixel 4 CPU (Cortex-A76), TFLite 2.1, batch 1",
    "adreno640": "Xiaomi Mi 9 GPU (Adreno 640), TFLite 2.1, batch 1",
    "adreno630": "Pixel 3 XL GPU (Adreno 630), TFLite 2.1, batch 1",
    "myriadvpu": "Intel Myriad X VPU, OpenVINO 2019R2, batch 1",
    NASBENCH201_DEVICE: "NVIDIA GTX 1660 GPU, TensorRT 7.1, float32, batch 1",
    ONNXRUNTIME_CPU: "AMD EPYC (Milan), one core, ONNX Runtime 1.32, float32, batch 1",
}


def load_dataset(name: str, root: str | Path | None = None) -> Dataset:
    """`nnmeter`, `nnlqp/nasbench201`, `onnxruntime-cpu`, or a directory in NNLQP's layout; otherwise DataError.

    Several joined by `+` are one dataset, with the devices of all.
    """
    if "+" in name and not Path(name).is_dir():
        return concat(name.replace("/", "-"), [load_dataset(part, root) for part in name.split("+")])
    if name == "nnmeter":
        return load_nnmeter(root)
    if name == "nnlqp/nasbench201":
        return load_nasbench201(root)
    if name == "onnxruntime-cpu":
        return load_onnxruntime_cpu()
    if Path(name).is_dir():
        return load_nnlqp(name)
    known = "nnmeter, nnlqp/nasbench201, onnxruntime-cpu"
    raise DataError(f"no dataset {name!r}: neither one of {known}, nor a directory in NNLQP's layout")


def load_cells(space: str, root: str | Path | None = None, file: Path | None = None) -> CellDataset:
    """Accuracies of the cells of `nasbench101` or `nasbench201`: the public table, or a `file` in its layout."""
    if space == "nasbench101":
        return nasbench101.read_csv(file) if file else nasbench101.load_nasbench101(root)
    if space == "nasbench201":
        return nasbench201.read_csv(file) if file else nasbench201.load_nasbench201(root)
    raise DataError(f"no cells of {space!r}: neither nasbench101 nor nasbench201")
