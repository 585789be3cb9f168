"""Training of models of cells: relative error, differences of pairs, and sameness under re-ordering.

NAR-Former V2, section 3.4 and the released settings: loss = mean (prediction/target − 1)² + 0.1 · L1 between predicted
and true differences of random pairs of the batch + 0.5 · L1 between the predictions for a cell and for a re-ordering of
it; Adam 1e-4, 10 % warm-up, linear decay, batch 8.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from narformer.cells.models.narformer_v2 import NarformerV2Cells, NarformerV2CellsConfig
from narformer.cells.models.nn_former import NnFormerCells, NnFormerCellsConfig
from narformer.cells.models.nnlp import NnlpCells, NnlpCellsConfig
from narformer.cells.table import CellTable
from narformer.cells.tokens import pack_cells, reordered
from narformer.errors import ConfigError
from narformer.models.layers import renew_masks
from narformer.training.loop import keep_freed_memory, learning_rate_at, mixed_precision

Array = npt.NDArray[np.float64]
CELL_MODELS: Mapping[str, tuple[Any, Any]] = {
    "narformer_v2": (NarformerV2Cells, NarformerV2CellsConfig),
    "nn_former": (NnFormerCells, NnFormerCellsConfig),
    "nnlp": (NnlpCells, NnlpCellsConfig),
}


@dataclass(frozen=True)
class CellTraining:
    """Settings of one training; the defaults are the paper's, for 781 cells."""

    epochs: int = 1000
    batch_size: int = 8
    learning_rate: float = 1e-4
    warmup: float = 0.1
    ranking: float = 0.1
    consistency: float = 0.5
    seed: int = 0


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


def cell_loss(prediction: Tensor, again: Tensor | None, target: Tensor, pairs: Tensor, config: CellTraining) -> Tensor:
    """The loss of a batch: predictions (B,), those of re-ordered cells, targets as fractions, pairs (B,) partners."""
    loss = (prediction / target - 1).square().mean()
    predicted, true = prediction - prediction[pairs], target - target[pairs]
    loss = loss + config.ranking * (predicted - true).abs().mean()
    if again is not None:
        loss = loss + config.consistency * (prediction - again).abs().mean()
    return loss


def train_cells(
    config: CellTraining, model: nn.Module, table: CellTable, accuracy: Array
) -> Iterator[tuple[int, float]]:
    """Train in place on cells and their accuracy in percent; yields epoch and mean loss after each epoch."""
    keep_freed_memory()
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    wanted = torch.from_numpy((accuracy / 100).astype(np.float32))
    batches = -(-len(table) // config.batch_size)
    steps = config.epochs * batches
    model.train()
    for epoch in range(config.epochs):
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
            pairs = torch.from_numpy(rng.permutation(len(rows)))
            loss = cell_loss(both[: len(rows)], again, wanted[rows], pairs, config)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.item()
        yield epoch, total / batches


@torch.inference_mode()
def predict_cells(model: nn.Module, table: CellTable, batch_size: int = 512) -> Array:
    """Accuracy in percent, (n,), without dropout, in float32."""
    training = model.training
    model.eval()
    parts = [
        model(*cell_tensors(table.rows(slice(start, start + batch_size)))).double().numpy()
        for start in range(0, len(table), batch_size)
    ]
    model.train(training)
    return np.asarray(100 * np.concatenate(parts))
