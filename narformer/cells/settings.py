"""Settings of a training of a model of cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class CellTraining:
    """Settings of one training; the defaults are those of NAR-Former V2 with 781 cells.

    ranking: weight of the differences of pairs. consistency: weight of the difference between a cell and a re-ordering
    of it; 0: no re-orderings are made. huber: 0 for the paper's (prediction/target − 1)²; above 0, the square of
    ln(prediction/target), which is the same for small errors, up to this much, and linear beyond. A cell that failed to
    train (10 % accurate where its like are 93 %) then weighs as much as a few others, not as thousands.
    squared: (prediction − target)² instead of the relative error. averaged: 0, or the decay of an exponential average
    of the weights over steps, which then predicts.
    """

    epochs: int = 1000
    batch_size: int = 8
    learning_rate: float = 1e-4
    warmup: float = 0.1
    ranking: float = 0.1
    consistency: float = 0.5
    huber: float = 0.0
    squared: bool = False
    averaged: float = 0.0
    seed: int = 0

    @property
    def label(self) -> str:
        """What tells runs of other settings apart, for the name of a directory: `1000-b64-lr0.0004`."""
        plain = CellTraining()
        batch = f"-b{self.batch_size}" if self.batch_size != plain.batch_size else ""
        rate = f"-lr{self.learning_rate:g}" if self.learning_rate != plain.learning_rate else ""
        huber = f"-huber{self.huber:g}" if self.huber else ""
        loss = "-squared" if self.squared else ""
        weights = f"-ranking{self.ranking:g}" if self.ranking != plain.ranking else ""
        weights += f"-consistency{self.consistency:g}" if self.consistency != plain.consistency else ""
        averaged = f"-averaged{self.averaged:g}" if self.averaged else ""
        return f"{self.epochs}{batch}{rate}{huber}{loss}{weights}{averaged}"


# The settings that a model was published with, by its name; CellTraining() is NAR-Former V2's. NN-Former's (Xu et al.,
# CVPR 2025) are those of its released code, but for its optimizer and its rate's decay (AdamW, by a cosine to a tenth).
PUBLISHED: Mapping[str, CellTraining] = {
    "narformer_v2": CellTraining(),
    "nn_former": CellTraining(epochs=3000, batch_size=128, ranking=0.2, consistency=1.0, squared=True, averaged=0.99),
}
