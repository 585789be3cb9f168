"""How far a network is from those that a predictor was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Novelty:
    """Distance from training networks in standardised graph statistics; `references` (R, S) are standardised."""

    center: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    references: npt.NDArray[np.float64]

    def distances(self, statistics: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """(B, S) -> (B, R); root mean square over the statistics, in standard deviations of the training networks."""
        points = (statistics - self.center) / self.scale
        # |p - r|² = p² - 2pr + r²: no array of B x R x S numbers, however many networks are asked for.
        squares = (points**2).sum(axis=1)[:, None] + (self.references**2).sum(axis=1)
        squares -= 2 * points @ self.references.T
        return np.asarray(np.sqrt(np.maximum(squares, 0) / points.shape[1]))
