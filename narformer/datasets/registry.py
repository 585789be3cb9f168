"""The datasets by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from narformer.datasets.dataset import Dataset, concat
from narformer.datasets.nnlqp import load_nasbench201, load_nnlqp
from narformer.datasets.nnmeter import load_nnmeter
from narformer.datasets.onnxruntime_cpu import load_onnxruntime_cpu
from narformer.datasets.onnxruntime_wide import load_onnxruntime_wide
from narformer.datasets.pytorch_gpu import load_pytorch_gpu
from narformer.datasets.qai_hub import load_qai_hub
from narformer.datasets.timm import load_timm
from narformer.errors import DataError, did_you_mean

# Each from the root of the public datasets; what is in the package needs none.
DATASETS: Mapping[str, Callable[[str | Path | None], Dataset]] = {
    "nnmeter": load_nnmeter,
    "nnlqp/nasbench201": load_nasbench201,
    "onnxruntime-cpu": lambda _root: load_onnxruntime_cpu(),
    "onnxruntime-wide": lambda _root: load_onnxruntime_wide(),
    "pytorch-gpu": lambda _root: load_pytorch_gpu(),
    "timm": load_timm,
    "qai_hub": load_qai_hub,
}


def load_dataset(name: str, root: str | Path | None = None) -> Dataset:
    """One of DATASETS, or a directory in NNLQP's layout; several joined by `+` are one, with the devices of all.

    Raises DataError for any other name, telling the nearest.
    """
    if name in DATASETS:
        return DATASETS[name](root)
    if Path(name).is_dir():
        return load_nnlqp(name)
    if "+" in name:
        return concat(name.replace("/", "-"), [load_dataset(part, root) for part in name.split("+")])
    known = ", ".join(DATASETS)
    meant = did_you_mean(name, DATASETS)
    raise DataError(f"no dataset {name!r}; {meant}it is neither one of {known}, nor a directory in NNLQP's layout")
