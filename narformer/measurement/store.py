"""The store: every measurement ever made, in SQLite or PostgreSQL, with the Graphs and devices it was made of.

A Graph is known by the hash of its canonical form, so a network once measured is found again under any file name, and
whichever exporter wrote the file.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narformer.errors import MissingExtraError, StoreError, installing
from narformer.frontends.canonical import network_hash
from narformer.graph import Graph
from narformer.measurement.measurement import Measurement
from narformer.places import user_data
from narformer.prediction.target import canonical_id

if TYPE_CHECKING:
    from types import TracebackType

    from sqlalchemy import ColumnElement, Connection, Insert, Row, Table

    from narformer.measurement.database import Database

# Fields that came later; the digest of a record that lacks one is what it was before.
_LATER = ("min_ms", "p90_ms", "p99_ms", "mean_ms")
_FLOATS = ("latency_ms", "spread_ms", "drift", *_LATER)
FIELDS = tuple(field.name for field in fields(Measurement))
# Values in one `IN (…)`: every SQLite takes this many.
VALUES_A_QUERY = 500


def default_store() -> str:
    """Where the store is by default: `$NARFORMER_STORE` (a path or URL), else a file of the user's."""
    if location := os.environ.get("NARFORMER_STORE"):
        return location
    return str(user_data() / "measurements.db")


@dataclass(frozen=True)
class StoredDevice:
    """A device of the store: measured and failed count its measurements, networks the different ones among them."""

    id: str
    description: str
    measured: int
    failed: int
    networks: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON's types; `id` is what `target` was called."""
        return {"target": self.id, **asdict(self)}


