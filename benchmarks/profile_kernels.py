"""Profiles the networks of `onnxruntime-wide` on this machine: which share of a run's time each kernel takes.

    python benchmarks/profile_kernels.py measure profiles --files DIRECTORY --pin 1     # goes on where it stopped
    python benchmarks/profile_kernels.py write profiles

ONNX Runtime's profiler times each kernel of a network; the network as ONNX Runtime rewrote it is read again, and a
kernel's time goes to the tokens whose nodes it ran. What the profiler adds to each kernel is taken off: 1.6 us, by
which the kernels of networks of at most 0.3 ms come to more than a run takes without it, and more where caches hold
none of what it needs. Networks of which more than a seventh of the time is of no known node are left out, and those
that read otherwise from the rewritten file than from their own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import math
import os
import pickle
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from measure_wide import file_shapes, model_of
from rich.progress import track

from narformer.datasets.kernel_cache import build_kernel_cache
from narformer.datasets.onnxruntime_wide import (
    COLUMNS,
    FILE,
    PROFILED,
    PROFILES,
    TABLE,
    Planned,
    load_onnxruntime_wide,
    row_of,
    target_id,
)
from narformer.datasets.profiles import Profile, write_profiles
from narformer.datasets.table import read_table
from narformer.errors import NarformerError
from narformer.frontends.canonical import canonical
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph
from narformer.measurement.quantised import converted
from narformer.measurement.weights import runnable
from narformer.tokens import runtime_kernels
from narformer.tokens.packing import FloatArray

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
SLOWEST_MS, BUDGET_MS, RUNS = 300.0, 250.0, (4, 300)
UNKNOWN = 0.15  # share of the time that no known node may have taken
KEPT = 0.8  # of the runs of a kernel, the fastest
# Microseconds that the profiler adds to a kernel in runs of up to so many ms, and in those ten times as long; how much
# of a kernel's time is believed to be its own at least.
PROFILER_US, LONG_RUN_MS, MORE_US = 1.6, 0.7, 1.2
OWN = 0.1


class Rewritten(NamedTuple):
    """A node of the network as the runtime rewrote it."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Run(NamedTuple):
    """What the profiler told of one network. kernels: name, operator, microseconds a run."""

    id: str
    wall_ms: float
    kernels: list[tuple[str, str, float]]
    graph: Graph
    nodes: list[Rewritten]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    run = actions.add_parser("measure", help="profile what the table has and the directory lacks")
    run.add_argument("directory", type=Path)
    run.add_argument("--files", type=Path, help="where the real files are; without, they are left out")
    run.add_argument("--pin", type=int, help="core to run on")
    run.add_argument("--minutes", type=float, help="stop after so long")
    write = actions.add_parser("write", help="write the shares of all profiles there")
    write.add_argument("directory", type=Path)
    write.add_argument("--cache", type=Path, default=Path(".cache/tokens"), help="the token cache")
    write.add_argument("--out", type=Path, default=PROFILES)
    arguments = parser.parse_args()
    if arguments.action == "measure":
        measure(arguments.directory, arguments.files, arguments.pin, arguments.minutes)
    else:
        write_shares(arguments.directory, arguments.cache, arguments.out)


# --- measuring


