"""Measures the zoo's networks with PyTorch on a GPU, eager and compiled, within minutes that cost dearly.

    python benchmarks/measure_gpu.py plan plan.csv --data DIRECTORY          # anywhere: what to measure, in which order
    python benchmarks/measure_gpu.py measure plan.csv eager.csv --phase eager --workers 4 --seconds 280
    python benchmarks/measure_gpu.py measure plan.csv compiled.csv --phase compiled --workers 15 --seconds 280
    python benchmarks/measure_gpu.py describe eager.csv compiled.csv

Measuring needs torch, timm, torchvision and transformers, and nothing of narformer. Networks are built and compiled by
several processes; one at a time uses the GPU, and while it times compiled networks the others are stopped. Any
beginning of the plan is a good sample of all. Given again, the same command goes on where it was stopped.

A step is timed as timm's benchmark times it: by the clock, from the call to the end of a synchronisation, in inference
mode, on data that is already there. Precision `amp` is float16 autocast with cudnn.benchmark on, as in timm's table;
`fp32` and `bf16` (weights cast) are as `narformer measure` runs PyTorch: TF32 off, cudnn.benchmark off; `tf32` allows
TF32 everywhere. Weights are drawn at a scale that keeps activations finite.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import fcntl
import hashlib
import json
import multiprocessing
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

BATCHES = (256, 64, 32, 8, 1)
PRECISIONS = ("amp", "fp32", "bf16", "tf32")
# Steps that would take longer are left to smaller batches.
LONGEST_STEP_S = 0.25
# What a GPU of a data centre does at least, to guess before a network runs: FLOP/s, and bytes/s.
FLOPS = {"amp": 150e12, "bf16": 150e12, "fp32": 30e12, "tf32": 100e12}
BYTES_S = 1.5e12
MOST_PARAMETERS_M = 700.0
EVERY_AGAIN = 8  # one network in so many is measured twice,
AGAIN_AFTER = 40  # so many networks later
SEED = 20261126
NOTHING_S = 130.0  # without a measurement, something is wrong with all of them
TIMEOUT_S = {"eager": 90.0, "compiled": 270.0}


@dataclass(frozen=True)
class Planned:
    """One network. size: of its square image, 0 where it has no such. round: 1, or 2 for a repeat."""

    source: str
    name: str
    size: int
    family: str
    split: str
    gmacs: float
    macts_m: float
    params_m: float
    round: int = 1

    @property
    def key(self) -> str:
        return f"{self.source}/{self.name}@{self.size}"


class Cell(NamedTuple):
    """One way to run a network."""

    precision: str
    layout: str
    compiled: bool
    batch: int


@dataclass(frozen=True)
class Steps:
    """What was seen of a cell, in ms."""

    ms: float
    spread_ms: float
    mean_ms: float
    min_ms: float
    steps: int


COLUMNS = ("source", "name", "size", "precision", "layout", "compiled", "batch", "round")
FIGURES = ("ms", "spread_ms", "mean_ms", "min_ms", "steps", "first_s", "peak_mb", "at_s", "worker")
FAILURES = ("source", "name", "size", "round", "cell", "reason")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    plan = actions.add_parser("plan", help="write the plan (needs narformer)")
    plan.add_argument("plan", type=Path)
    plan.add_argument("--data", type=Path, default=Path(os.environ.get("NARFORMER_DATA", "../shared/data")))
    run = actions.add_parser("measure", help="measure what the plan says and the results lack")
    run.add_argument("plan", type=Path)
    run.add_argument("results", type=Path)
    run.add_argument("--phase", choices=("eager", "compiled"), required=True)
    run.add_argument("--device", default="cuda")
    run.add_argument("--workers", type=int, default=4)
    run.add_argument("--seconds", type=float, default=280.0, help="ends after so long, whatever is under way")
    run.add_argument("--skip", type=int, default=0, help="so many of the plan's first rows")
    run.add_argument("--limit", type=int, help="only so many rows of the plan")
    describe = actions.add_parser("describe", help="what the results hold, and how far repeats agree")
    describe.add_argument("results", nargs="+", type=Path)
    arguments = parser.parse_args()
    if arguments.action == "plan":
        write_plan(arguments.plan, arguments.data)
    elif arguments.action == "measure":
        measure_all(arguments)
    else:
        describe_all(arguments.results)


# --- the plan


def write_plan(path: Path, data: Path) -> None:
    rows = ordered(list(_known(data)), random.Random(SEED))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Planned)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    print(f"{len(rows)} rows of {len({row.key for row in rows})} networks of {len({r.family for r in rows})} families")


def _known(data: Path) -> Iterator[Planned]:
    """The zoo's networks, but for giants and for those that are there several times under other names."""
    from narformer.cost import graph_cost
    from narformer.datasets import zoo

    def costs_of(graph: Any) -> tuple[float, float, float]:
        cost = graph_cost(graph)
        activations = sum(tensor.elements for node in graph.nodes for tensor in node.outputs)
        # About one in two kernels is one whose outputs timm counts.
        return round(cost.macs / 1e9, 4), round(activations / 2e6, 4), round(cost.parameters / 1e6, 4)

    with (data / "timm" / "infer.csv").open(newline="") as file:
        table = {(row["model"], int(row["img_size"])): row for row in csv.DictReader(file)}
    for entry in zoo.names("timm"):
        row = table.get((entry.name, entry.size))
        if row is None:
            continue
        known = [row[column] for column in ("gmacs", "macts_m", "params_m")]
        costs = tuple(map(float, known)) if all(known) else costs_of(zoo.load(entry.name, entry.size, source="timm"))
        if costs[2] <= MOST_PARAMETERS_M:
            yield Planned("timm", entry.name, entry.size, row["family"], row["split"], *costs)
    for place, entry in enumerate(zoo.names("qai_hub")):
        if not entry.name.startswith("opus_mt_") or entry.name.startswith("opus_mt_de_en"):
            costs = costs_of(zoo.load(entry.name, entry.size or None, source="qai_hub"))
            # Few are relatives: a dozen groups, each of which takes turns as a family of timm does.
            yield Planned("qai_hub", entry.name, 0, f"qai_hub {place % 12}", "", *costs)


