"""The rows of a store under the ids that targets have now, with batch size and precision: run by a migration.

Ids of devices once said the batch size too, so several of them may become one. Every measurement is kept.
"""

from __future__ import annotations

import zlib

from sqlalchemy import Connection, select

from narformer.errors import ConfigError
from narformer.graph import Graph
from narformer.measurement.device import precision
from narformer.measurement.schema import devices, graphs, measurements
from narformer.prediction.target import Target, canonical_id, parse_former


def rename_devices(connection: Connection) -> None:
    """Give devices their present ids, and each measurement its batch size and precision, within the open transaction.

    The batch size is what the former id says, else the Graph's; the precision is the target's, else the Graph's.
    """
    described = {row.id: row.description for row in connection.execute(select(devices))}
    of_graphs = _of_graphs(connection)
    for former in described:
        here = measurements.c.device == former
        for hash in connection.execute(select(measurements.c.graph).where(here).distinct()).scalars().all():
            batch_size, computed_in = of_graphs.get(hash, (1, ""))
            rows = measurements.update().where(here, measurements.c.graph.is_not_distinct_from(hash))
            connection.execute(rows.values(batch_size=batch_size, precision=computed_in))
        told, target = parse_former(former), _target(former)
        if told is not None:
            connection.execute(measurements.update().where(here).values(batch_size=told[1]))
        if target is not None:
            connection.execute(measurements.update().where(here).values(precision=target.precision))
    for former in sorted(described):
        id = canonical_id(former)
        if id == former:
            continue
        if id not in described:
            described[id] = described[former]
            connection.execute(devices.insert().values(id=id, description=described[former]))
        elif not described[id]:
            described[id] = described[former]
            connection.execute(devices.update().where(devices.c.id == id).values(description=described[former]))
        connection.execute(measurements.update().where(measurements.c.device == former).values(device=id))
        connection.execute(devices.delete().where(devices.c.id == former))


def _target(id: str) -> Target | None:
    try:
        return Target.parse(id)
    except ConfigError:
        return None


def _of_graphs(connection: Connection) -> dict[str | None, tuple[int, str]]:
    """Batch size and precision of each Graph, by hash; of one that is damaged neither is known."""
    found: dict[str | None, tuple[int, str]] = {}
    for hash in connection.execute(select(graphs.c.hash)).scalars().all():
        content = connection.execute(select(graphs.c.content).where(graphs.c.hash == hash)).scalar_one()
        try:
            graph = Graph.from_json(zlib.decompress(content).decode())
        except Exception:  # whatever one of them does, the rows of all others have to be found
            continue
        found[hash] = (graph.batch_size, precision(graph))
    return found
