"""HELP's tables: which operations run, by hand; the layout, written small here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from narformer.datasets.help import (
    FBNET_CHOICES,
    UNSEEN,
    load_help_fbnet,
    load_help_nasbench201,
    nasbench201_work,
    one_hot,
)
from narformer.errors import DataError
from narformer.families.nasbench201 import CODES

SHORT = {"0": "none", "s": "skip_connect", "1": "nor_conv_1x1", "3": "nor_conv_3x3", "p": "avg_pool_3x3"}


def _work(edges: str) -> tuple[list[float], list[float]]:
    """Both ways of running one cell; edges in the order 0→1, 0→2, 1→2, 0→3, 1→3, 2→3."""
    everything, pruned = nasbench201_work(np.array([[CODES.index(SHORT[e]) for e in edges]]))
    return everything[0].tolist(), pruned[0].tolist()


def test_where_all_is_needed_both_ways_of_running_are_the_same() -> None:
    everything, pruned = _work("s13p33")
    assert everything == pruned == [1, 1, 1, 3, 1]


@pytest.mark.parametrize(
    ("edges", "pruned"),
    [
        ("330300", [1, 0, 0, 1, 0]),  # both inner nodes dead, neither a sum: the known exception, nothing else runs
        ("333300", [1, 0, 0, 1, 0]),  # node 2 is a sum of two that nothing reads, and so is what feeds it
        ("300300", [1, 0, 0, 2, 0]),  # a lone convolution that only zeros read is executed
        ("003330", [1, 0, 0, 3, 0]),  # of node 1, which is zero: one that the output needs, and a lone one
        ("333333", [1, 0, 0, 6, 0]),
        ("000000", [0, 0, 0, 0, 0]),  # no path at all: the output is a constant
        ("003000", [1, 0, 0, 1, 0]),
        ("0000s0", [0, 0, 0, 0, 0]),
    ],
)
def test_a_pruning_runtime_executes_what_the_output_needs(edges: str, pruned: list[float]) -> None:
    everything, found = _work(edges)
    assert everything == [1, *(sum(e == k for e in edges) for k in "s13p")]
    assert found == pruned


def test_one_hot_has_a_column_a_place_and_code() -> None:
    np.testing.assert_array_equal(one_hot(np.array([[0, 2]]), 3), [[1, 0, 0, 0, 0, 1]])


def _write(root: Path, blocks: str, latency: str = "2.5") -> None:
    (root / "help").mkdir(exist_ok=True)
    (root / "help" / "fbnet_latency_ms.csv").write_text(f"index,blocks,pixel2,fpga\n0,{blocks},{latency},1.5\n")


def test_fbnet_has_a_cost_a_place_and_choice(tmp_path: Path) -> None:
    _write(tmp_path, "|".join(["k3_e6", "skip", *["k5_e1"] * 20]))
    table = load_help_fbnet(tmp_path)
    (work,) = table.work
    assert table.devices == ("pixel2", "fpga")
    assert table.latencies.tolist() == [[2.5, 1.5]]
    assert work.shape == (1, 1 + 22 * len(FBNET_CHOICES))
    assert work.sum() == 1 + 21  # what all pay, and every block but the skipped one
    assert work[0, 1 + FBNET_CHOICES.index("k3_e6")] == 1


@pytest.mark.parametrize(
    ("blocks", "latency", "message"),
    [
        ("k3_e6|skip", "2.5", "line 2: 2 blocks"),
        ("|".join(["k9_e9"] * 22), "2.5", "unknown k9_e9"),
        ("|".join(["skip"] * 22), "fast", "row 2, pixel2: 'fast'"),
        ("|".join(["skip"] * 22), "", "empty latency"),
    ],
)
def test_a_malformed_table_is_told(tmp_path: Path, blocks: str, latency: str, message: str) -> None:
    _write(tmp_path, blocks, latency)
    with pytest.raises(DataError, match=message):
        load_help_fbnet(tmp_path)


def test_the_public_table_is_a_sum_of_costs(data_root: Path) -> None:
    """Five costs a device explain NAS-Bench-201 on the noiseless ones, and pixel3 only where pruning is known."""
    table = load_help_nasbench201(data_root)
    assert len(table) == 15_625
    assert set(UNSEEN) < set(table.devices)
    left = {}
    for device in ("fpga", "2080ti_256", "pixel3"):
        latency = table.latencies[:, table.devices.index(device)]
        left[device] = [
            float(np.var(latency - work @ np.linalg.lstsq(work, latency, rcond=None)[0]) / np.var(latency))
            for work in table.work
        ]
    assert left["fpga"][0] < 0.002
    assert left["2080ti_256"][0] < 0.005
    assert left["pixel3"][1] < 0.06 < 0.15 < left["pixel3"][0]
