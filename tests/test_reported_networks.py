"""Small networks that users of comparable tools reported as read or counted wrongly, with the right values.

Each docstring names the public report that it is from. What ONNX Runtime runs, it decides here too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from trained import as_if_trained
from typer.testing import CliRunner

import narformer
from narformer.cells.predictor import predict_cell
from narformer.cli.main import app
from narformer.cost import graph_cost, node_costs
from narformer.frontends.onnx import read_onnx

runner = CliRunner()
FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def parsed(text: str) -> onnx.ModelProto:
    """A model of opset 17, in onnx's own language."""
    return onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 17, "com.microsoft" : 1]> {text}')


def one_node(
    node: onnx.NodeProto, inputs: dict[str, tuple[int, ...]], weights: dict[str, np.ndarray], opset: int = 17
) -> onnx.ModelProto:
    """A model of one node; inputs of float16 where its weights are."""
    kind = HALF if any(array.dtype == np.float16 for array in weights.values()) else FLOAT
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, kind, None) for name in node.output],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def runs(model: onnx.ModelProto) -> list[tuple[int, ...]]:
    """The shapes of all outputs where ONNX Runtime runs a model on zeros."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [
        array.shape
        for array in session.run(None, {i.name: np.zeros(i.shape, np.float32) for i in session.get_inputs()})
    ]


class Graphs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Linear(33, 16, bias=False)

    def forward(self, adjacency: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return self.weight(adjacency @ features)


class Tracker(nn.Module):
    def forward(self, search: torch.Tensor, template: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv2d(search, template)


@pytest.mark.parametrize(
    ("module", "inputs"),
    [
        (Graphs(), (torch.rand(20, 20), torch.rand(20, 33))),
        (Tracker(), (torch.rand(1, 8, 9, 9), torch.rand(1, 8, 3, 3))),
    ],
    ids=["a graph network", "a tracker"],
)
def test_a_second_input_is_no_weight(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """MrYxJ/calculate-flops.pytorch#37, sovrasov/flops-counter.pytorch#71."""
    graph = narformer.read_torch(module, inputs)
    assert len(graph.inputs) == 2
    assert graph_cost(graph).parameters == sum(p.numel() for p in module.parameters())


def test_a_second_input_can_be_given_a_shape(tmp_path: Path) -> None:
    """The same of a file."""
    onnx.save(parsed("g (float[8, 8] A, float[8, N] X) => (float[8, N] y) { y = MatMul(A, X) }"), tmp_path / "ax.onnx")
    assert runner.invoke(app, ["inspect", str(tmp_path / "ax.onnx"), "--input-shape", "X=8,4"]).exit_code == 0


def test_shapes_that_an_edited_input_left_behind_are_not_believed() -> None:
    """onnx/onnx#4908, ZhangGe6/onnx-modifier#69."""
    model = one_node(
        helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4),
        {"x": (1, 3, 24, 24)},
        {"w": np.zeros((16, 3, 3, 3), np.float32)},
    )
    model.graph.node.append(helper.make_node("Relu", ["y"], ["z"]))
    model.graph.output[0].name = "z"
    model = onnx.shape_inference.infer_shapes(model)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_value = 48
    with pytest.warns(narformer.ModelWarning, match=r"file states the shape \[1, 16, 24, 24\] of 'y'"):
        assert graph_cost(read_onnx(model)).macs == 48 * 48 * 16 * 27


@pytest.mark.parametrize(("past", "total", "outputs"), [(127, 128, 3), (2048, 128, 3), (127, 128, 1)])
def test_keys_attended_are_those_there_are_not_those_there_is_room_for(past: int, total: int, outputs: int) -> None:
    """microsoft/onnxruntime#24143, ROCm/hip-ep#753 and #989: caches that grow, and one allocated whole."""
    names = ["y", "present_k", "present_v"][:outputs]
    node = helper.make_node(
        "GroupQueryAttention",
        ["q", "k", "v", "pk", "pv", "len", "total"],
        names,
        domain="com.microsoft",
        num_heads=4,
        kv_num_heads=2,
    )
    inputs = {"q": (1, 1, 64), "k": (1, 1, 32), "v": (1, 1, 32), "pk": (1, 2, past, 16), "pv": (1, 2, past, 16)}
    weights = {"len": np.array([total - 1], np.int32), "total": np.array(total, np.int32)}
    model = one_node(node, inputs, weights)
    graph = read_onnx(model)
    assert [tensor.shape for tensor in graph.nodes[0].outputs] == runs(model)
    assert graph_cost(graph).macs == 2 * 64 * total


def test_a_past_counts_where_no_present_is_asked_for() -> None:
    """The same of MultiHeadAttention, which ONNX Runtime runs."""
    node = helper.make_node(
        "MultiHeadAttention", ["q", "k", "v", "", "", "", "pk", "pv"], ["y"], domain="com.microsoft", num_heads=8
    )
    inputs = dict.fromkeys("qkv", (1, 1, 512)) | dict.fromkeys(("pk", "pv"), (1, 8, 127, 64))
    assert graph_cost(read_onnx(one_node(node, inputs, {}))).macs == 2 * 8 * 128 * 64


