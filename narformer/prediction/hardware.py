"""Hardware by name, with the facts that its makers publish; the table is `hardware.csv` beside this file.

What is not public is left empty, never guessed. Peaks are those of dense arithmetic; in fp16 on NVIDIA's GPUs with sums
in float32, as PyTorch computes. Bandwidth is that of the memory in which networks lie: a CPU socket's, or a phone's.
"""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

TABLE = Path(__file__).parent / "hardware.csv"
# Hardware that the table lacks tells its kind if its name ends so: the unit of a system on a chip.
UNITS = ("cpu", "gpu", "npu", "vpu")


@dataclass(frozen=True)
class Hardware:
    """One processor on which networks run.

    name: as in the ids of targets. title: for people. kind: cpu, gpu, npu or vpu; empty where it is not known.
    group: hardware that works alike (nvidia gpu, adreno, hexagon, x86 cpu, …). peak: operations a second by precision.
    bandwidth: bytes a second. memory: bytes. npu_generation: of Qualcomm's Hexagon. aliases: what systems and tables
    call it, as slugs. source: where these facts are from. None stands for what is not public.
    """

    name: str
    title: str
    kind: str = ""
    group: str = ""
    maker: str = ""
    year: int | None = None
    peak: Mapping[str, float] = field(default_factory=dict, hash=False)
    bandwidth: float | None = None
    memory: int | None = None
    npu_generation: int | None = None
    aliases: tuple[str, ...] = ()
    source: str = ""


def hardware(name: str) -> Hardware:
    """The hardware of this name, or of one of its aliases; of one that is not in the table only the name is known.

    >>> hardware("rtx4090").memory == 24 * 2**30
    True
    >>> hardware("nvidia-geforce-rtx-4090").name
    'rtx4090'
    >>> hardware("some-board-npu").kind
    'npu'
    """
    found = _by_name().get(name) or _by_name().get(slug(name))
    if found is not None:
        return found
    unit = name.rpartition("-")[2]
    return Hardware(name, name, kind=unit if unit in UNITS else "")


def known_hardware() -> tuple[Hardware, ...]:
    """All of the table, in its order."""
    return tuple(dict.fromkeys(_by_name().values()))


def slug(name: str) -> str:
    """A name in lower-case letters, digits and single hyphens.

    >>> slug("Samsung Galaxy S22 5G")
    'samsung-galaxy-s22-5g'
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


@functools.cache
def _by_name() -> Mapping[str, Hardware]:
    found: dict[str, Hardware] = {}
    with TABLE.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            entry = _hardware(row)
            for name in (entry.name, *entry.aliases):
                found[name] = entry
    return found


def _hardware(row: Mapping[str, str]) -> Hardware:
    tera = {"fp32": row["fp32_tflops"], "fp16": row["fp16_tflops"], "int8": row["int8_tops"]}
    return Hardware(
        name=row["name"],
        title=row["title"],
        kind=row["kind"],
        group=row["group"],
        maker=row["maker"],
        year=int(row["year"]) if row["year"] else None,
        peak={precision: 1e12 * float(value) for precision, value in tera.items() if value},
        bandwidth=1e9 * float(row["bandwidth_gb_s"]) if row["bandwidth_gb_s"] else None,
        memory=round(float(row["memory_gb"]) * 2**30) if row["memory_gb"] else None,
        npu_generation=int(row["npu_generation"]) if row["npu_generation"] else None,
        aliases=tuple(row["aliases"].split()),
        source=row["source"],
    )
