"""Shape rules against the outputs of onnx's own operator tests, and those of fused operators against ONNX Runtime."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from narformer.errors import ShapeError
from narformer.frontends.onnx import read_onnx
from narformer.frontends.onnx.call import UnknownShape, broadcast
from narformer.frontends.onnx.read import _Reader
from narformer.frontends.onnx.rules_layout import parts, resolved
from narformer.frontends.onnx.rules_products import multiplied

# Modules of onnx's test generators that are quick to make; each makes a few dozen models with inputs and outputs.
MODULES = (
    *("attention", "center_crop_pad", "col2im", "concat", "conv", "convtranspose", "einsum", "expand", "flatten"),
    *("gather", "gathernd", "gemm", "gru", "loop", "lstm", "matmul", "onehot", "pad", "qlinearconv", "qlinearmatmul"),
    *("reshape", "resize", "scan", "slice", "split", "squeeze", "stft", "tile", "topk", "transpose", "unsqueeze"),
)
# Nothing to read, or shapes that depend on data.
UNKNOWABLE = {"Constant", "If", "ImageDecoder", "NonMaxSuppression", "StringNormalizer", "StringSplit"}


@pytest.mark.filterwarnings("ignore")
def test_shapes_are_those_of_onnx_own_tests() -> None:
    """What the models state of their values is taken away, so that every shape has to be inferred."""
    cases = importlib.import_module("onnx.backend.test.case.node")
    for module in MODULES:
        importlib.import_module(f"onnx.backend.test.case.node.{module}")
    compared = 0
    for case in cases._NodeTestCases:  # with those of modules that other tests imported
        if case.model is None or {node.op_type for node in case.model.graph.node} & UNKNOWABLE:
            continue
        if "_expanded" in case.name or "bfloat16" in case.name or not case.data_sets:
            continue
        inputs, outputs = case.data_sets[0]
        if not all(isinstance(a, np.ndarray | np.generic) for a in [*inputs, *outputs]):
            continue
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        del model.graph.value_info[:]
        for info in model.graph.output:
            info.type.tensor_type.ClearField("shape")
        known = {i.name for i in _Reader(model, "", {}).inputs}
        given = zip((i.name for i in model.graph.input), map(np.asarray, inputs), strict=True)
        given = {name: array for name, array in given if name in known}
        graph = read_onnx(
            model,
            input_shapes={name: array.shape for name, array in given.items()},
            input_values={n: a for n, a in given.items() if a.dtype.kind in "iufb" and a.size <= 1024},
        )
        assert [t.shape for t in graph.nodes[-1].outputs][: len(outputs)] == [o.shape for o in outputs], case.name
        compared += 1
    assert compared > 200


MS = "com.microsoft"
F32, U8, I32 = np.float32, np.uint8, np.int32
ONE, ZERO = np.array(1, F32), np.array(0, U8)
# Operator, its operands (None where left out), attributes.
FUSED: dict[str, tuple[str, list[np.ndarray | None], dict[str, Any]]] = {
    "conv": ("FusedConv", [np.ones((1, 2, 5, 5), F32), np.ones((3, 2, 3, 3), F32)], {"activation": "Relu"}),
    "matmul": ("FusedMatMul", [np.ones((2, 5, 3), F32), np.ones((2, 4, 5), F32)], {"transA": 1, "transB": 1}),
    "matmul of batches": ("FusedMatMul", [np.ones((5, 2, 3), F32), np.ones((2, 3, 4), F32)], {"transBatchA": 1}),
    "gemm": ("FusedGemm", [np.ones((2, 3), F32), np.ones((4, 3), F32)], {"transB": 1, "activation": "Relu"}),
    "attention": (
        "Attention",
        [np.ones((2, 5, 8), F32), np.ones((8, 24), F32), np.ones(24, F32)],
        {"num_heads": 2},
    ),
    "multi-head": ("MultiHeadAttention", [np.ones((2, s, 8), F32) for s in (5, 7, 7)], {"num_heads": 2}),
    "skip": ("SkipLayerNormalization", [np.ones((2, 5, 8), F32)] * 2 + [np.ones(8, F32)] * 2, {}),
    "fast gelu": ("FastGelu", [np.ones((2, 5), F32)], {}),
    "bias gelu": ("BiasGelu", [np.ones((2, 5), F32), np.ones(5, F32)], {}),
    "embedding": (
        "EmbedLayerNormalization",
        [np.ones((2, 5), I32), None, *(np.ones(s, F32) for s in ((9, 8), (6, 8))), None, *[np.ones(8, F32)] * 2],
        {},
    ),
    "add": ("QLinearAdd", [np.ones((2, 5), U8), ONE, ZERO, np.ones(5, U8), ONE, ZERO, ONE, ZERO], {}),
    "join": ("QLinearConcat", [ONE, ZERO, np.ones((2, 3), U8), ONE, ZERO, np.ones((2, 4), U8), ONE, ZERO], {"axis": 1}),
    "pool": ("QLinearGlobalAveragePool", [np.ones((2, 3, 4, 5), U8), ONE, ZERO, ONE, ZERO], {}),
    "pool, channels last": (
        "QLinearGlobalAveragePool",
        [np.ones((2, 4, 5, 3), U8), ONE, ZERO, ONE, ZERO],
        {"channels_last": 1},
    ),
    "average": (
        "QLinearAveragePool",
        [np.ones((1, 3, 5, 5), U8), ONE, ZERO, ONE, ZERO],
        {"kernel_shape": [2, 2], "strides": [2, 2]},
    ),
    "gemm of integers": (
        "QGemm",
        [np.ones((2, 3), U8), ONE, ZERO, np.ones((3, 4), U8), ONE, ZERO, None, ONE, ZERO],
        {},
    ),
    "dynamic": ("DynamicQuantizeMatMul", [np.ones((2, 3), F32), np.ones((3, 4), U8), np.ones(1, F32)], {}),
    "integers to floats": (
        "MatMulIntegerToFloat",
        [np.ones((2, 3), U8), np.ones((3, 4), U8), np.ones(1, F32), np.ones(1, F32)],
        {},
    ),
    "four bits": (
        "MatMulNBits",
        [np.ones((2, 32), F32), np.ones((4, 1, 16), U8), np.ones(4, F32)],
        {"K": 32, "N": 4, "bits": 4, "block_size": 32},
    ),
    "quick gelu": ("QuickGelu", [np.ones((2, 5), F32)], {}),
}


def _model(op: str, operands: list[np.ndarray | None], attributes: dict[str, Any], outputs: int) -> onnx.ModelProto:
    names = ["" if a is None else f"i{k}" for k, a in enumerate(operands)]
    writes = [f"o{k}" for k in range(outputs)]
    node = helper.make_node(op, names, writes, domain=MS, **attributes)
    tensors = [
        onnx.numpy_helper.from_array(a, n) for n, a in zip(names[1:], operands[1:], strict=True) if a is not None
    ]
    x = operands[0]
    assert x is not None
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("i0", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)],
        [helper.make_empty_tensor_value_info(name) for name in writes],
        tensors,
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(MS, 1)], ir_version=8
    )


@pytest.mark.parametrize("name", FUSED)
def test_fused_operators_as_onnx_runtime_runs_them(name: str) -> None:
    op, operands, attributes = FUSED[name]
    if operands[0] is not None and operands[0].ndim == 0:  # QLinearConcat begins with the result's scale
        model = _model(op, operands, attributes, 1)
    else:
        model = _model(op, operands, attributes, 2 if op == "EmbedLayerNormalization" else 1)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    ran = session.run(None, {"i0": operands[0]})
    assert [t.shape for t in read_onnx(model).nodes[0].outputs] == [r.shape for r in ran]


def test_sizes_by_hand() -> None:
    assert broadcast((2, 1, 3), (4, 1), ()) == (2, 4, 3)
    assert multiplied((3,), (3, 4)) == (4,)
    assert multiplied((2, 5, 3), (3,)) == (2, 5)
    assert multiplied((3,), (3,)) == ()
    assert resolved((2, 3, 4), (0, -1)) == (2, 12)
    assert resolved((0, 3), (3, 0), zero_is_zero=True) == (3, 0)
    assert parts(7, 3) == (3, 3, 1)
    for wrong in (lambda: broadcast((2,), (3,)), lambda: multiplied((2, 3), (2, 3)), lambda: resolved((4,), (-1, -1))):
        with pytest.raises(UnknownShape):
            wrong()


def test_sizes_that_depend_on_data_are_the_largest() -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 4])
    for op, shape in (("NonZero", (2, 12)), ("Unique", (12,))):
        graph = helper.make_graph(
            [helper.make_node(op, ["x"], ["y"])], "g", [x], [helper.make_empty_tensor_value_info("y")]
        )
        assert read_onnx(helper.make_model(graph)).nodes[0].output_shape == shape


def test_a_shape_that_an_input_holds_is_asked_for_and_taken() -> None:
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [12]),
        helper.make_tensor_value_info("to", TensorProto.INT64, [2]),
    ]
    node = helper.make_node("Reshape", ["x", "to"], ["y"], name="shaped")
    graph = helper.make_graph([node], "g", inputs, [helper.make_empty_tensor_value_info("y")])
    with pytest.raises(ShapeError, match=r"'shaped' \(onnx.Reshape\).*depends on a shape, known only.*'to'"):
        read_onnx(helper.make_model(graph))
    assert read_onnx(helper.make_model(graph), input_values={"to": [3, -1]}).nodes[0].output_shape == (3, 4)


@pytest.mark.parametrize(("block", "fits"), [(8, True), (16, True), (13, False)])
def test_channels_in_blocks_are_padded_as_the_writer_s_processor_needs(block: int, fits: bool) -> None:
    """ONNX Runtime writes com.microsoft.nchwc with blocks of 8 channels for AVX2, of 16 for AVX-512."""
    padded = -(-20 // block) * block
    nodes = [
        helper.make_node("ReorderInput", ["x"], ["a"], domain="com.microsoft.nchwc"),
        helper.make_node("Conv", ["a", "w"], ["b"], domain="com.microsoft.nchwc", kernel_shape=[1, 1]),
        helper.make_node("ReorderOutput", ["b"], ["y"], domain="com.microsoft.nchwc", channels=2),
    ]
    weight = onnx.numpy_helper.from_array(np.zeros((block, padded, 1, 1), F32), "w")
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 20, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [weight],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft.nchwc", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    if not fits:
        with pytest.raises(ShapeError, match="20 channels into filters"):
            read_onnx(model)
        return
    assert [node.output_shape for node in read_onnx(model).nodes] == [(1, 20, 6, 6), (1, block, 6, 6), (1, 2, 6, 6)]


def _run(model: onnx.ModelProto, **feeds: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, feeds)


@pytest.mark.parametrize(("past", "total", "new"), [(0, 4, 4), (7, 8, 1), (32, 8, 1), (32, 32, 1), (8, 3, 3)])
def test_a_cache_that_is_shared_stays_as_long_as_it_is(past: int, total: int, new: int) -> None:
    """GroupQueryAttention's present keys are max(past, total) long."""
    sizes = {"q": (1, new, 64), "k": (1, new, 32), "v": (1, new, 32), "pk": (1, 2, past, 16), "pv": (1, 2, past, 16)}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in sizes.items()]
    lengths = {"len": np.array([total - 1], I32), "total": np.array(total, I32)}
    node = helper.make_node(
        "GroupQueryAttention", [*sizes, *lengths], ["y", "prk", "prv"], domain=MS, num_heads=4, kv_num_heads=2
    )
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in node.output]
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in lengths.items()]
    model = helper.make_model(
        helper.make_graph([node], "g", inputs, outputs, tensors),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(MS, 1)],
        ir_version=8,
    )
    ran = _run(model, **{name: np.zeros(shape, F32) for name, shape in sizes.items()})
    assert [t.shape for t in read_onnx(model).nodes[0].outputs] == [array.shape for array in ran]


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
def test_transposed_convolutions_as_onnx_runtime_runs_them(mode: str) -> None:
    """Also with a kernel smaller than the stride, where nothing is left to pad."""
    for kernel, stride, dilation, more in ((2, 3, 1, 0), (1, 4, 1, 0), (4, 2, 1, 1), (3, 3, 2, 1), (2, 2, 2, 0)):
        how = {"strides": [stride] * 2, "dilations": [dilation] * 2, "output_padding": [more] * 2, "auto_pad": mode}
        node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], **how)
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 2, 3, 3))
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        weight = onnx.numpy_helper.from_array(np.zeros((2, 1, kernel, kernel), F32), "w")
        model = helper.make_model(
            helper.make_graph([node], "g", [x], [y], [weight]),
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=8,
        )
        ran = _run(model, x=np.zeros((1, 2, 3, 3), F32))
        assert read_onnx(model).nodes[0].output_shape == ran[0].shape
