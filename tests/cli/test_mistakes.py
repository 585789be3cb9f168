"""Mistakes that are likely: each is one line with a remedy, and nothing is done by halves."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from narformer.families.registry import build
from narformer.frontends.canonical import network_hash
from narformer.frontends.onnx import read_onnx
from narformer.measurement.measurement import Measurement
from narformer.measurement.store import Store

Run = Callable[..., tuple[int, str, str]]
ADRENO = ("-d", "adreno-640")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A directory with two networks, both in files called model.onnx."""
    for k, op in enumerate(("skip_connect", "nor_conv_1x1")):
        (tmp_path / "models" / str(k)).mkdir(parents=True)
        model = build("nasbench201", f"|none~0|+|none~0|none~1|+|{op}~0|none~1|none~2|")
        (tmp_path / "models" / str(k) / "model.onnx").write_bytes(model.SerializeToString())
    return tmp_path / "models"


@pytest.fixture
def stored(models: Path, tmp_path: Path) -> Path:
    """A store that has both of them, and a failure with a long reason."""
    with Store.open(tmp_path / "some.db") as store:
        for ms, path in enumerate(sorted(models.rglob("*.onnx")), start=1):
            graph = read_onnx(path)
            store.add(Measurement(network_hash(graph), str(path), "my-board", float(ms), 0.1), graph)
        store.add(Measurement("", "text.onnx", "my-board", None, failure="unreadable: " + "why " * 60), None)
    return tmp_path / "some.db"


def test_an_address_is_told_as_it_was_given(run: Run) -> None:
    code, _, err = run("predict", "https://example.org/model.onnx")
    assert (code, err.startswith("narformer: https://example.org/model.onnx: an address")) == (2, True)


def test_a_file_of_zeros_is_refused_at_its_first_byte(run: Run, tmp_path: Path) -> None:
    with (tmp_path / "zeros.onnx").open("wb") as file:
        file.truncate(
            1 << 33
        )  # eight gigabytes that take no room: read to the end they would take a quarter of an hour
    code, _, err = run("predict", tmp_path / "zeros.onnx")
    assert (code, "not an ONNX model, or cut short" in err) == (2, True)


