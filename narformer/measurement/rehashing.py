"""The Graphs of a store under the hashes that this version of narformer gives them: run by the last migration.

Columns that later revisions add are none of its business: it reads those that the table has.

A change of the canonical form changes hashes. Graphs are kept whole, so their new hashes can be computed; several old
ones may become one. Every measurement is kept. Old hashes are remembered, so that what was written down elsewhere, a
CSV for example, is understood.
"""

from __future__ import annotations

import zlib
from dataclasses import replace

from sqlalchemy import Connection, inspect, select

from narformer.frontends.canonical import network_hash
from narformer.graph import Graph
from narformer.measurement.measurement import Measurement
from narformer.measurement.schema import former_hashes, graphs, measurements
from narformer.measurement.store import FIELDS, digest


def rehash(connection: Connection) -> None:
    """Bring all hashes up to date, within the transaction that is open."""
    moved = _new_hashes(connection)
    contents = {
        row.hash: {"name": row.name, "content": row.content}
        for old in moved
        for row in connection.execute(select(graphs).where(graphs.c.hash == old))
    }
    there = {column["name"] for column in inspect(connection).get_columns("measurements")}
    names = [name for name in FIELDS if name in there]
    columns = [measurements.c[name] for name in ("id", "digest", *names)]
    rows = [
        (row.id, row.digest, Measurement(**{**{name: getattr(row, name) for name in names}, "graph": row.graph or ""}))
        for row in connection.execute(select(*columns).order_by(measurements.c.id))
    ]
    former = {row.hash: row.graph for row in connection.execute(select(former_hashes))}
    # A new hash may be an old one of another Graph: all old ones go before any new one comes.
    connection.execute(former_hashes.delete())
    for old in moved:
        connection.execute(measurements.update().where(measurements.c.graph == old).values(graph=None))
        connection.execute(graphs.delete().where(graphs.c.hash == old))
    present = set(connection.execute(select(graphs.c.hash)).scalars())
    for old, new in moved.items():
        if new not in present:
            connection.execute(graphs.insert().values(hash=new, **contents[old]))
            present.add(new)
    taken = {held for _, held, _ in rows}
    for id, held, measurement in rows:
        hash = moved.get(measurement.graph, measurement.graph)
        now = digest(replace(measurement, graph=hash))
        # The same record under two old hashes stays two rows; only one of them can have their common digest.
        if now in taken:
            now = held
        taken.add(now)
        if (hash, now) != (measurement.graph, held):
            connection.execute(
                measurements.update().where(measurements.c.id == id).values(graph=hash or None, digest=now)
            )
    former = {hash: moved.get(graph, graph) for hash, graph in (former | dict(zip(moved, moved, strict=True))).items()}
    for hash, graph in former.items():
        if hash not in present:
            connection.execute(former_hashes.insert().values(hash=hash, graph=graph))


def _new_hashes(connection: Connection) -> dict[str, str]:
    """By old hash, where they differ. A Graph that is damaged keeps its own: who asks for it is told."""
    moved: dict[str, str] = {}
    for old in sorted(connection.execute(select(graphs.c.hash)).scalars()):
        content = connection.execute(select(graphs.c.content).where(graphs.c.hash == old)).scalar_one()
        try:
            new = network_hash(Graph.from_json(zlib.decompress(content).decode()))
        except Exception:  # whatever one of them does, all others have to be found
            continue
        if new != old:
            moved[old] = new
    return moved
