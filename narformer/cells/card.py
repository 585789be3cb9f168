"""What stands beside the numbers of a predictor of cells: what it learned from, how good it is on held-out cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


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
        for name in ("test", "test_of_new_networks"):
            found: HeldOut | None = getattr(self, name)
            if found is not None:
                told[name] = asdict(found)
        return told

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CellCard:
        """The inverse. Raises KeyError or TypeError for anything else."""
        tested = {name: HeldOut(**data[name]) for name in ("test", "test_of_new_networks") if name in data}
        learned = Learned(**data["training"])
        return cls(
            data["space"], data["about"], learned, data["split"], unit=data["unit"], model=data["model"], **tested
        )
