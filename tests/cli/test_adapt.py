"""`narformer adapt` and `validate` as a user meets them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from narformer.families.registry import sample
from narformer.frontends.onnx import read_onnx
from narformer.prediction.predictor import Predictor

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five networks, a CSV and a gt.txt of their latencies on a device that is twice as slow as the Cortex-A76."""
    home = tmp_path_factory.mktemp("models")
    predictor = Predictor.load()
    lines, gt = ["model,latency_ms"], []
    for number, variant in enumerate(sample("squeezenet", 5)):
        name = f"m{number}.onnx"
        onnx.save(variant.build(), home / name)
        ms = 2 * float(predictor.latencies([read_onnx(home / name)])[0, 0])
        lines.append(f"{name},{ms}")
        gt += [f"{number} {name} 1 {ms} squeezenet board", f"{number} {name} 1 {3 * ms} squeezenet other-board"]
    (home / "times.csv").write_text("\n".join(lines[:-1]) + "\n")
    (home / "gt.txt").write_text("\n".join(gt) + "\n")
    return home


def test_a_table_makes_a_device_that_predict_and_devices_know(run: Run, models: Path) -> None:
    code, out, _ = run("adapt", "--device", "board", "--csv", models / "times.csv")
    assert code == 0
    assert "adapted from 4 networks measured on times.csv" in out
    code, out, _ = run("predict", models / "m4.onnx", "--device", "board", "--device", "cortexA76cpu", "--json")
    board, known = json.loads(out)
    assert code == 0
    assert board["source"] == "adapted"
    assert board["latency_ms"] == pytest.approx(2 * known["latency_ms"], rel=0.1)
    _, out, _ = run("devices", "--json")
    assert [row["source"] for row in json.loads(out)][-2:] == ["predicted", "adapted"]
    _, out, _ = run("devices")
    assert "board" in out


def test_a_table_may_tell_the_batch_size_of_each_network(run: Run, models: Path, tmp_path: Path) -> None:
    lines = (models / "times.csv").read_text().splitlines()
    batched = [f"{models / line.partition(',')[0]},{8 * float(line.partition(',')[2])},8" for line in lines[1:]]
    table = tmp_path / "batched.csv"
    table.write_text("\n".join([f"{lines[0]},batch_size", *batched]) + "\n")
    code, _, err = run("adapt", "--device", "board", "--csv", table)
    assert code == 0, err
    _, out, _ = run("predict", models / "m4.onnx", "--device", "board", "--batch-size", "8", "--json")
    (estimate,) = json.loads(out)
    assert estimate["batch_size"] == 8
    assert not any("batch size" in warning for warning in estimate["warnings"])
    _, out, _ = run("predict", models / "m4.onnx", "--device", "board", "--json")
    assert "batch size 1 was never measured there (only 8): an extrapolation" in json.loads(out)[0]["warnings"]
    for wrong in ("many", "0", "²"):
        table.write_text(f"{lines[0]},batch_size\n{models / 'm0.onnx'},1,{wrong}\n")
        told = run("adapt", "--device", "board", "--csv", table)[2]
        assert told == f"narformer: {table}, row 2, batch_size: {wrong!r} is not a number of inputs\n"


def test_a_table_may_bind_the_sizes_of_each_network(run: Run, tmp_path: Path) -> None:
    nodes = [onnx.helper.make_node("Conv", ["x", "w"], ["h"]), onnx.helper.make_node("Relu", ["h"], ["y"])]
    x = onnx.helper.make_tensor_value_info("x", 1, ["N", 3, "height", None])
    weight = onnx.numpy_helper.from_array(np.zeros((8, 3, 3, 3), np.float32), "w")
    graph = onnx.helper.make_graph(nodes, "g", [x], [onnx.helper.make_empty_tensor_value_info("y")], [weight])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "net.onnx")
    table = tmp_path / "times.csv"
    table.write_text("model,latency_ms\nnet.onnx,1\n")
    code, _, err = run("adapt", "--device", "board", "--csv", table)
    assert code == 2
    assert f"{table}, row 2: " in err
    example = err.rpartition("in a column shapes, for example: ")[2].strip()
    assert example == "height=224 x=1x3x224x224"
    rows = [example, '"x=1,3,64,64"', "1x3x96x96", '"x=2,3,height,128;height=64"']
    lines = [f"net.onnx,{1 + k},{shapes}" for k, shapes in enumerate(rows)]
    table.write_text("\n".join(["model,latency_ms,shapes", *lines]) + "\n")
    code, out, err = run("adapt", "--device", "board", "--csv", table)
    assert code == 0, err
    assert "adapted from 4 networks" in out
    table.write_text("model,latency_ms,shapes\nnet.onnx,1,height\n")
    assert "row 2: " in run("adapt", "--device", "board", "--csv", table)[2]


