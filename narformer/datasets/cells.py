"""Cells with accuracies: what the benchmarks of accuracy have in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from narformer.frontends.cell_table import CellTable


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