def ordered(rows: Sequence[Planned], draw: random.Random) -> list[Planned]:
    """One network of each family, drawn, then another of each, and so on; repeats of some a while later."""
    families = defaultdict(list)
    for row in rows:
        families[row.family].append(row)
    for family in families.values():
        draw.shuffle(family)
    turns: list[Planned] = []
    while families:
        names = sorted(families)
        draw.shuffle(names)
        for name in names:
            turns.append(families[name].pop())
            if not families[name]:
                del families[name]
    planned: list[Planned] = []
    for place, row in enumerate(turns):
        planned.append(row)
        before = place - AGAIN_AFTER
        if before >= 0 and before % EVERY_AGAIN == 0:
            planned.append(Planned(**{**asdict(turns[before]), "round": 2}))
    return planned


def cells_of(row: Planned, phase: str) -> list[Cell]:
    """What is measured of a network: the same whenever it is asked. Together, networks cover all batch sizes."""
    draw = random.Random(int(hashlib.sha256(row.key.encode()).hexdigest()[:12], 16))
    if phase == "compiled":
        wanted = [("amp", "nchw", draw.choice((256, 256, 64, 1)))]
        other = draw.choice(("", "", "", "bf16", "bf16", "fp32"))
        if other:
            wanted.append((other, "nchw", draw.choice((256, 32, 8))))
    else:
        wanted = [("amp", "nchw", 1), ("amp", "nchw", draw.choice((8, 32, 64))), ("amp", "nchw", 256)]
        wanted += [("fp32", "nchw", draw.choice((1, 8))), ("fp32", "nchw", draw.choice((32, 64, 256)))]
        if draw.random() < 0.5 and row.source == "timm":
            wanted.append(("amp", "nhwc", draw.choice((64, 256))))
        wanted += [("bf16", "nchw", draw.choice((1, 8))), ("bf16", "nchw", draw.choice((32, 64, 256)))]
    cells = [Cell(p, layout, phase == "compiled", _within_reach(row, p, batch)) for p, layout, batch in wanted]
    return list(dict.fromkeys(cells))


