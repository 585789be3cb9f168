"""Into the store and out of it: NNLQP's layout, CSV with a row a measurement, and other stores.

What is exported can be imported, and exported again is the same: a store with all that it holds, a CSV where the
networks are at hand, a dataset with the last latency of each network.

An import can be given again, after an interruption or for ever: what the store has is not added twice.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from narformer.datasets.nnlqp import load_nnlqp
from narformer.datasets.table import positive, read_table
from narformer.errors import ConfigError, DataError, NarformerError, StoreError
from narformer.frontends.canonical import network_hash
from narformer.frontends.onnx import read_onnx
from narformer.frontends.onnx.unbound import UnboundError
from narformer.frontends.onnx.weightless import weightless_onnx
from narformer.graph import Graph
from narformer.measurement.device import precision
from narformer.measurement.measurement import Measurement
from narformer.measurement.store import Store
from narformer.prediction.target import Target, canonical_id, parse_former

# A measurement to add with its Graph (None where the store has it), or why one cannot be added.
Entry = tuple[Measurement, Graph | None] | str
COLUMNS = tuple(field.name for field in fields(Measurement))
# What others measured has no session of ours; always the same, or importing twice would add twice.
SESSION = "imported"
_NUMBERS: Sequence[tuple[str, type[int] | type[float]]] = (
    ("spread_ms", float),
    ("drift", float),
    ("repeats", int),
    ("peak_memory_bytes", int),
    ("batch_size", int),
    ("min_ms", float),
    ("p90_ms", float),
    ("p99_ms", float),
    ("mean_ms", float),
)
# Networks written in one transaction: few enough that an interruption costs little.
TOGETHER = 50
# Characters of a name in a path: at four bytes each below what file systems take.
LONGEST_WORD = 60


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
                (_of(graph, Measurement("", file, device, float(latency), session=SESSION)), graph)
                for device, latency in zip(dataset.devices, latencies, strict=True)
                if not np.isnan(latency)  # listed there, but not measured yet
            ]

    return len(dataset), each()


def _of_csv(path: Path, store: Store) -> tuple[int, Iterator[list[Entry]]]:
    """Rows of `model, device, latency_ms` and any other fields of a Measurement.

    A row's network is that of its `graph` (a hash that the store has), else the ONNX file `model`, beside the CSV, at
    the row's batch size or at the one that the file says. With an empty `graph` and a failure it could not be read.
    """
    table = read_table(path, ("model", "device", "latency_ms"))
    unread = "graph" in table[0]
    unknown = sorted(set(table[0]) - set(COLUMNS))
    if unknown:
        raise DataError(f"{path}: unknown columns {', '.join(unknown)}; there may be {', '.join(COLUMNS)}")
    rows = [_parsed(row, f"{path}, row {number}") for number, row in enumerate(table, start=2)]

    files = _Files(path.parent)
    known: dict[str, str | None] = {}  # what Graphs are known by in the store, by the hashes of rows
    held: dict[str, Graph | None] = {}  # Graphs of the store

    def told(row: Measurement, graph: Graph | None) -> Measurement:
        found = _of(graph, row)
        return replace(found, precision=row.precision) if "precision" in table[0] else found

    def entry(row: Measurement, where: str) -> Entry:
        if row.failure and not row.graph and unread:
            return told(row, None), None
        if row.graph and (hash := known.setdefault(row.graph, store.current_hash(row.graph))):
            if not (row.batch_size and "precision" in table[0]):
                held.setdefault(hash, store.graph(hash))
                row = told(row, held[hash])
            return replace(row, graph=hash), None
        try:
            graph = files.network(row)
        except NarformerError as error:
            if isinstance(error, UnboundError):
                return f"{where}: {error.told}; a CSV does not say them: export the store as a .db, or measure again"
            if row.graph or not row.failure:  # else this may be the very failure that the row tells of
                return str(error)
            return told(row, None), None
        if graph is None:
            if row.graph or not row.failure:
                return f"{where}: {row.model}: no such file, and its network is not in the store"
            return told(row, None), None
        if row.graph and row.graph not in (network_hash(graph), graph.hash):
            return f"{where}: {row.model} is not the network that was measured; its hash differs"
        return told(row, graph), graph

    return len(rows), ([entry(row, f"{path}, row {number}")] for number, row in enumerate(rows, start=2))


def _of(graph: Graph | None, row: Measurement) -> Measurement:
    """A measurement of this Graph: with its hash and batch size, and what it computed in.

    Of a network that is not at hand, at batch size 1 where none is told.
    """
    computed_in = _precision(row.device)
    if graph is None:
        return replace(row, batch_size=row.batch_size or 1, precision=computed_in)
    hash, batch_size = network_hash(graph), max(graph.batch_size, 1)
    return replace(row, graph=hash, batch_size=batch_size, precision=computed_in or precision(graph))


def _precision(device: str) -> str:
    """The precision that a target computes in; empty for what is no target."""
    try:
        return Target.parse(device).precision
    except ConfigError:
        return ""


class _Files:
    """ONNX files of a directory, each read once at a batch size."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._read: dict[tuple[str, int | None], Graph | NarformerError] = {}

    def network(self, row: Measurement) -> Graph | None:
        """The network of a row: at its batch size, or as the file says where that is told to be the network measured.

        None where there is no such file. Raises ModelError for one that cannot be read.
        """
        if not row.model or not (self.directory / row.model).is_file():
            return None
        if row.graph or not row.batch_size:
            graph = self._at(row.model, None)
            if not row.batch_size or row.graph in (network_hash(graph), graph.hash):
                return graph
        return self._at(row.model, row.batch_size)

    def _at(self, model: str, batch: int | None) -> Graph:
        if (model, batch) not in self._read:
            try:
                self._read[model, batch] = read_onnx(self.directory / model, batch_size=batch)
            except NarformerError as error:
                self._read[model, batch] = error
        found = self._read[model, batch]
        if isinstance(found, NarformerError):
            raise found
        return found