@pytest.mark.parametrize(
    ("op", "shape", "weight", "macs"),
    [
        ("NhwcConv", (1, 8, 8, 16), (32, 3, 3, 16), 64 * 32 * 144),
        ("NhwcFusedConv", (1, 8, 8, 16), (32, 16, 3, 3), 64 * 32 * 144),
    ],
)
def test_convolutions_of_channels_last_are_counted(
    op: str, shape: tuple[int, ...], weight: tuple[int, ...], macs: int
) -> None:
    """ThanatosShinji/onnx-tool#50."""
    node = helper.make_node(op, ["x", "w"], ["y"], domain="com.microsoft", kernel_shape=[3, 3], pads=[1] * 4)
    assert graph_cost(read_onnx(one_node(node, {"x": shape}, {"w": np.zeros(weight, np.float16)}))).macs == macs


def test_experts_and_linear_attention_are_counted() -> None:
    """deepspeedai/Megatron-DeepSpeed#398, state-spaces/mamba#110."""
    node = helper.make_node("MoE", ["x", "r", "w1", "", "w2"], ["y"], domain="com.microsoft", k=2)
    weights = {"w1": np.zeros((8, 128, 64), np.float32), "w2": np.zeros((8, 64, 128), np.float32)}
    model = one_node(node, {"x": (1, 10, 64), "r": (10, 8)}, weights)
    assert graph_cost(read_onnx(model)).macs == 10 * 2 * 2 * 64 * 128
    node = helper.make_node(
        "LinearAttention", ["q", "k", "v"], ["y", "s"], q_num_heads=4, kv_num_heads=4, update_rule="linear"
    )
    model = one_node(node, dict.fromkeys("qkv", (1, 64, 256)), {}, opset=27)
    assert graph_cost(read_onnx(model)).macs == 2 * 64 * 4 * 64 * 64


@pytest.mark.parametrize("bits", [4, 8])
def test_packed_weights_are_as_many_parameters_as_they_hold(bits: int) -> None:
    """robertknight/rten#1036, huggingface/transformers#25978."""
    node = helper.make_node(
        "MatMulNBits", ["x", "B", "s"], ["y"], domain="com.microsoft", K=64, N=48, bits=bits, block_size=32
    )
    weights = {"B": np.zeros((48, 2, 4 * bits), np.uint8), "s": np.zeros(96, np.float32)}
    graph = read_onnx(one_node(node, {"x": (1, 1, 64)}, weights))
    assert graph_cost(graph).parameters == node_costs(graph)[0].parameters == 64 * 48


@pytest.mark.filterwarnings("ignore:The tensor attributes:UserWarning")  # torch's, of how nn.LSTM keeps its weights
def test_a_recurrent_cell_with_a_projection_is_refused() -> None:
    """k2-fsa/icefall#621: no runtime has such an operator."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.LSTM(8, 8, proj_size=4, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.cell(x)[0]
            return out

    with pytest.raises(narformer.NarformerError, match=r"module 'cell' cannot be read: proj_size"):
        narformer.read_torch(Net(), torch.randn(1, 10, 8))


def test_a_module_is_the_same_fresh_and_trained() -> None:
    """microsoft/onnxscript#1943, lyuwenyu/RT-DETR#326: exporters merge weights that are equal."""
    fresh = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 16, batch_first=True), 2)
    trained = as_if_trained(fresh)
    first, second = (narformer.read_torch(module, torch.randn(1, 4, 16)) for module in (fresh, trained))
    assert first.hash == second.hash
    assert graph_cost(first).parameters == graph_cost(second).parameters == sum(p.numel() for p in fresh.parameters())


def test_tables_of_rotations_are_no_parameters() -> None:
    """onnx/onnx#2985, TylerYep/torchinfo#322."""
    model = parsed(
        """g (float[1, 16, 64] x, int64[1, 16] p) => (float[1, 16, 64] y)
        { q = com.microsoft.RotaryEmbedding <num_heads = 8> (x, p, cos, sin)  y = MatMul (q, w) }"""
    )
    for name, shape in (("cos", (128, 4)), ("sin", (128, 4)), ("w", (64, 64))):
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(shape, np.float32), name))
    assert graph_cost(read_onnx(model)).parameters == 64 * 64