def _within_reach(row: Planned, precision: str, batch: int) -> int:
    a_sample = 2e9 * row.gmacs / FLOPS[precision] + 1e6 * row.macts_m * 16 / BYTES_S
    return next((b for b in BATCHES if b <= batch and b * a_sample <= LONGEST_STEP_S), 1)


def read_plan(path: Path) -> list[Planned]:
    with path.open(newline="") as file:
        return [
            Planned(
                *(r["source"], r["name"], int(r["size"]), r["family"], r["split"]),
                *(float(r["gmacs"]), float(r["macts_m"]), float(r["params_m"]), int(r["round"])),
            )
            for r in csv.DictReader(file)
        ]


# --- the process that watches


class Shared(NamedTuple):
    """What processes have in common. started: when each took its network up, 0 while it has none."""

    next: Any
    pids: Any
    started: Any
    stopper: Any
    lock_path: str
    began: float
    deadline: float


def measure_all(arguments: argparse.Namespace) -> None:
    rows = read_plan(arguments.plan)[arguments.skip :][: arguments.limit]
    began = time.time()
    _header(arguments.results, (*COLUMNS, *FIGURES))
    _header(_failures(arguments.results), FAILURES)
    context = multiprocessing.get_context("spawn")
    count = arguments.workers
    with tempfile.NamedTemporaryFile(prefix="gpu-lock-") as lock:
        shared = Shared(
            *(context.Value("i", 0), context.Array("i", count, lock=False), context.Array("d", count, lock=False)),
            *(context.Value("i", 0, lock=False), lock.name, began, began + arguments.seconds),
        )
        task = (arguments.phase, arguments.device, arguments.results, rows)
        workers = [_start(context, place, shared, task) for place in range(count)]
        told = began
        try:
            while any(worker.is_alive() for worker in workers) and time.time() < shared.deadline + 3:
                time.sleep(0.3)
                _watch(workers, context, shared, task)
                if time.time() - told > 15:
                    told = time.time()
                    print(f"{told - began:5.0f} s  {_progress(arguments.results, shared, len(rows))}", flush=True)
                    if told - began > NOTHING_S and not _read(arguments.results):
                        print("nothing was measured so far: given up", flush=True)
                        break
        finally:
            for worker in workers:
                if worker.is_alive() and worker.pid:
                    with contextlib.suppress(OSError):
                        os.kill(worker.pid, signal.SIGKILL)
                worker.join(10)
    print(f"ended after {time.time() - began:.0f} s: {_progress(arguments.results, shared, len(rows))}", flush=True)
    about = {"phase": arguments.phase, "workers": count, "seconds": time.time() - began, **_machine(arguments.device)}
    arguments.results.with_suffix(".json").write_text(json.dumps(about, indent=1))
    describe_all([arguments.results])


def _start(context: Any, place: int, shared: Shared, task: tuple[str, str, Path, Sequence[Planned]]) -> Any:
    shared.started[place] = 0.0
    worker = context.Process(target=work, args=(place, shared, *task), daemon=True)
    worker.start()
    shared.pids[place] = worker.pid
    return worker


def _watch(workers: list[Any], context: Any, shared: Shared, task: tuple[str, str, Path, Sequence[Planned]]) -> None:
    """Another worker for each that died over a network or takes too long; none stays stopped by one that died."""
    phase, _, results, rows = task
    now = time.time()
    for place, worker in enumerate(workers):
        since = shared.started[place]
        late = since and now - since > TIMEOUT_S[phase]
        if late and worker.is_alive():
            _append(_failures(results), ["", f"worker {place}", "", "", "", f"killed after {now - since:.0f} s"])
            os.kill(worker.pid, signal.SIGKILL)
            worker.join(5)
        if not worker.is_alive():
            if shared.stopper.value == worker.pid:
                _signal_others(shared, worker.pid, signal.SIGCONT)
                shared.stopper.value = 0
            if worker.exitcode != 0 and now < shared.deadline - 15 and shared.next.value < len(rows):
                workers[place] = _start(context, place, shared, task)


