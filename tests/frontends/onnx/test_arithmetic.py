"""Shape arithmetic left in a network by exporters is computed; what is not a shape is left alone."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from functools import partial

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from narformer.errors import ShapeError
from narformer.frontends.onnx import read_onnx
from narformer.frontends.onnx.arithmetic import COMPUTED, LARGEST, computed
from narformer.frontends.onnx.call import Call, attributes_of
from narformer.frontends.onnx.rules import RULES
from narformer.graph import Tensor


def _model(nodes: list[onnx.NodeProto], initializers: dict[str, np.ndarray]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 3, 8, 6))],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(value, name) for name, value in initializers.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def reshaped_to(nodes: list[onnx.NodeProto], initializers: dict[str, np.ndarray]) -> tuple[int, ...]:
    """The shape of ones expanded to what `nodes` compute as "to"."""
    model = _model([*nodes, helper.make_node("Expand", ["one", "to"], ["y"])], {"one": np.ones(1), **initializers})
    return read_onnx(model).nodes[-1].output_shape


NODE = helper.make_node
ARITHMETIC: dict[str, tuple[list[onnx.NodeProto], dict[str, np.ndarray], tuple[int, ...]]] = {
    "shape": ([NODE("Shape", ["x"], ["to"])], {}, (2, 3, 8, 6)),
    "part of a shape": ([NODE("Shape", ["x"], ["to"], start=1, end=-1)], {}, (3, 8)),
    "size": ([NODE("Size", ["x"], ["s"]), NODE("Reshape", ["s", "l"], ["to"])], {"l": _ints(1)}, (288,)),
    "division cuts towards zero": ([NODE("Div", ["a", "b"], ["to"])], {"a": _ints(7, -8), "b": _ints(2, -3)}, (3, 2)),
    "gather and concatenate": (
        [NODE("Shape", ["x"], ["s"]), NODE("Gather", ["s", "i"], ["g"]), NODE("Concat", ["g", "c"], ["to"], axis=0)],
        {"i": _ints(3, 0), "c": _ints(5)},
        (6, 2, 5),
    ),
    "slices backwards": (
        [NODE("Shape", ["x"], ["s"]), NODE("Slice", ["s", "b", "e", "a", "t"], ["to"])],
        {"b": _ints(-1), "e": _ints(-(2**63)), "a": _ints(0), "t": _ints(-1)},
        (6, 8, 3, 2),
    ),
    "through floats": (
        [
            NODE("Shape", ["x"], ["s"]),
            NODE("Cast", ["s"], ["f"], to=TensorProto.FLOAT),
            NODE("Mul", ["f", "h"], ["m"]),
            NODE("Floor", ["m"], ["r"]),
            NODE("Cast", ["r"], ["to"], to=TensorProto.INT64),
        ],
        {"h": np.array([0.5], np.float32)},
        (1, 1, 4, 3),
    ),
    "a choice": (
        [NODE("Equal", ["a", "b"], ["c"]), NODE("Where", ["c", "d", "a"], ["to"])],
        {"a": _ints(4, -1), "b": _ints(-1, -1), "d": _ints(9, 9)},
        (4, 9),
    ),
    "range and product": (
        [NODE("Range", ["a", "b", "c"], ["r"]), NODE("ReduceProd", ["r"], ["to"], axes=[0], keepdims=1)],
        {"a": np.array(2), "b": np.array(5), "c": np.array(1)},
        (24,),
    ),
    "filled and scanned": (
        [
            NODE("ConstantOfShape", ["n"], ["f"], value=numpy_helper.from_array(_ints(2))),
            NODE("CumSum", ["f", "z"], ["to"]),
        ],
        {"n": _ints(3), "z": np.array(0)},
        (2, 4, 6),
    ),
    "a reciprocal": (
        [
            *(NODE("Shape", ["x"], ["s"]), NODE("Cast", ["s"], ["f"], to=TensorProto.FLOAT)),
            *(NODE("Reciprocal", ["f"], ["r"]), NODE("Mul", ["r", "h"], ["m"]), NODE("Cast", ["m"], ["to"], to=7)),
        ],
        {"h": np.array([48], np.float32)},
        (24, 16, 6, 8),
    ),
    "a bound left out": (
        [NODE("Shape", ["x"], ["s"]), NODE("Clip", ["s", "", "b"], ["to"])],
        {"b": np.array(4)},
        (2, 3, 4, 4),
    ),
    "placed": (
        [NODE("Shape", ["x"], ["s"]), NODE("ScatterND", ["s", "i", "u"], ["to"])],
        {"i": np.array([[1], [-1]]), "u": _ints(7, 5)},
        (2, 7, 8, 5),
    ),
    "the places of what is not zero": (
        [NODE("NonZero", ["m"], ["n"]), NODE("Reshape", ["n", "l"], ["to"])],
        {"m": _ints(0, 1, 0, 1, 1), "l": _ints(-1)},
        (1, 3, 4),
    ),
    "the second of two outputs": (
        [NODE("Shape", ["x"], ["s"]), NODE("TopK", ["s", "k"], ["", "to"])],
        {"k": _ints(3)},
        (2, 3, 1),
    ),
    "split": ([NODE("Shape", ["x"], ["s"]), NODE("Split", ["s"], ["a", "to"], axis=0)], {}, (8, 6)),
}


def _at(held: list[np.ndarray | None], position: int) -> np.ndarray | None:
    return held[position] if position < len(held) else None


@pytest.mark.filterwarnings("ignore")
def test_contents_are_those_of_onnx_own_tests() -> None:
    """Every operator that is computed, on what onnx's tests of it read."""
    cases = importlib.import_module("onnx.backend.test.case.node")
    for module in pkgutil.iter_modules(cases.__path__):
        importlib.import_module(f"{cases.__name__}.{module.name}")
    compared: Counter[str] = Counter()
    for case in cases._NodeTestCases:
        node = case.model.graph.node[0] if case.model is not None and case.data_sets else NODE("", [], [])
        if node.op_type not in COMPUTED or node.domain or len(case.model.graph.node) > 1:
            continue
        inputs, outputs = (list(map(np.asarray, arrays)) for arrays in case.data_sets[0])
        if any(a.dtype.kind not in "iufb" or a.size > LARGEST for a in [*inputs, *outputs]):
            continue
        given = iter(inputs)
        held = [next(given) if name else None for name in node.input]
        tensors = [None if a is None else Tensor(a.shape, str(a.dtype)) for a in held]
        opset = case.model.opset_import[0].version
        call = Call(node, opset, attributes_of(node), tensors, partial(_at, held), len(node.output))
        values = computed(call, list(RULES[node.op_type](call))[: len(node.output)])
        if values is None:
            continue
        asked_for = [value for name, value in zip(node.output, values, strict=True) if name]
        for value, right in zip(asked_for, outputs, strict=True):
            assert (value.shape, value.dtype) == (right.shape, right.dtype), case.name
            np.testing.assert_allclose(value.astype(float), right.astype(float), 1e-4, 1e-5, err_msg=case.name)
        compared[node.op_type] += 1
    assert sorted(COMPUTED - set(compared)) == ["Cast", "CastLike"]


