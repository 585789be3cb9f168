"""Cells: training and scoring in packed batches against a loop over single cells, same model.

    python benchmarks/cells.py [--json]

The baseline sends each cell through the model alone, in float32, and steps once a batch of 8, as the paper does; both
see each cell and its re-ordering. Larger batches do as well where the learning rate follows (docs/how-to/cells.md), and
cost less a cell. The shipped predictor, a Gaussian process, is compared with itself, cell by cell.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
from table import Row, compare, main
from torch import Tensor

from narformer.cells.predictor import CellPredictor
from narformer.cells.settings import CellTraining
from narformer.cells.table import CellTable, enumerate_space
from narformer.cells.tokens import reordered
from narformer.cells.training import cell_loss, cell_tensors, create_cell_model
from narformer.models.layers import renew_masks
from narformer.training.loop import keep_freed_memory, mixed_precision

BATCH, LARGE, TRAINED, SCORED = 8, 64, 128, 600


def rows() -> list[Row]:
    keep_freed_memory()
    table = enumerate_space("nasbench201").rows(np.random.default_rng(0).permutation(15625)[:SCORED])
    twin = reordered(table, np.random.default_rng(1))
    model = create_cell_model("narformer_v2")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    target = torch.rand(TRAINED) * 0.3 + 0.6

    def packed(rows: slice) -> tuple[Tensor, Tensor]:
        both = CellTable(
            table.space,
            np.concatenate([table.codes[rows], twin.codes[rows]]),
            np.concatenate([table.adjacency[rows], twin.adjacency[rows]]),
        )
        with mixed_precision("cpu"):
            first, second = model(*cell_tensors(both)).float().chunk(2)
        return first, second

    def looped(rows: slice) -> tuple[Tensor, Tensor]:
        numbers = range(rows.start, rows.stop)
        one, other = (
            torch.cat([model(*cell_tensors(t.rows(slice(k, k + 1)))) for k in numbers]) for t in (table, twin)
        )
        return one, other

    def train(forward: Callable[[slice], tuple[Tensor, Tensor]], batch: int) -> None:
        model.train()
        for start in range(0, TRAINED, batch):
            rows = slice(start, start + batch)
            prediction, again = forward(rows)
            loss = cell_loss(prediction, again, target[rows], torch.arange(2 * batch).flip(0), CellTraining())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    @torch.inference_mode()
    def score(size: int) -> None:
        model.eval()
        for start in range(0, SCORED, size):
            model(*cell_tensors(table.rows(slice(start, start + size))))

    predictor = CellPredictor.load("nasbench201")
    renew_masks(model)
    threads = f"{torch.get_num_threads()} threads"
    return [
        *(
            compare(
                f"training NAR-Former V2 on cells, batches of {batch}, {threads}",
                "PyTorch, cell by cell",
                functools.partial(train, packed, batch),
                functools.partial(train, looped, BATCH),
                items=TRAINED,
                unit="cells/s",
            )
            for batch in (BATCH, LARGE)
        ),
        compare(
            f"scoring cells with NAR-Former V2, {threads}",
            "PyTorch, cell by cell",
            functools.partial(score, 300),
            functools.partial(score, 1),
            items=SCORED,
            unit="cells/s",
        ),
        compare(
            "scoring cells with the shipped predictor",
            "the same, cell by cell",
            lambda: predictor.score(table),
            lambda: [predictor.score(table.rows(slice(k, k + 1))) for k in range(SCORED)],
            items=SCORED,
            unit="cells/s",
        ),
    ]


if __name__ == "__main__":
    main(__doc__, rows)
