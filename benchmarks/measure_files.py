"""Measures real ONNX files on this machine, with ONNX Runtime and one thread.

    python benchmarks/measure_files.py docs/research/2026-11-26-real-files.csv FILES measured.csv --processor epyc-turin
    python benchmarks/measure_files.py measured-elsewhere.csv FILES here.csv --processor epyc-turin

The table has a row a file: its name below FILES, its sha256. Where it has no column `shapes`, sizes that a file leaves
open are bound as the reader's own examples bind them, at two sizes where two can be read. Stopped at any moment, the
same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import warnings
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path

from narformer.cli.inputs import parse_input_shapes
from narformer.errors import NarformerError
from narformer.frontends.canonical.form import network_hash
from narformer.frontends.onnx import read_onnx
from narformer.frontends.onnx.unbound import TRIED as UNBOUND_TRIED
from narformer.frontends.onnx.unbound import UnboundError
from narformer.graph import Graph
from narformer.measurement.jobs import Job, Setup
from narformer.measurement.session import pinned
from narformer.measurement.supervisor import Supervisor
from narformer.measurement.timing import Plan

COLUMNS = ("model", "sha256", "kind", "family", "shapes", "hash", "ms", "spread_ms", "repeats", "reference_ms")
COLUMNS += ("processor", "date", "failure")
TIMEOUT_S = 40.0
SIZES = 2  # a file with open sizes is measured at so many, the first of these with which it can be read
TRIED = ((320, 512), (640, 128), (224, 32), *UNBOUND_TRIED, (48, 48))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("files", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--processor", required=True, help="name of the hardware, as in a target")
    parser.add_argument("--pin", type=int, help="core to run on")
    parser.add_argument("--budget", type=float, default=0.5, help="seconds of timed runs a network, at most")
    chosen = parser.parse_args()
    done = set()
    if chosen.results.exists():
        with chosen.results.open(newline="") as text:
            done = {(row["model"], row["shapes"]) for row in csv.DictReader(text)}
    plan = Plan(budget_s=chosen.budget, min_repeats=3, min_s=0.1, warmup_s=0.05)
    cores = pinned(chosen.pin, 1) if chosen.pin is not None else ()
    supervisor = Supervisor(Setup("onnxruntime", "cpu", 1, cores, plan), TIMEOUT_S)
    with chosen.table.open(newline="", encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    with chosen.results.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if file.tell() == 0:
            writer.writerow(COLUMNS)
        for row in rows:
            name = row.get("model") or row["name"]
            for shapes, graph, failure in read(chosen.files / name, row):
                if (name, shapes) in done:
                    continue
                figures: list[object] = ["", "", "", ""]
                if graph is not None:
                    bound = dict(zip(graph.input_names, (tensor.shape for tensor in graph.inputs), strict=True))
                    result = supervisor.measure(Job(name, chosen.files / name, None, bound))
                    failure = result.failure[:200]
                    if not failure:
                        told = (result.median_ms, result.spread_ms, result.reference_ms)
                        median, spread, reference = (f"{value:.5g}" for value in told if value is not None)
                        figures = [median, spread, result.repeats, reference]
                mark = network_hash(graph) if graph is not None else ""
                date = datetime.now(timezone.utc).isoformat(timespec="seconds")
                known = [name, row["sha256"], row["kind"], row["family"], shapes, mark]
                writer.writerow([*known, *figures, chosen.processor, date, failure])
                file.flush()
                print(f"{name:70s} {shapes[:40]:40s} {failure or figures[0]}", flush=True)
    supervisor.stop()


def read(path: Path, row: Mapping[str, str]) -> Iterator[tuple[str, Graph | None, str]]:
    """The file at its sizes: as the table has them, as the file states them, or at some that can be read."""
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != row["sha256"]:
        yield "", None, "not the file of the table"
        return
    warnings.simplefilter("ignore")
    try:
        if "shapes" in row:
            graph = read_onnx(path, input_shapes=parse_input_shapes(row["shapes"].split()))
            yield row["shapes"], graph, ""
            return
        yield "", read_onnx(path), ""
    except UnboundError as error:
        found = []
        for sizes in error.examples(TRIED):
            try:
                graph = read_onnx(path, input_shapes=sizes.input_shapes, dims=sizes.dims)
            except NarformerError:
                continue
            if shapes_of(graph) not in found:
                found.append(shapes_of(graph))
                yield found[-1], graph, ""
            if len(found) == SIZES:
                return
        if not found:
            yield "", None, str(error)[:200]
    except NarformerError as error:
        yield "", None, str(error)[:200]


def shapes_of(graph: Graph) -> str:
    """As `--input-shape` takes them."""
    return " ".join(
        f"{name}={','.join(map(str, tensor.shape))}"
        for name, tensor in zip(graph.input_names, graph.inputs, strict=True)
    )


if __name__ == "__main__":
    main()