@pytest.mark.parametrize(
    ("computed", "constants"),
    [
        ("f = Cast <to = 1> (b) i = Reciprocal (f) q = Mul (i, m) c = Cast <to = 7> (q)", {"m": np.float32([16])}),
        ("c = Clip (b, lo, hi)", {"lo": np.int64(1), "hi": np.int64(100)}),
        ("d = ScatterND (t, i, b) c = Slice (d, z, o)", {"t": np.int64([0, 48]), "i": np.int64([[0]])}),
        ("c = GatherND (s, i)", {"i": np.int64([[0]])}),
        ("d = Pad (b, p, v) c = Slice (d, z, o)", {"p": np.int64([0, 1]), "v": np.int64(48)}),
        ("n = NonZero (t) q = Squeeze (n, z) c = Gather (s, q)", {"t": np.int64([1, 0, 0])}),
        ("c = Compress <axis = 0> (s, t)", {"t": np.array([True, False, False])}),
        ("c = ReduceMean (b)", {}),
        ("c, ci = TopK <largest = 0> (s, o)", {}),
        ("a = ArgMax <axis = 0> (s) c = Add (a, two)", {"two": np.int64([2])}),
    ],
    ids=["Reciprocal", "Clip", "ScatterND", "GatherND", "Pad", "NonZero", "Compress", "ReduceMean", "TopK", "ArgMax"],
)
def test_sizes_that_operators_compute_are_known(computed: str, constants: dict[str, np.ndarray]) -> None:
    """ThanatosShinji/onnx-tool#66, pytorch/vision#8734 and #1706."""
    model = parsed(
        f"""g (float[4, 6, 8] x) => (float[A, B] y)
        {{ s = Shape (x)  b = Slice (s, z, o)  {computed}
           shape = Concat <axis = 0> (c, k)  r = Reshape (x, shape)  y = MatMul (r, w) }}"""
    )
    always = {"z": np.int64([0]), "o": np.int64([1]), "k": np.int64([48]), "w": np.zeros((48, 5), np.float32)}
    for name, array in (always | constants).items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    assert runs(model) == [(4, 5)]
    assert graph_cost(read_onnx(model)).macs == 4 * 48 * 5


def test_minus_one_is_a_dynamic_batch(tmp_path: Path) -> None:
    """PaddlePaddle/Paddle2ONNX#928."""
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4)
    model = one_node(node, {"x": (-1, 3, 8, 8)}, {"w": np.zeros((8, 3, 3, 3), np.float32)})
    onnx.save(model, tmp_path / "minus.onnx")
    assert runner.invoke(app, ["inspect", str(tmp_path / "minus.onnx")]).exit_code == 0
    assert read_onnx(model).inputs[0].shape == (1, 3, 8, 8)


def test_an_empty_cache_can_be_given(tmp_path: Path) -> None:
    """microsoft/onnxruntime-genai#1567: the first run of a decoder with a cache."""
    model = parsed(
        """g (float[1, 8, P, 64] past, float[1, 8, 16, 64] k, float[1, 8, 16, 64] q) => (float[1, 8, 16, T] y)
        { all = Concat <axis = 2> (past, k)  t = Transpose <perm = [0, 1, 3, 2]> (all)  y = MatMul (q, t) }"""
    )
    onnx.save(model, tmp_path / "past.onnx")
    assert runner.invoke(app, ["inspect", str(tmp_path / "past.onnx"), "--input-shape", "past=1,8,0,64"]).exit_code == 0
    assert graph_cost(read_onnx(model, input_shapes={"past": (1, 8, 0, 64)})).macs == 8 * 16 * 16 * 64


def test_transposed_batches_of_a_fused_product_are_counted() -> None:
    """With both of its attributes: batches are the second axis of the first operand."""
    node = helper.make_node("FusedMatMul", ["a", "b"], ["y"], domain="com.microsoft", transA=1, transBatchA=1)
    assert graph_cost(read_onnx(one_node(node, {"a": (7, 3, 5), "b": (3, 7, 11)}, {}))).macs == 3 * 5 * 7 * 11


def test_a_transposed_convolution_whose_strides_are_wider_than_its_window_has_the_size_that_runs() -> None:
    """auto_pad, SAME_UPPER."""
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[3, 3], auto_pad="SAME_UPPER")
    model = one_node(node, {"x": (1, 2, 3, 3)}, {"w": np.zeros((2, 1, 2, 2), np.float32)})
    assert [read_onnx(model).nodes[0].output_shape] == runs(model)


def test_single_numbers_are_parameters_too() -> None:
    """TylerYep/torchinfo#137, sksq96/pytorch-summary#148."""

    class ReZero(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.scales = nn.Linear(2, 2), nn.Linear(2, 2), nn.Parameter(torch.rand(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x + self.scales[0] * self.first(x)
            return x + self.scales[1] * self.second(x)

    assert graph_cost(narformer.read_torch(ReZero(), torch.randn(3, 2))).parameters == 14


def test_cells_that_are_one_network_are_as_accurate() -> None:
    """D-X-Y/NATS-Bench#13: written in two ways."""
    cells = (
        "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|nor_conv_1x1~1|avg_pool_3x3~2|",
        "|skip_connect~0|+|nor_conv_3x3~0|none~1|+|none~0|avg_pool_3x3~1|nor_conv_1x1~2|",
    )
    first, second = predict_cell("nasbench201", cells)
    assert (first.value, first.low, first.high) == (second.value, second.low, second.high)
