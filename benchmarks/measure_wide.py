"""Measures the dataset `onnxruntime-wide` on this machine, or writes its table from two such runs.

    python benchmarks/measure_wide.py plan plan.csv             # once: what to measure, in which order
    python benchmarks/measure_wide.py measure plan.csv first.csv --processor epyc-turin
    python benchmarks/measure_wide.py measure plan.csv second.csv --processor epyc-turin     # hours later
    python benchmarks/measure_wide.py write first.csv second.csv
    python benchmarks/measure_wide.py describe

Any beginning of the plan is a good sample of all. Stopped at any moment, the same command goes on where it stopped:
each row is written when its network has been measured, or has failed.
"""

from __future__ import annotations

import argparse
import csv
import logging
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import onnx

from narformer.cli.inputs import parse_input_shapes
from narformer.cost import graph_cost
from narformer.datasets import zoo
from narformer.datasets.dataset import FamilySource, data_root
from narformer.datasets.onnxruntime_cpu import load_onnxruntime_cpu
from narformer.datasets.onnxruntime_wide import (
    COLUMNS,
    CONVERTED,
    FILE,
    RUNTIME,
    STORED,
    TABLE,
    DrawnSource,
    Known,
    Planned,
    digest,
    file_row,
    load_onnxruntime_wide,
    planned,
    row_of,
    split_of,
)
from narformer.datasets.table import Row, read_table
from narformer.errors import NarformerError
from narformer.families.drawn.registry import drawn
from narformer.families.registry import build
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph
from narformer.measurement.jobs import Job, Result, Setup
from narformer.measurement.quantised import converted
from narformer.measurement.session import pinned
from narformer.measurement.standard import standard_onnx
from narformer.measurement.supervisor import Supervisor
from narformer.measurement.timing import Plan

FIGURES = ("digest", "ms", "spread_ms", "repeats", "reference_ms", "peak_mb", "processor", "date", "failure")
# A network's loading, warming and at least four runs; the plan has none that takes 3 s a run on a core of 2020 on.
TIMEOUT_S = 25.0
# How much of the reference network's slowness a network shares, as a power: what makes two runs agree best. Each is
# timed by its own processor time, so that what slows both is little: with 1, half of the rows differ by more than 4.4 %
# from one run to the next, with 0.3 by more than 1.9 %.
SHARED = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    plan = actions.add_parser("plan", help="write the plan")
    plan.add_argument("plan", type=Path)
    run = actions.add_parser("measure", help="measure what the plan says and the results lack")
    run.add_argument("plan", type=Path)
    run.add_argument("results", type=Path)
    run.add_argument("--processor", required=True, help="name of the hardware, as in a target")
    run.add_argument("--budget", type=float, default=0.25, help="seconds of timed runs a network, at most")
    run.add_argument("--pin", type=int, help="core to run on; the next one too for two threads")
    run.add_argument("--limit", type=int, help="only so many of the plan's first rows")
    run.add_argument("--minutes", type=float, help="stop after so long")
    run.add_argument("--threads", type=int, help="only rows of so many threads")
    write = actions.add_parser("write", help="write the table")
    write.add_argument("results", nargs="+", type=Path, help="the first run's, then the second's if there was one")
    write.add_argument("--table", type=Path, default=TABLE)
    write.add_argument("--stored", type=Path, default=STORED, help="where Graphs of files and conversions are written")
    write.add_argument("--real", nargs=2, type=Path, metavar=("TABLE", "FILES"), help="what measure_files.py measured")
    describe = actions.add_parser("describe", help="what the table holds, and how far its two runs agree")
    describe.add_argument("--table", type=Path, default=TABLE)
    arguments = parser.parse_args()
    if arguments.action == "plan":
        write_plan(arguments.plan)
    elif arguments.action == "measure":
        measure_all(arguments)
    elif arguments.action == "write":
        write_table(arguments.results[0], arguments.results[1:2], arguments.table, arguments.real)
        write_graphs(arguments.results[0], arguments.real, arguments.stored)
    else:
        describe_table(arguments.table)


# --- the plan


def write_plan(path: Path) -> None:
    rows = planned(list(_known()))
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(_cells(row) for row in rows)
    print(f"{len(rows)} measurements")


def _cells(row: Planned) -> list[object]:
    cells = {"id": row.id, **asdict(row)}
    return [cells[column] for column in COLUMNS]


def _known() -> Iterator[Known]:
    """The zoo's networks with what timm's shared table says of them; those it lacks are split by their names."""
    table = {row["model"]: row for row in read_table(data_root() / "timm" / "infer.csv", ("model", "family", "fold"))}
    for entry in zoo.names():
        cost = graph_cost(zoo.load(entry.name, entry.size or None, source=entry.source))
        row = table.get(entry.name) if entry.source == "timm" else None
        family, fold, split = (
            (row["family"], int(row["fold"]), row["split"]) if row else (entry.source, 0, split_of(entry.name))
        )
        yield Known(*entry, family, fold, split, cost.macs / 1e6, cost.parameters / 1e6)


