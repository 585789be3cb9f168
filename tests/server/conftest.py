"""A service in this process, with worker processes of its own that all tests share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from narformer.server.app import application
from narformer.server.pool import Pool
from narformer.server.question import Setup
from narformer.server.settings import Limits, Settings

LIMITS = {field.name for field in fields(Limits)}


class Shared:
    """A pool that outlives the services that use it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def close(self) -> None:
        pass


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    with Pool(Setup(measured=False, nodes=20_000), 2, 60) as started:
        yield started


@pytest.fixture(scope="session")
def service(pool: Pool) -> Callable[..., TestClient]:
    """Makes a client of a service with these settings, those of its Limits among them."""

    def make(**given: Any) -> TestClient:
        limits = replace(Limits(), **{name: value for name, value in given.items() if name in LIMITS})
        settings = Settings(limits=limits, **{name: value for name, value in given.items() if name not in LIMITS})
        return TestClient(application(settings, Shared(pool)), base_url="http://127.0.0.1")  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def client(service: Callable[..., TestClient]) -> TestClient:
    return service()


@pytest.fixture(scope="session")
def form() -> Callable[..., Any]:
    """Makes the arguments of `client.post` for files, each a name and bytes, and options."""

    def make(*models: tuple[str, bytes], **options: Any) -> dict[str, Any]:
        files: list[tuple[str, Any]] = [("model", (name, data, "application/octet-stream")) for name, data in models]
        return {"files": [*files, ("options", (None, json.dumps(options), "application/json"))]}

    return make
