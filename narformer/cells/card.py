"""What stands beside the numbers of a predictor of cells: what it learned from, how good it is on held-out cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from narformer.tables import Column, Table


@dataclass(frozen=True)
class HeldOut:
    """On so many cells that were not learned from: rank correlations (-1 to 1), and intervals.

    median_absolute_error, median_width: of errors and of 90 % intervals, in points of accuracy. coverage: cells within
    their interval, percent.
    """

    cells: int
    kendall: float
    spearman: float
    median_absolute_error: float
    coverage: float
    median_width: float


@dataclass(frozen=True)
class Learned:
    """The dataset, and of how many cells the fit and the intervals are."""

    dataset: str
    cells: int
    calibration: int


@dataclass(frozen=True)
class CellCard:
    """A predictor of cells in words and figures.

    about: what the accuracies are of. split: which cells are held out. test: None before it was tested;
    test_of_new_networks: of held-out cells whose network is that of no cell learned from, where these are not all.
    """

    space: str
    about: str
    training: Learned
    split: str
    test: HeldOut | None = None
    test_of_new_networks: HeldOut | None = None
    unit: str = "percent"
    model: str = "Gaussian process on cell statistics (narformer/cells/predictor.py)"

    def to_json(self) -> dict[str, Any]:
        """As the file has it."""
        told = {
            "space": self.space,
            "about": self.about,
            "unit": self.unit,
            "model": self.model,
            "training": asdict(self.training),
            "split": self.split,
        }
        return told | {name: asdict(found) for name, found in self._tested()}

    def _tested(self) -> list[tuple[str, HeldOut]]:
        """Sets of held-out cells that it was tested on, by their names in the file."""
        sets = (("test", self.test), ("test_of_new_networks", self.test_of_new_networks))
        return [(name, found) for name, found in sets if found is not None]

    def records(self) -> list[dict[str, Any]]:
        """A record for each set of held-out cells."""
        whole = {"space": self.space, "training_cells": self.training.cells}
        return [{**whole, "held_out": name, **asdict(found)} for name, found in self._tested()]

    def table(self) -> Table:
        """The same to be read."""
        titles = ("held-out cells", "tau", "median error", "inside the 90% interval", "its median width")
        columns = (Column("set"), *(Column(title, right=True) for title in titles))
        rows = [
            (
                name.replace("_", " "),
                f"{found.cells:,}",
                f"{found.kendall:.3f}",
                f"{found.median_absolute_error:.2f} points",
                f"{found.coverage:.1f} %",
                f"{found.median_width:.2f} points",
            )
            for name, found in self._tested()
        ]
        return Table(columns, tuple(rows))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CellCard:
        """The inverse. Raises KeyError or TypeError for anything else."""
        tested = {name: HeldOut(**data[name]) for name in ("test", "test_of_new_networks") if name in data}
        learned = Learned(**data["training"])
        return cls(
            data["space"], data["about"], learned, data["split"], unit=data["unit"], model=data["model"], **tested
        )
