"""A service that answers from measurements, and what it says while their database is away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dummies import relu_graph, write_dummy
from postgresql import Server, running

pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy: pip install 'narformer[measure]'")

from narformer.frontends.canonical import network_hash
from narformer.measurement.measurement import Measurement
from narformer.measurement.store import Store
from narformer.server.pool import Pool
from narformer.server.question import Network, Question, Setup

NET = relu_graph()
MEASURED = Question("predict", (Network("net.json", "h", NET.to_json().encode()),))
PREDICTED = Question("predict", MEASURED.networks, measured=False)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as server:
        yield server


def written(location: str | Path) -> None:
    """One measurement, 7 ms on q, for which the dummy predicts 20 ms."""
    with Store.open(location) as store:
        store.add(Measurement(network_hash(NET), "net", "q", 7.0, 0.5), NET)


def asked(pool: Pool, question: Question) -> tuple[int, Any]:
    reply = pool.ask(question).result()
    return reply.status, json.loads(reply.body)


def answers(told: Any) -> list[tuple[str, float, str]]:
    return [(e["device"], e["latency_ms"], e["source"]) for e in told["estimates"]]


def test_while_the_database_is_away_predictions_go_on(tmp_path: Path, server: Server) -> None:
    url = server.emptied()
    written(url)
    both = [("p", 10.0, "predicted"), ("q", 7.0, "measured")]
    with Pool(Setup(str(write_dummy(tmp_path)), url), 1, 60) as pool:
        assert answers(asked(pool, MEASURED)[1]) == both
        before = pool.processes
        server.stop()
        status, told = asked(pool, MEASURED)
        assert (status, told["error"]["type"]) == (503, "StoreError")
        assert '"measured": false' in told["error"]["message"]
        assert str(server.directory) not in told["error"]["message"]
        assert answers(asked(pool, PREDICTED)[1]) == [("p", 10.0, "predicted"), ("q", 20.0, "predicted")]
        server.start()
        assert answers(asked(pool, MEASURED)[1]) == both
        assert pool.processes == before


def test_a_file_that_is_a_store_no_more_is_told_without_its_place(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    written(path)
    with Pool(Setup(str(write_dummy(tmp_path)), str(path)), 1, 60) as pool:
        assert asked(pool, MEASURED)[1]["estimates"][1]["source"] == "measured"
        path.write_bytes(b"no database\n" * 1000)
        status, told = asked(pool, MEASURED)
        assert (status, told["error"]["type"]) == (503, "StoreError")
        assert str(tmp_path) not in told["error"]["message"]