def _signal_others(shared: Shared, own: int, what: int) -> None:
    for pid in list(shared.pids):
        if pid and pid != own:
            with contextlib.suppress(OSError):
                os.kill(pid, what)


def _progress(results: Path, shared: Shared, of: int) -> str:
    with results.open() as file:
        measured = sum(1 for _ in file) - 1
    with _failures(results).open() as file:
        failed = sum(1 for _ in file) - 1
    return f"{min(shared.next.value, of)} of {of} networks taken up, {measured} measured, {failed} failed; {_clocks()}"


def _clocks() -> str:
    query = "clocks.sm,clocks.mem,temperature.gpu,power.draw,memory.used,utilization.gpu"
    return _output(["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"])


def _machine(device: str) -> dict[str, Any]:
    import importlib.metadata

    packages = ("torch", "torchvision", "timm", "transformers", "triton")
    versions = {}
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    gpu = _output(["nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.max.sm", "--format=csv,noheader"])
    cpu = _output(["sh", "-c", "grep -m1 'model name' /proc/cpuinfo; nproc; uname -r"])
    return {"device": device, "gpu": gpu, "cpu": cpu.splitlines(), "versions": versions}


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


# --- the processes that build and run


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


def work(place: int, shared: Shared, phase: str, device: str, results: Path, rows: Sequence[Planned]) -> None:
    """Take up one network after another until time is up."""
    _own_cores(place, phase)
    import torch

    sys.path.insert(0, str(Path(__file__).resolve().parent))  # zoo_networks
    torch.set_num_threads(1)
    draw = _leave_weights_as_they_come()
    gpu = Gpu(shared.lock_path)
    with gpu:
        torch.zeros(1, device=device)
    done, hopeless = _done(results)
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
        module, arguments, keywords = build(row)
        module = module.eval().to(device)
        with gpu:
            fill(module, draw)
    except Exception as error:
        _failed(results, row, "", error)
        del module
        _forget(device, error)
        return
    for cell in cells:
        if time.time() > shared.deadline:
            break
        error: Exception | None = None
        try:
            steps, first_s, peak_mb = _cell(place, shared, gpu, device, module, arguments, keywords, cell)
            known = [row.source, row.name, row.size, cell.precision, cell.layout, int(cell.compiled), cell.batch]
            figures = [f"{value:.5g}" for value in (steps.ms, steps.spread_ms, steps.mean_ms, steps.min_ms)]
            last = [steps.steps, f"{first_s:.2f}", f"{peak_mb:.0f}", f"{time.time() - shared.began:.1f}", place]
            _append(results, [*known, row.round, *figures, *last])
        except Exception as caught:
            error = caught
            _failed(results, row, str(tuple(cell)), caught)
        _forget(device, error)
    del module
    if cells[0].compiled:
        torch._dynamo.reset()
    _forget(device, None)


def _cell(
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
                _signal_others(shared, os.getpid(), signal.SIGSTOP)
            try:
                steps = timed(step)
            finally:
                if cell.compiled:
                    _signal_others(shared, os.getpid(), signal.SIGCONT)
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


def _forget(device: str, error: Exception | None) -> None:
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


def build(row: Planned) -> tuple[Any, Sequence[Any], dict[str, Any]]:
    """The network with its example inputs, as make_zoo.py builds it."""
    import torch

    if row.source == "qai_hub":
        from zoo_networks import NETWORKS

        module, arguments, *more = NETWORKS[row.name]()
        return module, arguments, more[0] if more else {}
    import timm
    from timm.utils.model import reparameterize_model

    module = timm.create_model(row.name, pretrained=False)
    if tuple(module.pretrained_cfg["input_size"][1:]) != (row.size, row.size):
        with contextlib.suppress(TypeError):  # of those that do not ask, convolutions take images of any size
            module = timm.create_model(row.name, pretrained=False, img_size=row.size)
    with torch.no_grad():
        module = reparameterize_model(module.eval())
    return module, (torch.zeros(1, 3, row.size, row.size),), {}


def _leave_weights_as_they_come() -> Callable[..., Any]:
    """Drawing them on the CPU takes longer than all the rest; returns the function that draws, for the GPU."""
    import torch
    import torch.nn.init

    drawn = torch.Tensor.normal_

    def left(tensor: Any, *_: Any, **__: Any) -> Any:
        return tensor

    for name in dir(torch.nn.init):
        if name.endswith("_") and not name.startswith("_"):
            setattr(torch.nn.init, name, left)
    for name in ("normal_", "uniform_", "erfinv_", "log_normal_", "exponential_"):
        setattr(torch.Tensor, name, left)
    return drawn


def fill(module: Any, draw: Callable[..., Any]) -> None:
    """Weights of variance one over what each output reads; norms and scales one, biases zero."""
    import torch

    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.dim() >= 2:
                draw(parameter, 0.0, (parameter.numel() / parameter.shape[0]) ** -0.5)
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)


