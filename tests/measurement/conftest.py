"""A real PostgreSQL for the tests of the store, started here and ended with them."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


def _binaries() -> Path | None:
    """The directory of PostgreSQL's server programs: Debian's, newest first, else that of an `initdb` on the path."""
    for directory in sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: p.parent.name, reverse=True):
        if (directory / "initdb").is_file() and (directory / "postgres").is_file():
            return directory
    found = shutil.which("initdb")
    directory = Path(found).resolve().parent if found else None
    return directory if directory and (directory / "postgres").is_file() else None


@pytest.fixture(autouse=True)
def denormals() -> Iterator[None]:
    """Loaded runtimes count numbers too small to be normal as zero, in the whole thread; other tests want them back."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Callable[[], str]]:
    """Empties the database and returns its URL. Skips where PostgreSQL or its driver is not installed."""
    psycopg = pytest.importorskip("psycopg", reason="needs psycopg: pip install 'narformer[postgresql]'")
    programs = _binaries()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed (apt-get install postgresql)")
    # The server refuses to run as root: give its directory to another user.
    names = [u.pw_name for u in pwd.getpwall()]
    user = getpass.getuser() if os.getuid() else "postgres" if "postgres" in names else "nobody"
    entry = pwd.getpwnam(user)
    other = {} if os.getuid() else {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    directory = Path(tempfile.mkdtemp(prefix="narformer-postgresql-"))  # short: a socket's path has 107 bytes
    os.chown(directory, entry.pw_uid, entry.pw_gid)
    data = directory / "data"
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", "tester", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=directory,
        **other,  # type: ignore[call-overload]
    )
    with (directory / "log").open("w") as log:
        server = subprocess.Popen(
            [programs / "postgres", "-D", data, "-k", directory, "-c", "listen_addresses=", "-c", "fsync=off"],
            stdout=log,
            stderr=log,
            cwd=directory,
            **other,  # type: ignore[call-overload]
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                admin = psycopg.connect(host=str(directory), user="tester", dbname="postgres", autocommit=True)
                break
            except psycopg.OperationalError:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

        def emptied() -> str:
            admin.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
            return f"postgresql://tester@/postgres?host={directory}"

        yield emptied
        admin.close()
    finally:
        server.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
        server.wait(timeout=60)
        shutil.rmtree(directory)


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a store that does not exist yet."""
    if request.param == "sqlite":
        return str(tmp_path / "store.db")
    emptied: Callable[[], str] = request.getfixturevalue("postgresql")
    return emptied()