# --- measuring


def measure_all(arguments: argparse.Namespace) -> None:
    table = read_table(arguments.plan, COLUMNS)[: arguments.limit]
    rows = [row_of(row, f"{arguments.plan}, row {k}") for k, row in enumerate(table, 2)]
    rows = [row for row in rows if arguments.threads in (None, row.threads)]
    done = _done(arguments.results)
    waiting = [row for row in rows if row.id not in done]
    started = time.monotonic()
    logging.disable(logging.WARNING)  # what quantisers advise
    supervisors: dict[int, Supervisor] = {}
    plan = Plan(budget_s=arguments.budget, min_repeats=3, min_s=0.06, warmup_s=0.03)
    print(f"{len(rows)} in the plan, {len(rows) - len(waiting)} done before, {os.getpid()} is this process", flush=True)
    try:
        with arguments.results.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if file.tell() == 0:
                writer.writerow((*COLUMNS, *FIGURES))
            for count, row in enumerate(waiting, 1):
                minutes = (time.monotonic() - started) / 60
                if arguments.minutes is not None and minutes >= arguments.minutes:
                    print(f"stopped after {minutes:.1f} minutes")
                    break
                if row.threads not in supervisors:
                    for other in supervisors.values():
                        other.stop()
                    supervisors = {row.threads: Supervisor(_setup(row.threads, arguments.pin, plan), TIMEOUT_S)}
                mark, result = _measured(row, supervisors[row.threads])
                memory = "" if result.peak_memory_bytes is None else f"{result.peak_memory_bytes / 2**20:.1f}"
                figures = [mark, _short(result.median_ms), _short(result.spread_ms), result.repeats or ""]
                date = datetime.now(timezone.utc).isoformat(timespec="seconds")
                last = [_short(result.reference_ms), memory, arguments.processor, date, result.failure[:200]]
                writer.writerow([*_cells(row), *figures, *last])
                file.flush()
                told = result.failure or f"{result.median_ms:9.4f} ms ± {result.spread_ms:.4f}"
                print(f"{count:5d}/{len(waiting)} {minutes:6.1f} min  {row.id:48s} {told}", flush=True)
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on from here")
    finally:
        for supervisor in supervisors.values():
            supervisor.stop()


def _done(path: Path) -> set[str]:
    """Ids of the rows there. A last line that was cut short is taken away."""
    if not path.exists():
        return set()
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole)
    return {row["id"] for row in csv.DictReader(whole.splitlines())}


def _setup(threads: int, pin: int | None, plan: Plan) -> Setup:
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    chosen = pinned(pin, threads) if pin is not None else tuple(cores[-threads:])
    return Setup("onnxruntime", "cpu", threads, chosen, plan)


def _measured(row: Planned, supervisor: Supervisor) -> tuple[str, Result]:
    """The digest of a drawn network, and what became of the run."""
    try:
        model, batch = model_of(row)
        mark = digest(model.SerializeToString()) if row.source == "drawn" else ""
        if row.precision != "fp32":
            model = converted(model, row.precision)
    except NarformerError as error:
        return "", Result(failure=f"not written: {' '.join(str(error).split())}")
    except Exception as error:  # what a quantiser raises says nothing of the others
        return "", Result(failure=f"not converted: {type(error).__name__}: {' '.join(str(error).split())}")
    return mark, supervisor.measure(Job(row.network, bytes(model.SerializeToString()), batch))


def model_of(row: Planned) -> tuple[onnx.ModelProto, int | None]:
    """The weightless file in fp32, and the batch size at which it is read."""
    source = row.rebuilt()
    if isinstance(source, DrawnSource):
        return drawn(source.kind, source.seed, source.batch), None
    if isinstance(source, FamilySource):
        return build(source.family, source.config, source.version, row.batch, source.input_size), None
    batch = row.batch if row.batch > 1 else None
    return standard_onnx(source.graph(), batch), batch


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


# --- the table


def write_table(first: Path, second: Sequence[Path], table: Path, real: Sequence[Path] | None) -> None:
    """A row a measurement that the first run has, at each run's usual speed by the reference network.

    real: the table of real files and where they are, if there are any.
    """
    before, after = _usual(first), _usual(second[0]) if second else {}
    columns = (*COLUMNS, "digest", "ms", "again_ms", "spread_ms", "peak_mb", "processor", "date")
    with table.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for id, (row, ms) in before.items():
            again = f"{after[id][1]:.5g}" if id in after else ""
            cells = {**row, "ms": f"{ms:.5g}", "again_ms": again, "date": row["date"][:10]}
            writer.writerow([cells[column] for column in columns])
        files = _real(real[0]) if real else []
        usual = statistics.median(float(r["reference_ms"]) for r, _ in before.values() if r["threads"] == "1")
        for row, planned in files:
            ms = float(row["ms"]) * (usual / float(row["reference_ms"])) ** SHARED
            figures = {"ms": f"{ms:.5g}", "spread_ms": row["spread_ms"], "processor": row["processor"]}
            cells = {"id": planned.id, **asdict(planned), **figures, "date": row["date"][:10]}
            writer.writerow([cells.get(column, "") for column in columns])
    twice = sum(id in after for id in before)
    print(f"{len(before)} measurements, {twice} of them twice, and {len(files)} of real files")


