"""The datasets by name."""

from __future__ import annotations

from pathlib import Path

from narformer.datasets.dataset import Dataset, concat
from narformer.datasets.nnlqp import load_nasbench201, load_nnlqp
from narformer.datasets.nnmeter import load_nnmeter
from narformer.datasets.onnxruntime_cpu import load_onnxruntime_cpu
from narformer.datasets.onnxruntime_wide import load_onnxruntime_wide
from narformer.datasets.qai_hub import load_qai_hub
from narformer.datasets.timm import load_timm
from narformer.errors import DataError


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
