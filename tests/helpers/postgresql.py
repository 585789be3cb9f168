"""A real PostgreSQL, started for the tests and ended with them."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def _binaries() -> Path | None:
    """The directory of PostgreSQL's server programs: Debian's, newest first, else that of an `initdb` on the path."""
    for directory in sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: p.parent.name, reverse=True):
        if (directory / "initdb").is_file() and (directory / "postgres").is_file():
            return directory
    found = shutil.which("initdb")
    directory = Path(found).resolve().parent if found else None
    return directory if directory and (directory / "postgres").is_file() else None


class Server:
    """A server with one database, of a user named tester, that is reached through a socket in a directory."""

    def __init__(self, programs: Path, directory: Path, user: dict[str, Any]) -> None:
        self.programs = programs
        self.directory = directory
        self.user = user
        self.process: subprocess.Popen[bytes] | None = None
        data = ["-D", str(directory / "data")]
        options = ["-U", "tester", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(
            [programs / "initdb", *data, *options], check=True, stdout=subprocess.DEVNULL, cwd=directory, **user
        )

    def start(self) -> None:
        """Returns when it answers."""
        import psycopg

        command = [self.programs / "postgres", "-D", self.directory / "data", "-k", self.directory]
        with (self.directory / "log").open("a") as log:
            self.process = subprocess.Popen(
                [*command, "-c", "listen_addresses=", "-c", "fsync=off"],
                stdout=log,
                stderr=log,
                cwd=self.directory,
                **self.user,
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                self._do("SELECT 1")
                return
            except psycopg.OperationalError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def stop(self) -> None:
        """End it at once, whoever is connected."""
        if self.process is not None:
            process, self.process = self.process, None
            process.send_signal(signal.SIGQUIT)
            process.wait(timeout=60)

    def emptied(self) -> str:
        """The URL of the database, with nothing in it."""
        self._do("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        return self.url

    @property
    def url(self) -> str:
        """Of the database, as it is."""
        return f"postgresql://tester@/postgres?host={self.directory}"

    def _do(self, statements: str) -> None:
        import psycopg

        with psycopg.connect(host=str(self.directory), user="tester", dbname="postgres", autocommit=True) as admin:
            admin.execute(statements)


@contextmanager
def running() -> Iterator[Server]:
    """A server that is up. Skips the test where PostgreSQL or its driver is not installed."""
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'narformer[postgresql]'")
    programs = _binaries()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed (apt-get install postgresql)")
    # The server refuses to run as root: give its directory to another user.
    names = [u.pw_name for u in pwd.getpwall()]
    entry = pwd.getpwnam(getpass.getuser() if os.getuid() else "postgres" if "postgres" in names else "nobody")
    other = {} if os.getuid() else {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    directory = Path(tempfile.mkdtemp(prefix="narformer-postgresql-"))  # short: a socket's path has 107 bytes
    os.chown(directory, entry.pw_uid, entry.pw_gid)
    server = Server(programs, directory, other)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory)
