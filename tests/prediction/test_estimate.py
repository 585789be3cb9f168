"""Estimates of latency and accuracy: one class, one set of names."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from narformer.prediction.estimate import Estimate, Estimates

LATENCY = Estimate("net", "gpu:runtime:fp32", 20.0, 16.0, 25.0, batch_size=8, held_out_error=6.5, hash="ab12")
ACCURACY = Estimate("a cell", "nasbench201", 93.5, 92.0, 94.25, "accuracy", "%", held_out_error=0.25)


def test_throughput_is_inputs_a_second() -> None:
    assert LATENCY.throughput == 8 / 0.020
    assert replace(LATENCY, batch_size=None).throughput is None
    assert ACCURACY.throughput is None


def test_what_old_code_reads_is_there() -> None:
    assert (LATENCY.latency_ms, LATENCY.low_ms, LATENCY.high_ms) == (20, 16, 25)
    assert (LATENCY.device, LATENCY.held_out_mape) == ("gpu:runtime:fp32", 6.5)
    assert (ACCURACY.cell, ACCURACY.accuracy, ACCURACY.held_out_mape) == ("a cell", 93.5, None)


def test_an_accuracy_has_no_milliseconds_and_a_latency_no_accuracy() -> None:
    with pytest.raises(AttributeError, match="an estimate of accuracy has no latency_ms"):
        _ = ACCURACY.latency_ms
    assert not hasattr(LATENCY, "accuracy")


def test_a_record_is_read_back_and_names_of_other_versions_are_left_out() -> None:
    record = LATENCY.to_dict()
    assert list(record)[:8] == [
        "hash",
        "model",
        "target",
        "batch_size",
        "latency_ms",
        "low_ms",
        "high_ms",
        "throughput",
    ]
    assert Estimate.from_dict(json.loads(json.dumps({**record, "mood": "good"}))) == LATENCY
    old = {name: value for name, value in record.items() if name not in ("target", "batch_size", "throughput", "hash")}
    assert Estimate.from_dict(old) == replace(LATENCY, batch_size=None, hash="")


def test_the_short_text_says_where_how_much_and_how() -> None:
    assert repr(LATENCY) == ("Estimate('net' on gpu:runtime:fp32, batch 8: 20.0 ms, 16.0 – 25.0 ms, predicted)")
    warned = replace(LATENCY, warnings=("batch size 8 was never measured",), batch_size=1)
    assert repr(warned).endswith("25.0 ms, predicted, 1 warning)")
    assert repr(ACCURACY) == "Estimate('a cell': 93.50 %, 92.00 – 94.25 %, predicted)"


def test_a_table_has_the_columns_that_tell_something() -> None:
    one = Estimates([replace(LATENCY, batch_size=1)])
    assert [column.title for column in one.table().columns] == ["target", "latency", "90% interval", "held-out error"]
    batches = Estimates([LATENCY, replace(LATENCY, batch_size=16, value=30.0), replace(LATENCY, model="other")])
    assert [column.title for column in batches.table().columns] == [
        "model",
        "target",
        "batch",
        "latency",
        "90% interval",
        "inputs/s",
        "held-out error",
    ]
    assert batches.table().rows[1] == ("net", "", "16", "30.0 ms", "16.0 – 25.0 ms", "533", "6.5 %")
    assert batches.table().rows[2][:3] == ("other", "gpu:runtime:fp32", "8")
    assert Estimates([ACCURACY]).table().rows == (("a cell", "93.50 %", "92.00 – 94.25 %", "0.25 %"),)
    assert Estimates().table().rows == ()


def test_the_held_out_error_is_not_claimed_where_a_warning_is_given() -> None:
    assert replace(LATENCY, warnings=("far",)).told_error == "unknown"
    assert replace(LATENCY, held_out_error=None, source="measured").told_error == "measured"


def test_csv_has_the_names_of_json() -> None:
    (row,) = csv.DictReader(io.StringIO(Estimates([LATENCY]).to_csv()))
    assert list(row) == list(LATENCY.to_dict())
    assert (row["latency_ms"], row["hash"], row["throughput"]) == ("20", "ab12", "400")