def _real(table: Path) -> list[tuple[Row, Planned]]:
    """What was measured of real files."""
    rows = [row for row in read_table(table, ("model", "shapes", "family", "ms", "reference_ms")) if row["ms"]]
    return [(row, file_row(row["model"], row["shapes"], row["family"])) for row in rows]


def write_graphs(first: Path, real: Sequence[Path] | None, path: Path) -> None:
    """The Graphs that the table's rows of conversions and of real files are of."""
    networks: list[tuple[zoo.Entry, Graph]] = []
    for row in read_table(first, COLUMNS):
        planned = row_of(row, str(first))
        if row["ms"] and planned.precision != "fp32" and planned.threads == 1:
            model, batch = model_of(planned)
            graph = read_onnx(converted(model, planned.precision), batch_size=batch)
            networks.append((zoo.Entry(CONVERTED, planned.id, 0), graph))
    for row, planned in _real(real[0]) if real else []:
        graph = read_onnx(real[1] / row["model"], input_shapes=file_shapes(row["shapes"]))
        networks.append((zoo.Entry(FILE, planned.name, 0), graph))
    networks.sort(key=lambda pair: (pair[0].source, pair[0].name.split("_")[0], pair[0].name))
    zoo.write(networks, path, {"onnxruntime": RUNTIME.partition("-")[2]})
    print(f"{len(networks)} Graphs, {path.stat().st_size / 1e6:.2f} MB")


def file_shapes(shapes: str) -> dict[str, tuple[int | str, ...]]:
    """Input shapes of a real file, as its row tells them; scalars, which have none, are left out."""
    return parse_input_shapes([text for text in shapes.split() if not text.endswith("=")])


def _usual(path: Path) -> dict[str, tuple[Row, float]]:
    """What a run measured, by id: the row, and its latency where the reference takes its usual time (see SHARED)."""
    rows = [row for row in read_table(path, (*COLUMNS, *FIGURES)) if row["ms"]]
    usual = {
        threads: statistics.median(float(r["reference_ms"]) for r in rows if r["threads"] == threads)
        for threads in {row["threads"] for row in rows}
    }
    return {r["id"]: (r, float(r["ms"]) * (usual[r["threads"]] / float(r["reference_ms"])) ** SHARED) for r in rows}


def describe_table(table: Path) -> None:
    dataset = load_onnxruntime_wide(table)
    rows = read_table(table, (*COLUMNS, "ms", "again_ms"))
    print(f"{len(rows)} measurements of {len(dataset)} networks of {len(set(dataset.family))} families")
    for k, target in enumerate(dataset.devices):
        ms = dataset.targets[:, k]
        ms = ms[np.isfinite(ms)]
        print(f"{target}: {len(ms)} networks, {ms.min():.4f} to {ms.max():.0f} ms, median {np.median(ms):.3f} ms")
    twice = np.log([[float(row["ms"]), float(row["again_ms"])] for row in rows if row["again_ms"]]).reshape(-1, 2)
    if len(twice):
        difference = twice[:, 1] - twice[:, 0]
        common = np.median(difference)
        error = 100 * np.abs(np.expm1(difference - common))
        told = ", ".join(f"{q} % below {np.quantile(error, q / 100):.1f} %" for q in (50, 90, 99))
        print(f"measured twice: {len(twice)}; beyond a common factor of {np.exp(common):.3f} they differ by: {told}")
    old = onnxruntime_cpu_factor(dataset.ids, dataset.targets[:, 0])
    print(old)


def onnxruntime_cpu_factor(ids: Sequence[str], latency: np.ndarray) -> str:
    """How much faster this processor is than that of onnxruntime-cpu, on the networks that both tables have."""
    before = load_onnxruntime_cpu()
    known = dict(zip(before.ids, before.targets[:, 0], strict=True))
    pairs = [(known[f"cpu_{id[4:]}"], ms) for id, ms in zip(ids, latency, strict=True) if f"cpu_{id[4:]}" in known]
    pairs = [(old, new) for old, new in pairs if np.isfinite(new)]
    if not pairs:
        return "none of onnxruntime-cpu's networks is there"
    quotient = np.array([old / new for old, new in pairs])
    low, middle, high = np.quantile(quotient, [0.1, 0.5, 0.9])
    return f"onnxruntime-cpu's core takes {middle:.2f} times as long ({low:.2f} to {high:.2f}) on {len(pairs)} networks"


if __name__ == "__main__":
    main()
