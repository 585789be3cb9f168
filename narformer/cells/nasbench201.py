"""NAS-Bench-201 (Dong and Yang, 2020; MIT licence): accuracies of cells, from two layouts.

- `cifar10.csv`: index, arch, cifar10_test_accuracy (the whole space, mean of seeds).
- NATS-Bench's topology space: a directory of `meta.pickle.pbz2` and one `000123.pickle.pbz2` a cell.

A third, `all.pt` of NAR-Former's releases, needs PyTorch: nasbench201_torch.py.
"""

from __future__ import annotations

import bz2
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from narformer.cells.cell import parse_nasbench201
from narformer.cells.dataset import CellDataset, cell_dataset
from narformer.datasets.dataset import data_root
from narformer.datasets.table import read_table
from narformer.errors import DataError

# Classes that a pickle of numbers, texts and arrays needs; any other could run code of the file's author.
_HARMLESS = {
    ("collections", "OrderedDict"),
    ("collections", "defaultdict"),
    ("builtins", "dict"),
    ("builtins", "set"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
}


def load_nasbench201(root: str | Path | None = None) -> CellDataset:
    """All 15,625 cells with their CIFAR-10 test accuracy. Raises DataError."""
    return read_csv(data_root(root) / "nasbench201" / "cifar10.csv")


def read_csv(path: Path) -> CellDataset:
    """A table in the layout of `cifar10.csv`. Raises DataError, naming the row, for what is not a cell or a number."""
    rows = read_table(path, ("index", "arch", "cifar10_test_accuracy"))
    cells, values = [], []
    for number, row in enumerate(rows, start=2):
        try:
            cells.append(parse_nasbench201(row["arch"]))
            values.append(float(row["cifar10_test_accuracy"]))
        except (DataError, ValueError) as error:
            raise DataError(f"{path}, line {number}: {error}") from error
    return cell_dataset("nasbench201", "CIFAR-10 test accuracy", [r["index"] for r in rows], cells, values)


def read_nats(directory: Path, dataset: str = "cifar10", metric: str = "ori-test@199") -> CellDataset:
    """NATS-Bench's topology space after 200 epochs, mean of seeds. Cells without a file are left out.

    Raises DataError for a directory that is not one, or for a file that wants to run code.
    """
    archs = _unpickled(directory / "meta.pickle.pbz2").get("meta_archs")
    if not isinstance(archs, list):
        raise DataError(f"{directory}: meta.pickle.pbz2 has no list meta_archs; is this NATS-Bench's topology space?")
    names, cells, values = [], [], []
    for index, arch in enumerate(archs):
        path = directory / f"{index:06d}.pickle.pbz2"
        if not path.exists():
            continue
        try:
            results = _unpickled(path)["200"]["all_results"]
            runs = [run["eval_acc1es"][metric] for (data, _), run in results.items() if data == dataset]
            values.append(float(np.mean(runs)))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: no {metric} on {dataset} after 200 epochs ({error})") from error
        names.append(str(index))
        cells.append(parse_nasbench201(arch))
    return cell_dataset("nasbench201", f"{dataset} {metric}, mean of seeds", names, cells, values)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def _unpickled(path: Path) -> Any:
    try:
        with bz2.open(path) as file:
            return _Unpickler(file).load()
    except (OSError, EOFError, ValueError, pickle.UnpicklingError, AttributeError, ImportError) as error:
        raise DataError(f"{path}: not a compressed pickle of numbers and texts ({error})") from error
