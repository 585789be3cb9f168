"""The commands as a user meets them: output, JSON, exit codes, one clear line for each mistake."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from narformer.datasets.nnlqp import load_nnlqp
from narformer.evaluation.protocols import PROTOCOLS
from narformer.prediction.predictor import Predictor

Run = Callable[..., Any]


def test_predict_prints_a_table(run: Run, dummy: Path, resnet18: Path) -> None:
    result = run("predict", resnet18, "--predictor", dummy)
    assert result.code == 0
    for text in ("resnet18.onnx", "10.0 ms", "20.0 ms", "unknown", "90% interval", "warning: never seen in training"):
        assert text in result.out


def test_the_held_out_error_is_not_claimed_for_what_was_never_seen(run: Run, resnet18: Path) -> None:
    output = next(o for o in Predictor.load().card.outputs if o.device == "adreno-640:tflite-2.1:fp32")
    error = f"{output.held_out['mape']:.1f} %"
    assert error in run("predict", resnet18, "--device", "adreno640").out
    larger = run("predict", resnet18, "--device", "adreno640", "--batch-size", 8).out
    assert error not in larger
    assert "unknown" in larger


def test_predict_json_has_an_object_per_model_and_device(run: Run, dummy: Path, resnet18: Path) -> None:
    result = run("predict", resnet18, resnet18, "--predictor", dummy, "--json", "--device", "q")
    rows = json.loads(result.out)
    assert [(r["model"], r["device"], r["latency_ms"], r["source"]) for r in rows] == [
        (str(resnet18), "q", 20.0, "predicted")
    ] * 2
    assert all(r["low_ms"] < r["latency_ms"] < r["high_ms"] and r["warnings"] for r in rows)


@pytest.mark.parametrize(("limit", "code"), [("15", 3), ("20", 0), ("0.001", 3)])
def test_a_limit_sets_the_exit_code(run: Run, dummy: Path, resnet18: Path, limit: str, code: int) -> None:
    result = run("predict", resnet18, "--predictor", dummy, "--max-ms", limit)
    assert result.code == code
    assert ("exceeded" in result.out) == (code == 3)


def test_one_bad_file_does_not_hide_the_others(run: Run, dummy: Path, resnet18: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"rubbish")
    result = run("predict", tmp_path / "bad.onnx", resnet18, "--predictor", dummy, "--json")
    assert result.code == 2
    assert len(json.loads(result.out)) == 2
    assert result.err.count("\n") == 1
    assert "bad.onnx: not an ONNX model" in result.err


def _dynamic(path: Path) -> Path:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 3, "h", "w"]) for n in "xy")
    graph = helper.make_graph(nodes, "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), str(path))
    return path


def test_dynamic_sizes_are_asked_for_and_bound(run: Run, dummy: Path, tmp_path: Path) -> None:
    path = _dynamic(tmp_path / "dynamic.onnx")
    result = run("predict", path, "--predictor", dummy)
    assert result.code == 2
    command = result.err.partition("for example: narformer ")[2]
    assert command.strip() == f"predict {path} --predictor {dummy} --dim h=224 --dim w=224"
    assert run(*shlex.split(command)).code == 0
    for shape in ("x=1,3,8,8", "1,3,8,8", "1x3x8x8"):
        assert run("predict", path, "--predictor", dummy, "--input-shape", shape).code == 0
    assert "write it as NAME=1,3,224,224" in run("predict", path, "--predictor", dummy, "--input-shape", "x=big").err


def test_every_command_that_reads_a_network_asks_for_sizes_and_takes_them(
    run: Run, dummy: Path, resnet18: Path, tmp_path: Path
) -> None:
    path = _dynamic(tmp_path / "dynamic.onnx")
    for command in (["inspect"], ["explain"], ["predict", resnet18], ["embed", resnet18], ["store", "show"]):
        result = run(*command, path)
        assert result.code == 2
        assert result.err.count("\n") == 1
        asked = shlex.split(result.err.partition("for example: narformer ")[2])
        assert asked == [
            *map(str, command[:2] if command[0] == "store" else command[:1]),
            str(path),
            "--dim",
            "h=224",
            "--dim",
            "w=224",
        ]
        if command[0] != "store":
            assert run(*asked).code == 0
    told = run("store", "show", path, "--dim", "h=8", "--dim", "w=8").err
    assert "dynamic sizes" not in told


def test_sizes_are_given_in_several_ways(run: Run, tmp_path: Path) -> None:
    path = _dynamic(tmp_path / "dynamic.onnx")
    for given in (
        ["--dim", "h=8", "--dim", "w=9", "-b", "2"],
        ["--input-shape", "x=2,3,8,9"],
        ["--input-shape", "2x3x8x9"],
        ["--input-shape", "x=-1,-1,8,width", "--dim", "width=9", "--batch-size", "2"],
    ):
        result = run("inspect", path, "--json", *given)
        assert json.loads(result.out)["inputs"] == {"x": [2, 3, 8, 9]}, given


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--dim", "h"], "write it as NAME=128"),
        (["--dim", "h=-1"], "not negative"),
        (["--dim", "depth=3"], "no size is called 'depth'"),
        (["--dim", "h=1", "--dim", "h=2"], "was given as 1 before"),
        (["--input-shape", "x=1,,3"], "write it as NAME=1,3,224,224"),
        (["--input-shape", "x=1,3,8,8", "--input-shape", "x=1,3,9,9"], "another shape before"),
        (["--input-shape", "z=1,3,8,8"], "no input 'z'; the inputs are x"),
    ],
)
def test_sizes_that_cannot_be_meant_are_told(run: Run, tmp_path: Path, given: list[str], message: str) -> None:
    result = run("inspect", _dynamic(tmp_path / "dynamic.onnx"), *given)
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert message in result.err


def test_what_a_file_states_wrongly_is_told_once_by_every_command(run: Run, resnet18: Path, tmp_path: Path) -> None:
    model = onnx.load(_dynamic(tmp_path / "stale.onnx"))
    for info, side in ((model.graph.input[0], 16), (model.graph.output[0], 8)):
        for dim, size in zip(info.type.tensor_type.shape.dim, (1, 3, side, side), strict=True):
            dim.dim_value = size
    path = tmp_path / "stale.onnx"
    onnx.save(model, path)
    note = f"narformer: note: {path}: the file states the shape [1, 3, 8, 8] of 'y', and its nodes give [1, 3, 16, 16]"
    for command in (["inspect"], ["explain"], ["predict", resnet18, path], ["embed"]):
        result = run(*command, path)
        assert result.code == 0
        assert result.err.count("\n") == result.err.count(note) == (2 if command[0] == "predict" else 1), command


def test_an_empty_past_can_be_given(run: Run, tmp_path: Path) -> None:
    past, new = ["batch", 2, "past", 4], ["batch", 2, 3, 4]
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("past", past), ("k", new))]
    node = helper.make_node("Concat", ["past", "k"], ["keys"], axis=2)
    outputs = [helper.make_empty_tensor_value_info("keys")]
    graph = helper.make_graph([node], "g", infos, outputs)
    path = tmp_path / "past.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    for given in (["--dim", "past=0"], ["--input-shape", "past=1,2,0,4"]):
        assert run("inspect", path, *given).code == 0
        assert run("predict", path, *given, "--device", "cortexA76cpu").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "z"], "unknown target z"),
        (["--batch-size", "0"], "--batch-size"),
        (["--predictor", "nobody"], "no such predictor"),
    ],
)
def test_wrong_options_exit_with_two(run: Run, dummy: Path, resnet18: Path, arguments: list[str], message: str) -> None:
    given = arguments if "--predictor" in arguments else ["--predictor", str(dummy), *arguments]
    result = run("predict", resnet18, *given)
    assert result.code == 2
    assert message in result.err
    assert "Traceback" not in result.err


def test_devices_lists_what_is_known_and_how_well(run: Run, dummy: Path) -> None:
    result = run("devices", "--predictor", dummy)
    assert result.code == 0
    assert "3.0 %" in result.out
    rows = json.loads(run("devices", "--predictor", dummy, "--json").out)
    assert [r["device"] for r in rows] == ["p", "q"]


def test_inspect_shows_costs(run: Run, resnet18: Path) -> None:
    result = run("inspect", resnet18)
    assert result.code == 0
    for text in ("1.81 GMACs", "11.7 Mparameters", "Conv", "heaviest nodes", "input 1x3x224x224"):
        assert text in result.out
    data = json.loads(run("inspect", resnet18, "--json", "--batch-size", 2).out)
    assert data["macs"] == 2 * 1_814_073_344
    assert data["operators"]["Conv"]["count"] == 20
    assert len(data["heaviest"]) == 10


def _by_module(path: Path) -> Path:
    """Two products in layers of their own, by names as torch's exporter writes them."""
    make, zeros = onnx.helper.make_node, onnx.numpy_helper.from_array(np.zeros((8, 8), np.float32), "w")
    nodes = [make("MatMul", ["x", "w"], ["a"], name="/layer1/fc/MatMul"), make("Relu", ["a"], ["b"], name="/Relu")]
    nodes += [make("MatMul", ["b", "w"], ["y"], name="/layer2/fc/MatMul")]
    x, y = (onnx.helper.make_tensor_value_info(name, 1, [4, 8]) for name in "xy")
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [x], [y], [zeros])), path)
    return path


