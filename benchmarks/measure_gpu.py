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
import json
import multiprocessing
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpu_cells import Shared, signal_others
from gpu_plan import Planned, read_plan, write_plan
from gpu_results import COLUMNS, FAILURES, FIGURES, append, begin, describe_all, failures_of, read
from gpu_work import work

NOTHING_S = 130.0  # without a measurement, something is wrong with all of them
TIMEOUT_S = {"eager": 90.0, "compiled": 270.0}


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


def measure_all(arguments: argparse.Namespace) -> None:
    rows = read_plan(arguments.plan)[arguments.skip :][: arguments.limit]
    began = time.time()
    begin(arguments.results, (*COLUMNS, *FIGURES))
    begin(failures_of(arguments.results), FAILURES)
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
                    if told - began > NOTHING_S and not read(arguments.results):
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
            append(failures_of(results), ["", f"worker {place}", "", "", "", f"killed after {now - since:.0f} s"])
            os.kill(worker.pid, signal.SIGKILL)
            worker.join(5)
        if not worker.is_alive():
            if shared.stopper.value == worker.pid:
                signal_others(shared, worker.pid, signal.SIGCONT)
                shared.stopper.value = 0
            if worker.exitcode != 0 and now < shared.deadline - 15 and shared.next.value < len(rows):
                workers[place] = _start(context, place, shared, task)


def _progress(results: Path, shared: Shared, of: int) -> str:
    with results.open() as file:
        measured = sum(1 for _ in file) - 1
    with failures_of(results).open() as file:
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


if __name__ == "__main__":
    main()
