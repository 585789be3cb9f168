"""Stores that cannot be opened, read or written: one clear error each, and what was in them stays."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from postgresql import Server, running

pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy: pip install 'narformer[measure]'")

import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from narformer.errors import StoreError
from narformer.frontends.canonical import network_hash
from narformer.graph import Graph, Node, Operand, Tensor
from narformer.measurement import schema
from narformer.measurement.measurement import Measurement
from narformer.measurement.store import Store

Result = TypeVar("Result")

X = Tensor((1, 8))
NET = Graph((Node("r", "Relu", (Operand(X, ~0),), (X,)),), (X,), ("x",), "net")
ROW = Measurement(network_hash(NET), "net.onnx", "cpu", 1.5)
MIGRATIONS = Path(schema.__file__).with_name("migrations")


def in_child(work: Callable[..., Result], *arguments: object) -> Result:
    """What `work` returns or raises in a process of its own, whose user and limits it may change."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        return pool.submit(work, *arguments).result()


def sql(path: Path, statement: str) -> list[tuple[object, ...]]:
    """Run a statement behind the store's back."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement).fetchall()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with one measurement, closed."""
    path = tmp_path / "store.db"
    with Store.open(path) as opened:
        opened.add(ROW, NET)
    return path


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user can enter, with a store that nobody but its owner may write."""
    directory = Path(tempfile.mkdtemp())
    with Store.open(directory / "store.db") as opened:
        opened.add(ROW, NET)
    (directory / "store.db").chmod(0o444)
    directory.chmod(0o555)
    yield directory / "store.db"
    directory.chmod(0o755)
    shutil.rmtree(directory)


def read_and_add_as_another(path: Path) -> tuple[list[Measurement], str]:
    if os.getuid() == 0:
        os.setuid(65534)  # root may write anything
    with Store.open(path) as opened:
        rows = opened.find()
        try:
            opened.add(ROW, NET)
        except StoreError as error:
            return rows, str(error)
    return rows, "written"


def test_a_read_only_file_is_read(public: Path) -> None:
    rows, message = in_child(read_and_add_as_another, public)
    assert rows == [ROW]
    assert message.startswith(f"{public}: the store can be read but not written")


def test_a_read_only_file_is_read_while_its_owner_writes(public: Path) -> None:
    public.chmod(0o644)
    public.parent.chmod(0o755)
    with Store.open(public) as opened:
        opened.describe("gpu", "new")  # is in the journal, not yet in the file
        opened.add(Measurement(network_hash(NET), "net.onnx", "gpu", 2.0), NET)
        public.chmod(0o444)
        rows, _ = in_child(read_and_add_as_another, public)
    assert [row.device for row in rows] == ["cpu", "gpu"]


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"the directory .*nowhere does not exist"):
        Store.open(tmp_path / "nowhere" / "store.db")
    with pytest.raises(StoreError, match="a directory; give the path of a file"):
        Store.open(tmp_path)


def test_reading_does_not_make_a_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such store"):
        Store.open(tmp_path / "store.db", create=False)
    assert list(tmp_path.iterdir()) == []


def fill(path: Path) -> tuple[int, str]:
    """Add until the disk is full; how many were acknowledged, and the error."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    count = 1  # of the fixture
    with Store.open(path) as opened:
        try:
            while True:
                opened.add(Measurement(network_hash(NET), "net.onnx", "cpu", 10.0 + count), NET)
                count += 1
        except StoreError as error:
            return count, str(error)


def test_a_full_disk_loses_nothing_acknowledged(store: Path) -> None:
    count, message = in_child(fill, store)
    assert message.startswith(f"{store}: the disk is full")
    with Store.open(store) as opened:
        assert len(opened.find()) == count
        opened.add(Measurement(network_hash(NET), "net.onnx", "cpu", 1.0), NET)  # there is room again
        assert len(opened.find()) == count + 1


def test_a_full_database_is_told(store: Path) -> None:
    with Store.open(store) as opened:
        pages = lambda connection, _: connection.execute("PRAGMA max_page_count = 1")  # noqa: E731
        sqlalchemy.event.listen(opened._database.engine, "connect", pages)
        opened._database.engine.dispose()
        with pytest.raises(StoreError, match="the disk is full"):
            opened.add_all(
                [(Measurement(network_hash(NET), "net.onnx" * 100, "cpu", 1.0 + i), NET) for i in range(100)]
            )
        assert opened.find() == [ROW]


