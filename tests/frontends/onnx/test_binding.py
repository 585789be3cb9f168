"""Sizes that a file leaves open: what binds them, what is told of those that nobody binds, and what is refused."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from narformer.errors import BindingError, ConfigError, ShapeError
from narformer.frontends.onnx import read_onnx
from narformer.frontends.onnx.unbound import UnboundError

Dims = list[int | str | None]


def _value(name: str, dims: Dims) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)


def _model(nodes: list[onnx.NodeProto], inputs: dict[str, Dims]) -> onnx.ModelProto:
    outputs = [helper.make_empty_tensor_value_info(nodes[-1].output[0])]
    graph = helper.make_graph(nodes, "net", [_value(name, dims) for name, dims in inputs.items()], outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def relu(*dims: int | str | None) -> onnx.ModelProto:
    return _model([helper.make_node("Relu", ["x"], ["y"])], {"x": list(dims)})


def decoder(mask: str = "total") -> onnx.ModelProto:
    """Scores of new keys behind a cache, with a mask over all of them."""
    nodes = [
        helper.make_node("Concat", ["past", "k"], ["keys"], axis=2),
        helper.make_node("Transpose", ["keys"], ["t"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["q", "t"], ["s"]),
        helper.make_node("Add", ["s", "mask"], ["y"]),
    ]
    new: Dims = ["batch", 2, "sequence", 4]
    return _model(nodes, {"past": ["batch", 2, "past", 4], "k": new, "q": new, "mask": ["batch", 1, 1, mask]})


def shape(model: onnx.ModelProto, **sizes: Any) -> tuple[int, ...]:
    return read_onnx(model, **sizes).nodes[-1].output_shape


@pytest.mark.parametrize("batch", [-1, "N", None, "batch_size", "-1"])
def test_a_batch_that_is_open_is_one_however_it_is_written(batch: int | str | None) -> None:
    model = relu(batch, 3, 8, 8)
    assert shape(model) == (1, 3, 8, 8)
    assert shape(model, batch_size=2) == (2, 3, 8, 8)
    ran = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": np.zeros((2, 3, 8, 8), np.float32)})
    assert ran[0].shape == (2, 3, 8, 8)


def test_other_negative_sizes_are_asked_for_as_names_are() -> None:
    with pytest.raises(UnboundError, match=r"'x' has dynamic sizes \[\?, 3, \?, \?\]; .*{'x': \(1, 3, 224, 224\)}"):
        read_onnx(relu(-1, 3, -1, -1))
    assert shape(relu(-1, 3, -1, -1), input_shapes={"x": (2, 3, 8, 9)}) == (2, 3, 8, 9)


def test_a_name_is_bound_wherever_it_stands() -> None:
    bound = {"past": 7, "sequence": 3, "total": 10}
    assert shape(decoder(), dims=bound) == (1, 2, 3, 10)
    assert shape(decoder(), dims=bound, batch_size=5) == (5, 2, 3, 10)
    assert shape(decoder(), dims={**bound, "batch": 4}) == (4, 2, 3, 10)


def test_sums_of_names_are_computed() -> None:
    assert shape(decoder("past + sequence"), dims={"past": 7, "sequence": 3}) == (1, 2, 3, 10)
    assert shape(relu("batch", "2*n", "n//2", "(n - 1)*3"), dims={"n": 5}) == (1, 10, 2, 12)
    assert shape(relu("batch", "a-b"), dims={"a-b": 5}) == (1, 5)
    with pytest.raises(UnboundError, match=r"dims={'n': 128}"):
        read_onnx(_model([helper.make_node("Concat", ["a", "b"], ["y"], axis=0)], {"a": [1, "n"], "b": [1, "n + 0"]}))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(
            ("floor(n/2)", 16),
            ("floor(n/2 - 1/2) + 1", 17),
            ("ceiling(n/4)", 9),
            ("Max(1, n - 40)", 1),
            ("Min(n, 8)", 8),
        ),
        *(("-1 + n", 32), ("(n/2)*2", 33), ("n**2", 1089)),
    ],
)
def test_sizes_as_exporters_of_symbols_write_them_are_computed(text: str, size: int) -> None:
    assert shape(relu("batch", text), dims={"n": 33}) == (1, size)


def test_what_is_called_like_a_function_is_asked_for_whole() -> None:
    with pytest.raises(UnboundError, match=r"dims={'floor\(n/2\)': 128}"):
        read_onnx(relu("batch", "floor(n/2)"))
    assert shape(relu("batch", "floor(n/2)"), dims={"floor(n/2)": 5}) == (1, 5)
    with pytest.raises(UnboundError, match=r"dims={'gcd\(n, 2\)': 128}"):
        read_onnx(relu("batch", "gcd(n, 2)"))


def test_a_past_may_be_empty() -> None:
    assert shape(decoder("past + sequence"), dims={"past": 0, "sequence": 3}) == (1, 2, 3, 3)
    shapes = {"past": (1, 2, 0, 4), "k": (1, 2, 3, 4), "q": (1, 2, 3, 4), "mask": (1, 1, 1, 3)}
    assert shape(decoder(), input_shapes=shapes) == (1, 2, 3, 3)
    with pytest.raises(BindingError, match="'x' would have a batch of 0"):
        read_onnx(relu("N", 3), input_shapes={"x": (0, 3)})


def test_a_shape_binds_the_names_in_it_for_other_inputs() -> None:
    given = {"past": (2, 2, 7, 4), "k": (2, 2, 3, 4), "mask": (2, 1, 1, 10)}
    assert shape(decoder(), input_shapes=given) == (2, 2, 3, 10)


def test_a_shape_may_have_names_and_sizes_of_the_file() -> None:
    model = decoder("past + sequence")
    given = {"past": (-1, -1, "p", -1), "k": (-1, 2, "sequence", 4)}
    assert shape(model, input_shapes=given, dims={"p": 7, "sequence": 3}) == (1, 2, 3, 10)
    assert shape(model, input_shapes=given, dims={"p": 7, "sequence": 3}, batch_size=6) == (6, 2, 3, 10)


def test_an_input_without_a_named_length_is_bound_by_its_own_name() -> None:
    model = _model([helper.make_node("Add", ["x", "w"], ["y"])], {"x": [1, 4], "w": [None]})
    assert shape(model, dims={"w": 4}) == (1, 4)


def test_the_first_size_is_no_batch_where_its_name_is_another_axis() -> None:
    model = _model([helper.make_node("Add", ["x", "p"], ["y"])], {"x": ["batch", "n", 4], "p": ["n", 4]})
    assert shape(model, dims={"n": 6}, batch_size=2) == (2, 6, 4)


def test_one_message_lists_all_that_is_open_with_what_binds_it() -> None:
    model = _model(
        [helper.make_node("Concat", ["ids", "type"], ["y"], axis=0), helper.make_node("Relu", ["pixels"], ["z"])],
        {"ids": ["batch", "sequence"], "type": ["batch", "sequence"], "pixels": [None, 3, None, None]},
    )
    model.graph.output.append(helper.make_empty_tensor_value_info("y"))
    with pytest.raises(UnboundError) as caught:
        read_onnx(model)
    told = str(caught.value)
    for text in ("'ids' has dynamic sizes [batch, sequence]", "'type'", "'pixels' has dynamic sizes [?, 3, ?, ?]"):
        assert text in told
    assert told.endswith("for example: dims={'sequence': 128}, input_shapes={'pixels': (1, 3, 224, 224)}")
    read_onnx(model, dims={"sequence": 128}, input_shapes={"pixels": (1, 3, 224, 224)})


@pytest.mark.parametrize("mask", ["total", "past + sequence", "attention_length", None])
def test_the_example_is_one_with_which_the_network_can_be_read(mask: str | None) -> None:
    with pytest.raises(UnboundError) as caught:
        read_onnx(decoder(mask))  # type: ignore[arg-type]
    example = caught.value.example
    read_onnx(decoder(mask), input_shapes=example.input_shapes, dims=example.dims)  # type: ignore[arg-type]
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.example) == (str(caught.value), example)


def test_an_image_of_another_size_is_found() -> None:
    """A network whose sizes are fixed inside, for images of 32 by 32."""
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    model = _model(nodes, {"x": ["N", 3, "H", "W"]})
    weight = onnx.numpy_helper.from_array(np.zeros((3 * 32 * 32, 2), np.float32), "w")
    model.graph.initializer.append(weight)
    with pytest.raises(UnboundError, match=r"dims={'H': 32, 'W': 32}"):
        read_onnx(model)


def test_a_file_is_told_with_a_command(tmp_path: Path) -> None:
    path = tmp_path / "my net.onnx"
    onnx.save(relu("N", "odd name", 3), path)
    with pytest.raises(
        ShapeError, match=re.escape(f"narformer inspect '{path}' --dim 'odd name=128' (in Python: dims=")
    ):
        read_onnx(path)


def test_an_input_without_any_shape_is_asked_for() -> None:
    model = relu(1)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(UnboundError, match=r"'x' has no shape; .*{'x': \(1, 3, 224, 224\)}"):
        read_onnx(model)
    assert shape(model, input_shapes={"x": (2, 3)}) == (2, 3)
    with pytest.raises(BindingError, match="says nothing of the shape of 'x'"):
        read_onnx(model, input_shapes={"x": (-1, 3)})


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"dims": {"width": 4}}, "no size is called 'width'; the named sizes are N, sequence;"),
        ({"input_shapes": {"z": (1,)}}, "no input 'z'; the inputs are x"),
        ({"input_shapes": {"x": (1, 4, 3)}}, r"'x' has 2 dimensions: \[N, sequence\]"),
        ({"input_shapes": {"x": (1, "big")}}, "'big', which is no number .* --dim big=128"),
        ({"input_shapes": {"x": (1, 4)}, "dims": {"sequence": 5}}, "'sequence' is given as 5, and as 4"),
        ({"batch_size": 3, "dims": {"N": 2, "sequence": 4}}, "'N' is the batch, given as 2 and as 3"),
        ({"batch_size": 3, "input_shapes": {"x": (2, 4)}}, r"shape \[2, 4\] of 'x' has no batch of 3"),
    ],
)
def test_sizes_that_are_not_the_networks_are_refused(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message) as caught:
        read_onnx(relu("N", "sequence"), **sizes)
    assert isinstance(caught.value, ConfigError)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        *[({"batch_size": wrong}, "whole number of at least 1") for wrong in (0, -1, "4", True, 2.0, np.True_)],
        *[({"dims": wrong}, "give a dictionary") for wrong in ([1], "n=1", {1: 2})],
        *[({"dims": {"n": wrong}}, "not negative") for wrong in (-1, "4", True, None, 1.5)],
        ({"input_shapes": (1, 3)}, "give a dictionary"),
        *[
            ({"input_shapes": {"x": wrong}}, "a tuple of sizes")
            for wrong in ("1,3", 4, (1, -2), (1, 2.0), (True,), None)
        ],
    ],
)
def test_arguments_that_are_not_meant_so_are_refused(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_onnx(relu(1, 3), **sizes)


def test_numbers_of_numpy_are_numbers() -> None:
    assert shape(relu("N", "n"), batch_size=np.int64(2), dims={"n": np.int32(3)}) == (2, 3)
    assert shape(relu("N", "n"), input_shapes={"x": np.array([2, 3])}) == (2, 3)
    assert shape(relu("N", "n"), input_shapes={"x": [2, 3]}) == (2, 3)


def test_what_is_no_file_is_refused_with_a_remedy() -> None:
    data = relu(1, 3).SerializeToString()
    assert read_onnx(bytearray(data)).hash == read_onnx(memoryview(data)).hash == read_onnx(data).hash
    for wrong in (None, 5, ["a.onnx"], read_onnx(data)):
        with pytest.raises(ConfigError, match="read_onnx takes the path"):
            read_onnx(wrong)  # type: ignore[arg-type]


def test_an_open_size_that_cannot_be_a_batch_of_one_is_asked_for() -> None:
    """A recording of 10 numbers a step over which a window of 3 steps slides, as tract's tests have one."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0]),
        helper.make_node("Unsqueeze", ["t", "first"], ["u"]),
        helper.make_node("Conv", ["u", "w"], ["y"]),
    ]
    model = _model(nodes, {"x": [None, 10]})
    for name, values in {"first": np.array([0]), "w": np.zeros((4, 10, 3), np.float32)}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    with pytest.raises(ShapeError, match=r"open size of 'x' was taken for a batch of 1.*'x': \(128, 10\)"):
        read_onnx(model)
    assert shape(model, input_shapes={"x": (128, 10)}) == (1, 4, 126)
