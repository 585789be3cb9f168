"""Worker processes that are killed, take too long or too much memory: the others and the next go on."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from narformer.errors import ConfigError
from narformer.graph import Graph, Node, Operand, Tensor
from narformer.server.pool import Pool, Process
from narformer.server.question import Network, Question, Setup
from narformer.server.run import serve
from narformer.server.settings import Settings

RESNET50 = Question("predict", (Network("resnet50", zoo="resnet50", size=224),))


@pytest.fixture(scope="module")
def one() -> Iterator[Pool]:
    """A pool of one worker."""
    with Pool(Setup(measured=False), 1, 60) as pool:
        yield pool


def test_a_worker_killed_in_the_middle_is_replaced_and_asked_again(one: Pool) -> None:
    before = one.processes
    os.kill(before[0], signal.SIGSTOP)  # so that it is in the middle, however fast it is
    waiting = one.ask(RESNET50)
    os.kill(before[0], signal.SIGKILL)
    assert waiting.result().status == 200
    assert one.processes != before
    assert one.alive == 1
    assert one.killed["died"] == 1


def test_a_worker_killed_while_idle_is_replaced(one: Pool) -> None:
    os.kill(one.processes[0], signal.SIGKILL)
    assert one.ask(RESNET50).result().status == 200


def test_a_worker_that_takes_too_long_is_killed(one: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    (before,) = one.processes
    monkeypatch.setattr(one, "seconds", 0.0)
    os.kill(before, signal.SIGSTOP)
    reply = one.ask(RESNET50).result()
    assert reply.status == 422
    assert "given up" in json.loads(reply.body)["error"]["message"]
    monkeypatch.setattr(one, "seconds", 60.0)
    assert one.ask(RESNET50).result().status == 200
    assert before not in one.processes


def never_ready(connection: Connection, setup: Setup) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Event().wait()


def test_a_worker_that_still_starts_ends_with_the_service() -> None:
    pool = Pool(Setup(measured=False), 1, 60, never_ready)
    waiting = pool.ask(RESNET50)
    while not pool.processes:
        time.sleep(0.01)
    (started,) = pool.processes
    pool.close()
    assert waiting.result().status == 503
    with pytest.raises(ProcessLookupError):
        os.kill(started, 0)


class Closing:
    """A connection that minds being closed by two at once, as one of a descriptor does."""

    def __init__(self) -> None:
        self.within, self.closed, self.together = 0, 0, False

    def close(self) -> None:
        """Takes a moment."""
        self.within += 1
        self.together |= self.within > 1
        time.sleep(0.05)
        self.within -= 1
        self.closed += 1


def test_two_who_end_a_worker_at_once_do_so_one_after_the_other() -> None:
    process = Process(Setup(measured=False), never_ready, multiprocessing.get_context("forkserver"))
    process.connection.close()
    process.connection = connection = Closing()  # type: ignore[assignment]
    threads = [threading.Thread(target=process.kill) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (connection.closed, connection.together, process.process.is_alive()) == (2, False, False)


def test_no_worker_starts_after_the_service_has_ended() -> None:
    pool = Pool(Setup(measured=False), 1, 60, never_ready)
    pool.close()
    with pytest.raises(ConfigError, match="is ending"):
        pool._process()


def test_signals_for_the_service_do_not_end_its_workers(one: Pool) -> None:
    for name in (signal.SIGINT, signal.SIGTERM):
        os.kill(one.processes[0], name)
    before = one.processes
    assert one.ask(RESNET50).result().status == 200
    assert one.processes == before


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is limited on Linux alone")
def test_a_network_that_needs_too_much_memory_is_refused() -> None:
    x = Tensor((1, 3))
    small = Graph((Node("r", "Relu", (Operand(x, ~0),), (x,)),), (x,), ("x",)).to_json().encode()
    huge = json.dumps({"nodes": [[k] for k in range(1_000_000)]}).encode()
    with Pool(Setup(measured=False, memory=24 << 20), 1, 60) as pool:
        reply = pool.ask(Question("predict", (Network("g.json", "h", huge),))).result()
        assert reply.status == 413
        assert "more memory" in json.loads(reply.body)["error"]["message"]
        assert pool.killed["memory"] == 1
        assert pool.ask(Question("inspect", (Network("small.json", "s", small),))).result().status == 200


def test_what_cannot_be_opened_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such predictor"), Pool(Setup(predictor="nobody"), 2, 60):
        raise AssertionError
    with pytest.raises(ConfigError, match=r"none\.db"), Pool(Setup(store=str(tmp_path / "none.db")), 2, 60):
        raise AssertionError


def test_a_service_that_is_told_to_end_answers_first_what_is_under_way(resnet18: Path) -> None:
    code = "from narformer.cli.main import main; main()"
    command = [sys.executable, "-c", code, "serve", "--port", "0", "--workers", "1", "--no-store"]
    service = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert service.stdout is not None
    address = service.stdout.readline().rpartition("http://")[2].strip()
    host, _, port = address.partition(":")
    data = resnet18.read_bytes()
    body = b'--x\r\nContent-Disposition: form-data; name="model"; filename="m"\r\n\r\n' + data + b"\r\n--x--\r\n"
    head = f"POST /v1/predict HTTP/1.1\r\nHost: {address}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with socket.create_connection((host, int(port)), 60) as connection:
        connection.sendall(f"{head}Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100"), "the service has the request"
        service.send_signal(signal.SIGTERM)
        connection.sendall(body)
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200"), answer
    assert b"estimates" in answer
    out, errors = service.communicate(timeout=60)
    assert service.returncode == 0, errors
    assert (out, errors) == ("", "")


def test_where_it_cannot_listen_is_told_before_anything_is_started() -> None:
    def never(_: str) -> None:
        raise AssertionError("it listens")

    for settings, message in (
        (Settings(host="0.0.0.0"), "can be reached by others"),
        (Settings(host="192.0.2.1", without_token=True), "cannot listen there"),
        (Settings(host="no such name", without_token=True), "no address to listen on"),
    ):
        with pytest.raises(ConfigError, match=message):
            serve(settings, never)
