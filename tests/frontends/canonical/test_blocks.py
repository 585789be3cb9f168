"""Channels that only fill up a block, as ONNX Runtime writes them, are not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from narformer.frontends.canonical import canonical
from narformer.frontends.onnx import parsing
from narformer.frontends.onnx.read import read_onnx
from narformer.graph import Graph

Read = Callable[[str], Graph]
WEIGHTS = "<float[10,8,1,1] w, float[10] b, float[16,8,1,1] w16, float[16] b16, float[10,1,3,3] d, float[16,1,3,3] d16>"
PADDED = [
    ("a = Conv(x, w, b) y = Relu(a)", ' a = com.microsoft.nchwc.Conv<activation = "Relu">(i, w16, b16)'),
    (
        "a = Conv(x, w, b) c = Conv<group = 10>(a, d, b) y = MaxPool<kernel_shape = [2, 2]>(c)",
        " e = com.microsoft.nchwc.Conv(i, w16, b16) c = com.microsoft.nchwc.Conv<group = 16>(e, d16, b16)"
        " a = com.microsoft.nchwc.MaxPool<kernel_shape = [2, 2]>(c)",
    ),
    (
        "a = Conv(x, w, b) c = Sigmoid(a) e = Mul(a, c) f = Conv(x, w, b) y = Add(f, e)",
        " a0 = com.microsoft.nchwc.Conv(i, w16, b16) c = Sigmoid(a0) e = Mul(a0, c)"
        " a = com.microsoft.nchwc.Conv(i, w16, b16, e)",
    ),
]


@pytest.mark.parametrize(("plain", "blocked"), PADDED)
def test_what_is_reordered_out_of_blocks_tells_how_many_channels_there_are(
    canon: Read, plain: str, blocked: str
) -> None:
    """Also in a weightless file."""
    first = canon(f"g (float[1,8,6,6] x) => (float[1,10,6,6] y) {WEIGHTS} {{ {plain} }}")
    nodes = f"i = com.microsoft.nchwc.ReorderInput(x) {blocked} y = com.microsoft.nchwc.ReorderOutput<channels = 10>(a)"
    assert canon(f"g (float[1,8,6,6] x) => (float[1,10,6,6] y) {WEIGHTS} {{ {nodes} }}").hash == first.hash


def test_where_nothing_tells_the_filters_count(canon: Read) -> None:
    """Between two convolutions of a weightless file there is nothing that says how many channels are padding."""
    nodes = (
        "i = com.microsoft.nchwc.ReorderInput(x) a = com.microsoft.nchwc.Conv(i, w16, b16)"
        " e = com.microsoft.nchwc.Conv(a, v, c) y = com.microsoft.nchwc.ReorderOutput<channels = 16>(e)"
    )
    weights = "<float[16,8,1,1] w16, float[16] b16, float[16,16,1,1] v, float[16] c>"
    found = canon(f"g (float[1,8,6,6] x) => (float[1,16,6,6] y) {weights} {{ {nodes} }}")
    assert [node.output_shape for node in found.nodes] == [(1, 16, 6, 6), (1, 16, 6, 6)]


def test_what_does_not_agree_stays_as_it_is_stored(canon: Read) -> None:
    """One reader takes ten channels, and one that is no part of blocks takes all sixteen."""
    nodes = (
        "i = com.microsoft.nchwc.ReorderInput(x) a = com.microsoft.nchwc.Conv(i, w16, b16)"
        " r = com.microsoft.nchwc.ReorderOutput<channels = 10>(a) n = Softmax<axis = 1>(a)"
        " m = ReduceMean<keepdims = 1>(n) y = Mul(r, m)"
    )
    found = canon(f"g (float[1,8,6,6] x) => (float[1,10,6,6] y) {WEIGHTS} {{ {nodes} }}")
    assert found.nodes[0].output_shape == (1, 16, 6, 6)
    assert {node.op: node.output_shape for node in found.nodes}["Slice"] == (1, 10, 6, 6)


def _network(channels: int, fresh: bool = False) -> onnx.ModelProto:
    """A stem, a residual bottleneck with a depthwise convolution, and a head."""
    rng = np.random.default_rng(0)
    wide = 2 * channels
    weights = {
        **{
            "w0": (channels, 3, 3, 3),
            "w1": (wide, channels, 1, 1),
            "w2": (wide, 1, 3, 3),
            "w3": (channels, wide, 1, 1),
        },
        **{"b0": (channels,), "b1": (wide,), "b2": (wide,), "b3": (channels,), "k": (channels, 10)},
    }
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1,3,16,16] x) => (float[1,10] y) {'
        " a0 = Conv<pads = [1, 1, 1, 1]>(x, w0, b0) a = Relu(a0) b0_ = Conv(a, w1, b1) b = Relu(b0_)"
        f" c0 = Conv<pads = [1, 1, 1, 1], group = {wide}>(b, w2, b2) c = Relu(c0) d = Conv(c, w3, b3) e = Add(a, d)"
        " p = GlobalAveragePool(e) f = Flatten(p) y = MatMul(f, k) }"
    )
    for name, shape in weights.items():
        values = np.zeros(shape) if fresh and name.startswith("b") else rng.normal(size=shape)
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    return model


def _optimised(model: onnx.ModelProto, path: Path) -> Path:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath, options.log_severity_level = str(path), 4
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return path


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("channels", [12, 20, 24, 33])
def test_a_file_that_onnx_runtime_wrote_for_one_processor_is_the_network_that_it_was(
    channels: int, fresh: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filters of zeros tell; in a file whose weights are too large to be read as in a small one."""
    model = _network(channels, fresh)
    path = _optimised(model, tmp_path / "all.onnx")
    expected = canonical(read_onnx(model)).hash
    assert canonical(read_onnx(path)).hash == expected
    monkeypatch.setattr(parsing, "STRIP_BEYOND", 0)
    assert canonical(read_onnx(path)).hash == expected
    assert canonical(read_onnx(path.read_bytes())).hash == expected
    held = onnx.load(path)
    before = held.SerializeToString()
    assert canonical(read_onnx(held)).hash == expected
    assert held.SerializeToString() == before, "a model in memory is not changed"
