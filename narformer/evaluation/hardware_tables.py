"""Protocols of new hardware by name (new_hardware.py runs them), and the tables of their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Result = dict[str, Any]


@dataclass(frozen=True)
class HardwareProtocol:
    """A dataset of which one hardware after another is new."""

    name: str
    dataset: str


HARDWARE_PROTOCOLS: Mapping[str, HardwareProtocol] = {
    p.name: p
    for p in (
        HardwareProtocol("timm/leave-one-hardware-out", "timm"),
        HardwareProtocol("qai_hub/leave-one-hardware-out", "qai_hub"),
    )
}


def hardware_of(device: str) -> str:
    """The hardware in a target's id."""
    return device.partition(":")[0]


def hardware_tables(results: Sequence[Result]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, header and rows of each table of one protocol's results: by samples, then by hardware."""
    results = sorted(results, key=lambda r: str(r["model"]))
    scores = {r["model"]: r["runs"][0]["tasks"] for r in results}
    counts = sorted({int(count.split()[0]) for tasks in scores.values() for count in tasks})
    names = sorted({hardware_of(d) for tasks in scores.values() for each in tasks.values() for d in each["devices"]})

    def mean(model: str, count: int, metric: str, hardware: str | None = None) -> str:
        devices = scores[model].get(f"{count} samples", {"devices": {}})["devices"]
        values = [
            s["all"][metric] for d, s in devices.items() if hardware in (None, hardware_of(d)) and metric in s["all"]
        ]
        return f"{np.mean(values):.1f}" if values else "–"

    def targets(count: int) -> str:
        tasks = [tasks.get(f"{count} samples", {"devices": {}})["devices"] for tasks in scores.values()]
        return str(max(map(len, tasks)))

    header = ["", *(f"{count} samples" for count in counts)]
    tables = [
        (
            "MAPE %, mean over all targets of all hardware that have so many networks:",
            header,
            [
                *([model, *(mean(model, count, "mape") for count in counts)] for model in scores),
                ["targets", *map(targets, counts)],
            ],
        )
    ]
    for count in counts:
        if count in (0, 20):
            rows = [[model, *(mean(model, count, "mape", name) for name in names)] for model in scores]
            tables.append((f"MAPE %, {count} samples, by hardware:", ["", *names], rows))
    told = [model for model in scores if mean(model, counts[-1], "coverage") != "–"]
    for metric, title in (("coverage", "The 90 % interval covers %:"), ("width", "Its width, % of the estimate:")):
        if told:
            tables.append((title, header, [[m, *(mean(m, count, metric) for count in counts)] for m in told]))
    return tables