def test_an_operator_that_nobody_knows_asks_for_no_sizes(run: Run, tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    nodes = [helper.make_node("Mine", ["x"], ["m"], domain="of.mine"), helper.make_node("Relu", ["m"], ["y"])]
    graph = helper.make_graph(nodes, "g", [x], [onnx.ValueInfoProto(name="y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("of.mine", 1)])
    (tmp_path / "mine.onnx").write_bytes(model.SerializeToString())
    code, _, err = run("predict", tmp_path / "mine.onnx")
    assert (code, "narformer.operators.register" in err, "--input-shape" in err) == (2, True, False)


def test_an_empty_variable_names_no_store(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NARFORMER_STORE", "")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert run("predict", "examples/resnet18.onnx", *ADRENO)[0] == 0


def test_a_store_in_the_environment_that_cannot_be_reached_for_want_of_a_driver_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NARFORMER_STORE", "postgresql://localhost/none")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    code, _, err = run("predict", "examples/resnet18.onnx", *ADRENO)
    assert (code, "psycopg" in err, "--no-store" in err) == (2, True, True)


def test_a_directory_shows_what_the_store_has_of_each_file(run: Run, models: Path, stored: Path) -> None:
    code, out, _ = run("store", "show", models, "--store", stored, "--json")
    assert (code, [len(one["measurements"]) for one in json.loads(out)]) == (0, [1, 1])
    assert run("store", "show", models, "--store", stored)[1].count("my-board") == 2
    assert run("store", "remove", models, "--store", stored, "--yes")[1].startswith("2 removed")
    code, _, err = run("store", "show", models, "--store", stored)
    assert (code, "none of them was measured" in err) == (2, True)


def test_a_missing_file_is_no_hash(run: Run, stored: Path) -> None:
    for command in ("show", "remove"):
        code, _, err = run("store", command, "nosuch.onnx", "--store", stored)
        assert (code, "nosuch.onnx: no such file" in err) == (2, True)


def test_a_long_reason_leaves_the_table_as_wide_as_the_screen(
    run: Run, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = run("store", "list", "--store", stored)[1]
    assert "unreadable" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("width", [80, 120])
def test_two_files_of_one_name_can_be_told_apart(
    run: Run, models: Path, stored: Path, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    first = shutil.copy("examples/resnet18.onnx", models.parent / "first.onnx")
    for out in (
        run("compare", first, models, *ADRENO, "--no-store")[1],
        run("store", "list", "--store", stored)[1],
        run("predict", models, *ADRENO, "--no-store")[1],
    ):
        assert "0/model.onnx" in out
        assert "1/model.onnx" in out


def test_choose_takes_a_directory(run: Run, models: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot = tmp_path / "plot.svg"
    code, out, _ = run("choose", "-d", "adreno-640", "--max-ms", "2", "--model", models, "--plot", plot, "--json")
    mine = [row for row in json.loads(out) if row["rank"] is None]
    assert (code, len(mine)) == (0, 2)
    assert mine[0]["latency_ms"] >= mine[1]["latency_ms"]
    assert plot.stat().st_size > 0


def test_what_was_measured_keeps_another_target_of_its_hardware_from_the_headlines(run: Run, tmp_path: Path) -> None:
    graph = read_onnx("examples/resnet18.onnx")
    with Store.open(tmp_path / "mine.db") as store:
        target = "epyc-turin:onnxruntime-1.32:fp32:1t"
        store.add(Measurement(network_hash(graph), "resnet18.onnx", target, 12.5, 0.1), graph)
    out = run("predict", "examples/resnet18.onnx", "--store", tmp_path / "mine.db")[1]
    assert [line.split()[0] for line in out.splitlines() if line.startswith("epyc-turin")] == [target]


def test_a_page_that_cannot_be_written_is_told_before_the_table(run: Run, tmp_path: Path) -> None:
    code, out, err = run("explain", "examples/resnet18.onnx", "--html", tmp_path / "none" / "page.html")
    assert (code, out, "there is no directory" in err) == (2, "", True)


@pytest.mark.parametrize("option", ["--html", "--plot"])
def test_a_directory_in_which_nothing_may_be_written_is_told_before_the_table(
    run: Run, tmp_path: Path, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    code, out, err = run("explain", "examples/resnet18.onnx", option, tmp_path / "page.svg")
    assert (code, out, f"nothing may be written in {tmp_path}" in err) == (2, "", True)


def test_a_file_that_may_not_be_read_does_not_hide_the_others(run: Run, models: Path) -> None:
    secret = models / "0" / "model.onnx"
    secret.chmod(0)
    if os.access(secret, os.R_OK):
        pytest.skip("this user reads everything")
    code, out, err = run("predict", models, *ADRENO, "--no-store")
    assert (code, "0/model.onnx: cannot be read" in err, "1/model.onnx" in out) == (2, True, True)


def test_a_training_that_cannot_begin_leaves_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("model: tally9\n")
    code, _, err = run("train", "mine.yaml")
    assert (code, "unknown model 'tally9'" in err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_vectors_go_where_the_user_says(run: Run, tmp_path: Path) -> None:
    code, _, err = run("embed", "examples/resnet18.onnx", "--out", tmp_path / "vectors.npz")
    assert (code, "written as .npy" in err, list(tmp_path.iterdir())) == (2, True, [])
    code, _, err = run("embed", "examples/resnet18.onnx", "--out", tmp_path / "vectors.npy")
    assert (code, "1 rows of" in err) == (0, True)


def test_ctrl_c_while_adapting_is_acknowledged(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []

    def interrupted(networks: object, *, acknowledge: Callable[[], None], **more: object) -> None:
        acknowledge()
        raise KeyboardInterrupt

    monkeypatch.setattr("narformer.adaptation.session.measure", interrupted)
    monkeypatch.setattr("narformer.cli.adapt.acknowledge", lambda: heard.append("Ctrl-C"))
    monkeypatch.setattr("narformer.cli.main._leave", sys.exit)
    code, _, err = run("adapt", "-d", "some-board", "--store", tmp_path / "a.db")
    assert (code, heard, "narformer: interrupted" in err) == (130, ["Ctrl-C"], True)