@pytest.mark.parametrize("name", ARITHMETIC)
def test_shapes_are_computed(name: str) -> None:
    nodes, initializers, shape = ARITHMETIC[name]
    assert reshaped_to(nodes, initializers) == shape


def test_a_slice_to_a_computed_end_gives_the_shape() -> None:
    """What PyTorch writes for x[:, :, : (x.shape[2] + 2) // 2]."""
    nodes = [
        NODE("Shape", ["x"], ["shape"]),
        NODE("Gather", ["shape", "two"], ["height"], axis=0),
        NODE("Add", ["height", "two"], ["more"]),
        NODE("Div", ["more", "two"], ["half"]),
        NODE("Unsqueeze", ["half", "zero"], ["ends"]),
        NODE("Slice", ["x", "zero", "ends", "axis"], ["y"]),
    ]
    model = _model(nodes, {"two": np.array(2), "zero": _ints(0), "axis": _ints(2)})
    assert read_onnx(model).nodes[-1].output_shape == (2, 3, 5, 6)


def test_large_tensors_are_not_computed() -> None:
    """A value of more than LARGEST elements is no shape; what would depend on it stays unknown."""
    nodes = [NODE("ConstantOfShape", ["n"], ["f"]), NODE("ReduceSum", ["f"], ["s"], keepdims=0)]
    nodes += [NODE("Reshape", ["s", "l"], ["r"]), NODE("Cast", ["r"], ["to"], to=TensorProto.INT64)]
    for count in (LARGEST, LARGEST + 1):
        initializers = {"n": _ints(count), "l": _ints(1)}
        if count == LARGEST:
            assert reshaped_to(nodes, initializers) == (0,)
        else:
            with pytest.raises(ShapeError, match="depends on a shape, known only while the network runs"):
                reshaped_to(nodes, initializers)


@pytest.mark.parametrize(
    "node",
    [
        NODE("Gather", ["few", "far"], ["to"], axis=0),
        NODE("Div", ["few", "none"], ["to"]),
        NODE("Concat", ["few", "far"], ["to"], axis=3),
    ],
    ids=lambda n: n.op_type,
)
def test_arithmetic_that_cannot_be_done_leaves_the_shape_unknown(node: onnx.NodeProto) -> None:
    with pytest.raises(ShapeError):
        reshaped_to([node], {"few": _ints(0, 0), "far": _ints(9), "none": _ints(0, 0)})


