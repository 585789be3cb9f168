"""The processes of `measure_gpu.py` that build networks and run their cells."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gpu_cells import Gpu, Shared, Spoiled, forget, measure_cell
from gpu_networks import build, fill, leave_weights_as_they_come
from gpu_plan import Cell, Planned, cells_of
from gpu_results import append, done_in, tell_failure


def work(place: int, shared: Shared, phase: str, device: str, results: Path, rows: Sequence[Planned]) -> None:
    """Take up one network after another until time is up."""
    _own_cores(place, phase)
    import torch

    sys.path.insert(0, str(Path(__file__).resolve().parent))  # zoo_networks
    torch.set_num_threads(1)
    draw = leave_weights_as_they_come()
    gpu = Gpu(shared.lock_path)
    with gpu:
        torch.zeros(1, device=device)
    done, hopeless = done_in(results)
    while time.time() < shared.deadline:
        with shared.next.get_lock():
            index = shared.next.value
            shared.next.value += 1
        if index >= len(rows):
            return
        row = rows[index]
        cells = [cell for cell in cells_of(row, phase) if (row.key, cell, row.round) not in done]
        if not cells or (row.key, row.round) in hopeless:
            continue
        shared.started[place] = time.time()
        try:
            _network(place, shared, gpu, device, results, row, cells, draw)
        except Spoiled:
            os._exit(3)
        finally:
            shared.started[place] = 0.0


def _own_cores(place: int, phase: str) -> None:
    """Two cores a worker where there are enough, so that none slows another's launches."""
    cores = sorted(os.sched_getaffinity(0))
    if phase == "eager" and len(cores) >= 2 * (place + 1):
        os.sched_setaffinity(0, cores[2 * place : 2 * place + 2])


def _network(
    place: int,
    shared: Shared,
    gpu: Gpu,
    device: str,
    results: Path,
    row: Planned,
    cells: Sequence[Cell],
    draw: Callable[..., Any],
) -> None:
    import torch

    module = None
    try:
        module, arguments, keywords = build(row.source, row.name, row.size)
        module = module.eval().to(device)
        with gpu:
            fill(module, draw)
    except Exception as error:
        tell_failure(results, row, "", error)
        del module
        forget(device, error)
        return
    for cell in cells:
        if time.time() > shared.deadline:
            break
        error: Exception | None = None
        try:
            steps, first_s, peak_mb = measure_cell(place, shared, gpu, device, module, arguments, keywords, cell)
            known = [row.source, row.name, row.size, cell.precision, cell.layout, int(cell.compiled), cell.batch]
            figures = [f"{value:.5g}" for value in (steps.ms, steps.spread_ms, steps.mean_ms, steps.min_ms)]
            last = [steps.steps, f"{first_s:.2f}", f"{peak_mb:.0f}", f"{time.time() - shared.began:.1f}", place]
            append(results, [*known, row.round, *figures, *last])
        except Exception as caught:
            error = caught
            tell_failure(results, row, str(tuple(cell)), caught)
        forget(device, error)
    del module
    if cells[0].compiled:
        torch._dynamo.reset()
    forget(device, None)
