"""Make narformer/datasets/zoo.bin: build public networks without weights, read each, pack them all.

    pip install 'narformer[zoo]'
    python benchmarks/make_zoo.py --data DIRECTORY --jobs 8

--data holds timm/infer.csv (the names and image sizes to build) and may hold qai_hub/perf.csv. Each network that has
been read is kept in --work, so that a run that was stopped goes on where it was; one that cannot be built leaves its
reason there in a file NAME.txt, and is tried again with --again. At the end MACs are compared with timm's table.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import importlib.metadata
import importlib.util
import multiprocessing
import os
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from gpu_networks import build, leave_weights_as_they_come

from narformer.cli.progress import track
from narformer.cost import graph_cost
from narformer.datasets import zoo
from narformer.graph import Graph

PACKAGES = ("torch", "torchvision", "timm", "transformers")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("NARFORMER_DATA", "../shared/data")))
    parser.add_argument("--work", type=Path, default=Path("zoo-work"), help="what has been read; kept between runs")
    parser.add_argument("--out", type=Path, default=zoo.FILE)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes, one thread each")
    parser.add_argument("--only", default="", help="networks whose name contains this")
    parser.add_argument("--again", action="store_true", help="try again what could not be built")
    options = parser.parse_args()
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f"make_zoo.py needs {', '.join(missing)}: pip install 'narformer[zoo]'")
    table = options.data / "timm" / "infer.csv"
    if not table.exists():
        sys.exit(f"{table} is missing: it lists the networks to build; say where it is with --data")
    wanted = _wanted(table, options.data / "qai_hub" / "perf.csv")
    options.work.mkdir(parents=True, exist_ok=True)
    todo = [
        entry
        for entry in wanted
        if options.only in entry.name
        and not _kept(options.work, entry).exists()
        and (options.again or not _reason(options.work, entry).exists())
    ]
    _build_all(todo, options.work, options.jobs)
    # Alike beside alike; of two lists that have a network of the same name, timm's first.
    there = [entry for entry in wanted if _kept(options.work, entry).exists()]
    there.sort(key=lambda entry: (entry.source != "timm", entry.name, entry.size))
    networks = ((entry, _read(_kept(options.work, entry))) for entry in there)
    zoo.write(track(networks, "packing", len(there)), options.out, _versions(options.work))
    print(f"{options.out}: {len(there)} of {len(wanted)} networks, {options.out.stat().st_size / 1e6:.2f} MB")
    for entry in wanted:
        if entry not in set(there) and _reason(options.work, entry).exists():
            last = _reason(options.work, entry).read_text().splitlines()[-1]
            print(f"  not built: {entry.name} at {entry.size}: {last}")
    compare(table, options.out)


def _wanted(table: Path, phones: Path) -> list[zoo.Entry]:
    with table.open(newline="") as file:
        rows = {zoo.Entry("timm", row["model"], int(row["img_size"])): None for row in csv.DictReader(file)}
    wanted = list(rows)
    if phones.exists():
        from zoo_networks import NETWORKS

        with phones.open(newline="") as file:
            named = {row["model"] for row in csv.DictReader(file)}
        wanted += [zoo.Entry("qai_hub", name, 0) for name in NETWORKS if name.partition(":")[0] in named]
    return wanted


def _kept(work: Path, entry: zoo.Entry) -> Path:
    return work / f"{entry.source}={entry.name.replace('/', '+')}@{entry.size}.json.gz"


def _reason(work: Path, entry: zoo.Entry) -> Path:
    return _kept(work, entry).with_suffix("").with_suffix(".txt")


def _read(path: Path) -> Graph:
    with gzip.open(path, "rt") as file:
        return Graph.from_json(file.read())


def _versions(work: Path) -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in PACKAGES}


# Building, in processes of their own.


def _build_all(todo: list[zoo.Entry], work: Path, jobs: int) -> None:
    if not todo:
        return
    context = multiprocessing.get_context("spawn")
    # A process is replaced after some networks: what torch keeps of each program it has traced adds up.
    with ProcessPoolExecutor(jobs, context, max_tasks_per_child=25) as pool:
        futures = [pool.submit(_build, entry, work) for entry in todo]
        for future in track(as_completed(futures), "building", len(futures)):
            print(future.result(), file=sys.stderr, flush=True)


def _build(entry: zoo.Entry, work: Path) -> str:
    """Build and read one network; what became of it, in a line."""
    import torch

    from narformer.frontends.torch import read_torch

    torch.set_num_threads(1)
    leave_weights_as_they_come()
    start = time.monotonic()
    try:
        module, inputs, keywords = build(*entry)
        graph = read_torch(module, inputs, kwargs=keywords, name=entry.name)
    except Exception as error:
        _reason(work, entry).write_text(traceback.format_exc())
        return (
            f"{entry.name} at {entry.size}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        )
    kept = _kept(work, entry)
    with gzip.open(kept.with_suffix(".part"), "wt", compresslevel=1) as file:
        file.write(graph.to_json())
    kept.with_suffix(".part").rename(kept)
    return f"{entry.name} at {entry.size}: {len(graph)} nodes, {time.monotonic() - start:.1f} s"


# Comparison with timm's table.


def table_gmacs(graph: Graph) -> float:
    """GMACs as timm's table counts them: with two for each element of a batch normalisation, five of the others."""
    others = {"BatchNormalization": 2, "LayerNormalization": 5, "GroupNormalization": 5}
    extra = sum(
        others[node.op] * node.outputs[0].elements
        for node in graph.nodes
        if node.op in others and node.operands[0].source is not None
    )
    return (graph_cost(graph).macs + extra) / 1e9


def compare(table: Path, path: Path = zoo.FILE) -> list[tuple[zoo.Entry, float, float]]:
    """Networks whose GMACs are not those of timm's table within 1 % (or half of its last digit); prints the share."""
    stated: dict[zoo.Entry, float] = {}
    with table.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["gmacs"]:
                stated[zoo.Entry("timm", row["model"], int(row["img_size"]))] = float(row["gmacs"])
    compared = [entry for entry in zoo.names("timm", path) if entry in stated]
    apart = []
    for entry in compared:
        gmacs = table_gmacs(zoo.load(entry.name, entry.size, source="timm", path=path))
        if abs(gmacs - stated[entry]) > max(0.01 * stated[entry], 0.0051):
            apart.append((entry, gmacs, stated[entry]))
            print(f"  {entry.name} at {entry.size}: {gmacs:.3f} GMACs here, {stated[entry]} in timm's table")
    print(f"{len(compared) - len(apart)} of {len(compared)} agree with timm's table within 1 %")
    return apart


if __name__ == "__main__":
    main()
