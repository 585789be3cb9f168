"""A store written when networks were known by what their files say: it answers on, and no measurement is lost."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy: pip install 'narformer[measure]'")

import sqlalchemy
from alembic import command
from alembic.config import Config

from narformer.errors import StoreError
from narformer.frontends.canonical import network_hash
from narformer.graph import Graph, Node, Operand, Tensor
from narformer.measurement import schema
from narformer.measurement.measurement import Measurement
from narformer.measurement.rehashing import rehash
from narformer.measurement.store import Store

# What a record had before a batch size, a precision and percentiles came to it.
THEN = ("graph", "model", "device", "latency_ms", "spread_ms", "repeats", "drift", "peak_memory_bytes", "failure")
THEN += ("session", "measured_at")
X = Tensor((1, 8))
FIRST = Node("r", "Relu", (Operand(X, ~0),), (X,))
# Two files of one network, and a file of another.
PLAIN = Graph((FIRST,), (X,), ("x",), "plain")
PADDED = Graph((FIRST, Node("i", "Identity", (Operand(X, 0),), (X,))), (X,), ("x",), "padded")
OTHER = Graph((FIRST._replace(op="Tanh"),), (X,), ("x",), "other")


def old(graph: Graph, latency: float, session: str = "s") -> tuple[Measurement, Graph]:
    return Measurement(graph.hash, "net.onnx", "cpu", latency, session=session), graph


ROWS: list[tuple[Measurement, Graph | None]] = [
    old(PLAIN, 1.0),
    old(PADDED, 2.0),
    old(OTHER, 3.0),
    (Measurement("", "broken.onnx", "cpu", None, failure="unreadable"), None),
    (Measurement(PADDED.hash, "net.onnx", "gpu", None, failure="timeout"), PADDED),
    # The same record twice, as somebody may have imported it from two files of one name.
    old(PLAIN, 5.0, "imported"),
    old(PADDED, 5.0, "imported"),
]
# The same rows by what networks are known by now.
EXPECTED = [row if graph is None else replace(row, graph=network_hash(graph), precision="fp32") for row, graph in ROWS]


def write_old(location: str, rows: Sequence[tuple[Measurement, Graph | None]], revision: str = "0001") -> None:
    """A store of an earlier schema, whose hashes are those of Graphs."""
    url = location if "://" in location else f"sqlite:///{location}"
    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(schema.__file__).with_name("migrations")))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        tables = sqlalchemy.MetaData()  # as they were
        tables.reflect(connection)
        for device in sorted({row.device for row, _ in rows}):
            connection.execute(tables.tables["devices"].insert().values(id=device, description="a machine"))
        for graph in {graph.hash: graph for _, graph in rows if graph is not None}.values():
            content = zlib.compress(graph.to_json().encode())
            values = {"hash": graph.hash, "name": graph.name, "content": content}
            connection.execute(tables.tables["graphs"].insert().values(values))
        for row, _ in rows:
            values = {name: value for name, value in row.to_dict().items() if name in THEN}
            digest = hashlib.sha256(repr(tuple(values.values())).encode()).hexdigest()
            values |= {"graph": row.graph or None, "digest": digest}
            connection.execute(tables.tables["measurements"].insert().values(values))
    engine.dispose()


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_an_old_store_keeps_every_row_under_new_hashes(location: str, revision: str) -> None:
    assert PADDED.hash != PLAIN.hash
    assert network_hash(PADDED) == network_hash(PLAIN)
    write_old(location, ROWS, revision)
    for _ in range(2):  # brought up to date once, and left alone then
        with Store.open(location) as store:
            assert store.find() == EXPECTED
            for graph in (PLAIN, PADDED):
                assert store.latest(network_hash(graph), "cpu") == EXPECTED[6]
                assert store.current_hash(graph.hash) == network_hash(graph)
            assert store.current_hash("0" * 64) is None
            assert store.graph(network_hash(PADDED)) in (PLAIN, PADDED)
            assert [(d.id, d.description, d.measured, d.failed, d.networks) for d in store.devices()] == [
                ("cpu", "a machine", 5, 1, 2),
                ("gpu", "a machine", 0, 1, 1),
            ]


def test_what_an_old_store_has_is_not_added_again(location: str) -> None:
    write_old(location, ROWS)
    with Store.open(location) as store:
        assert store.add_all([(row, graph) for row, (_, graph) in zip(EXPECTED, ROWS, strict=True)]) == 0
        assert store.add_all([(replace(EXPECTED[0], latency_ms=9.0), PADDED)]) == 1


def test_hashes_that_change_places_are_not_mixed_up(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_old(location, ROWS)
    by_name = {"plain": PADDED.hash, "padded": PLAIN.hash, "other": "f" * 64}
    monkeypatch.setattr("narformer.measurement.rehashing.network_hash", lambda graph: by_name[graph.name])
    with Store.open(location) as store:
        assert [row.graph for row in store.find()] == [by_name[graph.name] if graph else "" for _, graph in ROWS]
        graph = store.graph(PADDED.hash)
        assert graph is not None
        assert graph.name == "plain"
        assert store.current_hash(PADDED.hash) == PADDED.hash
        assert store.current_hash(OTHER.hash) == "f" * 64


def test_a_damaged_network_keeps_its_hash_and_the_others_are_found(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    write_old(str(path), ROWS)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE graphs SET content = X'00' WHERE hash = ?", (OTHER.hash,))
    with Store.open(path) as store:
        assert store.latest(network_hash(PADDED), "cpu") is not None
        assert store.latest(OTHER.hash, "cpu") is not None
        with pytest.raises(StoreError, match="damaged"):
            store.graph(OTHER.hash)


def test_hashes_that_change_again_are_followed_from_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "store.db")
    write_old(path, ROWS)
    with Store.open(path) as store:
        monkeypatch.setattr("narformer.measurement.rehashing.network_hash", lambda graph: graph.name.ljust(64, "0"))
        store._database.write(rehash)
        now = store.current_hash(PADDED.hash)
        assert now == store.current_hash(network_hash(PADDED))
        assert now in ("plain".ljust(64, "0"), "padded".ljust(64, "0"))
        assert len(store.find(graph=now)) == 5


def test_a_read_only_store_of_an_older_version_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store.db"
    write_old(str(path), ROWS)
    monkeypatch.setattr("narformer.measurement.database._writable", lambda _: False)
    with pytest.raises(StoreError, match="written by an older version of narformer and read-only; copy it"):
        Store.open(path)
