"""Training of models of cells: relative error, differences of pairs, and sameness under re-ordering.

NAR-Former V2, section 3.4 and the released settings: loss = mean (prediction/target − 1)² + 0.1 · L1 between predicted
and true differences of random pairs of the batch + 0.5 · L1 between the predictions for a cell and for a re-ordering of
it, the first two over cells and their re-orderings alike; Adam 1e-4, 10 % warm-up, linear decay, batch 8.

A run goes on from its checkpoint. Every epoch starts from a seed of its own, so that it repeats, with the same number
of threads, what the uninterrupted run would have done.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from narformer.cells.models.narformer_v2 import NarformerV2Cells, NarformerV2CellsConfig
from narformer.cells.models.nn_former import NnFormerCells, NnFormerCellsConfig
from narformer.cells.models.nnlp import NnlpCells, NnlpCellsConfig
from narformer.cells.settings import CellTraining
from narformer.cells.table import CellTable
from narformer.cells.tokens import pack_cells, reordered
from narformer.errors import ConfigError
from narformer.models.layers import renew_masks
from narformer.training.checkpoint import load_checkpoint, save_checkpoint
from narformer.training.loop import keep_freed_memory, learning_rate_at, mixed_precision

Array = npt.NDArray[np.float64]
# Epochs between drawings of the dropout masks, which take as long as a twentieth of an epoch; a run resumes at such.
CYCLE = 10
SECONDS_BETWEEN_CHECKPOINTS = 60
CELL_MODELS: Mapping[str, tuple[Any, Any]] = {
    "narformer_v2": (NarformerV2Cells, NarformerV2CellsConfig),
    "nn_former": (NnFormerCells, NnFormerCellsConfig),
    "nnlp": (NnlpCells, NnlpCellsConfig),
}


def create_cell_model(name: str) -> nn.Module:
    """Raises ConfigError for an unknown model."""
    if name not in CELL_MODELS:
        raise ConfigError(f"unknown model of cells {name!r}; known are {', '.join(CELL_MODELS)}")
    model, config = CELL_MODELS[name]
    created: nn.Module = model(config())
    return created


def cell_tensors(table: CellTable) -> tuple[Tensor, Tensor, Tensor, int]:
    """The arguments of a model of cells."""
    features, edges, graph = pack_cells(table)
    return (
        torch.from_numpy(features),
        torch.from_numpy(edges.astype(np.int64)),
        torch.from_numpy(graph.astype(np.int64)),
        len(table),
    )


def relative_error(prediction: Tensor, target: Tensor, huber: float) -> Tensor:
    """The paper's (prediction/target − 1)², or the form that bears failed cells (`CellTraining`), of each cell."""
    if not huber:
        return (prediction / target - 1).square()
    error = torch.log(prediction / target).abs()
    return torch.where(error <= huber, error.square(), huber * (2 * error - huber))


def cell_loss(
    prediction: Tensor,
    again: Tensor | None,
    target: Tensor,
    pairs: Tensor,
    config: CellTraining,
    weight: Tensor | None = None,
) -> Tensor:
    """The loss of a batch: predictions (B,), those of re-ordered cells, targets as fractions.

    pairs: partners of the predictions, then of those again, (B,) or (2B,). weight: (B,), 0 for cells that do not count.
    """

    def mean(errors: Tensor) -> Tensor:
        if weight is None:
            return errors.mean()
        share = weight if len(errors) == len(weight) else torch.cat([weight, weight])
        return (errors * share).sum() / share.sum()

    every = prediction if again is None else torch.cat([prediction, again])
    wanted = target if again is None else torch.cat([target, target])
    loss = mean((every - wanted).square() if config.squared else relative_error(every, wanted, config.huber))
    predicted = every - every.index_select(0, pairs)
    true = wanted - wanted.index_select(0, pairs)
    loss = loss + config.ranking * mean((predicted - true).abs())
    if again is not None:
        loss = loss + config.consistency * mean((prediction - again).abs())
    return loss


