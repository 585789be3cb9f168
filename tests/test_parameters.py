"""What is a parameter: against PyTorch's own count, through both of its exporters, and by hand."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn
from trained import as_if_trained

from narformer.cost import graph_cost, node_costs
from narformer.frontends.canonical import canonical
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph, Node, Operand, Tensor
from narformer.parameters import node_parameters


def exported(module: nn.Module, inputs: torch.Tensor, dynamo: bool) -> Graph:
    file = io.BytesIO()
    torch.onnx.export(module.eval(), (inputs,), file, dynamo=dynamo, **({"verbose": False} if dynamo else {}))
    return read_onnx(file.getvalue())


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [False, True])
def test_a_network_fresh_and_trained_is_one(dynamo: bool) -> None:
    """Layers are copies of one, with norms of ones and zeros: the exporters store what is equal once."""
    torch.backends.mha.set_fastpath_enabled(False)
    fresh = nn.TransformerEncoder(nn.TransformerEncoderLayer(48, 4, 48, batch_first=True, bias=True), 2)
    trained = as_if_trained(fresh, 0.01)
    a, b = (exported(m, torch.randn(1, 16, 48), dynamo) for m in (fresh, trained))
    torch.backends.mha.set_fastpath_enabled(True)
    assert canonical(a).hash == canonical(b).hash
    dropped = 2 * 48 if dynamo else 0  # a bias of zeros is left out of a Gemm
    assert (graph_cost(a).parameters, graph_cost(b).parameters) == (parameters(fresh) - dropped, parameters(trained))


class Scalars(nn.Module):
    """Numbers that are trained, among numbers that are not."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.alpha = nn.Parameter(torch.tensor(0.3))
        self.beta = nn.Parameter(torch.full((1,), 0.2))
        self.gamma = nn.Parameter(torch.full((3,), 1e-3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = (self.linear(x) * self.alpha + self.beta) * self.gamma * 0.37 / x.shape[1] ** 0.5
        return y


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [False, True])
def test_scalars_of_a_module_are_parameters_and_numbers_in_formulas_are_not(dynamo: bool) -> None:
    module = nn.Sequential(Scalars(), Scalars())
    assert graph_cost(exported(module, torch.randn(2, 3), dynamo)).parameters == parameters(module)


class Window(nn.Module):
    """Attention within windows of 3 by 3 (Swin): a bias that is looked up by relative position."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(8, 24)
        self.table = nn.Parameter(torch.randn(25, 2))
        place = torch.stack(torch.meshgrid(torch.arange(3), torch.arange(3), indexing="ij")).flatten(1)
        apart = place[:, :, None] - place[:, None] + 2
        self.register_buffer("index", (5 * apart[0] + apart[1]).flatten())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).reshape(1, 9, 3, 2, 4).permute(2, 0, 3, 1, 4)
        bias = self.table[self.index].reshape(9, 9, 2).permute(2, 0, 1)[None]
        y: torch.Tensor = torch.softmax(q @ k.transpose(-1, -2) + bias, -1) @ v
        return y


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [False, True])
def test_a_bias_that_was_looked_up_counts_as_its_table(dynamo: bool) -> None:
    assert graph_cost(exported(Window(), torch.randn(1, 9, 8), dynamo)).parameters == parameters(Window())


class Grouped(nn.Module):
    """Groups, which exporters may write as instances of scale 1, and steps, which start from zeros that they spread."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.lstm, self.last = nn.GroupNorm(2, 6), nn.LSTM(6, 5), nn.InstanceNorm1d(5, affine=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.last(self.lstm(self.norm(x).permute(2, 0, 1))[0].permute(1, 2, 0))
        return y


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [False, True])
def test_ones_and_zeros_that_an_exporter_writes_are_no_parameters(dynamo: bool) -> None:
    module = Grouped()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn_like(p))
    assert graph_cost(exported(module, torch.randn(1, 6, 9), dynamo)).parameters == parameters(module)


def graph(*nodes: Node) -> Graph:
    return Graph(nodes, (Tensor((1, 4)),))


def test_a_layer_that_runs_twice_has_its_bias_once() -> None:
    """As a head that several levels of a pyramid share."""
    x = Tensor((1, 4))
    weight, bias = Operand(Tensor((4, 4)), name="w"), Operand(Tensor((4,)), name="b")
    head = [Node(f"n{k}", "Gemm", (Operand(x, k), weight, bias), (x,)) for k in (~0, 0)]
    assert graph_cost(graph(*head)).parameters == 16 + 4
    assert [c.parameters for c in node_costs(graph(*head))] == [20, 20]
    other = head[1]._replace(operands=(Operand(x, 0), Operand(Tensor((4, 4)), name="v"), bias))
    assert graph_cost(graph(head[0], other)).parameters == 2 * (16 + 4)


@pytest.mark.parametrize(
    ("op", "shape", "name", "counted"),
    [
        ("Add", (4,), "layer.bias", 4),
        ("Add", (2, 4), "pos_embed", 8),
        ("Add", (2, 4), "blocks.0.attn_mask", 0),
        ("Mul", (2, 4), "model.rotary.cos_cached", 0),
        ("Mul", (1,), "blocks.0.gate", 1),
        ("Mul", (), "blocks.0.gate", 1),
        ("Mul", (), "val_3", 0),
        ("Mul", (), "onnx::Mul_16", 0),
        ("Div", (), "/attn/Constant_output_0", 0),
        ("Mul", (), "half", 0),
        ("Add", (2, 4), "/Constant_3_output_0", 0),
        ("Mul", (4, 1, 1), "val_7", 4),
    ],
)
def test_names_tell_parameters_from_constants(op: str, shape: tuple[int, ...], name: str, counted: int) -> None:
    x = Operand(Tensor((1, 4)), ~0)
    assert node_parameters(Node("n", op, (x, Operand(Tensor(shape), name=name)), (Tensor((1, 4)),))) == counted


def test_what_the_front_end_knows_goes_before_the_rule() -> None:
    x, mask = Operand(Tensor((1, 4)), ~0), Operand(Tensor((4, 4)), name="mask", trained=True)
    assert node_parameters(Node("n", "Add", (x, mask), (Tensor((4, 4)),))) == 16
    table = Operand(Tensor((4, 4)), name="embedding.weight", trained=False)
    assert node_parameters(Node("n", "MatMul", (x, table), (Tensor((1, 4)),))) == 0


def test_integers_are_parameters_where_they_are_dequantised() -> None:
    """GPT-2 keeps its causal mask as bytes."""
    mask = Operand(Tensor((1, 1, 8, 8), "uint8"), name="h.0.attn.bias")
    scale = Operand(Tensor(()), name="scale")
    assert node_parameters(Node("n", "Slice", (mask,), (Tensor((1, 1, 4, 4), "uint8"),))) == 0
    assert node_parameters(Node("n", "DequantizeLinear", (mask, scale), (Tensor((1, 1, 8, 8)),))) == 64


def test_running_statistics_and_caches_are_buffers() -> None:
    x = Operand(Tensor((1, 8, 2, 2)), ~0)
    statistics = [Operand(Tensor((8,)), name=name) for name in "abcd"]
    assert node_parameters(Node("n", "BatchNormalization", (x, *statistics), (x.tensor,))) == 16
    x, caches = Operand(Tensor((1, 2, 6, 8)), ~0), [Operand(Tensor((6, 4)), name=name) for name in "ab"]
    assert node_parameters(Node("n", "RotaryEmbedding", (x, *caches), (x.tensor,))) == 0
