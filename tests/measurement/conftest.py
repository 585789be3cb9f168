"""Both databases that a store may be in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgresql import Server, running


@pytest.fixture(autouse=True)
def denormals() -> Iterator[None]:
    """Loaded runtimes count numbers too small to be normal as zero, in the whole thread; other tests want them back."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A real PostgreSQL. Skips where it or its driver is not installed."""
    with running() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql(server: Server) -> Callable[[], str]:
    """Empties the database and returns its URL."""
    return server.emptied


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a store that does not exist yet."""
    if request.param == "sqlite":
        return str(tmp_path / "store.db")
    emptied: Callable[[], str] = request.getfixturevalue("postgresql")
    return emptied()