def _held(value: int) -> onnx.TensorProto:
    return numpy_helper.from_array(_ints(value))


def _detector() -> onnx.ModelProto:
    """Anchors laid over features, the best 5 boxes decoded and clipped to the image, suppressed, and pooled again."""
    nodes = [
        NODE("Conv", ["x", "w"], ["features"], kernel_shape=[3, 3], strides=[4, 4], pads=[1, 1, 1, 1]),
        # The image's size over the features': a stride, by which a grid of anchors is laid out.
        *(NODE("Shape", ["x"], ["image"]), NODE("Slice", ["image", "two", "four"], ["size"])),
        *(NODE("Shape", ["features"], ["fs"]), NODE("Slice", ["fs", "two", "four"], ["grid"])),
        *(
            NODE("Cast", ["grid"], ["gf"], to=1),
            NODE("Reciprocal", ["gf"], ["per"]),
            NODE("Cast", ["size"], ["sf"], to=1),
        ),
        *(NODE("Mul", ["sf", "per"], ["stride"]), NODE("Ceil", ["stride"], ["sc"])),
        *(NODE("ReduceMax", ["sc"], ["step"], keepdims=0), NODE("ReduceMax", ["sf"], ["end"], keepdims=0)),
        *(NODE("Range", ["zero", "end", "step"], ["places"]), NODE("Unsqueeze", ["places", "ax"], ["column"])),
        *(NODE("Concat", ["grid", "c4"], ["to"], axis=0), NODE("Expand", ["anchor", "to"], ["spread"])),
        *(NODE("Add", ["spread", "column"], ["shifted"]), NODE("Reshape", ["shifted", "flat"], ["anchors"])),
        *(NODE("Conv", ["features", "ws"], ["logits"]), NODE("Reshape", ["logits", "all"], ["scores"])),
        *(NODE("ReduceProd", ["grid"], ["n"], keepdims=1), NODE("Min", ["n", "five"], ["k"])),
        *(NODE("TopK", ["scores", "k"], ["best", "which"]), NODE("Gather", ["anchors", "which"], ["chosen"])),
        *(NODE("Clip", ["chosen", "zero", "end"], ["inside"]), NODE("Unsqueeze", ["inside", "one0"], ["boxes"])),
        NODE("Reshape", ["best", "scored"], ["each"]),
        NODE("NonMaxSuppression", ["boxes", "each", "limit"], ["kept"]),
        *(NODE("Gather", ["kept", "last"], ["index"], axis=1), NODE("Squeeze", ["index", "ax1"], ["rows"])),
        *(NODE("Gather", ["inside", "rows"], ["rois"]), NODE("Shape", ["rois"], ["rs"])),
        *(NODE("Gather", ["rs", "zero0"], ["count"]), NODE("ConstantOfShape", ["count"], ["batch"], value=_held(0))),
        NODE("RoiAlign", ["features", "rois", "batch"], ["pooled"], output_height=2, output_width=2),
        *(NODE("Flatten", ["pooled"], ["l"]), NODE("Gemm", ["l", "head"], ["y"])),
    ]
    f32 = np.float32
    held = {
        **{"two": _ints(2), "four": _ints(4), "ax": _ints(1), "ax1": _ints(1), "one0": _ints(0), "c4": _ints(4)},
        **{"flat": _ints(-1, 4), "all": _ints(-1), "five": _ints(5), "scored": _ints(1, 1, -1), "limit": _ints(3)},
        **{"last": _ints(2), "zero0": _ints(0), "zero": np.array(0, f32), "anchor": np.ones(4, f32)},
        **{"w": np.zeros((8, 3, 3, 3), f32), "ws": np.zeros((1, 8, 1, 1), f32), "head": np.zeros((32, 7), f32)},
    }
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(value, name) for name, value in held.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_detector_of_fixed_sizes_is_read() -> None:
    """Its boxes are as many as NonMaxSuppression may keep; everything before them is as ONNX Runtime has it."""
    model = _detector()
    graph = read_onnx(model)
    shapes = {node.name: node.output_shape for node in graph.nodes}
    assert shapes["kept"] == (3, 3)
    assert (shapes["pooled"], shapes["y"]) == ((3, 8, 2, 2), (3, 7))
    watched = ["anchors", "best", "boxes", "places"]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in watched)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    ran = session.run(watched, {"x": np.zeros((1, 3, 64, 64), np.float32)})
    assert [shapes[name] for name in watched] == [array.shape for array in ran]
