"""A training of a model of cells, and three ways to choose the epoch whose weights count.

The last epoch; the best on validation cells, which NAR-Former V2's released code keeps; the best on the test cells
themselves, as NN-Former's and NNLP's do, and no one may who wants an honest number.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from narformer.cells.dataset import CellDataset
from narformer.cells.settings import CellTraining
from narformer.cells.training import CYCLE, Array, create_cell_model, predict_cells, train_cells
from narformer.metrics import kendall_tau
from narformer.training.checkpoint import load_checkpoint, save_checkpoint

Rows = npt.NDArray[np.int64]
VALIDATION = 200  # cells that are neither trained on nor tested, as TNASP and NAR-Former have them
LOOKED_AT = 2000  # test cells among which the best epoch is told from others; the chosen one is scored on all


@dataclass(frozen=True)
class Chosen:
    """Predictions in percent by the weights after so many epochs, and the seconds of the whole training."""

    epochs: int
    prediction: Array
    seconds: float


def train_and_choose(
    config: CellTraining,
    model: str,
    dataset: CellDataset,
    fit: Rows,
    test: Rows,
    validation: Rows,
    directory: Path,
    show: Callable[[str], None] = lambda _: None,
) -> dict[str, Chosen]:
    """Train on the rows `fit`; predictions for every row of the dataset by the choices "last", "validation" and "test".

    `directory` gets a checkpoint, from which a killed run goes on, the best weights so far, and `progress.jsonl` with a
    line for each look: every CYCLE epochs.
    """
    torch.manual_seed(config.seed)
    network = create_cell_model(model)
    directory.mkdir(parents=True, exist_ok=True)
    looked_at = {"validation": validation, "test": test[:LOOKED_AT]}
    best = {name: _best_so_far(directory / f"best-{name}.pt") for name in looked_at}
    tables = {name: dataset.table.rows(rows) for name, rows in looked_at.items()}
    started = time.monotonic() - _seconds_so_far(directory / "progress.jsonl")
    for epoch, loss in train_cells(
        config, network, dataset.table.rows(fit), dataset.accuracy[fit], directory / "last.pt"
    ):
        epochs = epoch + 1
        if epochs % CYCLE and epochs < config.epochs:
            continue
        taus = {
            name: _tau(predict_cells(network, tables[name], precision="bfloat16"), dataset.accuracy[rows])
            for name, rows in looked_at.items()
        }
        for name, tau in taus.items():
            if tau > best[name]:
                best[name] = tau
                kept = {"model": network.state_dict(), "epochs": epochs, "kendall": tau}
                save_checkpoint(directory / f"best-{name}.pt", kept)
        line = {"epochs": epochs, "loss": round(loss, 5)} | {f"{name} tau": round(t, 4) for name, t in taus.items()}
        line["seconds"] = round(time.monotonic() - started, 1)
        with (directory / "progress.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        show(f"{epochs} of {config.epochs} epochs: loss {loss:.4f}, validation tau {taus['validation']:.4f}")
    seconds = round(time.monotonic() - started, 1)
    chosen = {"last": Chosen(config.epochs, predict_cells(network, dataset.table), seconds)}
    for name in looked_at:
        state = load_checkpoint(directory / f"best-{name}.pt")
        network.load_state_dict(state["model"])
        chosen[name] = Chosen(state["epochs"], predict_cells(network, dataset.table), seconds)
    return chosen


def _tau(prediction: Array, truth: Array) -> float:
    """Kendall's tau; −1 where every cell has the same prediction."""
    tau = kendall_tau(prediction, truth)
    return -1.0 if np.isnan(tau) else tau


def _best_so_far(path: Path) -> float:
    return float(load_checkpoint(path)["kendall"]) if path.exists() else -np.inf


def _seconds_so_far(progress: Path) -> float:
    return float(json.loads(progress.read_text().splitlines()[-1])["seconds"]) if progress.exists() else 0.0
