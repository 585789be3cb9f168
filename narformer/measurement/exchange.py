"""Into the store and out of it: NNLQP's layout, CSV with a row a measurement, and other stores.

An import can be given again, after an interruption or for ever: what the store has is not added twice.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from narformer.datasets.nnlqp import load_nnlqp
from narformer.datasets.table import positive, read_table
from narformer.errors import DataError, NarformerError
from narformer.frontends.onnx import read_onnx
from narformer.frontends.weightless import weightless_onnx
from narformer.graph import Graph
from narformer.measurement.measurement import Measurement
from narformer.measurement.store import Store

# A measurement to add with its Graph (None where the store has it), or why one cannot be added.
Entry = tuple[Measurement, Graph | None] | str
COLUMNS = tuple(field.name for field in fields(Measurement))
# What others measured has no session of ours; always the same, or importing twice would add twice.
SESSION = "imported"
# Networks written in one transaction: few enough that an interruption costs little.
TOGETHER = 50


@dataclass(frozen=True)
class Imported:
    """added: rows that the store did not have. present: rows that it had. skipped: why others were left out."""

    added: int
    present: int
    skipped: tuple[str, ...]


def entries(source: str, store: Store) -> tuple[int, Iterator[list[Entry]]]:
    """What a directory in NNLQP's layout, a CSV file, or another store holds: how many items, and the entries of each.

    Raises DataError for a malformed file (before anything is read into the store), StoreError for a store that cannot
    be opened.
    """
    path = Path(source)
    if "://" not in source and path.is_dir():
        return _of_nnlqp(path)
    if path.suffix.lower() == ".csv":
        return _of_csv(path, store)
    return _of_store(source, store)


def add(store: Store, items: Iterable[list[Entry]]) -> Imported:
    """Add all entries, some items a transaction."""
    added = total = 0
    skipped: list[str] = []
    waiting: list[tuple[Measurement, Graph | None]] = []

    def flush() -> None:
        nonlocal added, total
        added += store.add_all(waiting)
        total += len(waiting)
        waiting.clear()

    for number, item in enumerate(items, start=1):
        for entry in item:
            if isinstance(entry, str):
                skipped.append(entry)
            else:
                waiting.append(entry)
        if number % TOGETHER == 0:
            flush()
    flush()
    return Imported(added, total - added, tuple(skipped))


def _of_nnlqp(directory: Path) -> tuple[int, Iterator[list[Entry]]]:
    dataset = load_nnlqp(directory)

    def each() -> Iterator[list[Entry]]:
        for id, source, latencies in zip(dataset.ids, dataset.sources, dataset.targets, strict=True):
            try:
                graph = source.graph()
            except NarformerError as error:
                yield [str(error)]
                continue
            file = id.rpartition("@")[0]
            yield [
                (Measurement(graph.hash, file, device, float(latency), session=SESSION), graph)
                for device, latency in zip(dataset.devices, latencies, strict=True)
                if not np.isnan(latency)  # listed there, but not measured yet
            ]

    return len(dataset), each()


def _of_csv(path: Path, store: Store) -> tuple[int, Iterator[list[Entry]]]:
    """Rows of `model, device, latency_ms` and any other fields of a Measurement.

    A row's network is that of its `graph` (a hash that the store has), else the ONNX file `model`, beside the CSV.
    """
    table = read_table(path, ("model", "device", "latency_ms"))
    unknown = sorted(set(table[0]) - set(COLUMNS))
    if unknown:
        raise DataError(f"{path}: unknown columns {', '.join(unknown)}; there may be {', '.join(COLUMNS)}")
    rows = [_parsed(row, f"{path}, row {number}") for number, row in enumerate(table, start=2)]

    def each() -> Iterator[list[Entry]]:
        hashes: dict[str, str] = {}  # of files that were read
        present: set[str] = set()  # hashes of Graphs that the store has
        for number, row in enumerate(rows, start=2):
            graph = None
            if row.graph not in present and not (row.graph and store.graph(row.graph)):
                if row.model not in hashes and (path.parent / row.model).is_file():
                    try:
                        graph = read_onnx(path.parent / row.model)
                        hashes[row.model] = graph.hash
                    except NarformerError as error:
                        if row.graph or not row.failure:  # else this may be the very failure that the row tells of
                            yield [str(error)]
                            continue
                found = hashes.get(row.model)
                if found is None and (row.graph or not row.failure):
                    yield [f"{path}, row {number}: {row.model}: no such file, and its network is not in the store"]
                    continue
                if row.graph and found != row.graph:
                    yield [f"{path}, row {number}: {row.model} is not the network that was measured; its hash differs"]
                    continue
                row = replace(row, graph=found or "")
            present.add(row.graph)
            yield [(row, graph)]

    return len(rows), each()


def _parsed(row: dict[str, str], where: str) -> Measurement:
    values: dict[str, Any] = {
        "graph": "",
        "session": row.get("session", SESSION),
        **{k: v for k, v in row.items() if v},
    }
    values.setdefault("latency_ms", None)
    for name, kind in (("spread_ms", float), ("drift", float), ("repeats", int), ("peak_memory_bytes", int)):
        if name in values:
            try:
                values[name] = kind(values[name])
            except ValueError as error:
                raise DataError(f"{where}, {name}: {values[name]!r} is not a number") from error
    if values["latency_ms"] is not None:
        values["latency_ms"] = positive(values["latency_ms"], f"{where}, latency_ms")
    for name in ("model", "device"):
        if not values.get(name):
            raise DataError(f"{where}: no {name}")
    if (values["latency_ms"] is None) != bool(values.get("failure")):
        raise DataError(f"{where}: needs either latency_ms or a failure")
    return Measurement(**values)


def _of_store(location: str, store: Store) -> tuple[int, Iterator[list[Entry]]]:
    other = Store.open(location, create=False)
    rows = other.find()

    def each() -> Iterator[list[Entry]]:
        with other:
            described = {device.id for device in store.devices() if device.description}
            for device in other.devices():
                if device.description and device.id not in described:
                    store.describe(device.id, device.description)
            hashes = {"": ""}  # there and here: an older narformer may have hashed otherwise
            for row in rows:
                graph = None
                if row.graph not in hashes:
                    graph = other.graph(row.graph)
                    assert graph is not None  # the database refuses a measurement without
                    hashes[row.graph] = graph.hash
                yield [(replace(row, graph=hashes[row.graph]), graph)]

    return len(rows), each()


# --- out of the store


def export_csv(rows: Iterable[Measurement], path: Path) -> None:
    """Write a row a measurement. Raises DataError where it cannot be written; a file that is there is replaced then."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writeheader()
    writer.writerows(row.to_dict() for row in rows)
    _write(path, text.getvalue().encode())


