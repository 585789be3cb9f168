"""The predictor: estimates with intervals and warnings, from tiny dummy weights in the real file format."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from dummies import relu_graph, write_dummy
from onnx import TensorProto, helper

import narformer
from narformer.errors import ConfigError, DataError, ModelError, UnknownDeviceError
from narformer.graph import Graph, Node, Operand, Tensor
from narformer.prediction.card import Card
from narformer.prediction.predictor import Predictor


@pytest.fixture
def predictor(tmp_path: Path) -> Predictor:
    return Predictor.load(write_dummy(tmp_path))


def test_estimates_carry_unit_interval_and_error(predictor: Predictor) -> None:
    first, second = predictor.predict([relu_graph()])
    assert (first.device, second.device) == ("p", "q")
    assert (first.model, first.source, first.level, first.held_out_mape) == ("net", "predicted", 0.9, 3.0)
    assert first.latency_ms == 10
    assert first.low_ms == pytest.approx(10 / np.exp(0.1))
    assert first.high_ms == pytest.approx(10 * np.exp(0.1))
    assert first.warnings == ()
    assert json.loads(json.dumps(first.to_dict()))["latency_ms"] == 10


def test_unknown_operators_batches_and_sizes_widen_the_interval(predictor: Predictor) -> None:
    huge = Tensor((1, 3, 4000, 4000))
    far = Graph((Node("r", "Relu", (Operand(huge, ~0),), (huge,)),), (huge,))
    # Left-out families, which set the novel interval (here e), have no operator of their own: twice as wide in ln(ms).
    for graph, warning, widths in (
        (relu_graph("Gelu"), "operator Gelu", 2),
        (relu_graph(batch=4), "batch size 4", 1),
        (far, "far from every network trained on", 1),
    ):
        (estimate,) = predictor.predict([graph], ["p"])
        assert any(warning in w for w in estimate.warnings)
        assert estimate.high_ms == pytest.approx(10 * np.e**widths)


def test_many_graphs_at_once_keep_their_order(predictor: Predictor) -> None:
    graphs = [relu_graph(name=f"n{i}") for i in range(5000)]
    estimates = predictor.predict(graphs, ["q", "p"])
    assert [(e.model, e.device) for e in estimates[:3]] == [("n0", "q"), ("n0", "p"), ("n1", "q")]
    assert len(estimates) == 10_000
    assert predictor.predict([]) == []


def test_an_unknown_device_is_told(predictor: Predictor) -> None:
    with pytest.raises(UnknownDeviceError, match="unknown target z: there are p, q"):
        predictor.predict([relu_graph()], ["z"])


def test_broken_and_absent_predictors_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such predictor"):
        Predictor.load("nobody")
    path = write_dummy(tmp_path)
    beside = path.with_suffix(".npz")
    whole = beside.read_bytes()
    beside.write_bytes(whole[:100])
    with pytest.raises(DataError, match="not the card of a predictor"):
        Predictor.load(path)
    beside.unlink()
    with pytest.raises(DataError, match=r"dummy\.npz: cannot be read"):
        Predictor.load(path)
    path.with_suffix(".json").write_text("{}")
    with pytest.raises(DataError, match="not the card of a predictor"):
        Predictor.load(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(DataError, match=r"dummy\.json: cannot be read .*; a predictor is NAME.onnx beside"):
        Predictor.load(path)
    write_dummy(path.parent)
    path.write_bytes(b"rubbish")
    with pytest.raises(DataError, match="ONNX Runtime cannot load it"):
        Predictor.load(path)


def test_three_lines_of_python(tmp_path: Path, resnet18: Path) -> None:
    dummy = str(write_dummy(tmp_path))
    (estimate,) = narformer.predict(resnet18, devices="q", predictor=dummy)
    assert (estimate.model, estimate.latency_ms) == (str(resnet18), 20)
    assert len(narformer.predict([resnet18, narformer.read_onnx(resnet18)], predictor=dummy)) == 4
    with pytest.raises(ModelError, match="no such file"):
        narformer.predict(tmp_path / "absent.onnx", predictor=dummy)
    with pytest.raises(UnknownDeviceError, match="unknown target z"):
        narformer.predict([], devices="z", predictor=dummy)


def test_networks_are_taken_in_every_form(predictor: Predictor, tmp_path: Path, resnet18: Path) -> None:
    """By narformer.predict and by a predictor's own method: paths, texts, bytes, models in memory, Graphs, mixed."""
    dummy = str(write_dummy(tmp_path))
    model, graph = onnx.load(resnet18), narformer.read_onnx(resnet18)
    forms = [resnet18, str(resnet18), resnet18.read_bytes(), bytearray(resnet18.read_bytes()), model, graph]
    for form in forms:
        assert [e.device for e in narformer.predict(form, predictor=dummy)] == ["p", "q"]
        assert [e.device for e in predictor.predict(form, "q")] == ["q"]
    assert len(narformer.predict(forms, predictor=dummy, devices=("q",))) == len(predictor.predict(forms, ["q"])) == 6
    (batched, small) = predictor.predict([resnet18, resnet18.read_bytes()], "p", batch_size=4)
    assert any("batch size 4" in warning for warning in batched.warnings + small.warnings)


