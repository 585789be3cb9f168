"""The tables that `measure_gpu.py` writes, a line a cell or a failure, and what they hold."""

from __future__ import annotations

import csv
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from gpu_plan import Cell, Planned

COLUMNS = ("source", "name", "size", "precision", "layout", "compiled", "batch", "round")
FIGURES = ("ms", "spread_ms", "mean_ms", "min_ms", "steps", "first_s", "peak_mb", "at_s", "worker")
FAILURES = ("source", "name", "size", "round", "cell", "reason")


def failures_of(results: Path) -> Path:
    return results.with_suffix(".failures.csv")


def begin(path: Path, columns: Sequence[str]) -> None:
    """Starts a table; of one that is there, a last line that was cut short is taken away."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = path.read_text() if path.exists() else ""
    whole = text[: text.rfind("\n") + 1] or f"{','.join(columns)}\n"
    if whole != text:
        path.write_text(whole)


def append(path: Path, cells: Sequence[object]) -> None:
    """One line in one write, so that lines of several processes do not mix."""
    line = ",".join(str(cell).replace(",", ";").replace('"', "'").replace("\n", " ") for cell in cells)
    with path.open("a") as file:
        file.write(f"{line}\n")


def tell_failure(results: Path, row: Planned, cell: str, error: Exception) -> None:
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    append(failures_of(results), [row.source, row.name, row.size, row.round, cell, reason])


def done_in(results: Path) -> tuple[set[tuple[str, Cell, int]], set[tuple[str, int]]]:
    """Cells that were measured, and networks that could not be built."""
    done, hopeless = set(), set()
    for row in read(results):
        cell = Cell(row["precision"], row["layout"], row["compiled"] == "1", int(row["batch"]))
        done.add((f"{row['source']}/{row['name']}@{row['size']}", cell, int(row["round"])))
    for row in read(failures_of(results)):
        if row["source"] and not row["cell"]:
            hopeless.add((f"{row['source']}/{row['name']}@{row['size']}", int(row["round"])))
    return done, hopeless


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def describe_all(paths: Sequence[Path]) -> None:
    rows = [row for path in paths for row in read(path)]
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
        failures = read(failures_of(path))
        for reason, count in Counter(row["reason"][:100] for row in failures).most_common(8):
            print(f"  failed {count:4d}  {reason}")
