"""`narformer measure` and `narformer devices --here` as a user meets them, with a real worker and tiny networks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from narformer.families.registry import build
from narformer.measurement.device import cpu_hardware, hardware
from narformer.measurement.here import Available
from narformer.measurement.store import Store

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def short_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first reference time need not be a good one here."""
    monkeypatch.setattr("narformer.measurement.session.FIRST_S", 0.02)


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """A directory in NNLQP's layout with two networks, one at two batch sizes."""
    root = tmp_path / "cells"
    (root / "onnx").mkdir(parents=True)
    for k, op in enumerate(("skip_connect", "nor_conv_1x1")):
        model = build("nasbench201", f"|none~0|+|none~0|none~1|+|{op}~0|none~1|none~2|")
        (root / "onnx" / f"{k}.onnx").write_bytes(model.SerializeToString())
    (root / "gt.txt").write_text("0 onnx/0.onnx 1 nan c none\n1 onnx/1.onnx 1 nan c none\n1 onnx/1.onnx 2 nan c none\n")
    return root


def test_measure_then_answer_from_the_store(run: Run, cells: Path, tmp_path: Path) -> None:
    code, out, err = run("measure", cells, "--budget", "0.02", "--hardware", "desk", "--json")
    rows = json.loads(out)
    assert code == 0
    assert [(Path(r["model"]).name, r["source"], r["batch_size"]) for r in rows] == [
        ("0.onnx", "measured", 1),
        ("1.onnx", "measured", 1),
        ("1.onnx", "measured", 2),
    ]
    assert all(r["latency_ms"] > 0 and r["device"].startswith("desk:onnxruntime") for r in rows)
    assert "3 measured; store" in err
    code, out, err = run("measure", cells / "onnx", "--hardware", "desk")
    assert code == 0
    assert "2 answered from the store" in err
    for text in ("0.onnx", "stored", "MiB", " ms", "desk:onnxruntime"):
        assert text in out
    with Store.open(tmp_path / "measurements.db") as store:
        assert len(store.find(failed=False)) == 4  # and the reference network


def test_one_bad_file_is_a_row_and_the_others_are_measured(run: Run, cells: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"nonsense")
    code, out, err = run("measure", bad, cells / "onnx" / "0.onnx", "--budget", "0.02")
    assert code == 2
    assert "0.onnx" in out
    assert "bad.onnx: unreadable: " in err
    assert "1 measured, 1 failed (unreadable)" in err
    with Store.open(tmp_path / "measurements.db") as store:
        assert [m.model for m in store.find(failed=True)] == [str(bad)]


def test_open_sizes_are_asked_for_and_bound(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "dynamic.onnx"
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    x, y = (onnx.helper.make_tensor_value_info(name, 1, ["N", 3, "H", -1]) for name in "xy")
    opsets = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], [y]), opset_imports=opsets), path)
    code, _, err = run("measure", path, "--budget", "0.02")
    assert code == 2
    example = f"for example: narformer measure {path} --dim H=224 --input-shape x=1,3,224,224 "
    assert example in err
    code, out, _ = run("measure", path, "--input-shape", "x=2,3,H,9", "--dim", "H=8", "--budget", "0.02", "--json")
    (row,) = json.loads(out)
    assert (code, row["source"], row["batch_size"]) == (0, "measured", 2)
    assert "1 answered from the store" in run("measure", path, "--input-shape", "x=2,3,8,9")[2]
    told = json.loads(run("store", "show", path, "--input-shape", "x=2,3,8,9", "--json")[1])
    assert [m["latency_ms"] for m in told["measurements"]] == [row["latency_ms"]]


def test_what_is_missing_is_told_and_the_others_are_measured(run: Run, cells: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "listed").mkdir()
    (tmp_path / "listed" / "gt.txt").write_text("no such line\n")
    missing = tmp_path / "missing.onnx"
    arguments = (missing, tmp_path / "empty", cells / "onnx" / "0.onnx", tmp_path / "listed")
    code, out, err = run("measure", *arguments, "--budget", "0.02", "--json")
    assert code == 2
    assert [row["source"] for row in json.loads(out)] == ["measured"]
    told = [line for line in err.splitlines() if line.startswith("narformer: ")]
    assert told[0] == f"narformer: {missing}: no such file"
    assert "no .onnx files below" in told[1]
    assert "gt.txt" in told[2]
    assert len(told) == 3


