"""A dataset: networks with measured targets, families and a split. Networks are built or read when they are needed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from narformer.datasets.profiles import Profile
from narformer.errors import DataError
from narformer.families.registry import build
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph

QUICK_TRAIN, QUICK_TEST = 150, 50


class Source(Protocol):
    """Where one network comes from; small, picklable, and equal to itself in another process."""

    def graph(self) -> Graph:
        """Build or read the network."""

    def state(self) -> object:
        """What is another where the same source has become another network; None where code alone makes it."""


@dataclass(frozen=True)
class FamilySource:
    """A network rebuilt from its family, config and input size (the family's own without one)."""

    family: str
    config: str
    version: str = ""
    input_size: int | None = None

    def graph(self) -> Graph:
        """Build or read the network."""
        return read_onnx(build(self.family, self.config, self.version, input_size=self.input_size))

    def state(self) -> None:
        """Code makes it."""


@dataclass(frozen=True)
class FileSource:
    """A network read from an ONNX file."""

    path: str
    batch_size: int | None = None

    def graph(self) -> Graph:
        """Build or read the network."""
        return read_onnx(self.path, batch_size=self.batch_size)

    def state(self) -> tuple[int, int] | None:
        """Size and time of change of the file; None where there is none."""
        try:
            state = os.stat(self.path)
        except OSError:
            return None
        return state.st_size, state.st_mtime_ns


@dataclass(frozen=True)
class Dataset:
    """Networks with labels and a split.

    ids, sources, family and split ("train" or "test") have one entry a row; targets (rows, devices) in ms, NaN where
    not measured. batch: how many times the batch of the source's Graph was measured, by row; () for once everywhere.
    network: what each row is a form of, where several are one network at other sizes or batches, which stay together
        when rows are split; () where each is a network of its own.
    profiles: where the time of a run goes, for some rows by their ids.
    fold: which of the folds of left-out families a row's family is in; () where the dataset names none.
    Raises DataError where lengths differ or an id occurs twice.
    """

    name: str
    ids: tuple[str, ...]
    sources: tuple[Source, ...]
    family: tuple[str, ...]
    split: tuple[str, ...]
    targets: npt.NDArray[np.float64]
    devices: tuple[str, ...]
    batch: tuple[int, ...] = ()
    fold: tuple[int, ...] = ()
    network: tuple[str, ...] = ()
    profiles: Mapping[str, Profile] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {len(self.ids), len(self.sources), len(self.family), len(self.split), len(self.targets)}
        lengths |= {len(column) for column in (self.batch, self.fold, self.network) if column}
        if len(lengths) > 1 or self.targets.shape != (len(self.ids), len(self.devices)):
            raise DataError(f"{self.name}: columns of different lengths")
        if len(set(self.ids)) < len(self.ids):
            twice = sorted(i for i in set(self.ids) if self.ids.count(i) > 1)[:3]
            raise DataError(f"{self.name}: an id must be unique; twice there: {', '.join(twice)}")

    def __len__(self) -> int:
        return len(self.ids)

    def subset(self, rows: npt.ArrayLike) -> Dataset:
        """These rows, in this order."""
        chosen = np.asarray(rows, dtype=np.int64)

        def pick(column: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(column[r] for r in chosen)

        return replace(
            self,
            ids=pick(self.ids),
            sources=tuple(self.sources[r] for r in chosen),
            family=pick(self.family),
            split=pick(self.split),
            targets=self.targets[chosen],
            batch=tuple(self.batch[r] for r in chosen) if self.batch else (),
            fold=tuple(self.fold[r] for r in chosen) if self.fold else (),
            network=tuple(self.network[r] for r in chosen) if self.network else (),
        )

    @property
    def factors(self) -> npt.NDArray[np.float32]:
        """How many times the batch of its source's Graph each row has, (rows,)."""
        return np.array(self.batch or (1,) * len(self), dtype=np.float32)

    def rows(self, split: str | None = None, families: Collection[str] | None = None) -> npt.NDArray[np.int64]:
        """Indices of the rows of a split and of some families."""
        keep = np.ones(len(self), dtype=bool)
        if split is not None:
            keep &= np.asarray(self.split) == split
        if families is not None:
            keep &= np.isin(np.asarray(self.family), list(families))
        return np.flatnonzero(keep)

    def unseen(self) -> npt.NDArray[np.int64]:
        """Test rows whose network is that of no train row."""
        rows = self.rows("test")
        if not self.network:
            return rows
        known = {self.network[row] for row in self.rows("train")}
        return np.array([row for row in rows.tolist() if self.network[row] not in known], dtype=np.int64)

    def with_devices(self, devices: Sequence[str]) -> Dataset:
        """These devices alone, in this order. Raises DataError for one that was not measured."""
        unknown = [d for d in devices if d not in self.devices]
        if unknown:
            raise DataError(f"{self.name} has no device {', '.join(unknown)}; it has {', '.join(self.devices)}")
        columns = [self.devices.index(d) for d in devices]
        return replace(self, targets=self.targets[:, columns], devices=tuple(devices))


def concat(name: str, datasets: Sequence[Dataset]) -> Dataset:
    """All rows of several datasets; devices united, NaN where one dataset lacks a device."""
    devices = tuple(dict.fromkeys(d for dataset in datasets for d in dataset.devices))
    parts = []
    for dataset in datasets:
        targets = np.full((len(dataset), len(devices)), np.nan)
        targets[:, [devices.index(d) for d in dataset.devices]] = dataset.targets
        parts.append(targets)
    return Dataset(
        name=name,
        ids=tuple(i for d in datasets for i in d.ids),
        sources=tuple(s for d in datasets for s in d.sources),
        family=tuple(f for d in datasets for f in d.family),
        split=tuple(s for d in datasets for s in d.split),
        targets=np.concatenate(parts),
        devices=devices,
        batch=tuple(b for d in datasets for b in d.batch or (1,) * len(d)) if any(d.batch for d in datasets) else (),
        network=tuple(n for d in datasets for n in d.network or d.ids) if any(d.network for d in datasets) else (),
        profiles={id: profile for d in datasets for id, profile in d.profiles.items()},
    )


def sha1_order(ids: Sequence[str]) -> npt.NDArray[np.int64]:
    """Rows in SHA-1 order of their ids: random, the same for ever, and kept when others are added."""
    return np.argsort([hashlib.sha1(i.encode()).hexdigest() for i in ids], kind="stable")


def quick(dataset: Dataset) -> Dataset:
    """The quick form: of each family the first 150 train and 50 test rows by SHA-1 of their ids."""
    limit = {"train": QUICK_TRAIN, "test": QUICK_TEST}
    taken: dict[tuple[str, str], int] = {}
    rows = []
    for row in sha1_order(dataset.ids).tolist():
        key = (dataset.family[row], dataset.split[row])
        if taken.get(key, 0) < limit.get(key[1], 0):
            taken[key] = taken.get(key, 0) + 1
            rows.append(row)
    return dataset.subset(sorted(rows))


def data_root(root: str | Path | None = None) -> Path:
    """Where the public datasets lie: `root`, else $NARFORMER_DATA, else shared/data beside a checkout.

    Raises DataError, saying what to set, where there is none.
    """
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    path = Path(root or os.environ.get("NARFORMER_DATA") or beside)
    if not path.is_dir():
        told = (
            f"{path}: there are no public datasets"
            if root or os.environ.get("NARFORMER_DATA")
            else "no public datasets"
        )
        raise DataError(
            f"{told}; download what docs/reference/datasets.md lists, and name the directory of it with --data or "
            "NARFORMER_DATA"
        )
    return path


def read_lines(path: Path, keep_ends: bool = False) -> list[str]:
    """Lines of a text file, without their ends unless told. Raises DataError where it cannot be read.

    A byte order mark, which spreadsheets write, is no part of the first line.
    """
    try:
        return path.read_text(encoding="utf-8-sig").splitlines(keep_ends)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file") from error