class CellCheckpoint:
    """A file that is written about once a minute, after whole cycles of epochs, and from which a killed run goes on.

    epochs: how many the run had done when it was read.
    """

    def __init__(self, path: Path | None) -> None:
        self.path, self.epochs = path, 0
        self._saved = time.monotonic()

    def load(self, model: nn.Module, averaged: nn.Module | None) -> dict[str, Any] | None:
        """Put the kept weights in place; the state of the optimizer. None where there is no file."""
        if self.path is None or not self.path.exists():
            return None
        state = load_checkpoint(self.path)
        model.load_state_dict(state["model"])
        if averaged is not None:
            averaged.load_state_dict(state["averaged"])
        self.epochs = state["epochs"]
        optimizer: dict[str, Any] = state["optimizer"]
        return optimizer

    def save(self, epochs: int, model: nn.Module, optimizer: torch.optim.Optimizer, averaged: nn.Module | None) -> None:
        """Write the file where it is time."""
        if self.path is None or epochs % CYCLE or time.monotonic() - self._saved <= SECONDS_BETWEEN_CHECKPOINTS:
            return
        kept = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epochs": epochs}
        save_checkpoint(self.path, kept if averaged is None else kept | {"averaged": averaged.state_dict()})
        self._saved = time.monotonic()


@torch.no_grad()
def move_average(averaged: nn.Module, model: nn.Module, decay: float) -> None:
    """Averaged weights after a step: decay · averaged + (1 − decay) · model, in place."""
    torch._foreach_lerp_(list(averaged.parameters()), list(model.parameters()), 1 - decay)


def train_cells(
    config: CellTraining,
    model: nn.Module,
    table: CellTable,
    accuracy: Array,
    checkpoint: Path | None = None,
    averaged: nn.Module | None = None,
) -> Iterator[tuple[int, float]]:
    """Train in place on cells and their accuracy in percent; yields epoch and mean loss after each epoch.

    checkpoint: a file that is written about once a minute, and from which a killed run goes on. It remains.
    averaged: a copy of the model that gets the averaged weights of `CellTraining.averaged`.
    """
    keep_freed_memory()
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    wanted = torch.from_numpy((accuracy / 100).astype(np.float32))
    batches = -(-len(table) // config.batch_size)
    steps = config.epochs * batches
    kept = CellCheckpoint(checkpoint)
    state = kept.load(model, averaged)
    if state is not None:
        optimizer.load_state_dict(state)
    model.train()
    for epoch in range(kept.epochs, config.epochs):
        kept.save(epoch, model, optimizer, averaged)  # after the caller's look at the weights of the epoch before
        rng = np.random.default_rng([config.seed, epoch])
        torch.manual_seed(config.seed * 1_000_003 + epoch)
        if epoch % CYCLE == 0:
            renew_masks(model)
        order = rng.permutation(len(table))
        other = reordered(table, rng) if config.consistency else None
        total = 0.0
        for batch in range(batches):
            rows = order[batch * config.batch_size : (batch + 1) * config.batch_size]
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * learning_rate_at(epoch * batches + batch, steps, config.warmup)
            cells = table.rows(rows)
            if other is not None:  # both orders in one batch
                twin = other.rows(rows)
                cells = CellTable(
                    table.space,
                    np.concatenate([cells.codes, twin.codes]),
                    np.concatenate([cells.adjacency, twin.adjacency]),
                )
            with mixed_precision("cpu"):
                both = model(*cell_tensors(cells)).float()
            again = both[len(rows) :] if other is not None else None
            pairs = torch.from_numpy(rng.permutation(len(both)))
            loss = cell_loss(both[: len(rows)], again, wanted[rows], pairs, config)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if averaged is not None:
                move_average(averaged, model, config.averaged)
            total += loss.item()
        yield epoch, total / batches


@torch.inference_mode()
def predict_cells(model: nn.Module, table: CellTable, batch_size: int = 512, precision: str = "float32") -> Array:
    """Accuracy in percent, (n,), without dropout; precision: float32, or bfloat16 for a quicker look."""
    training = model.training
    model.eval()
    with mixed_precision("cpu", precision):
        parts = [
            model(*cell_tensors(table.rows(slice(start, start + batch_size)))).double().numpy()
            for start in range(0, len(table), batch_size)
        ]
    model.train(training)
    return np.asarray(100 * np.concatenate(parts))
