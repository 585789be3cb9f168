"""How far a network is from those that a predictor was trained on."""

from __future__ import annotations

import functools
from collections.abc import Sequence
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
        squares = (points**2).sum(axis=1)[:, None] + self._squares
        squares -= 2 * points @ self.references.T
        return np.asarray(np.sqrt(np.maximum(squares, 0) / points.shape[1]))

    def nearest(self, statistics: npt.NDArray[np.float64], measured: Sequence[str]) -> npt.NDArray[np.float64]:
        """(B, S) -> (B, len(measured)): distance to the nearest of those references that a text marks by "1"."""
        marked, starts, of = _marked(tuple(measured))
        rows = [np.minimum.reduceat(row[marked], starts)[of] for row in self.distances(statistics)]
        return np.stack(rows)

    @functools.cached_property
    def _squares(self) -> npt.NDArray[np.float64]:
        return np.asarray((self.references**2).sum(axis=1))


@functools.lru_cache(maxsize=8)
def _marked(texts: tuple[str, ...]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The places that each distinct text marks, one after the other; where those of each start; and each text's own."""
    distinct = list(dict.fromkeys(texts))
    places = [np.flatnonzero(np.frombuffer(text.encode(), dtype=np.uint8) == ord("1")) for text in distinct]
    starts = np.cumsum([0, *map(len, places[:-1])])
    return np.concatenate(places), starts, np.array([distinct.index(text) for text in texts])
