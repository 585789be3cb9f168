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


def cell_loss(prediction: Tensor, again: Tensor | None, target: Tensor, pairs: Tensor, config: CellTraining) -> Tensor:
    """The loss of a batch: predictions (B,), those of re-ordered cells, targets as fractions.

    pairs: partners of the predictions, then of those again, (B,) or (2B,).
    """
    every = prediction if again is None else torch.cat([prediction, again])
    wanted = target if again is None else torch.cat([target, target])
    loss = relative_error(every, wanted, config.huber).mean()
    predicted, true = every - every[pairs], wanted - wanted[pairs]
    loss = loss + config.ranking * (predicted - true).abs().mean()
    if again is not None:
        loss = loss + config.consistency * (prediction - again).abs().mean()
    return loss


def train_cells(
    config: CellTraining, model: nn.Module, table: CellTable, accuracy: Array, checkpoint: Path | None = None
) -> Iterator[tuple[int, float]]:
    """Train in place on cells and their accuracy in percent; yields epoch and mean loss after each epoch.

    checkpoint: a file that is written about once a minute, and from which a killed run goes on. It remains.
    """
    keep_freed_memory()
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    wanted = torch.from_numpy((accuracy / 100).astype(np.float32))
    batches = -(-len(table) // config.batch_size)
    steps = config.epochs * batches
    first, saved = 0, time.monotonic()
    if checkpoint is not None and checkpoint.exists():
        state = load_checkpoint(checkpoint)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epochs"]
    model.train()
    for epoch in range(first, config.epochs):
        if checkpoint is not None and epoch % CYCLE == 0 and time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
            kept = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epochs": epoch}
            save_checkpoint(checkpoint, kept)
            saved = time.monotonic()
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