@pytest.mark.parametrize("content", [b"GraphID OnnxPath BatchSize\n" * 100, b"\x89PNG\r\n"])
def test_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="not a store of measurements"):
        Store.open(path)
    assert path.read_bytes() == content


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    sql(path, "CREATE TABLE urls (url TEXT)")
    with pytest.raises(StoreError, match=r"another program's database \(tables urls\)"):
        Store.open(path)
    assert sql(path, "SELECT name FROM sqlite_master") == [("urls",)]


def test_a_damaged_store_is_told(store: Path) -> None:
    data = bytearray(store.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    store.write_bytes(data)
    with pytest.raises(StoreError, match="damaged"), Store.open(store) as opened:
        opened.find()


def test_a_damaged_graph_is_told(store: Path) -> None:
    sql(store, "UPDATE graphs SET content = x'00'")
    with Store.open(store) as opened, pytest.raises(StoreError, match="is damaged"):
        opened.graph(network_hash(NET))


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("mysql://me@host/data", "a store is the path of a SQLite file, or a URL"),
        ("sqlite://", "a store is the path of a SQLite file, or a URL"),
        ("postgresql://me:secret@host:port/data", "URL cannot be read"),
        ("postgresql://me:secret@127.0.0.1:1/data", "127.0.0.1"),
    ],
)
def test_urls_that_lead_nowhere(location: str, message: str) -> None:
    if "127" in location:
        pytest.importorskip("psycopg")
    with pytest.raises(StoreError, match=message) as told:
        Store.open(location)
    assert "secret" not in str(told.value)


def test_a_sqlite_url_is_the_path_in_it(store: Path) -> None:
    with Store.open(f"sqlite:///{store}") as opened:
        assert opened.find() == [ROW]


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


def test_a_store_that_outlasts_waits_for_a_server_that_is_restarted(server: Server) -> None:
    told: list[str] = []
    with Store.open(server.emptied()) as opened:
        server.stop()
        with pytest.raises(StoreError):
            opened.find()
        opened.outlast(60, lambda text: (told.append(text), server.start()))
        opened.add(ROW, NET)
        opened.outlast(0, told.append)
        assert opened.find() == [ROW]
    assert len(told) == 1
    assert "trying again for 60 s" in told[0]


def test_a_store_that_outlasts_waits_for_room_on_the_disk(store: Path) -> None:
    with Store.open(store) as opened:
        full = sqlite3.OperationalError("database or disk is full")
        tries = iter([full, full, None])

        def work(connection: sqlalchemy.Connection) -> str:
            if (error := next(tries)) is not None:
                raise sqlalchemy.exc.OperationalError("INSERT", {}, error)
            return "written"

        told: list[str] = []
        opened.outlast(60, told.append)
        assert opened._database.write(work) == "written"
        assert len(told) == 1


# --- migrations


def alembic_config(connection: sqlalchemy.Connection) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config


def test_the_revisions_are_those_of_the_migrations() -> None:
    with sqlalchemy.create_engine("sqlite://").connect() as connection:
        script = ScriptDirectory.from_config(alembic_config(connection))
    assert [r.revision for r in script.walk_revisions()][::-1] == list(schema.REVISIONS)


def test_migrations_make_the_tables_that_the_code_knows(store: Path) -> None:
    with sqlalchemy.create_engine(f"sqlite:///{store}").connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": schema.VERSION_TABLE})
        assert compare_metadata(context, schema.metadata) == []


def test_a_store_of_the_first_revision_is_brought_up(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with sqlalchemy.create_engine(f"sqlite:///{path}").begin() as connection:
        command.upgrade(alembic_config(connection), schema.REVISIONS[0])
        connection.exec_driver_sql("INSERT INTO devices VALUES ('cpu', 'old')")
        connection.exec_driver_sql(
            "INSERT INTO measurements"
            " (digest, model, device, latency_ms, repeats, drift, failure, session, measured_at)"
            " VALUES ('d', 'net.onnx', 'cpu', 1.5, 1, 1.0, '', 's', '2026-01-01')"
        )
    with Store.open(path) as opened:
        assert [(m.model, m.latency_ms) for m in opened.find()] == [("net.onnx", 1.5)]
        opened.add(ROW, NET)
        assert len(opened.find()) == 2


def test_a_newer_store_is_refused_and_left_alone(store: Path) -> None:
    sql(store, f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(StoreError, match=r"written by a newer version of narformer \(schema 9999"):
        Store.open(store)
    assert sql(store, "SELECT count(*) FROM measurements") == [(1,)]


def test_a_commit_waits_for_the_disk(store: Path) -> None:
    with Store.open(store) as opened:
        settings = opened._database.read(
            lambda c: [c.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
        )
    assert settings == ["wal", 2]  # 2: FULL
