"""Pretrained weights and measured latencies in the package: facts of timm's published tables."""

from __future__ import annotations

import lzma
import subprocess
import sys
from pathlib import Path

import pytest

from narformer.datasets import pretrained
from narformer.datasets.timm import load_timm
from narformer.errors import DataError

ROOT = Path(__file__).parents[2]
TABLES = (pretrained.ACCURACY, pretrained.LATENCY)


def test_weights_are_those_that_timm_published() -> None:
    rows = {(row.name, row.size): row for row in pretrained.weights()}
    assert len(rows) == len(pretrained.weights()) == 1556
    best = pretrained.weights()[0]
    assert best == ("eva02_large_patch14_448.mim_m38m_ft_in22k_in1k", 448, 90.056, 99.054, 305.08)
    assert best.network == "eva02_large_patch14_448"
    assert rows["eva_giant_patch14_560.m30m_ft_in22k_in1k", 560].parameters == 1014.45


def test_a_step_time_is_that_of_timms_table() -> None:
    rows = pretrained.timed()["rtx3090:pytorch-2.1:fp16"]
    assert ("tinynet_e", 106, 1024, 20.225) in rows
    assert len({(row.network, row.size, row.batch_size) for row in rows}) == len(rows)


def test_every_network_that_was_timed_has_weights() -> None:
    known = {(row.network, row.size) for row in pretrained.weights()}
    assert {(row.network, row.size) for rows in pretrained.timed().values() for row in rows} <= known


def test_the_tables_are_small() -> None:
    assert sum(path.stat().st_size for path in TABLES) < 300_000


def test_a_table_that_is_broken_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.csv.xz"
    monkeypatch.setattr(pretrained, "ACCURACY", path)
    for content, message in ((b"", "cannot be read"), (lzma.compress(b"model,top1\n"), "not the table")):
        path.write_bytes(content)
        pretrained.weights.cache_clear()
        with pytest.raises(DataError, match=message):
            pretrained.weights()
    pretrained.weights.cache_clear()


def test_the_tables_are_what_their_command_makes(tmp_path: Path, data_root: Path) -> None:
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "make_pretrained_tables.py"),
        "--out",
        str(tmp_path),
        "--data",
        str(data_root),
    ]
    subprocess.run(command, check=True, capture_output=True)
    for path in TABLES:
        assert lzma.decompress((tmp_path / path.name).read_bytes()) == lzma.decompress(path.read_bytes())


@pytest.mark.filterwarnings("ignore:.*infer.csv. left out, ")
def test_targets_have_the_ids_of_the_dataset(data_root: Path) -> None:
    assert set(pretrained.timed()) == set(load_timm(data_root).devices)
