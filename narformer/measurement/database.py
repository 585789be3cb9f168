"""The database behind a store: how it is connected to, waited for and migrated, and what its errors mean."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import sqlalchemy
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from narformer.errors import MissingExtraError, StoreError, installing
from narformer.measurement.schema import REVISIONS, VERSION_TABLE, metadata

Result = TypeVar("Result")

# Seconds to wait for others that write. Two hundred writers at once take some seconds on a slow disk.
PATIENCE = 120.0
# PostgreSQL's codes for: too many connections, deadlock, serialization failure, starting up.
PASSING = ("53300", "40P01", "40001", "57P03")
READ_ONLY = "the store can be read but not written; mend its permissions, or use another"


class Database:
    """A connection pool with transactions that wait for other writers.

    location: path of a SQLite file, or a URL. create: make the file where it is missing; its directory must exist.
    Raises StoreError where it cannot be reached, is not a store, or was written by a newer version.
    """

    def __init__(self, location: str, create: bool = True) -> None:
        self.read_only = False
        self.engine = self._connect_to(location, create)
        # Without what may be a password in it.
        url = self.engine.url
        self.name = str(url.database) if url.drivername == "sqlite" else url.render_as_string(hide_password=True)
        self._process = os.getpid()
        self._outlasts_s = 0.0
        self._tell: Callable[[str], None] = lambda _: None
        self._migrate()

    def read(self, work: Callable[[Connection], Result]) -> Result:
        """What `work` returns, from one consistent view."""
        return self._patiently(work, writes=False)

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """Do `work` in one transaction that is on the disk when this returns; all of it or nothing."""
        if self.read_only:
            raise StoreError(
                f"{self.name}: the store can be read but not written; mend its permissions, or use another"
            )
        return self._patiently(work, writes=True)

    def outlast(self, seconds: float, tell: Callable[[str], None]) -> None:
        """From now on wait so long for a server that is away or a full disk; `tell` hears of it, once each time."""
        self._outlasts_s, self._tell = seconds, tell

    def close(self) -> None:
        """End all connections."""
        self.engine.dispose()

    def _patiently(self, work: Callable[[Connection], Result], writes: bool) -> Result:
        if os.getpid() != self._process:  # a connection must not be used on both sides of a fork
            self.engine.dispose(close=False)
            self._process = os.getpid()
        began, pause, told = time.monotonic(), 0.02, False
        while True:
            try:
                with self.engine.connect().execution_options(narformer_writes=writes) as connection, connection.begin():
                    return work(connection)
            except DBAPIError as error:
                # Who reads waits for an answer; who writes would lose a measurement.
                waits = _passes(error) or (writes and "timeout expired" in str(error.orig))
                mended = self._outlasts_s > 0 and _may_be_mended(error)
                patience = max(PATIENCE if waits else 0.0, self._outlasts_s if mended else 0.0)
                if time.monotonic() - began >= patience:
                    raise StoreError(f"{self.name}: {_explain(error)}") from error
                if mended and not waits and not told:
                    self._tell(f"{self.name}: {_explain(error)}; trying again for {self._outlasts_s:.0f} s")
                    told = True
            except SQLAlchemyError as error:
                raise StoreError(f"{self.name}: {_first_line(error)}") from error
            time.sleep(random.uniform(0, pause))
            pause = min(2 * pause, 2.0)

    def _connect_to(self, location: str, create: bool) -> Engine:
        if "://" in location:
            try:
                url = sqlalchemy.make_url(location)
            except (SQLAlchemyError, ValueError) as error:
                raise StoreError("the store's URL cannot be read; write postgresql://user@host/database") from error
            if url.drivername in ("postgresql", "postgres"):
                url = url.set(drivername="postgresql+psycopg")
            if url.get_backend_name() == "postgresql":
                return _postgresql(url)
            if url.get_backend_name() != "sqlite" or not url.database:
                raise StoreError(f"{url.drivername}: a store is the path of a SQLite file, or a URL postgresql://…")
            location = url.database
        return self._sqlite(Path(location), create)

    def _sqlite(self, path: Path, create: bool) -> Engine:
        if path.is_dir():
            raise StoreError(f"{path}: a directory; give the path of a file")
        if not path.exists():
            if not create:
                raise StoreError(f"{path}: no such store; `narformer measure` and `narformer store import` make one")
            if not path.parent.is_dir():
                raise StoreError(f"{path}: the directory {path.parent} does not exist; create it first")
        self.read_only = path.exists() and not _writable(path)
        mode = "rwc"
        if self.read_only:
            # Where no journal can be made beside it, SQLite has to be told that the file will not change.
            still = not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists()
            mode = "ro&immutable=1" if still else "ro"
        uri = f"{path.resolve().as_uri()}?mode={mode}"
        engine = sqlalchemy.create_engine(
            sqlalchemy.URL.create("sqlite", database=str(path)),
            creator=lambda: _open_sqlite(uri),
        )
        event.listen(engine, "connect", self._prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _prepare_sqlite(self, connection: sqlite3.Connection, _: object) -> None:
        if not self.read_only and connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    def _migrate(self) -> None:
        """Bring the tables up to the last revision. Processes that open a new store at once wait for each other."""
        revision = self.read(_revision)
        if revision is not None and revision not in REVISIONS:
            raise StoreError(
                f"{self.name}: written by a newer version of narformer (schema {revision}, this one knows "
                f"{REVISIONS[-1]}); install that version"
            )
        if revision == REVISIONS[-1]:
            return
        if self.read_only:
            raise StoreError(
                f"{self.name}: written by an older version of narformer and read-only; copy it, or let its owner give "
                "`narformer store list` once, which brings it up to date"
            )
        self.write(_upgrade)


def _writable(path: Path) -> bool:
    try:
        with path.open("r+b"):
            return True
    except OSError:
        return False


def _open_sqlite(uri: str) -> sqlite3.Connection:
    # isolation_level None: transactions begin where `_begin_sqlite` says so, not where sqlite3 guesses.
    return sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False)


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that first reads and then writes fails at once where another has written in between: take the
    # writer's lock first, and wait for it.
    writes = connection.get_execution_options()["narformer_writes"]
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql(url: sqlalchemy.URL) -> Engine:
    """Connected to for each transaction anew: two hundred processes must not hold two hundred connections."""
    timeout = {} if "connect_timeout" in url.query else {"connect_timeout": 30}
    try:
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, connect_args=timeout)
    except ImportError as error:
        raise MissingExtraError(f"a store in PostgreSQL needs psycopg: {installing('postgresql')}") from error
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("SET LOCAL synchronous_commit = on"))
    return engine


def _revision(connection: Connection) -> str | None:
    """The schema's revision; None where there are no tables yet. Raises StoreError for another program's database."""
    tables = set(sqlalchemy.inspect(connection).get_table_names())
    if VERSION_TABLE in tables:
        return connection.execute(sqlalchemy.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    others = tables if connection.dialect.name == "sqlite" else tables & metadata.tables.keys()
    if others:
        raise StoreError(
            f"{connection.engine.url.database}: not a store of measurements but another program's database "
            f"(tables {', '.join(sorted(others)[:5])}); give another"
        )
    return None


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(7263367)"))  # any number, always the same
    if _revision(connection) == REVISIONS[-1]:
        return  # another process was first
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _passes(error: DBAPIError) -> bool:
    """Whether the same transaction may well succeed a moment later."""
    message = str(error.orig)
    return (
        error.connection_invalidated
        or getattr(error.orig, "sqlstate", None) in PASSING
        or "lock" in message  # SQLite's words: database is locked, locking protocol
        or "too many clients" in message
        or "connection slots" in message  # PostgreSQL's, while a connection is made
    )


def _may_be_mended(error: DBAPIError) -> bool:
    """Whether somebody may well be mending it: a server that is away or ends, a disk that is full."""
    if not isinstance(error, OperationalError):
        return False
    state = getattr(error.orig, "sqlstate", None)
    if isinstance(error.orig, sqlite3.Error):
        return "full" in str(error.orig)
    # Without a code it is no answer of a server; 08: the connection, 53: its means, 57: its operator.
    return state is None or state[:2] in ("08", "53", "57")


def _explain(error: DBAPIError) -> str:
    """What happened and what to do, in the user's terms where the database's words need translation."""
    message = _first_line(error.orig or error)
    for words, explanation in (
        ("disk is full", "the disk is full; what was to be added now is not in the store, all before is"),
        ("disk I/O error", "the disk is full or fails; what was to be added now is not in the store, all before is"),
        ("not a database", "not a store of measurements (no SQLite file); move it away, or give another path"),
        ("malformed", "the file is damaged; put back a copy, or rescue it with `sqlite3 FILE .recover`"),
        ("readonly", READ_ONLY),
        ("FOREIGN KEY", "a measurement of a network whose Graph is neither given nor in the store"),
        ("foreign key", "a measurement of a network whose Graph is neither given nor in the store"),
        ("unable to open", "cannot be opened; look at the permissions of the file and its directory"),
        ("is locked", f"another program kept it locked for {PATIENCE:.0f} s; end that one, or use PostgreSQL"),
    ):
        if words in message:
            return explanation
    return message


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
