"""The tables of accuracies by the name of their space."""

from __future__ import annotations

from pathlib import Path

from narformer.cells import nasbench101, nasbench201
from narformer.cells.dataset import CellDataset
from narformer.errors import DataError


def load_cells(space: str, root: str | Path | None = None, file: Path | None = None) -> CellDataset:
    """Accuracies of the cells of `nasbench101` or `nasbench201`: the public table, or a `file` in its layout."""
    if space == "nasbench101":
        return nasbench101.read_csv(file) if file else nasbench101.load_nasbench101(root)
    if space == "nasbench201":
        return nasbench201.read_csv(file) if file else nasbench201.load_nasbench201(root)
    raise DataError(f"no cells of {space!r}: neither nasbench101 nor nasbench201")
