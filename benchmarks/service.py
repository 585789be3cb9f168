"""A service in a process of its own, for the benchmarks that ask one; on this machine's loopback address alone."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any


class Service:
    """`narformer serve` on a free port. Use as a context manager: on leaving, it is told to end, and waited for."""

    def __init__(self, *options: str) -> None:
        code = "from narformer.cli.main import main; main()"
        self.command = [sys.executable, "-c", code, "serve", "--port", "0", "--no-store", *options]

    def __enter__(self) -> Service:
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if "listening on" not in line:
            raise SystemExit("the service does not start")
        self.url = line.rpartition(" ")[2].strip()
        self.port = int(self.url.rpartition(":")[2])
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(60):
            raise SystemExit(f"the service ended with exit code {self.process.returncode}")

    def ask(self, route: str, options: dict[str, Any]) -> tuple[int, bytes]:
        """Status and body of the answer to a request without an upload."""
        return self._post(route, json.dumps(options).encode(), "application/json")

    def send(self, route: str, model: bytes, options: dict[str, Any] | None = None) -> tuple[int, bytes]:
        """Status and body of the answer about an upload."""
        body, kind = form(model, options or {})
        return self._post(route, body, kind)

    def metrics(self) -> str:
        """What it counts, as Prometheus reads it."""
        return self._answer("GET", "/metrics")[1].decode()

    def _post(self, route: str, body: bytes, kind: str) -> tuple[int, bytes]:
        return self._answer("POST", f"/v1/{route}", body, {"Content-Type": kind})

    def _answer(self, *request: Any) -> tuple[int, bytes]:
        try:
            self._connection.request(*request)
            response = self._connection.getresponse()
        except (http.client.HTTPException, ConnectionError):
            self._connection.close()  # a server may close a connection after an answer, or after a while
            self._connection.request(*request)
            response = self._connection.getresponse()
        return response.status, response.read()

    def workers(self) -> list[int]:
        """Numbers of the processes that read networks: the children of the one that forks them."""
        return [pid for child in _children(self.process.pid) for pid in _children(child)]

    def memory(self) -> int:
        """Bytes that it and the processes below it have to themselves."""
        total = 0
        for pid in [self.process.pid, *_below(self.process.pid)]:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(("Private_Clean:", "Private_Dirty:")):
                    total += int(line.split()[1]) * 1024
        return total


def form(model: bytes, options: dict[str, Any]) -> tuple[bytes, str]:
    """A form with a file and options, and its content type."""
    boundary = secrets.token_hex(16)
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="options"\r\n\r\n{json.dumps(options)}\r\n'
    file = f'--{boundary}\r\nContent-Disposition: form-data; name="model"; filename="model.onnx"\r\n\r\n'
    body = (head + file).encode() + model + f"\r\n--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"


def _children(pid: int) -> list[int]:
    tasks = os.listdir(f"/proc/{pid}/task")
    return [int(child) for task in tasks for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]


def _below(pid: int) -> list[int]:
    """Children of a process, and theirs."""
    return [each for child in _children(pid) for each in (child, *_below(child))]
