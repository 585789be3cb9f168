"""Accuracies of cells in the layouts of their publishers, written small here."""

from __future__ import annotations

import base64
import bz2
import json
import pickle
import struct
from pathlib import Path

import pytest
import torch

from narformer.cells import nasbench101, nasbench201
from narformer.cells.nasbench201_torch import read_pt
from narformer.errors import DataError

WORDS = ["input", "conv3x3-bn-relu", "maxpool3x3", "output"]
MATRIX = [[0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
ARCH = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|"


def _double(field: int, value: float) -> bytes:
    return bytes([field << 3 | 1]) + struct.pack("<d", value)


def _record(name: str, epochs: int, validation: float, test: float) -> bytes:
    evaluations = b""
    for epoch, share in ((0.0, 0.1), (epochs / 2, 0.8), (float(epochs), 1.0)):
        body = _double(1, epoch) + _double(2, 9.0) + _double(3, 1.0)
        body += _double(4, validation * share) + _double(5, test * share)
        evaluations += bytes([1 << 3 | 2, len(body)]) + body
    metrics = evaluations + bytes([2 << 3 | 0, 42])  # trainable_parameters, not read
    adjacency = "".join(str(bit) for row in MATRIX for bit in row)
    return json.dumps([name, epochs, adjacency, ",".join(WORDS), base64.b64encode(metrics).decode()]).encode()


def _tfrecord(path: Path, records: list[bytes]) -> Path:
    path.write_bytes(b"".join(struct.pack("<Q", len(r)) + b"sum!" + r + b"sum!" for r in records))
    return path


def test_the_official_file_of_nasbench101(tmp_path: Path) -> None:
    records = [_record("a", 108, 0.92, 0.91), _record("a", 108, 0.94, 0.93), _record("a", 36, 0.5, 0.5)]
    dataset = nasbench101.read_tfrecord(_tfrecord(tmp_path / "nasbench_only108.tfrecord", records))
    assert dataset.ids == ("a",)
    assert dataset.accuracy == pytest.approx([93.0])  # mean of the two runs after 108 epochs
    assert dataset.table.cell(0).operations == tuple(WORDS)
    test = nasbench101.read_tfrecord(tmp_path / "nasbench_only108.tfrecord", "test")
    assert test.accuracy == pytest.approx([92.0])


def test_a_broken_official_file_says_so(tmp_path: Path) -> None:
    whole = _tfrecord(tmp_path / "x.tfrecord", [_record("a", 108, 0.9, 0.9)]).read_bytes()
    for cut in (5, 30, len(whole) - 2):
        (tmp_path / "x.tfrecord").write_bytes(whole[:cut])
        with pytest.raises(DataError, match="middle of a record"):
            nasbench101.read_tfrecord(tmp_path / "x.tfrecord")
    (tmp_path / "x.tfrecord").write_bytes(b"\xff" * 64)
    with pytest.raises(DataError, match="not a TFRecord"):
        nasbench101.read_tfrecord(tmp_path / "x.tfrecord")
    _tfrecord(tmp_path / "x.tfrecord", [b"[1, 2]"])
    with pytest.raises(DataError, match="record 0"):
        nasbench101.read_tfrecord(tmp_path / "x.tfrecord")


def test_the_json_layout(tmp_path: Path) -> None:
    entry = {
        "hash": "h",
        "module_adjacency": MATRIX,
        "module_operations": WORDS,
        "validation_accuracy": 0.9,
        "test_accuracy": 0.89,
    }
    (tmp_path / "a.json").write_text(json.dumps([entry]))
    assert nasbench101.read_json(tmp_path / "a.json", "test").accuracy == pytest.approx([89.0])
    (tmp_path / "a.json").write_text(json.dumps([{"hash": "h"}]))
    with pytest.raises(DataError, match="entry 0"):
        nasbench101.read_json(tmp_path / "a.json")


def test_csv_errors_name_the_line(tmp_path: Path) -> None:
    file = tmp_path / "cells.csv"
    file.write_text("module_hash,upper_triangle,operations,valid_accuracy_108\nx,1,input;output,0.9\ny,11,input,0.9\n")
    with pytest.raises(DataError, match="line 3"):
        nasbench101.read_csv(file)


def test_nats_bench(tmp_path: Path) -> None:
    def dump(name: str, content: object) -> None:
        with bz2.open(tmp_path / name, "wb") as file:
            pickle.dump(content, file)

    dump("meta.pickle.pbz2", {"meta_archs": [ARCH, ARCH]})
    runs = {("cifar10", seed): {"eval_acc1es": {"ori-test@199": 90.0 + seed}} for seed in (1, 3)}
    dump("000001.pickle.pbz2", {"200": {"all_results": runs}})
    dataset = nasbench201.read_nats(tmp_path)
    assert dataset.ids == ("1",)
    assert dataset.accuracy == pytest.approx([92.0])
    dump("000001.pickle.pbz2", {"12": {}})
    with pytest.raises(DataError, match="000001"):
        nasbench201.read_nats(tmp_path)


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("run",))


def test_a_pickle_that_wants_to_run_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with bz2.open(tmp_path / "meta.pickle.pbz2", "wb") as file:
        pickle.dump(_Evil(), file)
    with pytest.raises(DataError, match="print"):
        nasbench201.read_nats(tmp_path)
    assert capsys.readouterr().out == ""


def test_the_pt_layout(tmp_path: Path) -> None:
    codes = [0, 2, 5, 4, 5, 5, 1, 6]
    torch.save({7: {"ops": codes, "test_accuracy": 0.9}}, tmp_path / "all.pt")
    dataset = read_pt(tmp_path / "all.pt")
    assert str(dataset.table.cell(0)) == ARCH
    assert dataset.accuracy == pytest.approx([90.0])
    torch.save({7: {"ops": codes}}, tmp_path / "all.pt")
    with pytest.raises(DataError, match="test_accuracy"):
        read_pt(tmp_path / "all.pt")
