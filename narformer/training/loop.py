"""The training loop: epochs over packed batches, the best epoch by validation kept, any kill survived.

Every epoch starts from a seed of its own, so a run resumed from its last finished epoch repeats, on a CPU with the same
number of threads, exactly what the uninterrupted run would have done.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from narformer.models.interface import LatencyModel
from narformer.models.layers import renew_masks
from narformer.models.price_fit import Shares
from narformer.training.batching import Indices, TokenSource, predict_rows, to_tensors
from narformer.training.checkpoint import load_checkpoint, save_checkpoint
from narformer.training.config import TrainConfig
from narformer.training.losses import LOSSES, balanced


@dataclass(frozen=True)
class Progress:
    """Where a run is, after each batch (`validation_mape` only after an epoch's last one, in percent)."""

    epoch: int
    batch: int
    batches: int
    loss: float
    validation_mape: float | None = None


def learning_rate_at(step: int, steps: int, warmup: float) -> float:
    """Linear warm-up over the first `warmup` of the steps, then linear decay to 0; the factor on the peak rate."""
    rise = max(1, round(steps * warmup))
    return (step + 1) / rise if step < rise else max(0.0, (steps - step) / max(1, steps - rise))


def train(
    config: TrainConfig,
    model: LatencyModel,
    source: TokenSource,
    targets: npt.NDArray[np.float64],
    fit: Indices,
    validation: Indices,
    directory: Path,
    shares: Shares | None = None,
) -> Iterator[Progress]:
    """Train `model` in place on the rows `fit`; yields after every batch; ends with the best epoch's weights loaded.

    targets: (rows of source, outputs), NaN where not measured. Into `directory` go `last.pt` and `best.pt` (written
    whole or not at all), `log.jsonl` with a line an epoch, and TensorBoard's event file. With no validation rows the
    last epoch is the best. shares: of kernels, by places in `fit`. A model that learns from all networks at once has
    one epoch, whatever the configuration.
    """
    keep_freed_memory()
    directory.mkdir(parents=True, exist_ok=True)
    device = next(model.parameters()).device
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    batches = -(-len(fit) // config.batch_size)
    steps = config.epochs * batches
    first, best, elapsed = 0, float("inf"), 0.0
    if (directory / "last.pt").exists():
        state = load_checkpoint(directory / "last.pt")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first, best, elapsed = state["epoch"] + 1, state["best"], state["seconds"]
    measured = torch.from_numpy(np.isfinite(targets[fit]).sum(axis=0))
    weights = balanced(measured, config.balance).to(device) if config.balance else None
    wanted = torch.from_numpy(targets.astype(np.float32))
    board = _tensorboard(directory)
    if first == 0 and not (directory / "best.pt").exists():
        everything = weights if weights is not None else torch.ones(len(measured), device=device)
        truth = wanted[fit].to(device)

        def batch_of(rows: Indices) -> tuple[torch.Tensor, ...]:
            return to_tensors(source.batch(fit[rows]), device)

        for done, of, error in model.begin(batch_of, truth, everything, shares):
            yield Progress(0, done, of, error)
    epochs = config.epochs if model.learns_by_epochs else 0
    if not epochs and not (directory / "best.pt").exists():
        error = validation_mape(model, source, targets, validation)
        save_checkpoint(directory / "best.pt", {"model": model.state_dict(), "epoch": 0, "mape": error})
        yield Progress(0, 1, 1, error, error)
    for epoch in range(first, epochs):
        started = time.monotonic()
        order = _seed_epoch(config.seed, epoch).permutation(fit)
        renew_masks(model)
        model.train()
        model.schedule(epoch / config.epochs, measured)
        total = 0.0
        for batch in range(batches):
            rows = order[batch * config.batch_size : (batch + 1) * config.batch_size]
            factor = learning_rate_at(epoch * batches + batch, steps, config.warmup)
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * factor
            truth = wanted[rows].to(device)
            tensors = to_tensors(source.batch(rows), device)
            with mixed_precision(device.type, config.precision):
                prediction = model(*tensors)[: len(rows)]
            loss = LOSSES[config.loss](prediction, truth, weights) + model.penalty(len(fit))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.item()
            if batch + 1 < batches:
                yield Progress(epoch, batch + 1, batches, total / (batch + 1))
        error = validation_mape(model, source, targets, validation)
        elapsed += time.monotonic() - started
        if error <= best or not len(validation):
            best = error
            save_checkpoint(directory / "best.pt", {"model": model.state_dict(), "epoch": epoch, "mape": error})
        line = {"epoch": epoch, "loss": total / batches, "validation_mape": error, "seconds": round(elapsed, 1)}
        with (directory / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        board.add_scalar("loss/train", total / batches, epoch)
        board.add_scalar("mape/validation", error, epoch)
        board.flush()
        save_checkpoint(
            directory / "last.pt",
            {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "epoch": epoch,
                "best": best,
                "seconds": elapsed,
            },
        )
        yield Progress(epoch, batches, batches, total / batches, error)
    board.close()
    model.load_state_dict(load_checkpoint(directory / "best.pt")["model"])


def validation_mape(model: nn.Module, source: TokenSource, targets: npt.NDArray[np.float64], rows: Indices) -> float:
    """Mean of the outputs' MAPE (percent) on `rows`, NaN targets left out; NaN where there are no rows.

    An error counts as 100 % at most: with few rows an output, one network decides which epoch is best otherwise.
    """
    if not len(rows):
        return float("nan")
    prediction, target = predict_rows(model, source, rows), targets[rows]
    errors = []
    for output in range(target.shape[1]):
        measured = np.isfinite(target[:, output])
        if measured.any():
            error = np.abs(prediction[measured, output] / target[measured, output] - 1)
            errors.append(100 * float(np.minimum(error, 1).mean()))
    return float(np.mean(errors))


def mixed_precision(device: str, precision: str = "bfloat16") -> torch.autocast:
    """The context of a forward pass: wide layers in bfloat16 if asked for, and if the processor multiplies it.

    CPUs without AVX-512 take ten times as long for bfloat16 as for float32; there it stays float32.
    """
    native = device != "cpu" or torch.backends.cpu.get_cpu_capability() == "AVX512"
    return torch.autocast(device, torch.bfloat16, enabled=native and precision == "bfloat16")


def keep_freed_memory() -> None:
    """Ask glibc to reuse the memory of freed arrays instead of giving it back: a fifth less time a step on CPUs."""
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            trim_threshold, mmap_max = -1, -4  # names M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
            mallopt(mmap_max, 0)
            mallopt(trim_threshold, 2**31 - 1)


def _seed_epoch(seed: int, epoch: int) -> np.random.Generator:
    torch.manual_seed(seed * 1_000_003 + epoch)
    return np.random.default_rng([seed, epoch])


def _tensorboard(directory: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(directory))
