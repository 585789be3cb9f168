"""What `measure_gpu.py` measures: networks in an order of which every beginning is a good sample, and their cells."""

from __future__ import annotations

import csv
import hashlib
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

BATCHES = (256, 64, 32, 8, 1)
PRECISIONS = ("amp", "fp32", "bf16", "tf32")
# Steps that would take longer are left to smaller batches.
LONGEST_STEP_S = 0.25
# What a GPU of a data centre does at least, to guess before a network runs: FLOP/s, and bytes/s.
FLOPS = {"amp": 150e12, "bf16": 150e12, "fp32": 30e12, "tf32": 100e12}
BYTES_S = 1.5e12
MOST_PARAMETERS_M = 700.0
EVERY_AGAIN = 8  # one network in so many is measured twice,
AGAIN_AFTER = 40  # so many networks later
SEED = 20261126


@dataclass(frozen=True)
class Planned:
    """One network. size: of its square image, 0 where it has no such. round: 1, or 2 for a repeat."""

    source: str
    name: str
    size: int
    family: str
    split: str
    gmacs: float
    macts_m: float
    params_m: float
    round: int = 1

    @property
    def key(self) -> str:
        return f"{self.source}/{self.name}@{self.size}"


class Cell(NamedTuple):
    """One way to run a network."""

    precision: str
    layout: str
    compiled: bool
    batch: int


def write_plan(path: Path, data: Path) -> None:
    rows = ordered(list(_known(data)), random.Random(SEED))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Planned)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    print(f"{len(rows)} rows of {len({row.key for row in rows})} networks of {len({r.family for r in rows})} families")


def _known(data: Path) -> Iterator[Planned]:
    """The zoo's networks, but for giants and for those that are there several times under other names."""
    from narformer.cost import graph_cost
    from narformer.datasets import zoo

    def costs_of(graph: Any) -> tuple[float, float, float]:
        cost = graph_cost(graph)
        activations = sum(tensor.elements for node in graph.nodes for tensor in node.outputs)
        # About one in two kernels is one whose outputs timm counts.
        return round(cost.macs / 1e9, 4), round(activations / 2e6, 4), round(cost.parameters / 1e6, 4)

    with (data / "timm" / "infer.csv").open(newline="") as file:
        table = {(row["model"], int(row["img_size"])): row for row in csv.DictReader(file)}
    for entry in zoo.names("timm"):
        row = table.get((entry.name, entry.size))
        if row is None:
            continue
        known = [row[column] for column in ("gmacs", "macts_m", "params_m")]
        costs = tuple(map(float, known)) if all(known) else costs_of(zoo.load(entry.name, entry.size, source="timm"))
        if costs[2] <= MOST_PARAMETERS_M:
            yield Planned("timm", entry.name, entry.size, row["family"], row["split"], *costs)
    for place, entry in enumerate(zoo.names("qai_hub")):
        if not entry.name.startswith("opus_mt_") or entry.name.startswith("opus_mt_de_en"):
            costs = costs_of(zoo.load(entry.name, entry.size or None, source="qai_hub"))
            # Few are relatives: a dozen groups, each of which takes turns as a family of timm does.
            yield Planned("qai_hub", entry.name, 0, f"qai_hub {place % 12}", "", *costs)


def ordered(rows: Sequence[Planned], draw: random.Random) -> list[Planned]:
    """One network of each family, drawn, then another of each, and so on; repeats of some a while later."""
    families = defaultdict(list)
    for row in rows:
        families[row.family].append(row)
    for family in families.values():
        draw.shuffle(family)
    turns: list[Planned] = []
    while families:
        names = sorted(families)
        draw.shuffle(names)
        for name in names:
            turns.append(families[name].pop())
            if not families[name]:
                del families[name]
    planned: list[Planned] = []
    for place, row in enumerate(turns):
        planned.append(row)
        before = place - AGAIN_AFTER
        if before >= 0 and before % EVERY_AGAIN == 0:
            planned.append(Planned(**{**asdict(turns[before]), "round": 2}))
    return planned


def cells_of(row: Planned, phase: str) -> list[Cell]:
    """What is measured of a network: the same whenever it is asked. Together, networks cover all batch sizes."""
    draw = random.Random(int(hashlib.sha256(row.key.encode()).hexdigest()[:12], 16))
    if phase == "compiled":
        wanted = [("amp", "nchw", draw.choice((256, 256, 64, 1)))]
        other = draw.choice(("", "", "", "bf16", "bf16", "fp32"))
        if other:
            wanted.append((other, "nchw", draw.choice((256, 32, 8))))
    else:
        wanted = [("amp", "nchw", 1), ("amp", "nchw", draw.choice((8, 32, 64))), ("amp", "nchw", 256)]
        wanted += [("fp32", "nchw", draw.choice((1, 8))), ("fp32", "nchw", draw.choice((32, 64, 256)))]
        if draw.random() < 0.5 and row.source == "timm":
            wanted.append(("amp", "nhwc", draw.choice((64, 256))))
        wanted += [("bf16", "nchw", draw.choice((1, 8))), ("bf16", "nchw", draw.choice((32, 64, 256)))]
    cells = [Cell(p, layout, phase == "compiled", _within_reach(row, p, batch)) for p, layout, batch in wanted]
    return list(dict.fromkeys(cells))


def _within_reach(row: Planned, precision: str, batch: int) -> int:
    a_sample = 2e9 * row.gmacs / FLOPS[precision] + 1e6 * row.macts_m * 16 / BYTES_S
    return next((b for b in BATCHES if b <= batch and b * a_sample <= LONGEST_STEP_S), 1)


def read_plan(path: Path) -> list[Planned]:
    with path.open(newline="") as file:
        return [
            Planned(
                *(r["source"], r["name"], int(r["size"]), r["family"], r["split"]),
                *(float(r["gmacs"]), float(r["macts_m"]), float(r["params_m"]), int(r["round"])),
            )
            for r in csv.DictReader(file)
        ]
