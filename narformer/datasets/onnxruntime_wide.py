"""Ours, wider: operators, drawn networks, the zoo's networks and some of `onnxruntime-cpu`, timed with ONNX Runtime.

`planned` lists what is measured, in an order of which every beginning is a good sample. `onnxruntime-wide.csv`
beside this file has a row a measurement: what rebuilds the network, how it ran, its milliseconds in two processes hours
apart. `benchmarks/measure_wide.py` makes it; docs/reference/datasets.md tells how.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from narformer.datasets import onnxruntime_cpu, zoo
from narformer.datasets.dataset import Dataset, FamilySource, Source
from narformer.datasets.profiles import read_profiles
from narformer.datasets.table import Row, milliseconds, read_table
from narformer.datasets.timm import ZooSource
from narformer.errors import DataError
from narformer.families.drawn.registry import NETWORKS, OPERATORS, drawn
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph

TABLE = Path(__file__).parent / "onnxruntime-wide.csv"
# Graphs of what no code draws again: real files, and networks as ONNX Runtime's tools convert them.
STORED = Path(__file__).parent / "onnxruntime-wide.bin"
# Shares of kernels, by ONNX Runtime's profiler.
PROFILES = Path(__file__).parent / "onnxruntime-wide-profiles.npz"
PROFILED = "epyc-turin"
FILE, CONVERTED = "file", "converted"
RUNTIME = "onnxruntime-1.32"
COLUMNS = ("id", "source", "name", "size", "batch", "precision", "threads", "family", "fold", "split")
_TIMES = ("ms", "again_ms")
# Rounds of every kind, before other batch sizes, precisions and threads begin.
OPERATOR_ROUNDS, NETWORK_ROUNDS, OLD_ROWS = 23, 38, 100
TEST_TENTHS, FOLDS = 1, 10
_WITHOUT_BATCH = ("scatter", "non-maximum suppression", "detector")


@dataclass(frozen=True)
class DrawnSource:
    """A network that a kind and a seed stand for."""

    kind: str
    seed: int
    batch: int = 1

    def graph(self) -> Graph:
        """Draw the network."""
        return read_onnx(drawn(self.kind, self.seed, self.batch))

    def state(self) -> None:
        """Code draws it."""


@dataclass(frozen=True)
class StoredSource:
    """A network of the file beside the table. origin: FILE or CONVERTED."""

    name: str
    origin: str

    def graph(self) -> Graph:
        """Its Graph, structure only."""
        return zoo.load(self.name, source=self.origin, path=STORED)

    def state(self) -> str | None:
        """That of its part of the file."""
        return zoo.state(zoo.Entry(self.origin, self.name, 0), STORED)


@dataclass(frozen=True)
class Planned:
    """One measurement: a network at a batch, in a precision, by some threads.

    source: drawn, cpu (a row of onnxruntime-cpu), file (a real one), or a source of the zoo. name: kind and seed; the
    row's id; the file's and its inputs' shapes; or the zoo's name. size: of the zoo's image. precision: fp32, fp16,
    int8 (static, QDQ) or int8-dynamic.
    """

    source: str
    name: str
    size: int = 0
    batch: int = 1
    precision: str = "fp32"
    threads: int = 1
    family: str = ""
    fold: int = 0
    split: str = "train"

    @property
    def network(self) -> str:
        """The same for all measurements of one network at one batch."""
        size, batch = f"@{self.size}" if self.size else "", f"x{self.batch}" if self.batch > 1 else ""
        return f"{self.source}:{self.name}{size}{batch}"

    @property
    def id(self) -> str:
        """The id of the row: network, precision and threads."""
        return f"{self.network} {self.precision} {self.threads}t"

    def rebuilt(self) -> Source:
        """What rebuilds the network (at batch 1 where it is not drawn). Raises DataError for one that is not known."""
        if self.source == "drawn":
            kind, _, seed = self.name.rpartition(" ")
            return DrawnSource(kind, int(seed), self.batch)
        if self.source == "cpu":
            return _old()[self.name]
        if self.source == FILE:
            return StoredSource(self.name, FILE)
        return ZooSource(self.name, self.size, self.source)


def _old() -> Mapping[str, FamilySource]:
    if not _OLD:
        _OLD.update({row.id: row.source for row in onnxruntime_cpu.planned()})
    return _OLD


_OLD: dict[str, FamilySource] = {}


@dataclass(frozen=True)
class Known:
    """A network of the zoo for the plan, with its family, fold and split, and millions of MACs and parameters."""

    source: str
    name: str
    size: int
    family: str
    fold: int
    split: str
    macs_m: float
    parameters_m: float


def planned(known: Sequence[Known] = ()) -> list[Planned]:
    """Everything to measure, the most useful first.

    First every kind of operator and network, some of the zoo's smaller ones and a hundred of the old table in turns;
    then the zoo's others at their smallest size; other batch sizes and precisions; two threads; other sizes.
    """
    operators = _rounds(OPERATORS, range(OPERATOR_ROUNDS))
    networks = _rounds(NETWORKS, range(NETWORK_ROUNDS))
    old = onnxruntime_cpu.planned()
    stride = len(old) / OLD_ROWS
    sample = [old[round(k * stride)] for k in range(OLD_ROWS)]
    again = [Planned("cpu", row.id, family=row.source.family, split=row.split) for row in sample]
    again = [replace(row, fold=_fold(row.family)) for row in again]
    smallest: dict[tuple[str, str], Known] = {}
    for entry in sorted(known, key=lambda entry: (_number(entry.name), entry.size)):
        smallest.setdefault((entry.source, entry.name), entry)
    light = [e for e in smallest.values() if e.macs_m <= 1500 and e.parameters_m <= 35]
    middle = [e for e in smallest.values() if e not in light and e.macs_m <= 9000 and e.parameters_m <= 100]
    first = _in_turns([operators, networks, again, _plain(light)])
    second = _plain(middle)
    batches = [row for row in first if row.family not in _WITHOUT_BATCH]
    others = [
        [replace(row, batch=4) for row in batches[::4]],
        [replace(row, batch=16) for row in batches[1::8]],
        [replace(row, precision="int8-dynamic") for row in [*networks, *_plain(light)][::5]],
        [replace(row, precision="int8") for row in [*networks, *_plain(light)][1::5]],
        [replace(row, precision="fp16") for row in [*networks, *_plain(light)][2::8]],
    ]
    two_threads = [replace(row, threads=2) for row in first[::4]]
    done = {e.name for e in [*light, *middle]}
    larger = [e for e in known if smallest[e.source, e.name] is not e or e.name not in done]
    larger = sorted((e for e in larger if e.macs_m <= 40_000 and e.parameters_m <= 200), key=lambda e: e.macs_m)
    return [*first, *second, *_in_turns(others), *two_threads, *_plain(larger)]


def _rounds(kinds: Iterable[str], seeds: Iterable[int]) -> list[Planned]:
    """Kinds taking turns. A tenth of the networks, by SHA-1 of their names, is for testing."""
    rows = [Planned("drawn", f"{kind} {seed}", family=kind, fold=_fold(kind)) for seed in seeds for kind in kinds]
    return [replace(row, split=split_of(row.name)) for row in rows]


def _plain(entries: Iterable[Known]) -> list[Planned]:
    return [Planned(e.source, e.name, e.size, family=e.family, fold=e.fold, split=e.split) for e in entries]


def digest(model: bytes) -> str:
    """Of a drawn network's file: a kind that draws otherwise than when it was measured is found out by it."""
    return hashlib.sha1(model).hexdigest()[:8]


