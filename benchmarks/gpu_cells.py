"""One cell of `measure_gpu.py`: a network in one precision and layout, at one batch, timed with the GPU to itself."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from gpu_plan import Cell


class Shared(NamedTuple):
    """What processes have in common. started: when each took its network up, 0 while it has none."""

    next: Any
    pids: Any
    started: Any
    stopper: Any
    lock_path: str
    began: float
    deadline: float


class Gpu:
    """The right to use the GPU, which one process has at a time; within a process it may be asked for again."""

    def __init__(self, path: str) -> None:
        self._file = open(path)  # noqa: SIM115  kept open: the system gives the lock back where a process dies
        self._depth = 0

    def __enter__(self) -> Gpu:
        if self._depth == 0:
            fcntl.flock(self._file, fcntl.LOCK_EX)
        self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            fcntl.flock(self._file, fcntl.LOCK_UN)


class Spoiled(Exception):
    """After this, nothing works in this process."""


@dataclass(frozen=True)
class Steps:
    """What was seen of a cell, in ms."""

    ms: float
    spread_ms: float
    mean_ms: float
    min_ms: float
    steps: int


def measure_cell(
    place: int,
    shared: Shared,
    gpu: Gpu,
    device: str,
    module: Any,
    arguments: Sequence[Any],
    keywords: dict[str, Any],
    cell: Cell,
) -> tuple[Steps, float, float]:
    import torch

    cuda = device.startswith("cuda")
    torch.backends.cudnn.benchmark = cell.precision == "amp"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = cell.precision in ("amp", "tf32")
    with gpu:
        # Each way back from bfloat16 leaves rounded weights, which take as long as others.
        module.to(torch.bfloat16 if cell.precision == "bf16" else torch.float32)
        module.to(memory_format=torch.channels_last if cell.layout == "nhwc" else torch.contiguous_format)
        prepared = [_input(a, device, cell) for a in arguments]
        named = {name: _input(a, device, cell) for name, a in keywords.items()}
        if cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
    called = _compiled(module, gpu) if cell.compiled else module
    kind, half = torch.device(device).type, torch.float16 if cuda else torch.bfloat16

    def step() -> float:
        start = time.perf_counter()
        with torch.autocast(kind, half, cell.precision == "amp"):
            called(*prepared, **named)
        if cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - start

    with torch.inference_mode():
        start = time.perf_counter()
        if cell.compiled:
            step()  # takes the GPU when it has compiled
        with gpu:
            first = step() if not cell.compiled else time.perf_counter() - start
            if cell.compiled:
                shared.stopper.value = os.getpid()
                signal_others(shared, os.getpid(), signal.SIGSTOP)
            try:
                steps = timed(step)
            finally:
                if cell.compiled:
                    signal_others(shared, os.getpid(), signal.SIGCONT)
                    shared.stopper.value = 0
            peak = torch.cuda.max_memory_allocated() / 2**20 if cuda else 0.0
            prepared.clear()
            named.clear()
            if cuda:
                torch.cuda.empty_cache()
    return steps, first, peak


def timed(step: Callable[[], float]) -> Steps:
    """Warm up for three steps and 40 ms; then ten steps and 0.15 s, or what 0.4 s hold, but three at least."""
    warm = [step() for _ in range(2)]
    while len(warm) < 3 or sum(warm) < 0.04:
        warm.append(step())
    taken: list[float] = []
    while True:
        taken.append(step())
        total = sum(taken)
        if (len(taken) >= 10 and total >= 0.15) or (len(taken) >= 3 and total >= 0.4):
            break
    low, middle, high = statistics.quantiles(taken, n=4)
    figures = (1e3 * middle, 1e3 * (high - low) / 2, 1e3 * statistics.fmean(taken), 1e3 * min(taken))
    return Steps(*figures, len(taken))


def _compiled(module: Any, gpu: Gpu) -> Callable[..., Any]:
    """TorchInductor's, which compiles on the CPU without the GPU, and takes it for whatever it then runs."""
    import torch
    import torch._inductor.config
    from torch._inductor.compile_fx import compile_fx

    torch._dynamo.reset()
    torch._inductor.config.compile_threads = 1  # there are as many processes as cores

    def backend(program: Any, examples: Any) -> Callable[..., Any]:
        compiled = compile_fx(program, examples)

        def run(*arguments: Any) -> Any:
            with gpu:
                return compiled(*arguments)

        return run

    return torch.compile(module, backend=backend, dynamic=False)


def _input(value: Any, device: str, cell: Cell) -> Any:
    """An example of batch 1, made `batch` times: numbers drawn, integers 1 (a mask lets all through)."""
    import torch

    if not isinstance(value, torch.Tensor):
        return value
    shape = (cell.batch, *value.shape[1:]) if value.dim() and value.shape[0] == 1 else tuple(value.shape)
    if not value.is_floating_point():
        return torch.ones(shape, dtype=value.dtype, device=device)
    made = torch.randn(shape, device=device, dtype=torch.bfloat16 if cell.precision == "bf16" else torch.float32)
    return made.contiguous(memory_format=torch.channels_last) if cell.layout == "nhwc" and made.dim() == 4 else made


def forget(device: str, error: Exception | None) -> None:
    """Give memory back. Raises Spoiled where the GPU no longer answers this process."""
    import gc

    import torch

    if error is not None:
        error.__traceback__ = None
    gc.collect()
    if device.startswith("cuda"):
        try:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
        except Exception as caught:
            raise Spoiled from caught


def signal_others(shared: Shared, own: int, what: int) -> None:
    for pid in list(shared.pids):
        if pid and pid != own:
            with contextlib.suppress(OSError):
                os.kill(pid, what)
