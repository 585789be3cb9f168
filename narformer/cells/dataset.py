"""Cells with accuracies: what the benchmarks of accuracy have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from narformer.cells.cell import Cell
from narformer.cells.table import CellTable, cell_table
from narformer.errors import DataError


@dataclass(frozen=True, eq=False)
class CellDataset:
    """Cells of one space and their accuracy.

    ids: one a cell. accuracy: percent, (n,). about: what was measured, for tables and cards.
    """

    name: str
    about: str
    ids: tuple[str, ...]
    table: CellTable
    accuracy: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ids)


def cell_dataset(
    space: str, about: str, ids: Sequence[str], cells: Sequence[Cell], accuracy: Sequence[float]
) -> CellDataset:
    """The dataset of some cells, accuracy in percent. Raises DataError for none."""
    if not cells:
        raise DataError(f"{space}: no cell with {about} found")
    return CellDataset(space, about, tuple(ids), cell_table(cells), np.array(accuracy))