def measure(directory: Path, files: Path | None, pin: int | None, minutes: float | None) -> None:
    """A pickle a network; one of no bytes where the network cannot be profiled."""
    logging.disable(logging.WARNING)  # what quantisers advise
    onnxruntime.set_default_logger_severity(3)
    if pin is not None:
        os.sched_setaffinity(0, {pin})
    directory.mkdir(parents=True, exist_ok=True)
    table = read_table(TABLE, (*COLUMNS, "ms"))
    rows = [row_of(row, str(TABLE)) for row in table]
    usual = {row.id: float(entry["ms"]) for row, entry in zip(rows, table, strict=True)}
    waiting = [row for row in rows if row.threads == 1 and usual[row.id] < SLOWEST_MS]
    waiting = [row for row in waiting if row.source != FILE or files is not None]
    started = time.monotonic()
    for row in track([row for row in waiting if not _place(directory, row.id).exists()], "profiling"):
        if minutes is not None and time.monotonic() - started > 60 * minutes:
            break
        path = _place(directory, row.id)
        path.write_bytes(b"")  # what kills the process is not tried again
        try:
            found = _profiled(row, files, usual[row.id])
        except Exception as error:  # a quantiser's or the runtime's; the others go on
            print(f"{row.id}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        partial = path.with_suffix(".partial")
        partial.write_bytes(pickle.dumps(found))
        partial.replace(path)


def _place(directory: Path, id: str) -> Path:
    return directory / f"{hashlib.sha1(id.encode()).hexdigest()}.pickle"


def _profiled(row: Planned, files: Path | None, ms: float) -> Run:
    sizes: dict[str, Any] = {}
    if row.source == FILE and files is not None:
        name, _, shapes = row.name.partition(" ")
        model = onnx.load(files / name)
        sizes = {"input_shapes": file_shapes(shapes)}
    else:
        model, batch = model_of(row)
        sizes = {"batch_size": batch}
        if row.precision != "fp32":
            model = converted(model, row.precision)
    network = runnable(model, **sizes)
    with tempfile.TemporaryDirectory() as scratch:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_profiling = True
        options.profile_file_prefix = f"{scratch}/profile"
        options.optimized_model_filepath = f"{scratch}/rewritten.onnx"
        session = onnxruntime.InferenceSession(
            network.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        runs = int(np.clip(BUDGET_MS / max(ms, 1e-3), *RUNS))
        walls = []
        for _ in range(runs + 2):
            start = time.perf_counter()
            session.run(None, dict(network.inputs))
            walls.append(1e3 * (time.perf_counter() - start))
        events = json.loads(Path(session.end_profiling()).read_text())
        rewritten = onnx.load(f"{scratch}/rewritten.onnx")
    graph = canonical(read_onnx(rewritten, **({} if row.source == FILE else sizes)))
    nodes = [Rewritten(n.name, n.op_type, tuple(n.input), tuple(n.output)) for n in rewritten.graph.node]
    return Run(row.id, float(np.median(walls[2:])), _kernels(events, runs), graph, nodes)


def _kernels(events: list[dict[str, Any]], runs: int) -> list[tuple[str, str, float]]:
    """Microseconds of each kernel in a run, the mean of its faster runs; the first two runs left out."""
    times: dict[str, list[float]] = defaultdict(list)
    operators: dict[str, str] = {}
    suffix = "_kernel_time"
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(suffix):
            name = event["name"].removesuffix(suffix)
            times[name].append(event["dur"])
            operators[name] = event["args"]["op_name"]
    found = []
    for name, durations in times.items():
        each = max(1, len(durations) // (runs + 2))  # a body of a loop runs several times
        ordered = np.sort(durations[2 * each :])
        kept = ordered[: max(1, int(KEPT * len(ordered)))]
        found.append((name, operators[name], float(kept.mean()) * each))
    return found


# --- shares


def write_shares(directory: Path, cache: Path, out: Path) -> None:
    """The file of shares, of all runs whose tokens are those of their dataset's row."""
    dataset = load_onnxruntime_wide()
    tokens = build_kernel_cache(dataset, cache)
    place = {id: row for row, id in enumerate(dataset.ids)}
    target = target_id(PROFILED, "fp32", 1)
    profiles: dict[str, Profile] = {}
    count = 0
    for path in track(sorted(directory.glob("*.pickle")), "reading profiles"):
        if not path.stat().st_size:
            continue
        run: Run = pickle.loads(path.read_bytes())
        count += 1
        id = run.id if run.id in place else run.id.rpartition(" ")[0].rpartition(" ")[0]
        if id not in place:
            continue
        try:
            found = shares_of(run)
        except NarformerError as error:
            print(f"{run.id}: {error}", file=sys.stderr)
            continue
        if found is None:
            continue
        features, shares, groups = found
        order = same_tokens(features, tokens.batch([place[id]]).features)
        if order is None:
            continue
        back = np.argsort(order)
        shares, groups = shares[order], back[groups[order]]
        if (shares > 0).any():
            profiles[id] = Profile(target, shares / shares.sum(), first_of(groups, shares))
    write_profiles(out, {id: profiles[id] for id in sorted(profiles)})
    print(f"{len(profiles)} of {count} profiles, {out.stat().st_size / 1e6:.2f} MB")


def shares_of(run: Run) -> tuple[FloatArray, Floats, Ints] | None:
    """Tokens of the rewritten network, the time of each (at one token of a group), and the group of each.

    None where too much of the time is of no known node.
    """
    read = canonical(run.graph)
    features = runtime_kernels.tokenize(read).features
    hosts = runtime_kernels.kernels(read)
    token = {host: 1 + k for k, host in enumerate(sorted(set(hosts)))}
    tokens_of: dict[str, set[int]] = defaultdict(set)
    for node, host in zip(read.nodes, hosts, strict=True):
        for name in {*node.origin, node.name}:
            tokens_of[name].add(token[host])
    by_name = {node.name: node for node in run.nodes}
    readers: dict[str, list[Rewritten]] = defaultdict(list)
    for node in run.nodes:
        for name in node.inputs:
            readers[name].append(node)
    producer = {name: node for node in run.nodes for name in node.outputs}
    group = list(range(len(features)))

    def root(at: int) -> int:
        while group[at] != at:
            at = group[at]
        return at

    times, unknown = [], 0.0
    for name, op, told in run.kernels:
        us = without_profiler(told, run.wall_ms)
        owners = sorted(tokens_of.get(name) or _reordered_for(by_name.get(name), op, tokens_of, readers, producer))
        if not owners:
            unknown += us
            continue
        for other in owners[1:]:
            group[root(other)] = root(owners[0])
        times.append((owners[0], us))
    total = unknown + sum(us for _, us in times)
    if total <= 0 or unknown > UNKNOWN * total:
        return None
    shares = np.zeros(len(features))
    for at, us in times:
        shares[root(at)] += us
    return features, shares, np.array([root(at) for at in range(len(features))])


def without_profiler(us: float, run_ms: float) -> float:
    """A kernel's own time in a run, from what the profiler told of it."""
    added = PROFILER_US + MORE_US * max(0.0, math.log10(run_ms / LONG_RUN_MS))
    return max(us - added, OWN * us)


def _reordered_for(
    node: Rewritten | None,
    op: str,
    tokens_of: Mapping[str, set[int]],
    readers: Mapping[str, list[Rewritten]],
    producer: Mapping[str, Rewritten],
) -> set[int]:
    """Whose work a change of layout is: the first that reads it, else what wrote it."""
    if node is None or not op.startswith("Reorder"):
        return set()
    for around in (
        [reader for name in node.outputs for reader in readers.get(name, ())],
        [producer[name] for name in node.inputs if name in producer],
    ):
        for each in around:
            if tokens_of.get(each.name):
                return {min(tokens_of[each.name])}
    return set()


def same_tokens(these: FloatArray, those: FloatArray) -> Ints | None:
    """Places in `these` of the tokens of `those`, where both are the same tokens in some order; else None."""
    if these.shape != those.shape:
        return None
    if np.allclose(these, those):
        return np.arange(len(these))
    mine, others = (np.lexsort(each.round(3).T) for each in (these, those))
    if not np.allclose(these[mine], those[others]):
        return None
    order = np.empty(len(these), dtype=np.int64)
    order[others] = mine
    return order


def first_of(groups: Ints, shares: Floats) -> Ints:
    """Each group called by the token that has its share."""
    named = np.arange(len(groups))
    for at in np.flatnonzero(shares > 0):
        named[groups == groups[at]] = at
    return named


if __name__ == "__main__":
    main()
