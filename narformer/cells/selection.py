"""A training of a model of cells, and three ways to choose the epoch whose weights count.

The last epoch; the best on validation cells, which NAR-Former V2's released code keeps; the best on the test cells
themselves, as NN-Former's and NNLP's do, and no one may who wants an honest number.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import SupportsFloat

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from narformer.cells.dataset import CellDataset
from narformer.cells.settings import CellTraining
from narformer.cells.table import CellTable
from narformer.cells.training import CYCLE, Array, create_cell_model, predict_cells, train_cells
from narformer.cells.training_gpu import predict_cells_dense, train_cells_on_gpu
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
    processor: str = "cpu",
) -> Generator[None, None, dict[str, Chosen]]:
    """Train on the rows `fit`; predictions for every row of the dataset by the choices "last", "validation" and "test".

    `directory` gets a checkpoint, from which a killed run goes on, the best weights so far, and `progress.jsonl` with a
    line for each look: every CYCLE epochs. A generator, which yields after each epoch.
    processor: "cpu", or "cuda" for a model with a dense form.
    """
    torch.manual_seed(config.seed)
    network = create_cell_model(model).to(processor)
    averaged = copy.deepcopy(network) if config.averaged else None
    predicting = network if averaged is None else averaged
    learn: Callable[..., Iterator[tuple[int, SupportsFloat]]] = train_cells
    predict: Callable[[nn.Module, CellTable], Array] = predict_cells
    look: Callable[[nn.Module, CellTable], Array] = partial(predict_cells, precision="bfloat16")
    if processor != "cpu":
        learn, predict, look = train_cells_on_gpu, predict_cells_dense, predict_cells_dense
    directory.mkdir(parents=True, exist_ok=True)
    looked_at = {"validation": validation, "test": test[:LOOKED_AT]}
    best = {name: _best_so_far(directory / f"best-{name}.pt") for name in looked_at}
    tables = {name: dataset.table.rows(rows) for name, rows in looked_at.items()}
    started = time.monotonic() - _seconds_so_far(directory / "progress.jsonl")
    for epoch, loss in learn(
        config, network, dataset.table.rows(fit), dataset.accuracy[fit], directory / "last.pt", averaged
    ):
        yield
        epochs = epoch + 1
        if epochs % CYCLE and epochs < config.epochs:
            continue
        taus = {name: _tau(look(predicting, tables[name]), dataset.accuracy[rows]) for name, rows in looked_at.items()}
        for name, tau in taus.items():
            if tau > best[name]:
                best[name] = tau
                kept = {"model": predicting.state_dict(), "epochs": epochs, "kendall": tau}
                save_checkpoint(directory / f"best-{name}.pt", kept)
        line: dict[str, float] = {"epochs": epochs, "loss": round(float(loss), 5)}
        line |= {f"{name} tau": round(tau, 4) for name, tau in taus.items()}
        line["seconds"] = round(time.monotonic() - started, 1)
        with (directory / "progress.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        show(f"{epochs} of {config.epochs} epochs: loss {float(loss):.4f}, validation tau {taus['validation']:.4f}")
    seconds = round(time.monotonic() - started, 1)
    chosen = {"last": Chosen(config.epochs, predict(predicting, dataset.table), seconds)}
    for name in looked_at:
        state = load_checkpoint(directory / f"best-{name}.pt")
        predicting.load_state_dict(state["model"])
        chosen[name] = Chosen(state["epochs"], predict(predicting, dataset.table), seconds)
    return chosen


def _tau(prediction: Array, truth: Array) -> float:
    """Kendall's tau; −1 where every cell has the same prediction."""
    tau = kendall_tau(prediction, truth)
    return -1.0 if np.isnan(tau) else tau


def _best_so_far(path: Path) -> float:
    return float(load_checkpoint(path)["kendall"]) if path.exists() else -np.inf


def _seconds_so_far(progress: Path) -> float:
    return float(json.loads(progress.read_text().splitlines()[-1])["seconds"]) if progress.exists() else 0.0
