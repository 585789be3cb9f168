"""Figures of benchmarks/server.py: as the files of docs/results/server have them, and as tables of the manual."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "server"
BUSY = 0.5


class Answered(NamedTuple):
    """What so many clients were answered, each of which asks again as soon as it has its answer."""

    clients: int
    per_second: float
    p50_ms: float
    p99_ms: float
    requests: int
    failed: int


class Killed(NamedTuple):
    """What was answered while a worker died, and how many processes took its place."""

    requests: int
    failed: int
    replaced: int


class Load(NamedTuple):
    """other_work: processes that wanted a core before the measurement began, as the system counts them over a minute.

    bare_per_second: predictions a second of one process without a service.
    """

    cores: int
    other_work: float
    bare_per_second: float
    rows: tuple[Answered, ...]
    killed: Killed
    file = "load.json"

    def to_json(self) -> str:
        """The figures, as `kept_load` reads them."""
        rows = [row._asdict() for row in self.rows]
        return json.dumps(self._asdict() | {"rows": rows, "killed": self.killed._asdict()}, indent=1) + "\n"

    def table(self) -> str:
        """As Markdown."""
        lines = [
            f"| clients, {self.cores} cores | requests a second | of those in process | median | 99 % | failed |",
            "|---|---|---|---|---|---|",
            f"| in process | {self.bare_per_second:.0f} | 1 | {1000 / self.bare_per_second:.1f} ms | | |",
        ]
        for row in self.rows:
            ratio = row.per_second / self.bare_per_second
            times = f"{row.p50_ms:.1f} ms | {row.p99_ms:.1f} ms"
            lines.append(f"| {row.clients} | {row.per_second:.0f} | {ratio:.2f} | {times} | {row.failed} |")
        end = self.killed
        told = f"{end.requests} requests, {end.failed} failed, {end.replaced} process replaced"
        lines.append(f"\nA worker killed under the load of eight clients: {told}.")
        if self.other_work >= BUSY:
            lines.append(f"The machine was busy: {self.other_work:.1f} other processes wanted a core.")
        return "\n".join(lines) + "\n"


class Memory(NamedTuple):
    """After so many requests: of all processes of the service, and of the structures that are kept among it."""

    requests: int
    failed: int
    megabytes: float
    structures_megabytes: float


class Soak(NamedTuple):
    """The first row is before the requests."""

    rows: tuple[Memory, ...]
    file = "soak.json"

    def to_json(self) -> str:
        """The figures, as `kept_soak` reads them."""
        return json.dumps({"rows": [row._asdict() for row in self.rows]}, indent=1) + "\n"

    def table(self) -> str:
        """As Markdown."""
        lines = ["| requests | failed | memory | structures that are kept |", "|---|---|---|---|"]
        for row in self.rows:
            sizes = f"{row.megabytes:.0f} MB | {row.structures_megabytes:.0f} MB"
            lines.append(f"| {row.requests:,} | {row.failed} | {sizes} |")
        return "\n".join(lines) + "\n"


def kept_load() -> Load:
    """The load that was measured last with --write."""
    told = json.loads((RESULTS / Load.file).read_text())
    rows = tuple(Answered(**row) for row in told["rows"])
    return Load(**told | {"rows": rows, "killed": Killed(**told["killed"])})


def kept_soak() -> Soak:
    """The soak that was measured last with --write."""
    told = json.loads((RESULTS / Soak.file).read_text())
    return Soak(tuple(Memory(**row) for row in told["rows"]))