def test_a_file_that_a_dataset_lists_but_lacks_is_told_and_not_stored(run: Run, cells: Path, tmp_path: Path) -> None:
    (cells / "onnx" / "0.onnx").unlink()
    code, _, err = run("measure", cells, "--budget", "0.02")
    assert code == 2
    assert f"narformer: {cells / 'onnx/0.onnx'}: unreadable: no such file" in err.splitlines()
    assert "2 measured, 1 failed (unreadable)" in err
    with Store.open(tmp_path / "measurements.db") as store:
        assert store.find(failed=True) == []


def test_nothing_but_missing_files_makes_no_store(run: Run, tmp_path: Path) -> None:
    code, out, err = run("measure", "gone.onnx", "--store", tmp_path / "new.db")
    assert (code, out, err) == (2, "", "narformer: gone.onnx: no such file\n")
    assert not (tmp_path / "new.db").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runtime", "abacus"], "unknown runtime 'abacus'"),
        (["--processor", "abacus"], "cannot run on 'abacus' here, only on cpu"),
        (["--device", "cortexA76cpu"], "narformer devices --here"),
        (["--device", "moon:onnxruntime-1.0:fp32:1t"], "this machine has "),
        (["--pin", "99999"], "cannot be used"),
        (["--store", "/no/such/directory/store.db"], "/no/such/directory"),
    ],
)
def test_a_mistake_is_one_line(run: Run, cells: Path, arguments: list[str], message: str) -> None:
    code, _, err = run("measure", cells / "onnx" / "0.onnx", *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_an_empty_directory_is_a_mistake(run: Run, tmp_path: Path) -> None:
    code, _, err = run("measure", tmp_path)
    assert (code, "no .onnx files below" in err) == (2, True)


def test_an_id_sets_runtime_and_threads_and_a_former_one_the_batch_size(run: Run, cells: Path) -> None:
    import onnxruntime

    version = ".".join(onnxruntime.__version__.split(".")[:2])
    target = f"{hardware('cpu')}:onnxruntime-{version}:fp32:2t"
    former = f"{cpu_hardware()}-onnxruntime{version}-cpu-fp32-t2-b3"
    for id, batch_size in ((target, 1), (former, 3)):
        code, out, _ = run("measure", cells / "onnx" / "0.onnx", "--device", id, "--budget", "0.02", "--json")
        (row,) = json.loads(out)
        assert (code, row["device"], row["batch_size"], row["precision"]) == (0, target, batch_size, "fp32")


def test_devices_here(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [
        Available("onnxruntime", "cpu", "desk:onnxruntime-1.32:fp32:1t"),
        Available("openvino", missing="OpenVINO is not installed: pip install openvino"),
        Available("torch-eager", missing="PyTorch is not installed: pip install torch"),
        Available("torch-compile", missing="PyTorch is not installed: pip install torch"),
    ]
    monkeypatch.setattr("narformer.measurement.here.available", lambda: entries)
    code, out, _ = run("devices", "--here")
    assert code == 0
    assert "desk:onnxruntime-1.32:fp32:1t" in out
    assert "pip install openvino" in out
    assert out.count("PyTorch is not installed") == 1
    told = json.loads(run("devices", "--here", "--json")[1])
    assert told == [entry.to_dict() for entry in entries]
    assert told[0]["target"] == told[0]["device"] == "desk:onnxruntime-1.32:fp32:1t"


def test_batch_sizes_and_threads_are_swept_and_percentiles_told(run: Run, cells: Path) -> None:
    file = cells / "onnx" / "0.onnx"
    code, out, _ = run("measure", file, "-b", "1,2", "-t", "1,2", "--budget", "0.02", "--json")
    rows = json.loads(out)
    assert code == 0
    assert [(row["batch_size"], row["target"].rpartition(":")[2]) for row in rows] == [
        (1, "1t"),
        (2, "1t"),
        (1, "2t"),
        (2, "2t"),
    ]
    for row in rows:
        assert row["min_ms"] <= row["latency_ms"] <= row["p99_ms"]
        assert row["min_ms"] <= row["p90_ms"] <= row["p99_ms"]
        assert row["throughput"] == pytest.approx(1000 * row["batch_size"] / row["mean_ms"])
    code, out, _ = run("measure", file, "-b", "1,2", "--budget", "0.02")  # the store has all of it
    assert all(title in out for title in ("batch", "median", "p90", "p99", "min", "inputs/s", "stored"))
    assert "write whole numbers" in run("measure", file, "-t", "0")[2]


def test_own_data_is_fed_and_what_does_not_fit_is_told(run: Run, cells: Path, tmp_path: Path) -> None:
    file = cells / "onnx" / "0.onnx"
    image = np.random.default_rng(0).random((3, 3, 32, 32), dtype=np.float32)
    np.savez(tmp_path / "own.npz", image)
    np.savez(tmp_path / "named.npz", nothing=image)
    np.savez(tmp_path / "double.npz", image.astype(np.float64))
    (tmp_path / "bad.npz").write_bytes(b"nonsense")

    def fed(name: str) -> tuple[int, str, str]:
        return run("measure", file, "--input-data", tmp_path / name, "--budget", "0.02", "--json")

    for _ in range(2):  # never answered from the store: other data may take another time
        (row,) = json.loads(fed("own.npz")[1])
        assert (row["source"], row["batch_size"]) == ("measured", 3)
    assert "nothing" in fed("named.npz")[1]
    assert "float64 of [3, 3, 32, 32], and" in fed("double.npz")[1]
    assert json.loads(run("store", "list", "--failed", "--json")[1]) == []  # that says nothing of the network
    assert "not an .npz file" in fed("bad.npz")[2]
    assert "no such file" in fed("gone.npz")[2]


def test_a_duration_is_kept_to_and_measures_anew(run: Run, cells: Path) -> None:
    for _ in range(2):
        code, out, _ = run("measure", cells / "onnx" / "0.onnx", "--duration", "0.05", "--json")
        (row,) = json.loads(out)
        assert (code, row["source"]) == (0, "measured")
    assert "exclude each other" in run("measure", cells, "--duration", "1", "--budget", "1")[2]


def test_an_unknown_runtime_is_told_before_a_store_is_made(run: Run, cells: Path, tmp_path: Path) -> None:
    code, _, err = run("measure", cells, "--runtime", "onnxruntme", "--store", tmp_path / "new.db")
    assert (code, "did you mean onnxruntime?" in err) == (2, True)
    assert not (tmp_path / "new.db").exists()


def test_store_hides_the_reference_and_removes(run: Run, cells: Path) -> None:
    assert run("measure", cells / "onnx", "--hardware", "desk", "--budget", "0.02")[0] == 0
    assert [Path(row["model"]).name for row in json.loads(run("store", "list", "--json")[1])] == ["0.onnx", "1.onnx"]
    assert len(json.loads(run("store", "list", "--all", "--json")[1])) == 3
    table = run("store", "devices")[1]
    assert [line.split()[1:] for line in table.splitlines() if line.startswith("desk:")] == [["2", "2", "0"]]
    (told,) = json.loads(run("store", "devices", "--json")[1])
    assert (told["networks"], told["measured"], told["failed"]) == (2, 2, 0)
    assert "say what to remove" in run("store", "remove")[2]
    assert run("store", "remove", cells / "onnx" / "0.onnx", "--yes")[:2][0] == 0
    assert [Path(row["model"]).name for row in json.loads(run("store", "list", "--json")[1])] == ["1.onnx"]
    assert "not measured" in run("store", "show", cells / "onnx" / "0.onnx")[2]
    assert run("store", "remove", "--device", "desk", "--yes")[0] == 0
    assert json.loads(run("store", "devices", "--json")[1]) == []


def test_a_store_that_the_environment_names_and_that_is_not_there_is_told(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NARFORMER_STORE", str(tmp_path / "gone.db"))
    code, _, err = run("predict", "examples/resnet18.onnx", "-d", "rtx5090")
    assert (code, "gone.db: no such store, and NARFORMER_STORE names it" in err) == (2, True)
    assert run("predict", "examples/resnet18.onnx", "-d", "rtx5090", "--no-store")[0] == 0