def dynamic() -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "side", "side"])
    y = helper.make_empty_tensor_value_info("y")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "net", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_sizes_are_given_as_on_the_command_line(predictor: Predictor, tmp_path: Path) -> None:
    dummy = str(write_dummy(tmp_path))
    for sizes in ({"dims": {"side": 8}}, {"input_shapes": {"x": (1, 3, 8, 8)}}, {"input_shapes": {"": [1, 3, 8, 8]}}):
        assert len(narformer.predict(dynamic(), predictor=dummy, **sizes)) == 2  # type: ignore[arg-type]
        assert len(predictor.predict(dynamic(), **sizes)) == 2  # type: ignore[arg-type]


class Module:
    """What a PyTorch module is known by."""

    def state_dict(self) -> dict[str, int]:
        return {}


@pytest.mark.parametrize(
    ("arguments", "sizes", "message"),
    [
        ((dynamic(),), {"batch_size": 0}, "whole number of at least 1, as in batch_size=4"),
        ((dynamic(),), {"batch_size": "4"}, "as in batch_size=4"),
        ((dynamic(),), {"batch_size": True}, "as in batch_size=4"),
        ((dynamic(),), {"dims": {"width": 8}}, "no size is called 'width'"),
        ((dynamic(),), {"input_shapes": {"z": (1,)}}, "no input 'z'; the inputs are x"),
        ((dynamic(),), {"devices": 5}, "give the name of a device"),
        ((dynamic(),), {"devices": []}, "leave devices out for all"),
        ((dynamic(), "cortexA76cpu"), {}, r"devices='cortexA76cpu'"),
        ((dynamic(), ["cortexA76cpu"]), {}, r"devices='cortexA76cpu'"),
        ((dynamic(), np.zeros(3)), {}, "example_inputs are for a PyTorch module"),
        ((relu_graph(),), {"dims": {"side": 4}}, r"a Graph has its sizes; .* read_onnx\(path, dims="),
        (([dynamic(), relu_graph()],), {"dims": {"side": 8}}, "a Graph has its sizes"),
        ((Module(),), {}, "Module: a PyTorch module needs example_inputs"),
        (([Module()],), {}, "Module: a PyTorch module needs example_inputs"),
        ((Module(), np.zeros(3)), {"batch_size": 4}, "give example inputs of the sizes that you want"),
        ((None,), {}, "NoneType: a network is the path"),
        (([5],), {}, "int: a network is the path"),
        ((io.BytesIO(b""),), {}, "BytesIO: a file that is open"),
        (("",), {}, "'': no network; give the path"),
    ],
)
def test_python_is_as_strict_as_the_command_line(
    tmp_path: Path, arguments: tuple[object, ...], sizes: dict[str, object], message: str
) -> None:
    dummy = str(write_dummy(tmp_path))
    with pytest.raises(ConfigError, match=message):
        narformer.predict(*arguments, predictor=dummy, **sizes)  # type: ignore[arg-type]


def test_the_road_of_a_prediction_never_imports_torch(tmp_path: Path, resnet18: Path) -> None:
    code = (
        "import sys, narformer; from narformer.cli.main import app\n"
        f"narformer.predict({str(resnet18)!r}, predictor={str(write_dummy(tmp_path))!r})\n"
        "heavy = [m for m in ('torch', 'scipy', 'sklearn', 'pandas', 'matplotlib') if m in sys.modules]\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_card_gives_itself_back_also_from_the_format_before(tmp_path: Path) -> None:
    path = write_dummy(tmp_path).with_suffix(".json")
    card = Card.read(path)
    assert [output.references for output in card.outputs] == ["1", "1"]
    data = json.loads(path.read_text())
    assert "novelty" not in data
    for output in data["outputs"]:
        output["references"] = "1"
    lines = {name: " ".join(map(str, getattr(card.novelty, name))) for name in ("center", "scale")}
    references = [" ".join(f"{number:.2f}" for number in row) for row in card.novelty.references]
    path.with_suffix(".npz").unlink()
    path.write_text(json.dumps({**data, "format": 3, "novelty": {**lines, "references": references}}))
    before = Card.read(path)
    assert before.outputs == card.outputs
    assert before.fingerprint == card.fingerprint
    for name in ("center", "scale", "references"):
        np.testing.assert_allclose(getattr(before.novelty, name), getattr(card.novelty, name))
