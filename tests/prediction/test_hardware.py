"""The table of hardware: names that can be typed, facts with a source, aliases that mean one thing."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from narformer.datasets import qai_hub
from narformer.prediction.hardware import UNITS, hardware, known_hardware
from narformer.prediction.target import Target


def test_every_row_has_a_name_that_is_typed_a_kind_and_a_source() -> None:
    for entry in known_hardware():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry.name)
        assert entry.kind in UNITS
        assert entry.group
        assert entry.maker
        assert entry.title
        assert entry.source
        assert Target(entry.name, "tflite", "int8").facts is entry


def test_names_and_aliases_are_those_of_one_hardware() -> None:
    names = [name for entry in known_hardware() for name in (entry.name, *entry.aliases)]
    assert len(names) == len(set(names))
    assert all(hardware(name) is entry for entry in known_hardware() for name in (entry.name, *entry.aliases))


def test_published_figures_of_an_rtx_4090() -> None:
    """NVIDIA's Ada whitepaper: 82.6 TFLOPS, 165.2 on tensor cores in float16 with float32 sums, 1008 GB/s, 24 GB."""
    facts = hardware("rtx4090")
    assert (facts.kind, facts.maker, facts.year) == ("gpu", "NVIDIA", 2022)
    assert facts.peak == {"fp32": 82.6e12, "fp16": 165.2e12, "int8": 660.6e12}
    assert facts.bandwidth == 1008e9
    assert facts.memory == 24 * 2**30


def test_what_is_not_public_is_left_empty() -> None:
    facts = hardware("adreno-640")
    assert facts.peak == {}
    assert facts.memory is None


def test_of_hardware_that_the_table_lacks_only_the_name_is_known() -> None:
    assert (hardware("some-board-npu").kind, hardware("some-board-npu").group) == ("npu", "")
    assert hardware("some-board").kind == ""
    assert hardware("some-board").memory is None


def test_every_device_of_qualcomm_s_table_is_known_with_its_npu(data_root: Path) -> None:
    path = data_root / "qai_hub" / "perf.csv"
    if not path.is_file():
        pytest.skip("the table of Qualcomm AI Hub is not here")
    with path.open(newline="") as file:
        devices = {(row["device"], row["chipset"], int(row["htp"])) for row in csv.DictReader(file)}
    assert {hardware(name).name for name, _, _ in devices} == {qai_hub.hardware(name) for name, _, _ in devices}
    assert len(devices) == 19
    assert len({hardware(name).name for name, _, _ in devices}) == 19
    for name, chipset, generation in devices:
        assert hardware(name) is hardware(chipset)
        assert hardware(name).npu_generation == generation
        assert hardware(name).kind == "npu"
