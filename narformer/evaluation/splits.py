"""Rules by which a dataset becomes tasks: which rows to learn from, which to test on, as published."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from narformer.datasets.dataset import Dataset, sha1_order
from narformer.errors import DataError

Indices = npt.NDArray[np.int64]
FEW_SAMPLES = (50, 100, 200, 500, 1000)
NETWORK_FOLDS = 5
TRANSFER_SAMPLES = (32, 100, 200, 300)  # NNLQP, section 8.4


@dataclass(frozen=True)
class Task:
    """One training and test: rows of the protocol's dataset.

    pretrain: rows to learn every other device from first; the fit rows then teach the first device alone.
    """

    name: str
    fit: Indices
    test: Indices
    pretrain: Indices | None = None


def in_domain(dataset: Dataset) -> list[Task]:
    """One task: all train rows, all test rows."""
    return [Task("in-domain", dataset.rows("train"), dataset.rows("test"))]


def left_out_models(dataset: Dataset) -> list[Task]:
    """Train rows to those test rows whose network is that of no train row."""
    return [Task("left-out models", dataset.rows("train"), dataset.unseen())]


def leave_one_family_out(dataset: Dataset) -> list[Task]:
    """For each family: train rows of all others, test rows of that one."""
    families = sorted(set(dataset.family))
    if len(families) < 2:
        raise DataError(f"{dataset.name}: leaving a family out needs at least two families")
    return [
        Task(family, dataset.rows("train", set(families) - {family}), dataset.rows("test", {family}))
        for family in families
    ]


def left_out_folds(dataset: Dataset) -> list[Task]:
    """For each fold of families: train rows of all others, train rows of its families."""
    if not dataset.fold:
        raise DataError(f"{dataset.name}: it names no folds of families")
    fold, train = np.array(dataset.fold), np.asarray(dataset.split) == "train"
    return [
        Task(f"fold {k}", np.flatnonzero(train & (fold != k)), np.flatnonzero(train & (fold == k)))
        for k in sorted(set(dataset.fold))
    ]


def left_out_networks(dataset: Dataset) -> list[Task]:
    """A fifth after another of the networks of `pytorch-gpu` is known from no row of any hardware, and tests.

    Learned from are all other train rows, those of other datasets too.
    """
    ours = np.array([id.startswith("pytorch-gpu:") for id in dataset.ids])
    train = np.asarray(dataset.split) == "train"
    names = np.array(dataset.network or dataset.ids)
    order = list(dict.fromkeys(names[ours & train].tolist()))
    tasks = []
    for k in range(NETWORK_FOLDS):
        out = np.isin(names, order[k::NETWORK_FOLDS])
        tasks.append(Task(f"fold {k}", np.flatnonzero(train & ~out), np.flatnonzero(ours & train & out)))
    return [task for task in tasks if len(task.test)]


def left_out_files(dataset: Dataset) -> list[Task]:
    """Train rows of what was drawn, or built by packages, to all real files: the two have no network in common."""
    real = np.array([source == "file" for source, _, _ in (name.partition(":") for name in dataset.ids)])
    train = np.asarray(dataset.split) == "train"
    return [Task("real files", np.flatnonzero(train & ~real), np.flatnonzero(real))]


def few_samples(dataset: Dataset) -> list[Task]:
    """The first 50, 100, … train rows in SHA-1 order of their ids, all test rows."""
    train = dataset.rows("train")
    rows = train[sha1_order([dataset.ids[r] for r in train])]
    sizes = [size for size in FEW_SAMPLES if size <= len(rows)]
    return [Task(f"{size} networks", np.sort(rows[:size]), dataset.rows("test")) for size in sizes]


def transfer(dataset: Dataset) -> list[Task]:
    """The first device from few of its train rows, after all other devices from theirs."""
    measured = np.isfinite(dataset.targets)
    train = dataset.rows("train")
    mine = train[measured[train, 0]]
    mine = mine[sha1_order([dataset.ids[r] for r in mine])]
    others = np.array([r for r in dataset.rows("train") if measured[r, 1:].any()], dtype=np.int64)
    test = np.array([r for r in dataset.rows("test") if measured[r, 0]], dtype=np.int64)
    sizes = [size for size in TRANSFER_SAMPLES if size <= len(mine)]
    return [Task(f"{size} networks", np.sort(mine[:size]), test, others) for size in sizes]