def file_row(model: str, shapes: str, family: str) -> Planned:
    """What was measured of a real file; files of one family are for training, or for testing, together."""
    name = f"{model} {shapes}".strip()
    return Planned(FILE, name, family=f"{FILE}:{family}", fold=_fold(family), split=split_of(family))


def split_of(name: str) -> str:
    """`train` or `test`: a tenth of the numbers of networks is for testing, the same ones for ever."""
    return "test" if _number(name) % 10 < TEST_TENTHS else "train"


def _fold(family: str) -> int:
    return _number(family) % FOLDS


def _number(text: str) -> int:
    return int(hashlib.sha1(text.encode()).hexdigest(), 16)


def _in_turns(groups: Sequence[Sequence[Planned]]) -> list[Planned]:
    """All groups merged, each spread evenly over the whole."""
    placed = [((k + 0.5) / len(group), g, row) for g, group in enumerate(groups) for k, row in enumerate(group)]
    return [row for _, _, row in sorted(placed, key=lambda item: item[:2])]


def row_of(row: Row, where: str) -> Planned:
    """What a row of a table was measured of. Raises DataError where it is malformed."""
    try:
        return Planned(
            *(row["source"], row["name"], int(row["size"]), int(row["batch"]), row["precision"], int(row["threads"])),
            *(row["family"], int(row["fold"]), row["split"]),
        )
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error


