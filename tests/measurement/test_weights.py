"""Weightless networks become runnable, in each of the three forms; weights that are there stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from narformer.errors import ModelError
from narformer.families.registry import FAMILIES, sample
from narformer.measurement.weights import runnable


def weights_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def network(
    nodes: list[onnx.NodeProto],
    weights: list[onnx.TensorProto],
    inputs: dict[str, tuple[int, tuple[int, ...]]],
    output: tuple[int, ...] = (1, 4),
) -> onnx.ModelProto:
    infos = [helper.make_tensor_value_info(name, *of) for name, of in inputs.items()]
    out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)]
    return helper.make_model(helper.make_graph(nodes, "net", infos, out, weights), ir_version=8)


def weightless(name: str, shape: tuple[int, ...], dtype: int = TensorProto.FLOAT) -> onnx.TensorProto:
    return TensorProto(name=name, data_type=dtype, dims=shape)


def gemm() -> list[onnx.NodeProto]:
    return [helper.make_node("Gemm", ["x", "w", "b"], ["y"])]


X = {"x": (TensorProto.FLOAT, (1, 64))}


@pytest.mark.parametrize("form", ["initializers", "initializers and inputs", "inputs alone"])
def test_weights_without_data_are_made(form: str) -> None:
    weights = [weightless("w", (64, 4)), weightless("b", (4,))] if form != "inputs alone" else []
    declared = {"w": (TensorProto.FLOAT, (64, 4)), "b": (TensorProto.FLOAT, (4,))} if form != "initializers" else {}
    ready = runnable(network(gemm(), weights, X | declared))
    assert [i.name for i in ready.model.graph.input] == ["x"]
    made = weights_of(ready.model)
    assert made["w"].std() == pytest.approx(1 / 8, rel=0.15)  # 1 / √64
    assert np.abs(made["b"]).max() <= 0.1
    assert ready.inputs["x"].shape == (1, 64)
    onnx.checker.check_model(ready.model)


def test_weights_in_a_missing_file_are_made_and_those_in_a_present_one_read(tmp_path: Path) -> None:
    data = np.arange(256, dtype=np.float32).reshape(64, 4)
    model = network(gemm(), [numpy_helper.from_array(data, "w"), numpy_helper.from_array(np.ones(4, "f"), "b")], X)
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.bin", size_threshold=0)
    assert (weights_of(runnable(tmp_path / "m.onnx").model)["w"] == data).all()
    (tmp_path / "m.bin").unlink()
    made = weights_of(runnable(tmp_path / "m.onnx").model)["w"]
    assert made.shape == (64, 4)
    assert 0 < np.abs(made).max() < 1


def test_weights_that_are_there_stay_and_the_model_given_is_not_changed() -> None:
    data = np.full((64, 4), 7, np.float32)
    model = network(gemm(), [numpy_helper.from_array(data, "w"), weightless("b", (4,))], X)
    before = model.SerializeToString()
    assert (weights_of(runnable(model).model)["w"] == data).all()
    assert model.SerializeToString() == before


def test_batch_norm_gets_a_positive_variance() -> None:
    names = ["scale", "shift", "mean", "variance"]
    nodes = [helper.make_node("BatchNormalization", ["x", *names], ["y"])]
    model = network(nodes, [weightless(n, (64,)) for n in names], X, (1, 64))
    made = weights_of(runnable(model).model)
    assert made["variance"].min() >= 0.5
    assert made["scale"].min() >= 0.5


def test_token_ids_are_rows_of_their_table_and_masks_are_ones() -> None:
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Cast", ["mask"], ["m"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["rows", "m"], ["y"]),
    ]
    inputs = {"ids": (TensorProto.INT64, (1, 512)), "mask": (TensorProto.INT64, (1, 512, 1))}
    ready = runnable(network(nodes, [weightless("table", (30, 4))], inputs, (1, 512, 4)))
    assert ready.inputs["ids"].dtype == np.int64
    assert (ready.inputs["ids"].min(), ready.inputs["ids"].max()) == (0, 29)
    assert (ready.inputs["mask"] == 1).all()


def test_a_reshape_without_data_takes_the_known_shape() -> None:
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["r"]), helper.make_node("Relu", ["r"], ["y"])]
    model = network(nodes, [weightless("shape", (2,), TensorProto.INT64)], X, (4, 16))
    model.graph.value_info.append(helper.make_tensor_value_info("r", TensorProto.FLOAT, (4, 16)))
    assert weights_of(runnable(model).model)["shape"].tolist() == [4, 16]


def test_integers_that_nobody_can_know_are_an_error() -> None:
    nodes = [helper.make_node("Tile", ["x", "repeats"], ["y"])]
    model = network(nodes, [weightless("repeats", (2,), TensorProto.INT64)], X, (1, 64))
    with pytest.raises(ModelError, match="'repeats' has no data, but Tile needs its numbers"):
        runnable(model)


def test_another_batch_size_reaches_inputs_and_leaves_no_stale_shape() -> None:
    model = network(gemm(), [weightless("w", (64, 4)), weightless("b", (4,))], X)
    ready = runnable(model, batch_size=8)
    assert ready.inputs["x"].shape == (8, 64)
    assert [d.dim_value for d in ready.model.graph.input[0].type.tensor_type.shape.dim] == [8, 64]
    assert not ready.model.graph.output[0].type.tensor_type.HasField("shape")


def test_inputs_that_cannot_be_made_are_an_error() -> None:
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)]
    with pytest.raises(ModelError, match="string"):
        runnable(network(nodes, [], {"x": (TensorProto.STRING, (1, 4))}))


@pytest.mark.parametrize("family", ["mobilenetv3", "nasbench201", "squeezenet"])
def test_activations_keep_a_sane_scale(family: str) -> None:
    """No output dies out or overflows: numbers too small to be normal would distort the time."""
    assert family in FAMILIES
    ready = runnable(next(iter(sample(family, 1))).build())
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(ready.model.SerializeToString(), options)
    size = np.abs(session.run(None, dict(ready.inputs))[0]).mean()
    assert 1e-6 < size < 1e6