# --- the results


def _failures(results: Path) -> Path:
    return results.with_suffix(".failures.csv")


def _header(path: Path, columns: Sequence[str]) -> None:
    """Starts a table; of one that is there, a last line that was cut short is taken away."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = path.read_text() if path.exists() else ""
    whole = text[: text.rfind("\n") + 1] or f"{','.join(columns)}\n"
    if whole != text:
        path.write_text(whole)


def _append(path: Path, cells: Sequence[object]) -> None:
    """One line in one write, so that lines of several processes do not mix."""
    line = ",".join(str(cell).replace(",", ";").replace('"', "'").replace("\n", " ") for cell in cells)
    with path.open("a") as file:
        file.write(f"{line}\n")


def _failed(results: Path, row: Planned, cell: str, error: Exception) -> None:
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    _append(_failures(results), [row.source, row.name, row.size, row.round, cell, reason])


def _done(results: Path) -> tuple[set[tuple[str, Cell, int]], set[tuple[str, int]]]:
    """Cells that were measured, and networks that could not be built."""
    done, hopeless = set(), set()
    for row in _read(results):
        cell = Cell(row["precision"], row["layout"], row["compiled"] == "1", int(row["batch"]))
        done.add((f"{row['source']}/{row['name']}@{row['size']}", cell, int(row["round"])))
    for row in _read(_failures(results)):
        if row["source"] and not row["cell"]:
            hopeless.add((f"{row['source']}/{row['name']}@{row['size']}", int(row["round"])))
    return done, hopeless


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def describe_all(paths: Sequence[Path]) -> None:
    rows = [row for path in paths for row in _read(path)]
    ways: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        ways[f"{row['precision']} {row['layout']} {'compiled' if row['compiled'] == '1' else 'eager'}"].append(row)
    print(f"{len(rows)} measurements of {len({(r['source'], r['name'], r['size']) for r in rows})} networks")
    for way, its in sorted(ways.items()):
        batches = Counter(int(row["batch"]) for row in its)
        spread = statistics.median(float(r["spread_ms"]) / float(r["ms"]) for r in its)
        told = ", ".join(f"batch {batch}: {count}" for batch, count in sorted(batches.items()))
        print(f"  {way:22s} {len(its):5d}  ({told}); half the distance of quartiles {100 * spread:.1f} % in the median")
    twice: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    for row in rows:
        twice[tuple(row[column] for column in COLUMNS[:-1])][row["round"]] = float(row["ms"])
    apart = sorted(100 * abs(pair["2"] / pair["1"] - 1) for pair in twice.values() if len(pair) == 2)
    if apart:
        middle, ninety = statistics.median(apart), apart[int(0.9 * (len(apart) - 1))]
        print(f"  {len(apart)} measured twice differ by {middle:.1f} % in the median, 90 % of them by < {ninety:.1f} %")
    for path in paths:
        failures = _read(_failures(path))
        for reason, count in Counter(row["reason"][:100] for row in failures).most_common(8):
            print(f"  failed {count:4d}  {reason}")


if __name__ == "__main__":
    main()
