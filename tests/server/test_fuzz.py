"""A few of the mutated networks of benchmarks/fuzz_server.py: each gets an answer, none status 500, and nobody dies."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from narformer.server.pool import Pool

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import fuzz
import fuzz_server

MADE = (fuzz.network, fuzz.arithmetic, fuzz.control, fuzz.nested, fuzz.functions, fuzz.quantised, fuzz.external)
MODELS = [model().SerializeToString() for model in MADE]
INPUTS = 40


@pytest.mark.parametrize("route", fuzz_server.ROUTES)
@pytest.mark.parametrize("kind", ["files", "graphs"])
def test_mutated_networks_get_an_answer(
    client: TestClient, pool: Pool, form: Callable[..., Any], route: str, kind: str
) -> None:
    graphs = fuzz_server.graphs(MODELS)
    before = pool.processes
    statuses = set()
    for index in range(INPUTS):
        if kind == "graphs":
            data = fuzz_server.mutated_graph(index, 0, graphs)
        else:
            data = bytes(fuzz.mutated(index, 0, MODELS)[0])
        answer = client.post(f"/v1/{route}", **form(("m", data)))
        assert answer.status_code in (200, 413, 422), (index, answer.text)
        statuses.add(answer.status_code)
    assert statuses >= {200, 422}
    assert pool.processes == before
