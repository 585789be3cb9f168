"""How many requests a second a service answers, how long they take, what it needs; against the predictor in process.

python benchmarks/server.py [--seconds 10] [--clients 1 8 64] [--json] [--write]
python benchmarks/server.py --soak 100000 [--json] [--write]

The load is wrk's (https://github.com/wg/wrk, Debian's package `wrk`), on this machine's loopback address alone. Every
request sends a file that the service has never been sent: ResNet-18's structure with another remark in it, under
another name. "In process" is what one process answers that reads and predicts the same file in a loop, without a
service. At the end a worker is killed under load: every request is answered all the same, and one process was replaced.

--soak: instead, that many requests of eight clients, in ten parts, after each of which the memory of the service is
told; it grows until as many structures are remembered as are kept (256 MB), and then no more.
--write: keep the figures in docs/results/server, and make the tables of docs/how-to/serve.md from them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import manual
from server_tables import RESULTS, Answered, Killed, Load, Memory, Soak
from service import Service, form

from narformer.adaptation.predictor import default_predictor
from narformer.frontends.onnx import read_onnx
from narformer.processes import cores

REPOSITORY = Path(__file__).resolve().parents[1]
EXAMPLE = REPOSITORY / "examples" / "resnet18.onnx"
PAGE = REPOSITORY / "docs" / "how-to" / "serve.md"
TARGETS = (
    "cortex-a76:tflite-2.1:fp32",
    "adreno-640:tflite-2.1:fp32",
    "adreno-630:tflite-2.1:fp32",
    "myriad-x:openvino-2019r2:fp16",
)
PARTS = 10
NAME = b'filename="model.onnx"'
MARK = "remark of 20 letters"  # where each request has a number of its own
# Each thread of wrk numbers its files: by the run, its own number, and a counter.
SCRIPT = """
local threads = 0
function setup(thread) thread:set("number", threads) threads = threads + 1 end
local head, middle, tail, count, run = %s, %s, %s, 0, 0
wrk.method = "POST"
wrk.headers["Content-Type"] = %s
function init(words) run = tonumber(words[1]) end
function request()
  count = count + 1
  local remark = string.format("%%06d%%04d%%010d", run, number, count)
  return wrk.format(nil, "/v1/predict", nil, head .. 'filename="' .. remark .. '"' .. middle .. remark .. tail)
end
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('RESULT {"requests": %%d, "microseconds": %%d, "p50": %%d, "p99": %%d, "failed": %%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


class Wrk:
    """The load generator, for one service."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.service, self.runs = service, 0
        self.file = folder / "post.lua"
        self.file.write_text(script())

    def started(self, clients: int, seconds: float) -> subprocess.Popen[str]:
        self.runs += 1
        options = ["-t", str(min(clients, 2)), "-c", str(clients), "-d", f"{seconds:.0f}s", "--timeout", "60s"]
        command = ["wrk", *options, "-s", str(self.file), self.service.url, "--", str(self.runs)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def load(self, clients: int, seconds: float) -> Answered:
        with self.started(clients, seconds) as running:
            return answered(clients, running)


def answered(clients: int, running: subprocess.Popen[str]) -> Answered:
    """What wrk tells when it ends."""
    told = running.communicate()[0]
    if "RESULT " not in told:
        raise SystemExit(f"wrk failed: {told}")
    result = json.loads(told.rpartition("RESULT ")[2])
    seconds = result["microseconds"] / 1e6
    rest = result["p50"] / 1000, result["p99"] / 1000, result["requests"], result["failed"]
    return Answered(clients, result["requests"] / seconds, *rest)


def script() -> str:
    """What wrk sends: the same form again and again, with another name and another remark each time."""
    remark = b"\x32" + bytes([len(MARK)]) + MARK.encode()  # ModelProto.doc_string
    body, kind = form(EXAMPLE.read_bytes() + remark, {"targets": list(TARGETS), "measured": False})
    head, rest = body.split(NAME)
    middle, tail = rest.split(MARK.encode())
    return SCRIPT % (lua(head), lua(middle), lua(tail), lua(kind.encode()))


def lua(data: bytes) -> str:
    """Bytes as Lua writes them."""
    return '"' + "".join(f"\\{byte:03d}" for byte in data) + '"'


def bare(seconds: float) -> float:
    """Requests a second of one process that reads and predicts in a loop."""
    predictor, data = default_predictor(), EXAMPLE.read_bytes()
    predictor.predict([read_onnx(data)], list(TARGETS))
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        predictor.predict([read_onnx(data)], list(TARGETS))
        count += 1
    return count / (time.perf_counter() - start)


def killed(wrk: Wrk) -> Killed:
    """A worker dies under load."""
    with wrk.started(8, 4) as running:
        time.sleep(1.5)
        os.kill(wrk.service.workers()[0], signal.SIGKILL)
        result = answered(8, running)
    return Killed(result.requests, result.failed, int(counted(wrk.service, 'narformer_workers_ended{reason="died"}')))


def counted(service: Service, name: str) -> float:
    """One of the numbers that the service tells Prometheus."""
    (line,) = (line for line in service.metrics().splitlines() if line.startswith(f"{name} "))
    return float(line.split()[-1])


def loaded(wrk: Wrk, clients: Sequence[int], seconds: float, other_work: float) -> Load:
    """In process, by so many clients each, and while a worker dies."""
    alone = bare(seconds)
    rows = tuple(wrk.load(each, seconds) for each in clients)
    return Load(cores(), other_work, alone, rows, killed(wrk))


def soaked(wrk: Wrk, requests: int) -> Soak:
    """Memory after each tenth of so many requests."""
    rows = [memory(wrk.service, 0, 0)]
    done = failed = 0
    for part in range(1, PARTS + 1):
        while done < requests * part / PARTS:
            result = wrk.load(8, 5)
            done, failed = done + result.requests, failed + result.failed
        rows.append(memory(wrk.service, done, failed))
        print(f"{done} of {requests} requests: {rows[-1].megabytes:.0f} MB", file=sys.stderr, flush=True)
    return Soak(tuple(rows))


def memory(service: Service, requests: int, failed: int) -> Memory:
    """What the service has now."""
    structures = counted(service, "narformer_structures_bytes")
    return Memory(requests, failed, service.memory() / 1e6, structures / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--soak", type=int, default=0, metavar="REQUESTS")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: apt-get install wrk")
    other_work = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder, Service("--max-requests", "128") as service:
        wrk = Wrk(service, Path(folder))
        wrk.load(2, 2)  # imports, and what is done once
        load = (options.clients, options.seconds, other_work)
        found = soaked(wrk, options.soak) if options.soak else loaded(wrk, *load)
    if options.write:
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / found.file).write_text(found.to_json())
        manual.rewrite(PAGE)
    print(found.to_json() if options.json else found.table(), end="")


if __name__ == "__main__":
    main()
