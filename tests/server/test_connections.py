"""Clients on real connections that are slow, or go away: nobody else notices, and nothing is left behind."""

from __future__ import annotations

import http.client
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.testclient import TestClient

from narformer.server.pool import Pool

HEAD = "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
BEFORE = b'--x\r\nContent-Disposition: form-data; name="model"; filename="m"\r\n\r\n'
AFTER = b"\r\n--x--\r\n"


@contextmanager
def listening(client: TestClient) -> Iterator[tuple[str, int]]:
    """The address of a real server of the client's application, in a thread."""
    config = uvicorn.Config(client.app, port=0, log_level="warning", access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[:2]
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def address(client: TestClient) -> Iterator[tuple[str, int]]:
    with listening(client) as found:
        yield found


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def good(address: tuple[str, int]) -> int:
    """The status of the answer to a good request."""
    with closing(http.client.HTTPConnection(*address, timeout=60)) as connection:
        asked = json.dumps({"model": {"zoo": "resnet50", "size": 224}})
        connection.request("POST", "/v1/inspect", asked, {"Content-Type": "application/json"})
        return connection.getresponse().status


def until(happened: Callable[[], Any]) -> None:
    """Waits for something that must happen."""
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def counted(address: tuple[str, int], status: int) -> float:
    """How many requests for predictions were answered so."""
    with closing(http.client.HTTPConnection(*address, timeout=60)) as connection:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    name = f'narformer_requests_total{{route="/v1/predict",status="{status}"}} '
    return sum(float(line.removeprefix(name)) for line in text.splitlines() if line.startswith(name))


def test_a_client_that_goes_away_while_it_sends_is_forgotten(address: tuple[str, int]) -> None:
    before = counted(address, 499)
    with socket.create_connection(address, 60) as connection:
        connection.sendall(f"{HEAD}Content-Length: 1000\r\n\r\n".encode() + BEFORE)
    until(lambda: counted(address, 499) == before + 1)
    assert good(address) == 200


def test_a_client_that_goes_away_while_it_waits_is_forgotten(
    address: tuple[str, int], pool: Pool, resnet18: Path
) -> None:
    before, workers = counted(address, 499), pool.processes
    body = BEFORE + resnet18.read_bytes() + AFTER
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)  # so that it waits, however fast they are
    try:
        with socket.create_connection(address, 60) as connection:
            connection.sendall(f"{HEAD}Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n".encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 100")
            connection.sendall(body)
        until(lambda: counted(address, 499) == before + 1)
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
    assert good(address) == 200
    assert pool.processes == workers


def test_a_slow_upload_is_given_up_and_its_connection_closed(service: Callable[..., TestClient]) -> None:
    with listening(service(upload_seconds=0.3)) as address, socket.create_connection(address, 60) as connection:
        connection.sendall(f"{HEAD}Content-Length: 1000000\r\n\r\n".encode() + BEFORE)
        answer = connection.makefile("rb").read()  # to the end: the connection is closed
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"did not arrive within 0.3 s" in answer


def test_connections_that_ask_nothing_are_in_nobodys_way(address: tuple[str, int]) -> None:
    idle = [socket.create_connection(address, 60) for _ in range(100)]
    try:
        for connection in idle:
            connection.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: loc")
        assert good(address) == 200
    finally:
        for connection in idle:
            connection.close()
