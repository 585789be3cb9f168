"""PyTorch computes what ONNX Runtime computes: operator by operator, and whole families."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from narformer.errors import ModelError
from narformer.families.registry import build, sample
from narformer.measurement.weights import runnable

torch = pytest.importorskip("torch")

from narformer.measurement.runtimes.torch_network import TorchNetwork  # noqa: E402

RANDOM = np.random.default_rng(0)


def floats(*shape: int) -> np.ndarray:
    return RANDOM.uniform(-1, 1, shape).astype(np.float32)


def integers(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def model_of(
    nodes: Sequence[onnx.NodeProto], x: np.ndarray, constants: Mapping[str, np.ndarray], opset: int = 18
) -> Any:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)],
        [onnx.ValueInfoProto(name=name) for name in nodes[-1].output],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def both(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What ONNX Runtime and what PyTorch computes, the latter on other numbers than it was made with."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    module = TorchNetwork(model, {n: np.ones_like(a) for n, a in inputs.items()}, "net").eval()
    with torch.inference_mode():
        got = module(*(torch.from_numpy(a) for a in inputs.values()))
    return session.run(None, dict(inputs)), [g.numpy() for g in got]


X = (2, 6, 9, 8)
CASES: list[tuple[str, tuple[int, ...], dict[str, np.ndarray], dict[str, Any]]] = [
    ("Conv", X, {"w": floats(4, 3, 3, 2), "b": floats(4)}, {"group": 2, "pads": [1, 0, 0, 1], "strides": [2, 1]}),
    ("Conv", X, {"w": floats(4, 6, 3, 3)}, {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("Conv", X, {"w": floats(4, 6, 2, 2)}, {"auto_pad": "SAME_LOWER"}),
    ("Conv", X, {"w": floats(4, 6, 3, 3)}, {"dilations": [2, 2], "pads": [2, 2, 2, 2]}),
    ("Conv", (1, 3, 20), {"w": floats(5, 3, 3)}, {"pads": [1, 1]}),
    ("ConvTranspose", X, {"w": floats(6, 4, 3, 3), "b": floats(4)}, {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("Gemm", (5, 7), {"w": floats(3, 7), "b": floats(3)}, {"transB": 1}),
    ("Gemm", (7, 5), {"w": floats(7, 3), "b": floats(5, 3)}, {"transA": 1, "alpha": 0.5, "beta": 2.0}),
    ("MatMul", (2, 5, 7), {"w": floats(7, 3)}, {}),
    ("BatchNormalization", X, {"s": floats(6), "b": floats(6), "m": floats(6), "v": floats(6) ** 2 + 1}, {}),
    ("LayerNormalization", (2, 5, 7), {"s": floats(7), "b": floats(7)}, {"axis": -1, "epsilon": 1e-3}),
    ("InstanceNormalization", X, {"s": floats(6), "b": floats(6)}, {}),
    ("LRN", X, {}, {"size": 3, "alpha": 0.1}),
    ("MaxPool", X, {}, {"kernel_shape": [3, 3], "pads": [0, 0, 1, 1], "strides": [2, 2]}),
    ("MaxPool", X, {}, {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("AveragePool", X, {}, {"kernel_shape": [3, 3], "pads": [0, 1, 1, 1], "strides": [2, 2]}),
    ("AveragePool", X, {}, {"kernel_shape": [3, 3], "pads": [0, 1, 1, 1], "count_include_pad": 1}),
    ("AveragePool", X, {}, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ("GlobalAveragePool", X, {}, {}),
    ("GlobalMaxPool", X, {}, {}),
    ("ReduceMean", X, {"axes": integers(1, -1)}, {"keepdims": 0}),
    ("ReduceMax", X, {}, {}),
    ("Reshape", X, {"s": integers(0, -1, 4)}, {}),
    ("Flatten", X, {}, {"axis": 2}),
    ("Transpose", X, {}, {"perm": [0, 2, 3, 1]}),
    ("Transpose", X, {}, {}),
    ("Slice", X, {"b": integers(1, -1), "e": integers(5, -9), "a": integers(1, 2), "s": integers(2, -3)}, {}),
    ("Squeeze", (2, 1, 3, 1), {"a": integers(1, -1)}, {}),
    ("Squeeze", (2, 1, 3, 1), {}, {}),
    ("Unsqueeze", (2, 3), {"a": integers(0, -1)}, {}),
    ("Expand", (2, 1, 3), {"s": integers(4, 1)}, {}),
    ("Tile", (2, 3), {"r": integers(2, 3)}, {}),
    ("Gather", X, {"i": integers(0, -1)}, {"axis": 1}),
    ("Gather", X, {"i": np.array(-1, np.int64)}, {"axis": 2}),
    ("GatherElements", X, {"i": RANDOM.integers(-9, 9, (2, 5, 3, 8))}, {"axis": 2}),
    ("GatherElements", (3, 4), {"i": RANDOM.integers(0, 3, (2, 4)).astype(np.int32)}, {}),
    ("GatherND", X, {"i": np.array([[1, -6], [0, 5], [-2, 2]])}, {}),
    ("GatherND", X, {"i": RANDOM.integers(-9, 9, (2, 6, 5, 1))}, {"batch_dims": 2}),
    ("GatherND", X, {"i": RANDOM.integers(-6, 6, (2, 3, 4, 2))}, {"batch_dims": 1}),
    ("Pad", X, {"p": integers(0, 0, 1, 2, 0, 0, 0, 1), "v": np.array(3, np.float32)}, {}),
    ("Pad", X, {"p": integers(0, 0, 1, 2, 0, 0, 0, 1)}, {"mode": "reflect"}),
    ("DepthToSpace", (1, 8, 3, 4), {}, {"blocksize": 2}),
    ("DepthToSpace", (1, 8, 3, 4), {}, {"blocksize": 2, "mode": "CRD"}),
    ("SpaceToDepth", (1, 2, 6, 4), {}, {"blocksize": 2}),
    ("Softmax", X, {}, {"axis": 1}),
    ("HardSigmoid", X, {}, {}),
    ("HardSwish", X, {}, {}),
    ("LeakyRelu", X, {}, {"alpha": 0.1}),
    ("PRelu", X, {"s": floats(6, 1, 1)}, {}),
    ("Elu", X, {}, {"alpha": 0.7}),
    ("Softplus", X, {}, {}),
    ("Erf", X, {}, {}),
    ("Clip", X, {"l": np.array(-0.5, np.float32), "h": np.array(0.25, np.float32)}, {}),
    ("Pow", X, {"e": np.array(2, np.float32)}, {}),
    ("Div", X, {"d": floats(6, 1, 1) + 2}, {}),
    ("Max", X, {"a": floats(6, 1, 1), "b": floats(8)}, {}),
    ("Sum", X, {"a": floats(6, 1, 1), "b": floats(8)}, {}),
    ("Cast", X, {}, {"to": TensorProto.INT32}),
    ("ArgMax", X, {}, {"axis": 1, "keepdims": 0}),
]


@pytest.mark.parametrize(
    ("op", "shape", "constants", "attributes"), CASES, ids=[f"{c[0]}-{k}" for k, c in enumerate(CASES)]
)
def test_operators(
    op: str, shape: tuple[int, ...], constants: dict[str, np.ndarray], attributes: dict[str, Any]
) -> None:
    x = floats(*shape)
    node = helper.make_node(op, ["x", *constants], ["y"], **attributes)
    expected, got = both(model_of([node], x, constants), {"x": x})
    assert got[0].shape == expected[0].shape
    np.testing.assert_allclose(got[0], expected[0], rtol=1e-4, atol=1e-5)


def test_operands_left_out() -> None:
    x = floats(*X)
    nodes = [
        helper.make_node("Clip", ["x", "", "high"], ["c"]),
        helper.make_node(
            "Resize", ["c", "", "scales"], ["y"], mode="linear", coordinate_transformation_mode="half_pixel"
        ),
    ]
    constants = {"high": np.array(0.5, np.float32), "scales": np.array([1, 1, 2, 2], np.float32)}
    expected, got = both(model_of(nodes, x, constants), {"x": x})
    np.testing.assert_allclose(got[0], expected[0], atol=1e-5)


def test_settings_as_attributes_of_older_opsets() -> None:
    x = floats(2, 6)
    nodes = [
        helper.make_node("Split", ["x"], ["a", "b"], axis=1, split=[2, 4]),
        helper.make_node("Unsqueeze", ["b"], ["u"], axes=[1]),
        helper.make_node("Slice", ["u"], ["s"], starts=[1], ends=[3], axes=[2]),
        helper.make_node("ReduceSum", ["s"], ["r"], axes=[1], keepdims=0),
        helper.make_node("Add", ["r", "a"], ["y"]),
    ]
    expected, got = both(model_of(nodes, x, {}, opset=9), {"x": x})
    np.testing.assert_allclose(got[0], expected[0], atol=1e-5)


def test_arithmetic_on_shapes_is_done_once() -> None:
    x = floats(2, 3, 4)
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"]),
        helper.make_node("Concat", ["batch", "minus"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["x", "wanted"], ["y"]),
    ]
    model = model_of(nodes, x, {"zero": integers(0), "minus": integers(-1)})
    assert [len(step.inputs) for step in TorchNetwork(model, {"x": x}, "net").steps] == [1]
    expected, got = both(model, {"x": x})
    assert (got[0] == expected[0]).all()


def test_a_value_is_forgotten_once_nobody_reads_it() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Neg", ["a"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    steps = TorchNetwork(model_of(nodes, floats(2), {}), {"x": floats(2)}, "net").steps
    assert [set(step.forget) for step in steps] == [set(), set(), {"a", "b"}]


def test_what_a_network_holds_is_where_it_runs() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Constant", [], ["half"], value=numpy_helper.from_array(np.float32([0.5]))),
        helper.make_node("Constant", [], ["two"], value_float=2.0),
        helper.make_node("Mul", ["a", "half"], ["b"]),
        helper.make_node("Mul", ["b", "two"], ["c"]),
        helper.make_node("Gather", ["c", "places"], ["y"], axis=3),
    ]
    model = model_of(nodes, floats(*X), {"w": floats(4, 6, 3, 3), "places": integers(1, 0)})
    network = TorchNetwork(model, {"x": floats(*X)}, "net", torch.device("meta"))
    assert {buffer.device.type for buffer in network.buffers()} == {"meta"}
    assert len(list(network.buffers())) == 3
    (got,) = network(torch.zeros(X, device="meta"))
    assert (got.device.type, tuple(got.shape)) == ("meta", (2, 4, 7, 2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_computes_what_onnx_runtime_computes() -> None:
    ready = runnable(next(iter(sample("mobilenetv3", 1))).build())
    expected, _ = both(ready.model, ready.inputs)
    torch.backends.cudnn.allow_tf32 = False
    with torch.inference_mode():
        network = TorchNetwork(ready.model, ready.inputs, "net", torch.device("cuda")).eval()
        (got,) = network(*(torch.from_numpy(a).cuda() for a in ready.inputs.values()))
    np.testing.assert_allclose(got.cpu().numpy(), expected[0], atol=1e-4 * np.abs(expected[0]).max())


@pytest.mark.parametrize("family", ["mobilenetv3", "shufflenetv2", "squeezenet", "nasbench201"])
def test_families(family: str) -> None:
    ready = runnable(next(iter(sample(family, 1))).build())
    expected, got = both(ready.model, ready.inputs)
    np.testing.assert_allclose(got[0], expected[0], atol=1e-4 * np.abs(expected[0]).max())


def test_a_transformer() -> None:
    ready = runnable(build("named", "32", "bert_tiny"))
    expected, got = both(ready.model, ready.inputs)
    np.testing.assert_allclose(got[0], expected[0], atol=1e-4 * np.abs(expected[0]).max())


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (helper.make_node("NonZero", ["x"], ["y"], name="where"), r"net: node 'where' \(NonZero\): .*not among"),
        (helper.make_node("Relu", ["x"], ["y"], domain="odd"), r"node 'y' \(Relu\): .* of odd"),
        (helper.make_node("Conv", ["x", "w"], ["y"]), r"node 'y' \(Conv\): PyTorch rejects it"),
        (helper.make_node("Reshape", ["w", "x"], ["y"]), r"operand 1 depends on the inputs"),
    ],
)
def test_what_cannot_be_run_is_named(node: onnx.NodeProto, message: str) -> None:
    model = model_of([node], floats(2, 2), {"w": floats(3, 3, 3)})
    with pytest.raises(ModelError, match=message):
        TorchNetwork(model, {"x": floats(2, 2)}, "net")
