"""Cells: training and scoring of NAR-Former V2 in packed batches against a loop over single cells, same model.

    python benchmarks/cells.py [--json]

The rival sends each cell through the model alone, in float32, and steps once a batch of 8; both see each cell and its
re-ordering. Timed in this process, in turn; the ratio of the medians counts. Also printed: enumeration of NAS-Bench-101
and the shipped predictor's scoring, without a rival.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from narformer.cell_predictor import CellPredictor
from narformer.frontends.cell_table import CellTable, enumerate_space
from narformer.models.layers import Dropout
from narformer.tokens.cells import reordered
from narformer.training.cells import CellTraining, cell_loss, cell_tensors, create_cell_model
from narformer.training.loop import keep_freed_memory, mixed_precision

BATCH, STEPS, ROUNDS, SCORED = 8, 12, 5, 600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    keep_freed_memory()
    started = time.perf_counter()
    space = enumerate_space("nasbench101")
    enumerated = time.perf_counter() - started
    table = enumerate_space("nasbench201").rows(np.random.default_rng(0).permutation(15625)[:SCORED])
    twin = reordered(table, np.random.default_rng(1))
    model = create_cell_model("narformer_v2")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    target = torch.rand(BATCH) * 0.3 + 0.6
    pairs = torch.arange(BATCH).flip(0)

    def packed(rows: slice) -> tuple[Tensor, Tensor]:
        both = CellTable(
            table.space,
            np.concatenate([table.codes[rows], twin.codes[rows]]),
            np.concatenate([table.adjacency[rows], twin.adjacency[rows]]),
        )
        with mixed_precision("cpu"):
            out = model(*cell_tensors(both)).float()
        return out[:BATCH], out[BATCH:]

    def looped(rows: slice) -> tuple[Tensor, Tensor]:
        numbers = range(rows.start, rows.stop)
        one, other = (
            torch.cat([model(*cell_tensors(t.rows(slice(k, k + 1)))) for k in numbers]) for t in (table, twin)
        )
        return one, other

    def train(forward: Callable[[slice], tuple[Tensor, Tensor]]) -> float:
        model.train()
        begun = time.perf_counter()
        for step in range(STEPS):
            prediction, again = forward(slice(step * BATCH, (step + 1) * BATCH))
            loss = cell_loss(prediction, again, target, pairs, CellTraining())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        return STEPS * BATCH / (time.perf_counter() - begun)

    @torch.inference_mode()
    def score(size: int) -> float:
        model.eval()
        begun = time.perf_counter()
        for start in range(0, SCORED, size):
            model(*cell_tensors(table.rows(slice(start, start + size))))
        return SCORED / (time.perf_counter() - begun)

    Dropout.renew()
    speed: dict[str, list[float]] = {name: [] for name in ("train", "train looped", "score", "score looped")}
    for number in range(ROUNDS + 1):
        taken = [train(packed), train(looped), score(300), score(1)]
        if number:  # the first round warms up
            for name, value in zip(speed, taken, strict=True):
                speed[name].append(value)
    medians = {name: statistics.median(values) for name, values in speed.items()}
    ratios = {
        ours: statistics.median(a / b for a, b in zip(speed[ours], speed[f"{ours} looped"], strict=True))
        for ours in ("train", "score")
    }
    predictor = CellPredictor.load("nasbench101")
    some = space.rows(slice(0, 20_000))
    begun = time.perf_counter()
    predictor.score(some)
    shipped = len(some) / (time.perf_counter() - begun)
    if as_json:
        print(
            json.dumps({"cells_per_second": medians, "ratio": ratios, "enumeration_s": enumerated, "shipped": shipped})
        )
        return
    for name, value in medians.items():
        print(f"{name:14s} {value:8.0f} cells/s")
    print(f"ratios: training {ratios['train']:.1f}, scoring {ratios['score']:.1f} ({torch.get_num_threads()} threads)")
    print(f"NAS-Bench-101 enumerated in {enumerated:.1f} s; shipped predictor scores {shipped:,.0f} cells/s")


if __name__ == "__main__":
    main()