class Store:
    """A store that is open. Many processes may have the same one open and write at once.

    >>> import narformer
    >>> from narformer.frontends.canonical import network_hash
    >>> from narformer.measurement.measurement import Measurement
    >>> graph = narformer.read_onnx("examples/resnet18.onnx")
    >>> with narformer.Store.open() as store:
    ...     store.add(Measurement(network_hash(graph), "resnet18.onnx", "my-board", 12.5), graph)
    ...     store.latest(network_hash(graph), "my-board").latency_ms
    12.5
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._present: set[str] = set()  # hashes of Graphs and ids of devices that are surely in the database

    @classmethod
    def open(cls, location: str | Path | None = None, create: bool = True) -> Store:
        """Open the store at a path (SQLite) or URL (`postgresql://…`); without one, the user's default.

        create: make a missing SQLite file; its directory has to exist, unless it is the default's.
        Raises StoreError where it cannot be opened or a newer version wrote it, MissingExtraError without SQLAlchemy.
        """
        try:
            from narformer.measurement.database import Database
        except ModuleNotFoundError as error:
            raise MissingExtraError(f"the store needs SQLAlchemy: {installing('measure')}") from error
        chosen = default_store() if location is None else str(location)
        if location is None and create and "://" not in chosen and not os.environ.get("NARFORMER_STORE"):
            try:
                Path(chosen).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(
                    f"{chosen}: its directory cannot be made ({error.strerror}); name another place with "
                    "--store or NARFORMER_STORE"
                ) from error
        return cls(Database(chosen, create))

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all connections."""
        self._database.close()

    def outlast(self, seconds: float, tell: Callable[[str], None]) -> None:
        """From now on wait so long, reading and writing, for a server that is restarted or a disk that is full.

        tell: hears what is wrong, once each time.
        """
        self._database.outlast(seconds, tell)

    @property
    def name(self) -> str:
        """The path or URL, without a password."""
        return self._database.name

    def __repr__(self) -> str:
        return f"Store({self.name!r})"

    # --- writing

    def add(self, measurement: Measurement, graph: Graph | None) -> None:
        """Write one measurement, and its Graph if it is new; on the disk when this returns.

        graph: None only for a network that could not be read (then `measurement.graph` is empty), or one whose Graph
        is in the store. The same record added again changes nothing. Raises StoreError where it cannot be written
        (the store is as before), ValueError for a record that contradicts itself.
        """
        self.add_all([(measurement, graph)])

    def add_all(self, pairs: Iterable[tuple[Measurement, Graph | None]]) -> int:
        """Write several in one transaction: all or none. Returns how many the store did not have."""
        rows, contents, devices = [], {}, set()
        for measurement, graph in pairs:
            rows.append(_row(measurement, graph))
            devices.add(rows[-1]["device"])
            hash = rows[-1]["graph"]
            if graph is not None and hash not in self._present and hash not in contents:
                content = zlib.compress(graph.to_json().encode())
                contents[hash] = {"hash": hash, "name": _text(graph.name), "content": content}

        def work(connection: Connection) -> int:
            from narformer.measurement import schema

            # Sorted, so that two transactions with the same new rows wait for each other in one order.
            for key in sorted(contents):
                connection.execute(_insert(connection, schema.graphs), contents[key])
            for device in sorted(devices - self._present):
                connection.execute(_insert(connection, schema.devices), {"id": device, "description": ""})
            statement = _insert(connection, schema.measurements).execution_options(preserve_rowcount=True)
            return sum(connection.execute(statement, row).rowcount for row in rows)

        added = self._database.write(work)
        self._present |= contents.keys() | devices
        return added

    def describe(self, device: str, description: str) -> None:
        """Keep a text about a device: the machine, the runtime's version, whatever its id leaves out."""

        def work(connection: Connection) -> None:
            from narformer.measurement import schema

            table, id = schema.devices, canonical_id(_text(device))
            connection.execute(_insert(connection, table), {"id": id, "description": ""})
            connection.execute(table.update().where(table.c.id == id).values(description=_text(description)))

        self._database.write(work)

    def claim(self, graph: str, device: str, session: str, seconds: float) -> bool:
        """Say that a session is measuring a Graph on a device, for so long; False where another one is."""
        from narformer.measurement.schema import claims

        id, now = canonical_id(_text(device)), time.time()
        row = {"graph": graph, "device": id, "session": session, "until": now + seconds}
        this = (claims.c.graph == graph) & (claims.c.device == id)

        def work(connection: Connection) -> bool:
            connection.execute(claims.delete().where(this & ((claims.c.until < now) | (claims.c.session == session))))
            return (
                connection.execute(_insert(connection, claims).execution_options(preserve_rowcount=True), row).rowcount
                > 0
            )

        return self._database.write(work)

    def release(self, session: str) -> None:
        """Give back what a session has claimed."""
        from narformer.measurement.schema import claims

        self._database.write(lambda connection: connection.execute(claims.delete().where(claims.c.session == session)))

    def remove(
        self,
        graph: str | Sequence[str] | None = None,
        device: str | Sequence[str] | None = None,
        failed: bool | None = None,
        model: str | None = None,
    ) -> int:
        """Take out what `find` finds, and Graphs and devices of which nothing is left. Returns how many."""
        from sqlalchemy import select

        from narformer.measurement import schema

        table = schema.measurements

        def work(connection: Connection) -> int:
            removed = connection.execute(table.delete().where(*_conditions(graph, device, failed, model))).rowcount
            graphs, former, devices = schema.graphs, schema.former_hashes, schema.devices
            measured = select(table.c.graph).where(table.c.graph.is_not(None))
            connection.execute(former.delete().where(former.c.graph.not_in(measured)))
            connection.execute(graphs.delete().where(graphs.c.hash.not_in(measured)))
            connection.execute(devices.delete().where(devices.c.id.not_in(select(table.c.device))))
            return removed

        removed = self._database.write(work)
        self._present.clear()
        return removed

    # --- reading

    def find(
        self,
        graph: str | Sequence[str] | None = None,
        device: str | Sequence[str] | None = None,
        failed: bool | None = None,
        model: str | None = None,
    ) -> list[Measurement]:
        """Measurements in the order of writing.

        graph: a hash or several. device: an id or several. failed: only those that failed, or only the others; None:
        both. model: a part of its name, in any case of letters.
        """
        from narformer.measurement.schema import measurements as table

        query = table.select().where(*_conditions(graph, device, failed, model)).order_by(table.c.id)
        return self._database.read(lambda connection: [_measurement(row) for row in connection.execute(query)])

    def latest(self, graph: str, device: str) -> Measurement | None:
        """The last measurement of a Graph (its hash) on a target that did not fail."""
        return self.latest_of([graph], [device]).get((graph, canonical_id(device)))

    def latest_of(
        self, graphs: Sequence[str], devices: Sequence[str] | None = None
    ) -> dict[tuple[str, str], Measurement]:
        """`latest` of many Graphs on some devices (all by default), by hash and device."""
        from narformer.measurement.schema import measurements as table

        hashes = list(dict.fromkeys(graphs))
        query = table.select().where(table.c.latency_ms.is_not(None)).order_by(table.c.measured_at, table.c.id)
        if devices is not None:
            query = query.where(table.c.device.in_([canonical_id(device) for device in devices]))

        def work(connection: Connection) -> dict[tuple[str, str], Measurement]:
            found: dict[tuple[str, str], Measurement] = {}
            for start in range(0, len(hashes), VALUES_A_QUERY):
                some = query.where(table.c.graph.in_(hashes[start : start + VALUES_A_QUERY]))
                found |= {(row.graph, row.device): _measurement(row) for row in connection.execute(some)}
            return found

        return self._database.read(work)

    def graph(self, hash: str) -> Graph | None:
        """The Graph of this hash; None where the store has none."""
        from narformer.measurement.schema import graphs

        query = graphs.select().where(graphs.c.hash == hash)
        row = self._database.read(lambda connection: connection.execute(query).first())
        try:
            return None if row is None else Graph.from_json(zlib.decompress(row.content).decode())
        except (zlib.error, UnicodeDecodeError) as error:
            raise StoreError(f"{self.name}: the Graph {hash} is damaged ({error})") from error

    def current_hash(self, hash: str) -> str | None:
        """What the Graph of this hash is known by: the hash itself, or where an older version gave it, another one.

        None where the store has no such Graph.
        """
        from narformer.measurement.schema import former_hashes, graphs

        here = graphs.select().where(graphs.c.hash == hash).with_only_columns(graphs.c.hash)
        former = former_hashes.select().where(former_hashes.c.hash == hash).with_only_columns(former_hashes.c.graph)

        def work(connection: Connection) -> str | None:
            found: str | None = connection.execute(here).scalar() or connection.execute(former).scalar()
            return found

        return self._database.read(work)

    def devices(self) -> list[StoredDevice]:
        """All devices by id, with the number of measurements of each."""
        from sqlalchemy import func, select

        from narformer.measurement.schema import devices, measurements

        of = measurements.c
        counts = (
            func.count(of.latency_ms),
            func.count(of.id) - func.count(of.latency_ms),
            func.count(of.graph.distinct()),
        )
        query = (
            select(devices.c.id, devices.c.description, *counts)
            .select_from(devices.outerjoin(measurements))
            .group_by(devices.c.id, devices.c.description)
        )
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return sorted((StoredDevice(*row) for row in rows), key=lambda device: device.id)


