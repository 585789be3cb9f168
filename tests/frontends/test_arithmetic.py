"""Shape arithmetic left in a network by exporters is computed; what is not a shape is left alone."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from narformer.frontends.arithmetic import LARGEST, fold_shape_arithmetic
from narformer.frontends.onnx import read_onnx
from narformer.graph import Tensor

# What `_model` reads.
KNOWN = {"x": Tensor((2, 3, 8, 6))}


def _model(pads_through: list[onnx.NodeProto], initializers: dict[str, np.ndarray]) -> onnx.ModelProto:
    graph = helper.make_graph(
        pads_through,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 3, 8, 6))],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(v, k) for k, v in initializers.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def _sliced() -> onnx.ModelProto:
    """y = x without its last (8 mod 5) = 3 rows, the end computed from the shape by Mod, Sub and a 2-D Reshape."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "two"], ["rows"], axis=0),
        helper.make_node("Mod", ["rows", "five"], ["rest"]),
        helper.make_node("Sub", ["rows", "rest"], ["kept"]),
        helper.make_node("Concat", ["kept", "zero"], ["pair"], axis=0),
        helper.make_node("Reshape", ["pair", "matrix"], ["square"]),
        helper.make_node("Gather", ["square", "first"], ["end"], axis=0),
        helper.make_node("Reshape", ["end", "flat"], ["ends"]),
        helper.make_node("Slice", ["x", "zero", "ends", "two"], ["y"]),
    ]
    values = {"two": [2], "five": [5], "zero": [0], "matrix": [2, 1], "flat": [-1]}
    initializers = {k: np.array(v, dtype=np.int64) for k, v in values.items()}
    return _model(nodes, {**initializers, "first": np.array(0, dtype=np.int64)})


def test_a_computed_end_gives_the_shape() -> None:
    assert read_onnx(_sliced()).nodes[-1].output_shape == (2, 3, 5, 6)


def test_what_is_computed_becomes_an_initializer() -> None:
    model = onnx.shape_inference.infer_shapes(_sliced())
    assert fold_shape_arithmetic(model, KNOWN) == 8
    assert [node.op_type for node in model.graph.node] == ["Slice"]
    ends = next(t for t in model.graph.initializer if t.name == "ends")
    assert numpy_helper.to_array(ends).tolist() == [5]
    assert fold_shape_arithmetic(model, KNOWN) == 0


def test_weights_and_large_tensors_are_left_alone() -> None:
    nodes = [helper.make_node("Add", ["big", "big"], ["sum"]), helper.make_node("Add", ["x", "sum"], ["y"])]
    model = _model(nodes, {"big": np.zeros(LARGEST + 1, dtype=np.float32)})
    assert fold_shape_arithmetic(model, KNOWN) == 0


def test_arithmetic_that_cannot_be_done_is_left_alone() -> None:
    nodes = [helper.make_node("Gather", ["few", "far"], ["y"], axis=0)]
    model = _model(nodes, {"few": np.zeros(2, dtype=np.int64), "far": np.array([9], dtype=np.int64)})
    assert fold_shape_arithmetic(model, KNOWN) == 0