def target_id(processor: str, precision: str, threads: int) -> str:
    """`epyc-turin:onnxruntime-1.32:fp32:1t`."""
    return f"{processor}:{RUNTIME}:{precision}:{threads}t"


def load_onnxruntime_wide(path: Path = TABLE) -> Dataset:
    """All measured networks; a column a target, NaN where it was not measured. Raises DataError.

    Latencies are the geometric mean of both processes, the second's at the speed of the first.
    """
    if not path.exists():
        raise DataError(f"{path}: not there; benchmarks/measure_wide.py makes it")
    table = read_table(path, (*COLUMNS, "processor", *_TIMES))
    times = np.log(milliseconds(path, table, _TIMES))
    difference = times[:, 1] - times[:, 0]
    slower = float(np.nanmedian(difference)) if np.isfinite(difference).any() else 0.0
    latency = np.exp(np.nanmean(times - [0.0, slower], axis=1))
    networks: dict[str, tuple[Planned, Source]] = {}
    measured: dict[tuple[str, str], float] = {}
    for k, (row, ms) in enumerate(zip(table, latency.tolist(), strict=True), 2):
        planned = row_of(row, f"{path}, row {k}")
        networks.setdefault(planned.network, (planned, planned.rebuilt()))
        found = [(planned.network, target_id(row["processor"], planned.precision, planned.threads))]
        if planned.precision != "fp32" and planned.threads == 1:
            # What was run is a file of its own, too, which the target of float32 runs as the file says.
            networks[planned.id] = (replace(planned, source=CONVERTED), StoredSource(planned.id, CONVERTED))
            found.append((planned.id, target_id(row["processor"], "fp32", planned.threads)))
        for at in found:
            if at in measured:
                raise DataError(f"{path}: {planned.id} is there twice")
            measured[at] = ms
    devices = tuple(dict.fromkeys(target for _, target in measured))
    values = np.full((len(networks), len(devices)), np.nan)
    place = {network: k for k, network in enumerate(networks)}
    for (network, target), ms in measured.items():
        values[place[network], devices.index(target)] = ms
    kept = [planned for planned, _ in networks.values()]
    return Dataset(
        name="onnxruntime-wide",
        ids=tuple(networks),
        sources=tuple(source for _, source in networks.values()),
        family=tuple(row.family for row in kept),
        split=tuple(row.split for row in kept),
        targets=values,
        devices=devices,
        batch=tuple(1 if row.source in ("drawn", CONVERTED) else row.batch for row in kept),
        fold=tuple(row.fold for row in kept),
        profiles=read_profiles(PROFILES, target_id(PROFILED, "fp32", 1)) if path == TABLE and PROFILES.exists() else {},
    )
