"""How many requests a second a service answers, how long they take, what it needs; against the predictor in process.

python benchmarks/server.py [--seconds 10] [--clients 1 8 64] [--soak 0] [--json]

The load is wrk's (https://github.com/wg/wrk, Debian's package `wrk`), on this machine's loopback address alone. Every
request is about a network that the service has not read before: ResNet-18's structure under another name. "In process"
is what one process answers that reads and predicts the same file in a loop, without a service. --soak: that many
requests more, in ten parts, after each of which the memory of the service is told. At the end a worker is killed under
load: every request is answered all the same, and one process was replaced.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from service import Service, form

from narformer.adaptation.predictor import default_predictor
from narformer.frontends.onnx import read_onnx
from narformer.processes import cores

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "resnet18.onnx"
TARGETS = ("cortexA76cpu", "adreno640", "adreno630", "myriadvpu")
NAME = b'filename="model.onnx"'
# Each thread of wrk names its files by a number of its own and a counter.
SCRIPT = """
local threads = 0
function setup(thread) thread:set("number", threads) threads = threads + 1 end
local head, tail, count = %s, %s, 0
wrk.method = "POST"
wrk.headers["Content-Type"] = %s
function request()
  count = count + 1
  return wrk.format(nil, "/v1/predict", nil, head .. string.format('filename="m%%03d%%08d"', number, count) .. tail)
end
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('RESULT {"requests": %%d, "microseconds": %%d, "p50": %%d, "p99": %%d, "failed": %%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


def script() -> str:
    """What wrk sends: the same form again and again, under another name each time."""
    body, kind = form(EXAMPLE.read_bytes(), {"targets": list(TARGETS), "measured": False})
    head, tail = body.split(NAME)
    return SCRIPT % (lua(head), lua(tail), lua(kind.encode()))


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


def load(service: Service, clients: int, seconds: float, file: Path) -> dict[str, Any]:
    """What wrk tells of so many clients that ask again as soon as they are answered."""
    command = ["wrk", "-t", str(min(clients, 2)), "-c", str(clients), "-d", f"{seconds:.0f}s", "--timeout", "60s"]
    told = subprocess.run([*command, "-s", str(file), service.url], capture_output=True, text=True, check=True).stdout
    result = json.loads(told.rpartition("RESULT ")[2])
    return {
        "clients": clients,
        "per_second": result["requests"] / (result["microseconds"] / 1e6),
        "p50_ms": result["p50"] / 1000,
        "p99_ms": result["p99"] / 1000,
        "requests": result["requests"],
        "failed": result["failed"],
    }


def killed(service: Service, file: Path) -> dict[str, Any]:
    """A worker dies under load."""
    command = ["wrk", "-t", "1", "-c", "8", "-d", "4s", "--timeout", "60s", "-s", str(file), service.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        time.sleep(1.5)
        os.kill(service.workers()[0], signal.SIGKILL)
        told = running.communicate()[0]
    result = json.loads(told.rpartition("RESULT ")[2])
    replaced = [line for line in service.metrics().splitlines() if 'ended{reason="died"}' in line]
    return {"requests": result["requests"], "failed": result["failed"], "replaced": float(replaced[0].split()[-1])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--soak", type=int, default=0, help="requests")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: apt-get install wrk")
    answer: dict[str, Any] = {"cores": cores(), "bare_per_second": bare(options.seconds), "load": [], "soak": []}
    with tempfile.TemporaryDirectory() as folder, Service("--max-requests", "128") as service:
        file = Path(folder) / "post.lua"
        file.write_text(script())
        load(service, 2, 2, file)
        for clients in options.clients:
            answer["load"].append(load(service, clients, options.seconds, file))
        done = 0
        while done < options.soak:
            part = 0
            while part < options.soak / 10:
                part += load(service, 8, 5, file)["requests"]
            done += part
            answer["soak"].append({"requests": done, "megabytes": service.memory() / 1e6})
        answer["killed"] = killed(service, file)
    if options.json:
        print(json.dumps(answer, indent=1))
        return
    one = answer["bare_per_second"]
    print(f"{answer['cores']} cores; in process, without a service: {one:.1f} predictions a second")
    print(f"{'clients':>7s} {'a second':>9s} {'of bare':>8s} {'median':>9s} {'99 %':>9s} {'failed':>7s}")
    for row in answer["load"]:
        print(
            f"{row['clients']:7d} {row['per_second']:9.1f} {row['per_second'] / one:8.2f} {row['p50_ms']:6.1f} ms "
            f"{row['p99_ms']:6.1f} ms {row['failed']:7d}"
        )
    for row in answer["soak"]:
        print(f"after {row['requests']} requests: {row['megabytes']:.0f} MB")
    end = answer["killed"]
    print(f"a worker killed: {end['requests']} requests, {end['failed']} failed, {end['replaced']:.0f} replaced")


if __name__ == "__main__":
    main()
