"""Measures the dataset `onnxruntime-cpu` on this machine, or writes its table from two such runs.

    python benchmarks/measure_dataset.py measure --store first.sqlite
    python benchmarks/measure_dataset.py measure --store second.sqlite
    python benchmarks/measure_dataset.py write --table onnxruntime-cpu.csv first.sqlite second.sqlite
    python benchmarks/measure_dataset.py describe      # how far the two runs of the shipped table agree

Each run takes about half an hour on one core; killed at any moment, the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from narformer.datasets.onnxruntime_cpu import TABLE, Planned, load_onnxruntime_cpu, planned, repeatability
from narformer.families.registry import build
from narformer.measurement.measurement import Measurement
from narformer.measurement.session import Network, Outcome, Settings, measure, pinned, summary
from narformer.measurement.store import Store
from narformer.measurement.timing import Plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    run = actions.add_parser("measure", help="measure every network of the plan")
    run.add_argument("--store", required=True, type=Path)
    run.add_argument("--budget", type=float, default=0.35, help="seconds of timed runs a network, at most")
    run.add_argument("--limit", type=int, help="only the first so many networks")
    run.add_argument("--pin", type=int, help="core to run on")
    run.add_argument("--again", action="store_true", help="measure also what the store has")
    write = actions.add_parser("write", help="write the table")
    write.add_argument("stores", nargs="+", type=Path, help="the first run's, then the second's if there was one")
    write.add_argument("--table", type=Path, default=TABLE)
    actions.add_parser("describe", help="how far the two runs agree")
    arguments = parser.parse_args()
    if arguments.action == "measure":
        measure_all(arguments)
    elif arguments.action == "write":
        write_table(arguments.stores[0], arguments.stores[1:2], arguments.table)
    else:
        describe()


def measure_all(arguments: argparse.Namespace) -> None:
    rows = planned()[: arguments.limit]
    started, done = time.monotonic(), 0

    def report(outcome: Outcome) -> None:
        nonlocal done
        done += 1
        result = outcome.measurement
        figure = result.failure or f"{result.latency_ms:9.2f} ms ± {result.spread_ms:.2f}, drift {result.drift:.3f}"
        minutes = (time.monotonic() - started) / 60
        print(f"{done:5d}/{len(rows)} {minutes:6.1f} min  {outcome.name:28s} {figure}", flush=True)

    networks = [Network(row.id, partial(_build, row)) for row in rows]
    cores = None if arguments.pin is None else pinned(arguments.pin, 1)
    plan = Plan(budget_s=arguments.budget, min_repeats=3, warmup_s=0.05)
    settings = Settings(cores=cores, timeout_s=120.0, plan=plan)
    with Store.open(arguments.store) as store:
        outcomes = measure(networks, settings=settings, store=store, again=arguments.again, report=report)
    print(summary(outcomes))


def _build(row: Planned) -> bytes:
    source = row.source
    model = build(source.family, source.config, source.version, input_size=source.input_size)
    return bytes(model.SerializeToString())


def write_table(first: Path, second: Sequence[Path], table: Path) -> None:
    """A row a network that the first run measured; networks that the second one lacks have no second latency.

    A store's latencies are at the speed of the machine in its first moment. The table's are at each run's usual speed.
    """
    columns = ("id", "family", "version", "config", "input_size", "split")
    figures = ("latency_ms", "again_ms", "spread_ms", "peak_memory_mb")
    before = _run(first)
    after = _run(second[0]) if second else {}
    usual, usual_after = (statistics.median([m.drift for m in run.values()] or [1.0]) for run in (before, after))
    with table.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*columns, *figures])
        for row in planned():
            found = before.get(row.id)
            if found is None or found.latency_ms is None:
                continue
            second_time = after.get(row.id)
            latency, spread = found.latency_ms * usual, (found.spread_ms or 0) * usual
            again = None if second_time is None else (second_time.latency_ms or 0) * usual_after
            memory = "" if found.peak_memory_bytes is None else f"{found.peak_memory_bytes / 2**20:.1f}"
            source = row.source
            writer.writerow(
                [
                    *(row.id, source.family, source.version, source.config, source.input_size or "", row.split),
                    f"{latency:.4g}" if latency < 1 else f"{latency:.5g}",
                    "" if again is None else f"{again:.5g}",
                    f"{spread:.2g}",
                    memory,
                ]
            )
    drifts = [m.drift for m in before.values()]
    print(f"{len(before)} networks; drift of the reference {min(drifts):.3f} to {max(drifts):.3f}, ", end="")
    print(f"median {statistics.median(drifts):.3f}")


def _run(path: Path) -> dict[str, Measurement]:
    with Store.open(path) as store:
        return {m.model: m for m in store.find(failed=False)}


def describe() -> None:
    dataset, found = load_onnxruntime_cpu(), repeatability()
    latency = dataset.targets[:, 0]
    print(f"{len(dataset)} networks, {latency.min():.2f} to {latency.max():.0f} ms, median {np.median(latency):.1f} ms")
    print(
        f"second process against the first, {found['networks']:.0f} networks, beyond a common factor of "
        f"{found['factor']:.3f}: mean difference {found['mean']:.1f} %, median {found['median']:.1f} %, "
        f"90th percentile {found['p90']:.1f} %, 99th {found['p99']:.1f} %"
    )


if __name__ == "__main__":
    main()