def _conditions(
    graph: str | Sequence[str] | None, device: str | Sequence[str] | None, failed: bool | None, model: str | None
) -> list[ColumnElement[bool]]:
    """What `find` looks for, as the database is asked."""
    from narformer.measurement.schema import measurements

    of = measurements.c
    conditions: list[ColumnElement[bool]] = []
    if graph is not None:
        conditions.append(of.graph.in_([graph] if isinstance(graph, str) else graph))
    if device is not None:
        ids = [device] if isinstance(device, str) else device
        conditions.append(of.device.in_([canonical_id(id) for id in ids]))
    if failed is not None:
        conditions.append(of.latency_ms.is_(None) if failed else of.latency_ms.is_not(None))
    if model is not None:
        conditions.append(of.model.icontains(model, autoescape=True))
    return conditions


def _row(measurement: Measurement, graph: Graph | None) -> dict[str, Any]:
    """The columns of a Measurement. Raises ValueError where it contradicts itself or its Graph."""
    if graph is not None and network_hash(graph) != measurement.graph:
        raise ValueError(
            f"a measurement of the Graph {measurement.graph or '(none)'}, given with {network_hash(graph)}"
        )
    if not measurement.device:
        raise ValueError("a measurement without a device")
    if (measurement.latency_ms is None) != bool(measurement.failure):
        raise ValueError("a measurement has either a latency or the reason why there is none")
    if measurement.latency_ms is not None and not 0 < measurement.latency_ms < math.inf:
        raise ValueError(f"{measurement.latency_ms} ms is not a latency")
    if not (math.isfinite(measurement.drift) and math.isfinite(measurement.spread_ms or 0.0)):
        raise ValueError("the drift and the spread of a measurement are numbers")
    if measurement.batch_size < 1 or (graph is not None and graph.batch_size not in (0, measurement.batch_size)):
        given = "" if graph is None else f", given with a Graph of {graph.batch_size}"
        raise ValueError(f"a measurement at batch size {measurement.batch_size}{given}")
    row = _values(measurement)
    return {**row, "graph": row["graph"] or None, "digest": digest(measurement)}


def digest(measurement: Measurement) -> str:
    """The same for the same record, whether it comes from a measurement, from a database or from a file."""
    values = [value for name, value in _values(measurement).items() if name not in _LATER or value is not None]
    return hashlib.sha256(repr(tuple(values)).encode()).hexdigest()


def _values(measurement: Measurement) -> dict[str, Any]:
    """The fields as the database gives them back."""
    values: dict[str, Any] = {}
    for name in FIELDS:
        value = getattr(measurement, name)
        if value is not None:
            value = _text(value) if isinstance(value, str) else float(value) if name in _FLOATS else int(value)
        values[name] = canonical_id(value) if name == "device" else value
    return values


def _measurement(row: Row[Any]) -> Measurement:
    values = {name: getattr(row, name) for name in FIELDS}
    return Measurement(**{**values, "graph": values["graph"] or ""})


def _text(value: str) -> str:
    """What both databases and CSV can keep. Reasons of failures may hold anything; PostgreSQL takes no NUL."""
    text = value.encode(errors="replace").decode().replace("\0", "\ufffd")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _insert(connection: Connection, table: Table) -> Insert:
    """Insert unless the row is there."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table).on_conflict_do_nothing()
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table).on_conflict_do_nothing()