def export_nnlqp(rows: Iterable[Measurement], store: Store, directory: Path) -> Iterator[str | None]:
    """Write the last latency of each network on each device as `gt.txt`, and the networks as weightless ONNX beside it.

    A generator, a step a network: yields why one was left out, else None. ModelType is the name of the directory that
    the network's file was in. Raises DataError where `directory` holds a dataset already or cannot be written.
    """
    if (directory / "gt.txt").exists():
        raise DataError(f"{directory}: holds a dataset already; give a new directory")
    latest: dict[str, dict[str, Measurement]] = {}
    for row in sorted(rows, key=lambda row: row.measured_at):
        if row.latency_ms is not None:
            latest.setdefault(row.graph, {})[row.device] = row
    lines: list[str] = []
    for number, (hash, by_device) in enumerate(latest.items()):
        model = next(iter(by_device.values())).model
        family = _word(Path(model).parent.name)
        file = f"onnx/{family}/{hash[:16]}.onnx"
        graph = store.graph(hash)
        assert graph is not None  # the database refuses a measurement without
        try:
            content = weightless_onnx(graph).SerializeToString()
        except NarformerError as error:
            yield f"{model}: {error}"
            continue
        _write(directory / file, content)
        for device, row in by_device.items():
            batch = max(graph.batch_size, 1)
            lines.append(f"{number} {file} {batch} {row.latency_ms!r} {family} {_word(device)}\n")
        yield None
    _write(directory / "gt.txt", "".join(lines).encode())


def _word(text: str) -> str:
    """What may stand in a column of gt.txt and in a path."""
    word = re.sub(r"[^\w.+-]+", "_", text).lstrip(".")
    return "unknown" if word in ("", "onnx") else word


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; its directory is made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error
