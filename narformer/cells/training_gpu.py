"""Training of models of cells on a GPU: cells as arrays of one shape, and a step recorded once as a CUDA graph.

A step of such a small model is a thousand kernels of a few microseconds: launched one by one they take far longer than
replayed from a graph. Nor does one training fill a GPU: several learn beside each other (`interleaved`). What they
learn is as in cells/training.py; products are in TF32, and sums in another order at each run, so that a training does
not repeat to the last digit.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from narformer.cells.cell import OPERATIONS
from narformer.cells.settings import CellTraining
from narformer.cells.table import CellTable
from narformer.cells.tokens import nerf_code, reordered
from narformer.cells.training import CellCheckpoint, cell_loss, move_average
from narformer.training.loop import learning_rate_at

Array = npt.NDArray[np.float64]
T = TypeVar("T")
WARM_UP = 3  # steps before the recording, as CUDA graphs ask for; their effect is undone


class DenseCells(nn.Module):
    """Codes (B, V), −1 where a cell has no node, and adjacency (B, V, V) -> what `model.dense` takes."""

    operation: Tensor
    position: Tensor

    def __init__(self, space: str, places: int) -> None:
        super().__init__()
        codes = nerf_code(np.arange(-1, len(OPERATIONS[space])))
        self.register_buffer("operation", torch.from_numpy(codes.astype(np.float32)), persistent=False)
        self.register_buffer("position", torch.from_numpy(nerf_code(np.arange(places)).astype(np.float32)), False)

    def forward(self, codes: Tensor, adjacency: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features (B, V, 128), adjacency and presence (B, V) as float32."""
        present = codes >= 0
        position = (present.cumsum(1) - 1).clamp_min(0)
        features = torch.cat([self.operation[codes + 1], self.position[position]], dim=2)
        return features, adjacency.float(), present.float()