def _parsed(row: dict[str, str], where: str) -> Measurement:
    """The fields of a row; batch_size 0 where neither it nor the former id of a device says one."""
    values: dict[str, Any] = {
        "graph": "",
        "session": row.get("session", SESSION),
        **{k: v for k, v in row.items() if v},
    }
    values.setdefault("latency_ms", None)
    former = parse_former(values.get("device", ""))
    values.setdefault("batch_size", former[1] if former else 0)
    if values["batch_size"] == "0":
        raise DataError(f"{where}, batch_size: 0 is none")
    values["device"] = canonical_id(values.get("device", ""))
    for name, kind in _NUMBERS:
        if name in values:
            try:
                values[name] = kind(values[name])
            except ValueError as error:
                raise DataError(f"{where}, {name}: {values[name]!r} is not a number") from error
            if not math.isfinite(values[name]):
                raise DataError(f"{where}, {name}: {values[name]!r} is not a number")
    if values["latency_ms"] is not None:
        values["latency_ms"] = positive(values["latency_ms"], f"{where}, latency_ms")
    values.setdefault("model", "")
    if not values["model"] and not values["graph"] and not values.get("failure"):
        raise DataError(f"{where}: no model")
    if not values.get("device"):
        raise DataError(f"{where}: no device")
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
                    hashes[row.graph] = network_hash(graph)
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


def export_store(rows: Sequence[Measurement], store: Store, path: Path) -> int:
    """Write measurements with their networks, and their devices' descriptions, as a new store; how many.

    Raises DataError where something is at `path` already, StoreError where it cannot be written.
    """
    if path.exists():
        raise DataError(f"{path}: exists already; give a new file (`narformer store import` adds to a store)")
    part = path.with_name(f".{path.name}.part")
    for left in part.parent.glob(f"{part.name}*"):  # by an export that was interrupted
        left.unlink()
    described = {device.id: device.description for device in store.devices()}
    given: set[str] = set()

    def entry(row: Measurement) -> Entry:
        graph = None if row.graph in given else store.graph(row.graph)
        given.add(row.graph)
        return row, graph

    with Store.open(part) as new:
        added = add(new, ([entry(row)] for row in rows)).added
        for device in sorted({row.device for row in rows}):
            if described[device]:
                new.describe(device, described[device])
    try:
        os.replace(part, path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror})") from error
    return added


def export_nnlqp(rows: Iterable[Measurement], store: Store, directory: Path) -> Iterator[str | None]:
    """Write the last latency of each network on each device as `gt.txt`, and the networks as weightless ONNX beside it.

    A generator, a step a network: yields why one was left out, else None. ModelType is the name of the directory that
    the network's file was in. Networks come in the order of their files, so that what is exported from the import is
    the same. Raises DataError where `directory` holds a dataset already or cannot be written, or where nothing has a
    latency.
    """
    if (directory / "gt.txt").exists():
        raise DataError(f"{directory}: holds a dataset already; give a new directory")
    latest: dict[str, dict[str, Measurement]] = {}
    for row in sorted(rows, key=lambda row: row.measured_at):
        if row.latency_ms is not None:
            latest.setdefault(row.graph, {})[row.device] = row
    if not latest:
        raise DataError(f"{directory}: none of these measurements has a latency, and a dataset is of latencies")
    devices = _words({row.device for by_device in latest.values() for row in by_device.values()}, ":")
    families = {hash: _word(Path(next(iter(of.values())).model).parent.name) for hash, of in latest.items()}
    lines: list[str] = []
    number = 0
    for hash in sorted(latest, key=lambda hash: (families[hash], hash)):
        file = f"onnx/{families[hash]}/{hash[:16]}.onnx"
        graph = store.graph(hash)
        assert graph is not None  # the database refuses a measurement without
        batch = max(graph.batch_size, 1)
        model = next(iter(latest[hash].values())).model
        try:
            network = weightless_onnx(graph)
            network.graph.name = hash[:16]  # not what it was called here, which is of no use to others
            content = network.SerializeToString()
            if network_hash(read_onnx(content, batch_size=batch)) != hash:
                raise DataError("cannot be written as weightless ONNX without becoming another network")
        except NarformerError as error:
            yield f"{model}: {error}"
            continue
        _write(directory / file, content)
        for device, row in sorted(latest[hash].items(), key=lambda item: devices[item[0]]):
            lines.append(f"{number} {file} {batch} {row.latency_ms!r} {families[hash]} {devices[device]}\n")
        number += 1
        yield None
    if lines:
        _write(directory / "gt.txt", "".join(lines).encode())


def _words(texts: Iterable[str], also: str = "") -> dict[str, str]:
    """A word for each text, and another for each other. also: characters that words may have besides."""
    words: dict[str, str] = {}
    for text in sorted(texts, key=lambda text: (_word(text, also) != text, text)):  # what is a word already stays one
        word, again = _word(text, also), 1
        while word in words.values():
            again += 1
            word = f"{_word(text)}_{again}"
        words[text] = word
    return words


def _word(text: str, also: str = "") -> str:
    """What may stand in a column of gt.txt, and, where nothing else is allowed, in a path."""
    word = re.sub(rf"[^\w.+{also}-]+", "_", text).lstrip(".")[:LONGEST_WORD]
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