def test_a_device_that_cannot_be_used_stops_nothing_else(run: Run, models: Path, tmp_path: Path) -> None:
    assert run("adapt", "--device", "board", "--csv", models / "times.csv")[0] == 0
    file = tmp_path / "devices" / "board.json"
    file.write_text(file.read_text()[:-100])
    for command in (("predict", models / "m0.onnx"), ("devices",)):
        code, out, err = run(*command)
        assert (code, err.count("\n")) == (0, 1)
        assert "adreno-640" in out
        assert err.startswith(f"narformer: left out: {file}: ")
    code, out, err = run("predict", models / "m0.onnx", "--device", "board")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert str(file) in err


def test_a_directory_of_several_devices_needs_one_of_them(run: Run, models: Path) -> None:
    code, _, err = run("adapt", "--device", "mine", "--from", models)
    assert code == 2
    assert "--measured-on" in err
    assert "board, other-board" in err
    mine = ("adapt", "--device", "mine", "--from", models, "--measured-on", "other-board", "-k", 3)
    lines = run(*mine, "--format", "csv").out.splitlines()
    assert lines[0] == "hash,model,target,batch_size,latency_ms"
    assert len(lines) == 4
    code, out, _ = run(*mine, "--json")
    told = json.loads(out)
    assert code == 0
    assert (told["target"], told["measured_on"], len(told["networks"])) == ("mine", "other-board", 3)
    assert {"hash", "model", "target", "latency_ms"} <= told["networks"][0].keys()
    assert Path(told["file"]).is_file()


def test_a_directory_that_nobody_measured_yet_is_told(run: Run, tmp_path: Path) -> None:
    assert run("families", "sample", "squeezenet", "--count", 2, "--out", tmp_path / "mine")[0] == 0
    code, out, err = run("adapt", "--device", "board", "--from", tmp_path / "mine")
    assert (code, out) == (2, "")
    assert "nothing was measured on none yet" in err


def test_a_store_makes_a_device(run: Run, models: Path, tmp_path: Path) -> None:
    store = tmp_path / "other.db"
    assert run("store", "import", models, "--store", store)[0] == 0
    code, out, err = run("adapt", "--device", "mine", "--from-store", store, "--measured-on", "board", "--json")
    assert code == 0, err
    assert len(json.loads(out)["networks"]) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["adapt", "--device", "adreno640", "--csv", "times.csv"], "knows this target already"),
        (["adapt", "--device", "a/b", "--csv", "times.csv"], "a device's name is of"),
        (["adapt", "--device", "x", "--csv", "absent.csv"], "absent.csv"),
        (["adapt", "--device", "x", "--csv", "times.csv", "--from", "."], "exclude each other"),
        (["adapt", "--device", "x", "--csv", "times.csv", "--target-error", "5"], "--target-error: for measuring"),
        (["adapt", "--device", "x", "--from", ".", "-r", "pytorch", "-t", "2"], "--runtime, --threads: for measuring"),
        (["adapt", "--device", "x", "--measured-on", "y"], "--measured-on chooses among the devices of"),
        (["adapt", "--device", "x", "--runtime", "abacus"], "abacus"),
        (["adapt", "--device", "x", "--csv", "times.csv", "--predictor", "tally"], "does not tell kinds of kernels"),
        (["validate", "--device", "nobody"], "not an adapted device"),
    ],
)
def test_mistakes_are_told_in_a_line(
    run: Run, models: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(models)
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_a_device_measured_elsewhere_cannot_be_validated_here(run: Run, models: Path) -> None:
    run("adapt", "--device", "board", "--csv", models / "times.csv")
    code, _, err = run("validate", "--device", "board")
    assert code == 2
    assert "measure there" in err


@pytest.mark.parametrize(("measured", "told"), [(8.0, True), (10.0, False)])
def test_a_machine_that_changed_its_speed_is_told(
    measured: float, told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    from narformer.adaptation.session import Comparison, summary
    from narformer.cli.adapt import _print

    rows = [Comparison(f"{k:064x}", f"m{k}", "mine", 10.0, 8.0, 12.0, measured + k / 100) for k in range(3)]
    assert {"hash", "model", "target", "latency_ms", "measured_ms"} <= rows[0].to_dict().keys()
    _print("mine", rows, summary(rows))
    assert ("adapt again into a new store" in capsys.readouterr().out) is told
