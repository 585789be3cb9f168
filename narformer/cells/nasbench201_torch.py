"""NAS-Bench-201 as NAR-Former's releases have it: `all.pt`, index -> {ops, test_accuracy, …}. Needs PyTorch."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from narformer.cells.cell import OPERATIONS, nasbench201_cell
from narformer.cells.dataset import CellDataset, cell_dataset
from narformer.errors import DataError


def read_pt(path: Path, metric: str = "test_accuracy") -> CellDataset:
    """The layout of NAR-Former's releases; accuracies there are fractions. Raises DataError."""
    try:
        entries: Mapping[Any, Any] = torch.load(path, map_location="cpu", weights_only=True)
        listed = entries.items() if isinstance(entries, Mapping) else enumerate(entries)
        names, cells, values = [], [], []
        for name, entry in listed:
            codes = [int(code) for code in entry["ops"]]
            cells.append(nasbench201_cell([OPERATIONS["nasbench201"][c] for c in codes[1:-1]]))
            values.append(100 * float(entry[metric]))
            names.append(str(name))
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise DataError(f"{path}: not a file of tensors and numbers that PyTorch can read ({error})") from error
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"{path}: not the layout index -> ops, {metric} ({error!r})") from error
    return cell_dataset("nasbench201", metric.replace("_", " "), names, cells, values)