def test_inspect_and_explain_group_by_module(run: Run, tmp_path: Path, resnet18: Path) -> None:
    path = _by_module(tmp_path / "two.onnx")
    for command in ("inspect", "explain"):
        result = run(command, path, "--by", "module", "--depth", 1)
        assert result.code == 0
        rows = [line.split()[:2] for line in result.out.splitlines() if line.startswith("  layer")]
        assert rows == [["layer1", "1"], ["layer2", "1"]]
        found = json.loads(run(command, path, "--by", "module", "--json").out)["modules"]
        macs = {"": 512, "layer1": 256, "layer1.fc": 256, "layer2": 256, "layer2.fc": 256}
        assert {row["module"]: row["macs"] for row in found} == macs
    assert found[0]["ms"] == pytest.approx(found[1]["ms"] + found[3]["ms"], abs=0.01)
    assert "add --by module" in run("inspect", path, "--depth", 1).err
    result = run("explain", resnet18, "--by", "module")
    assert result.code == 2
    assert "no node has a module" in result.err


def test_inspect_names_operators_without_a_cost_rule(run: Run, tmp_path: Path) -> None:
    x, y = (onnx.helper.make_tensor_value_info(name, 1, [4]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Conv", ["x"], ["y"], domain="of.mine")], "g", [x], [y])
    sets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("of.mine", 1)]
    path = tmp_path / "custom.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=sets, ir_version=9), path)
    assert "of.mine.Conv (1 node): no cost rule, counted as 0 MACs" in run("inspect", path).out
    data = json.loads(run("inspect", path, "--json").out)
    assert data["without_cost_rule"] == {"of.mine.Conv": 1}
    assert (data["operators"]["of.mine.Conv"]["macs"], data["peak_bytes"]) == (0, 32)


def test_families_are_listed_and_sampled(run: Run, tmp_path: Path) -> None:
    assert "resnet  (18, 34, 50)" in run("families", "list").out
    result = run("families", "sample", "resnet", "--count", 4, "--out", tmp_path / "mine", "--version", "18")
    assert result.code == 0
    dataset = load_nnlqp(tmp_path / "mine")
    assert len(dataset) == 4
    assert np.isnan(dataset.targets).all()
    assert len(dataset.sources[3].graph()) == 49
    assert run("families", "sample", "lenet", "--out", tmp_path).code == 2


def test_families_check_counts_and_fails(run: Run, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    row = "a,alexnet,,11_5_3_3_3-64_192_384_256_256_4096_4096,"
    table.write_text(f"id,family,version,config,macs\n{row}674956032\n")
    result = run("families", "check", table)
    assert (result.code, result.err) == (0, "")
    assert "1 networks,      1 with the table's MACs" in result.out
    table.write_text(f"id,family,version,config,macs\n{row}674956033\n")
    result = run("families", "check", table)
    assert result.code == 1
    assert "a: 674956032 instead of 674956033 MACs" in result.err


def test_training_needs_a_configuration_it_can_read(run: Run, tmp_path: Path) -> None:
    assert "cannot be read" in run("train", tmp_path / "absent.yaml").err
    (tmp_path / "c.yaml").write_text("epochs: 1\n")
    out = tmp_path / "run"
    out.mkdir()
    (out / "config.yaml").write_text("epochs: 2\n")
    (out / "last.pt").touch()
    result = run("train", tmp_path / "c.yaml", "--out", out)
    assert result.code == 2
    assert "holds a run with other settings" in result.err
    (tmp_path / "c.yaml").write_text("model: tally2\n")
    result = run("train", tmp_path / "c.yaml", "--out", tmp_path / "other", "--epochs", 3)
    assert result.code == 2
    assert "--epochs 3: means nothing to tally2, which is learned at once" in result.err
    (tmp_path / "c.yaml").write_text("model: tally2\nbatch_size: 8\nloss: log_l1\n")
    assert "c.yaml: batch_size, loss: means nothing to tally2" in run("train", tmp_path / "c.yaml").err
    assert not (tmp_path / "other").exists()


def test_version_and_help(run: Run) -> None:
    assert run("--version").out == "narformer 0.1.0\n"
    assert "predict" in run("--help").out


def test_evaluate_and_report_make_a_page(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("families", "sample", "alexnet", "--count", 10, "--out", tmp_path / "mine").code == 0
    gt = tmp_path / "mine" / "gt.txt"
    lines = [
        line.replace(" nan ", f" {10 + k} ").replace(" none", " gpu")
        for k, line in enumerate(gt.read_text().splitlines())
    ]
    gt.write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    common = ("--nnlqp", tmp_path / "mine", "--out", tmp_path / "results")
    result = run("evaluate", "nnlqp/in-domain", "--model", "flops", *common)
    assert result.code == 0, result.err
    assert "nnlqp/in-domain (full), flops:" in result.out
    assert run("report", tmp_path / "results").code == 0
    assert "| flops |" in (tmp_path / "results" / "README.md").read_text()
    assert "give either --model" in run("evaluate", "nnlqp/in-domain", *common).err
    assert "no results there" in run("report", tmp_path).err
    assert "did you mean nnlqp/in-domain or " in run("evaluate", "nnlqp/in-domian", "--model", "flops").err
    assert "no use for --epochs with flops" in run("evaluate", "nnlqp/in-domain", "-m", "flops", "--epochs", 3).err
    assert "narformer evaluate --list" in run("evaluate", "--model", "flops").err
    listed = run("evaluate", "--list")
    assert listed.code == 0
    assert all(name in listed.out for name in PROTOCOLS)
    assert "tally2" in run("evaluate", "timm/in-domain", "--list").out


def test_what_cannot_be_written_is_one_line(run: Run, resnet18: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("epochs: 1\n")
    (tmp_path / "file").touch()
    code, out, err = run("train", tmp_path / "c.yaml", "--out", tmp_path / "file" / "run")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "file/run: " in err
    command = [sys.executable, "-c", "from narformer.cli.main import main; main()", "predict", str(resnet18)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "narformer: the output: No space left on device\n")


@pytest.mark.parametrize("arguments", [["devices", "--json"], ["devices", "--help"], ["families", "list"]])
def test_a_reader_that_has_gone_is_no_error(arguments: list[str]) -> None:
    command = [sys.executable, "-c", "from narformer.cli.main import main; main()", *arguments]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        done = subprocess.run(command, stdout=gone, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
