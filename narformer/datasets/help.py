"""HELP's tables (Lee et al., NeurIPS 2021; MIT licence): latencies of whole search spaces on 27 device settings.

`nasbench201_latency_ms.csv`: the 15,625 cells by index; what they are stands in `nasbench201/cifar10.csv`.
`fbnet_latency_ms.csv`: 5,000 networks of FBNet's space, 22 blocks each. A setting is hardware and batch size.

A latency here is close to a sum of costs: so much for each operation that runs. Which ones run depends on the runtime,
so a table carries the work of each network under every way of running that its devices are known for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from narformer.datasets.dataset import data_root
from narformer.datasets.table import Row, milliseconds, read_table
from narformer.errors import DataError
from narformer.families.nasbench201 import CODES, EDGES, edge_operations

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
# The devices that HELP adapts to. All others count as known here; HELP itself uses thirteen of them.
UNSEEN = ("titan_rtx_256", "gold_6226", "fpga", "pixel2", "raspi4", "eyeriss")
UNSEEN_FBNET = ("titan_rtx_64", *UNSEEN[1:])
_CELL_COLUMNS = ("index", "arch", "cifar10_test_accuracy")
_RUNNING = ("skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
FBNET_BLOCKS = 22
FBNET_CHOICES = ("k3_e1", "k3_e1_g2", "k3_e3", "k3_e6", "k5_e1", "k5_e1_g2", "k5_e3", "k5_e6")  # and `skip`


@dataclass(frozen=True)
class LatencyTable:
    """A search space measured on many devices: latencies (networks, devices) in ms.

    work: a matrix (networks, costs) for each way of running a network; latency is about `work @ costs`. The first
    column is what every network pays. choices: what stands at each place,
    one-hot, for baselines.
    """

    name: str
    devices: tuple[str, ...]
    latencies: Array
    work: tuple[Array, ...]
    choices: Array

    def __len__(self) -> int:
        return len(self.latencies)


def load_help_nasbench201(root: str | Path | None = None) -> LatencyTable:
    """All cells of NAS-Bench-201. Two ways of running: every operation, or those that the output needs.

    Raises DataError where a file is absent or malformed.
    """
    directory = data_root(root)
    path = directory / "help" / "nasbench201_latency_ms.csv"
    rows, devices, latencies = _read(path, ("index",))
    cells = {row["index"]: row["arch"] for row in read_table(directory / "nasbench201" / "cifar10.csv", _CELL_COLUMNS)}
    try:
        operations = [edge_operations(cells[row["index"]]) for row in rows]
    except KeyError as error:
        raise DataError(f"{path}: no cell {error} in nasbench201/cifar10.csv") from error
    codes = np.array([[CODES.index(operation) for operation in cell] for cell in operations])
    return LatencyTable(
        "help/nasbench201",
        devices,
        latencies,
        nasbench201_work(codes),
        one_hot(codes, len(CODES)),
    )


def load_help_fbnet(root: str | Path | None = None) -> LatencyTable:
    """5,000 networks of FBNet's space; a cost for each choice at each of the 22 places, `skip` costing nothing.

    Raises DataError where the file is absent or malformed.
    """
    path = data_root(root) / "help" / "fbnet_latency_ms.csv"
    rows, devices, latencies = _read(path, ("index", "blocks"))
    codes = np.zeros((len(rows), FBNET_BLOCKS), dtype=np.int64)
    choices = (*FBNET_CHOICES, "skip")
    for number, row in enumerate(rows):
        blocks = row["blocks"].split("|")
        unknown = set(blocks) - set(choices)
        if len(blocks) != FBNET_BLOCKS or unknown:
            told = f"unknown {', '.join(sorted(unknown))}" if unknown else f"{len(blocks)} blocks"
            raise DataError(f"{path}, line {number + 2}: {told}; a network has {FBNET_BLOCKS} blocks")
        codes[number] = [choices.index(block) for block in blocks]
    every = one_hot(codes, len(choices))
    running = every.reshape(len(rows), FBNET_BLOCKS, len(choices))[:, :, : len(FBNET_CHOICES)]
    work = np.hstack([np.ones((len(rows), 1)), running.reshape(len(rows), -1)])
    return LatencyTable("help/fbnet", devices, latencies, (work,), every)


def one_hot(codes: npt.NDArray[np.integer[Any]], count: int) -> Array:
    """A column for each place and each code below `count`: (n, places) -> (n, places · count)."""
    every = codes[:, :, None] == np.arange(count)
    return np.asarray(every.reshape(len(codes), -1), dtype=np.float64)


def nasbench201_work(codes: npt.NDArray[np.integer[Any]]) -> tuple[Array, Array]:
    """Costs paid once, and counts of skip, 1×1, 3×3 and pooling: (n, 5) where all run, and (n, 5) where pruned.

    codes (n, 6): of the operations of the edges.
    """
    there = codes != CODES.index("none")
    kinds = np.stack([codes == CODES.index(name) for name in _RUNNING], axis=2)
    pruned = _pruned(there, kinds[:, :, 0] | kinds[:, :, 3])
    runs = pruned.any(axis=1)
    everything = np.column_stack([np.ones(len(codes)), kinds.sum(axis=1)])
    return everything, np.column_stack([runs, (kinds & pruned[:, :, None]).sum(axis=1)]).astype(np.float64)


def _pruned(there: Flags, light: Flags) -> Flags:
    """Which edges' operations a runtime still executes that removes what the output does not need: (n, 6).

    A `none` edge is a product with zero. An operation runs if the output needs the node it leads to. Of the nodes that
    only zeros read, a sum of several tensors is removed, but a lone operation is not: so pixel3 and raspi4 behave. A
    skip or a pooling (`light`) of zeros is zero again, and no operation. Where no path leads through, all is constant.
    """
    forward, needed = np.zeros((len(there), 4), dtype=bool), np.zeros((len(there), 4), dtype=bool)
    forward[:, 0] = needed[:, 3] = True
    for k, (source, target) in enumerate(EDGES):
        forward[:, target] |= forward[:, source] & there[:, k]
    for k, (source, target) in sorted(enumerate(EDGES), key=lambda edge: -edge[1][1]):
        needed[:, source] |= needed[:, target] & there[:, k]
    targets = [target for _, target in EDGES]
    runs: Flags = there & needed[:, targets] & forward[:, 3:]
    into1, into2, between = there[:, 0], there[:, 1], there[:, 2] & (there[:, 0] | ~light[:, 2])
    lone2 = ~needed[:, 2] & (into2 != between)
    both = ~needed[:, 1] & ~needed[:, 2] & into1 & into2 & ~there[:, 2]
    runs[:, 0] |= ~needed[:, 1] & into1 & (~there[:, 2] | (lone2 & between)) & ~both
    runs[:, 1] |= lone2 & into2 & ~(both & ~light[:, 0])
    runs[:, 2] |= lone2 & between
    return runs


def _read(path: Path, columns: tuple[str, ...]) -> tuple[list[Row], tuple[str, ...], Array]:
    rows = read_table(path, columns)
    devices = tuple(column for column in rows[0] if column not in columns)
    latencies = milliseconds(path, rows, devices)
    if not np.isfinite(latencies).all():
        raise DataError(f"{path}: an empty latency")
    return rows, devices, latencies