class _Step:
    """One step of training. Called once for each batch of an epoch that `load` has put in place."""

    def __init__(self, config: CellTraining, model: Any, averaged: nn.Module | None, table: CellTable) -> None:
        self.config, self.model, self.averaged = config, model, averaged
        device = next(model.parameters()).device
        places = table.codes.shape[1]
        self.batch = min(config.batch_size, len(table))
        self.batches = -(-len(table) // self.batch)
        self.rows = self.batch * (2 if config.consistency else 1)
        self.cells = DenseCells(table.space, places).to(device)
        self.rate = torch.zeros((), device=device)
        shape = (self.batches, self.rows)
        self.inputs = {
            "codes": torch.zeros(*shape, places, dtype=torch.int64, device=device),
            "adjacency": torch.zeros(*shape, places, places, dtype=torch.bool, device=device),
            "pairs": torch.zeros(shape, dtype=torch.int64, device=device),
            "wanted": torch.ones(self.batches, self.batch, device=device),
            "weight": torch.ones(self.batches, self.batch, device=device),
            "rate": torch.zeros(self.batches, device=device),
        }
        self.place = torch.zeros(1, dtype=torch.int64, device=device)
        self.loss = torch.zeros((), device=device)
        self.optimizer = torch.optim.Adam(
            model.parameters(), lr=self.rate, fused=True, capturable=device.type == "cuda"
        )
        self.graph: torch.cuda.CUDAGraph | None = None

    def record(self, state: dict[str, Any] | None) -> None:
        """Make the optimizer's tensors (as in `state`, of an earlier run) and, on a GPU, the graph."""
        kept = [{k: v.clone() for k, v in m.state_dict().items()} for m in self._modules()]
        for _ in range(WARM_UP):
            self._step()
            self._start()
        for module, before in zip(self._modules(), kept, strict=True):
            module.load_state_dict(before)
        if state is None:
            for tensors in self.optimizer.state.values():
                for tensor in tensors.values():
                    tensor.zero_()
        else:
            self.optimizer.load_state_dict(state)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate
        if self.place.device.type == "cuda":
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self._step()

    def load(self, arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Put an epoch in place: arrays of the shapes of `inputs`."""
        for name, array in arrays.items():
            tensor = torch.from_numpy(array)
            if self.place.device.type == "cuda":
                tensor = tensor.pin_memory()
            self.inputs[name].copy_(tensor, non_blocking=True)
        self._start()

    def _start(self) -> None:
        self.place.zero_()
        self.loss.zero_()

    def __call__(self) -> None:
        if self.graph is None:
            self._step()
        else:
            self.graph.replay()

    def _modules(self) -> list[nn.Module]:
        return [self.model, *([self.averaged] if self.averaged is not None else [])]

    def _step(self) -> None:
        now = {name: tensor.index_select(0, self.place)[0] for name, tensor in self.inputs.items()}
        self.rate.copy_(now["rate"])
        both = self.model.dense(*self.cells(now["codes"], now["adjacency"]))
        again = both[self.batch :] if self.config.consistency else None
        loss = cell_loss(both[: self.batch], again, now["wanted"], now["pairs"], self.config, now["weight"])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        if self.averaged is not None:
            move_average(self.averaged, self.model, self.config.averaged)
        self.loss += loss.detach()
        self.place += 1


def train_cells_on_gpu(
    config: CellTraining,
    model: nn.Module,
    table: CellTable,
    accuracy: Array,
    checkpoint: Path | None = None,
    averaged: nn.Module | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """As `train_cells`, for a model with a `dense` form, on the device of its weights; yields epoch and mean loss.

    averaged: gets the averaged weights (`CellTraining.averaged`); a copy of the model. On a CPU, where tests run,
    nothing is recorded.
    """
    device = next(model.parameters()).device
    saved = CellCheckpoint(checkpoint)
    state = saved.load(model, averaged)
    model.train()
    step = _Step(config, model, averaged, table)
    steps = config.epochs * step.batches
    wanted = (accuracy / 100).astype(np.float32)
    first = saved.epochs
    for epoch in range(first, config.epochs):
        if epoch > first:
            saved.save(epoch, model, step.optimizer, averaged)
        rng = np.random.default_rng([config.seed, epoch])
        order = rng.permutation(len(table))
        other = reordered(table, rng) if config.consistency else None
        arrays = _epoch(step, table.rows(order), other.rows(order) if other is not None else None, wanted[order], rng)
        rates = [learning_rate_at(epoch * step.batches + batch, steps, config.warmup) for batch in range(step.batches)]
        step.load(arrays | {"rate": np.array(rates, dtype=np.float32) * np.float32(config.learning_rate)})
        if epoch == first:
            with _tf32(device):
                step.record(state)
        torch.manual_seed(config.seed * 1_000_003 + epoch)
        for _ in range(step.batches):
            step()
        yield epoch, step.loss / step.batches


def _epoch(
    step: _Step, table: CellTable, other: CellTable | None, wanted: npt.NDArray[np.float32], rng: np.random.Generator
) -> dict[str, npt.NDArray[Any]]:
    """The batches of an epoch as arrays; the last one is filled up with cells of no weight."""
    n, batch, batches = len(table), step.batch, step.batches
    filled = np.minimum(np.arange(batches * batch), n - 1).reshape(batches, batch)
    parts = [table] if other is None else [table, other]
    pairs = np.tile(np.arange(step.rows), (batches, 1))
    for place in range(batches):
        real = min(batch, n - place * batch)
        chosen = np.concatenate([part * batch + np.arange(real) for part in range(len(parts))])
        pairs[place, chosen] = chosen[rng.permutation(len(chosen))]
    return {
        "codes": np.concatenate([part.codes[filled] for part in parts], axis=1).astype(np.int64),
        "adjacency": np.concatenate([part.adjacency[filled] for part in parts], axis=1),
        "pairs": pairs,
        "wanted": wanted[filled],
        "weight": (np.arange(batches * batch) < n).astype(np.float32).reshape(batches, batch),
    }


@torch.inference_mode()
def predict_cells_dense(model: Any, table: CellTable, batch_size: int = 4096) -> Array:
    """Accuracy in percent, (n,), without dropout, on the device of the model's weights."""
    device = next(model.parameters()).device
    cells = DenseCells(table.space, table.codes.shape[1]).to(device)
    training = model.training
    model.eval()
    parts = []
    for start in range(0, len(table), batch_size):
        some = table.rows(slice(start, start + batch_size))
        codes, adjacency = torch.from_numpy(some.codes.astype(np.int64)), torch.from_numpy(some.adjacency)
        parts.append(model.dense(*cells(codes.to(device), adjacency.to(device))).double().cpu().numpy())
    model.train(training)
    return np.asarray(100 * np.concatenate(parts))


def interleaved(trainings: Sequence[Callable[[], Generator[None, None, T]]], device: str) -> list[T]:
    """What several trainings return, which take turns: a generator each, that yields after every epoch.

    On a GPU each has a stream of its own, so that they run beside each other there.
    """
    streams: list[Any] = [torch.cuda.Stream() if device == "cuda" else None for _ in trainings]  # type: ignore[no-untyped-call]
    waiting = {k: start() for k, start in enumerate(trainings)}
    results: dict[int, T] = {}
    while waiting:
        for k, training in list(waiting.items()):
            stream = streams[k]
            with nullcontext() if stream is None else torch.cuda.stream(stream):
                try:
                    next(training)
                except StopIteration as ended:
                    results[k] = ended.value
                    del waiting[k]
    return [results[k] for k in range(len(trainings))]


@contextmanager
def _tf32(device: torch.device) -> Iterator[None]:
    """Matrix products in TF32 within: what a recorded graph has taken up stays so."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = device.type == "cuda"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
