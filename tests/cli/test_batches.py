"""One command at several batch sizes: a row each with its throughput, what was never measured, and what cannot fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from narformer.cli.inputs import parse_batch_sizes
from narformer.errors import ConfigError


class Result(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Result]
GPU = "rtx4090:pytorch-2.9:fp16"


def test_each_batch_size_has_its_latency_and_throughput(run: Run, resnet18: Path) -> None:
    found = json.loads(run("predict", resnet18, "-b", "1,8,64", "-d", GPU, "--json").out)
    assert [(row["batch_size"], row["target"]) for row in found] == [(1, GPU), (8, GPU), (64, GPU)]
    for row in found:
        assert row["throughput"] == pytest.approx(1000 * row["batch_size"] / row["latency_ms"])
        (alone,) = json.loads(run("predict", resnet18, "-b", row["batch_size"], "-d", GPU, "--json").out)
        words = [name for name, value in row.items() if not isinstance(value, float)]
        assert {name: alone[name] for name in words} == {name: row[name] for name in words}
        for name in set(row).difference(words):  # sums of a batch of networks end in other digits
            assert alone[name] == pytest.approx(row[name], rel=1e-5)


def test_a_table_has_the_batches_of_a_target_together_and_counts_those_never_measured(run: Run, resnet18: Path) -> None:
    out = run("predict", resnet18, "-b", "1,64", "-d", "rtx4090:pytorch-2.9", "-d", "cortex-a76").out
    assert "inputs/s" in out
    lines = [line.split() for line in out.splitlines()]
    first = lines.index(next(line for line in lines if line[:2] == [GPU, "1"]))
    batches = [next(word for word in line if word in ("1", "64")) for line in lines[first : first + 4]]
    assert batches == ["1", "64", "1", "64"]
    assert lines[first + 2][:2] == ["cortex-a76:tflite-2.1:fp32", "1"]
    assert "batch size 1 was never measured there" in " ".join(out.split())
    plain = " ".join(run("predict", resnet18, "-b", "1,64").out.split())
    assert "targets at batch size 1," in plain
    assert "targets at batch size 64, never measured there" in plain
    compiled = "rtx5090:pytorch-2.9-compiled:fp16"  # of those of one GPU the one that stands for all
    assert plain.split("not shown")[0].split().count(compiled) == 1


def test_a_batch_that_does_not_fit_the_memory_is_told(run: Run, resnet18: Path) -> None:
    fits, does_not = json.loads(run("predict", resnet18, "-b", "1024,100000", "-d", GPU, "--json").out)
    assert fits["warnings"] == []
    (told,) = [warning for warning in does_not["warnings"] if "does not fit" in warning]
    assert told.endswith("GiB at least, and the hardware has 24")
    # The first convolution reads 3 x 224 x 224 numbers and writes 64 x 112 x 112, of two bytes each.
    needed = float(told.split("takes ")[1].split()[0])
    assert needed == pytest.approx(100000 * 2 * (3 * 224**2 + 64 * 112**2) / 2**30, rel=1e-3)


@pytest.mark.parametrize("text", ["", "0", "1,", "1,x", "-1", "1.5", "1 8", ",8"])
def test_what_is_no_batch_size_is_one_line(run: Run, resnet18: Path, text: str) -> None:
    result = run("predict", resnet18, f"--batch-size={text}")
    assert (result.code, result.err.count("\n")) == (2, 1)
    with pytest.raises(ConfigError, match="write whole numbers"):
        parse_batch_sizes(text)


def test_batch_sizes_are_read_each_once() -> None:
    assert parse_batch_sizes("8, 1,8") == (8, 1)
    assert parse_batch_sizes(None) == (None,)
