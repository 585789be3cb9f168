"""PyTorch modules: the Graph of a module is that of its exported file; what cannot be traced is told."""

from __future__ import annotations

import importlib.util
import io
import logging
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from trained import as_if_trained

import narformer
from narformer.cost import graph_cost
from narformer.errors import ModelError
from narformer.frontends.canonical import canonical, network_hash
from narformer.frontends.onnx import read_onnx
from narformer.frontends.torch import read_torch

pytestmark = pytest.mark.filterwarnings("ignore")


class Small(nn.Module):
    """A convolution with its normalisation, a residual, attention-like products, and a weight beyond a kilobyte."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(8 * 64, 40)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.conv(x)))
        x = x + x.flatten(2).softmax(-1).view_as(x)
        return self.head(self.drop(x.flatten(1)))


def test_a_module_gives_the_graph_of_its_exported_file() -> None:
    module, inputs = Small(), (torch.zeros(1, 3, 8, 8),)
    module.norm.eval()
    graph = read_torch(module, inputs)
    assert module.training, "a module is left in the mode it was in"
    assert not module.norm.training
    assert "Dropout" not in {node.op for node in graph.nodes}
    assert graph_cost(graph).macs == 8 * 64 * 27 + 8 * 64 * 40
    exported = torch.export.export(module.eval(), inputs)
    with warnings.catch_warnings():
        program = torch.onnx.export(exported, (), dynamo=True, verbose=False)
    assert program is not None
    assert canonical(graph).hash == canonical(read_onnx(program.model_proto)).hash
    by_module, by_graph = narformer.predict(module, inputs[0]), narformer.predict(graph)
    assert [e.latency_ms for e in by_module] == [e.latency_ms for e in by_graph]
    assert by_module[0].model == "Small"


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1 if x.sum() > 0 else x - 1


@pytest.mark.parametrize(
    ("module", "inputs", "message"),
    [
        (Branching(), torch.zeros(3), r"Branching: its control flow, or a shape in it, depends on data.*torch\.cond"),
        (nn.Linear(3, 4), torch.zeros(5), "Linear: torch.export cannot trace it with these inputs"),
        (torch.relu, torch.zeros(5), "not a torch.nn.Module"),
        (torch.export.export(nn.ReLU(), (torch.zeros(5),)), torch.zeros(5), "give the module that it was made of"),
    ],
    ids=["control flow", "wrong inputs", "a function", "an exported program"],
)
def test_what_cannot_be_traced_is_told_in_one_line(
    module: nn.Module, inputs: torch.Tensor, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        read_torch(module, inputs)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_pytorch_is_imported_for_modules_alone() -> None:
    code = "import sys, narformer.frontends.torch, narformer.prediction.predictor; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_exporter_of_pytorch_is_needed() -> None:
    code = (
        "import sys; sys.modules['onnxscript'] = sys.modules['onnx_ir'] = None\n"
        "import torch, narformer; graph = narformer.read_torch(torch.nn.Linear(3, 4), torch.zeros(2, 3))\n"
        "assert [node.op for node in graph.nodes] == ['Gemm']"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def _networks() -> Any:
    """benchmarks/torch_networks.py, a small network of every common kind."""
    path = Path(__file__).parents[2] / "benchmarks" / "torch_networks.py"
    spec = importlib.util.spec_from_file_location("torch_networks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NETWORKS = _networks()
# PyTorch's older exporter refuses the operator that its TransformerEncoder becomes.
NOT_TRACED = ("vision transformer", "encoder-decoder")


@pytest.mark.parametrize("name", NETWORKS.NETWORKS)
def test_every_kind_of_network_costs_what_its_module_and_its_file_say(name: str) -> None:
    module, inputs = NETWORKS.example(name)
    graph = read_torch(module, inputs)
    cost = graph_cost(graph)
    assert cost.parameters == sum(p.numel() for p in module.parameters())
    assert graph_cost(canonical(graph)).macs == cost.macs
    for dynamo in (True,) if name in NOT_TRACED else (True, False):
        exported = read_onnx(_exported(module, inputs, dynamo))
        assert graph_cost(exported).macs == cost.macs
        assert canonical(exported).hash == canonical(graph).hash


def _exported(module: nn.Module, inputs: Any, dynamo: bool) -> onnx.ModelProto:
    """The module's file by one of PyTorch's two exporters."""
    if dynamo:
        program = torch.onnx.export(module, inputs, dynamo=True, verbose=False)
        assert program is not None
        return program.model_proto
    file = io.BytesIO()
    torch.onnx.export(module, inputs, file, dynamo=False, opset_version=17)
    return onnx.load_from_string(file.getvalue())


def test_nodes_and_weights_are_named_after_the_modules_they_belong_to() -> None:
    graph = read_torch(Small().eval(), torch.zeros(1, 3, 8, 8))
    assert graph.nodes[0].name == "conv/conv2d"
    assert graph.nodes[0].operands[1].name == "conv.weight"
    assert graph.nodes[-1].name == "head/linear"
    assert all(node.name for node in graph.nodes)
    assert len({node.name for node in graph.nodes}) == len(graph)


def test_a_module_is_the_same_network_before_and_after_training() -> None:
    fresh = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 16, batch_first=True), 2)
    trained = as_if_trained(fresh)
    first, second = (read_torch(module, torch.zeros(1, 4, 16)) for module in (fresh, trained))
    assert first.hash == second.hash
    assert canonical(first).hash == canonical(second).hash
    assert graph_cost(first).parameters == sum(p.numel() for p in fresh.parameters())


class Masked(nn.Module):
    """A table of positions and a mask, which no training adjusts, beside weights and a learned scale."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(100, 32)
        self.scale = nn.Parameter(torch.ones(1))
        self.register_buffer("positions", torch.randn(1, 20, 32))
        self.register_buffer("mask", torch.zeros(20, 20))

    def forward(self, x: Tensor) -> Tensor:
        q = self.embedding(x) + self.positions
        return torch.softmax(q @ q.transpose(1, 2) * self.scale + self.mask, -1) @ q


def test_buffers_are_no_parameters_and_a_learned_number_is_one() -> None:
    graph = read_torch(Masked(), torch.zeros(1, 20, dtype=torch.long))
    assert graph_cost(graph).parameters == 3201


class Decoder(nn.Module):
    """A decoder of language models: rotary positions, grouped heads, gated feed-forward layers, a cache."""

    def __init__(self, width: int, heads: int, groups: int, inner: int, layers: int, words: int) -> None:
        super().__init__()
        self.heads, self.groups, self.head = heads, groups, width // heads
        self.embedding = nn.Embedding(words, width)
        self.layers = nn.ModuleList()
        for _ in range(layers):
            layer = nn.ModuleDict(
                {
                    "norm": nn.RMSNorm(width),
                    "qkv": nn.Linear(width, width + 2 * groups * self.head, bias=False),
                    "out": nn.Linear(width, width, bias=False),
                    "norm2": nn.RMSNorm(width),
                    "gate": nn.Linear(width, 2 * inner, bias=False),
                    "down": nn.Linear(inner, width, bias=False),
                }
            )
            self.layers.append(layer)
        self.norm, self.logits = nn.RMSNorm(width), nn.Linear(width, words, bias=False)

    def forward(self, tokens: Tensor, cache: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        x = self.embedding(tokens)
        n, steps, _ = x.shape
        place = torch.arange(steps, device=x.device)[:, None] * torch.ones(self.head, device=x.device)
        new = {}
        for index, layer in enumerate(self.layers):
            q, k, v = layer["qkv"](layer["norm"](x)).split([self.heads * self.head, *[self.groups * self.head] * 2], -1)
            q, k, v = (t.view(n, steps, -1, self.head).transpose(1, 2) for t in (q, k, v))
            q, k = (t * place.cos() + torch.cat([-t[..., 1::2], t[..., ::2]], -1) * place.sin() for t in (q, k))
            if cache is not None:
                k = torch.cat([cache[f"k{index}"], k], 2)
            new[f"k{index}"] = k
            if cache is None:
                x = x + layer["out"](
                    F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).transpose(1, 2).flatten(2)
                )
            gate, up = layer["gate"](layer["norm2"](x)).chunk(2, -1)
            x = x + layer["down"](F.silu(gate) * up)
        return self.logits(self.norm(x)), new


def test_a_decoder_of_seventy_billion_parameters_is_read_without_its_memory() -> None:
    with torch.device("meta"):
        module, tokens = Decoder(16384, 128, 8, 57344, 20, 128256), torch.zeros(1, 16, dtype=torch.long)
    graph = read_torch(module, tokens)
    cost = graph_cost(graph)
    assert cost.parameters == sum(p.numel() for p in module.parameters())
    assert cost.parameters > 70e9
    linear = sum(p.numel() for name, p in module.named_parameters() if "norm" not in name and "embedding" not in name)
    assert cost.macs == 16 * linear + 20 * 2 * 16 * 16 * 16384


def test_arguments_by_name_and_in_dictionaries_are_inputs() -> None:
    module = Decoder(32, 4, 2, 48, 1, 50)
    tokens, cache = torch.zeros(1, 3, dtype=torch.long), {"k0": torch.zeros(1, 2, 5, 8)}
    graph = read_torch(module, tokens, kwargs={"cache": cache}, name="decoder")
    assert [t.shape for t in graph.inputs] == [(1, 3), (1, 2, 5, 8)]
    assert graph.name == "decoder"
    assert (1, 2, 8, 8) in [node.output_shape for node in graph.nodes], "the cache grows by what is new"
    assert read_torch(module, {"tokens": tokens, "cache": cache}) == read_torch(module, tokens, kwargs={"cache": cache})


def test_a_module_of_fake_tensors_is_read() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        module, inputs = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()), torch.zeros(1, 3, 8, 8)
        graph = read_torch(module, inputs)
    assert graph_cost(graph).macs == 8 * 36 * 27


class InPlace(nn.Module):
    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.conv, self.inplace = nn.Conv2d(3, 3, 3, padding=1), inplace

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        if self.inplace:
            z = y.view(-1)
            F.relu_(z)
            y += x
            return y
        return F.relu(y) + x


def test_what_is_changed_in_place_is_the_same_network() -> None:
    first, second = (canonical(read_torch(InPlace(inplace), torch.zeros(1, 3, 8, 8))) for inplace in (True, False))
    assert first.hash == second.hash


class Unusual(nn.Module):
    """Operators that nothing here writes, but that torch writes with others."""

    def forward(self, x: Tensor) -> Tensor:
        return F.huber_loss(F.hardshrink(x), torch.celu(x)) + torch.special.entr(x.sigmoid())


def test_operators_that_others_can_write_are_written_with_those() -> None:
    graph = read_torch(Unusual(), torch.zeros(2, 3))
    assert graph.nodes[-1].output_shape == (2, 3)


class Spectrum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(x).abs()


def test_an_operator_that_nobody_reads_is_told() -> None:
    with pytest.raises(
        ModelError, match=r"Spectrum: narformer does not read the operator aten\.fft_rfft\.default; export"
    ):
        read_torch(Spectrum(), torch.zeros(2, 8))


class Chosen(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda y: torch.exp(torch.sin(y)), lambda y: -y, (x,))


def test_the_remedy_that_control_flow_is_told_works() -> None:
    graph = read_torch(Chosen(), torch.zeros(3))
    assert [node.op for node in graph.nodes][-3:] == ["Sin", "Exp", "If"]


def test_nothing_is_switched_off_for_the_rest_of_the_process(capfd: pytest.CaptureFixture[str]) -> None:
    heard: list[int] = []

    class Telling(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            heard.append(logging.root.manager.disable)
            other = threading.Thread(target=lambda: print("another thread", file=sys.stderr))
            other.start()
            other.join()
            return x + 1

    read_torch(Telling(), torch.zeros(3))
    assert heard
    assert set(heard) == {0}
    assert "another thread" in capfd.readouterr().err


def test_a_module_is_taken_by_whatever_takes_a_network() -> None:
    net, example = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), torch.zeros(2, 3, 16, 16)
    (whole,) = narformer.predict(net, example, devices="adreno-640:tflite-2.1:fp32")
    (own,) = narformer.load().predict(net, "adreno-640:tflite-2.1:fp32", example_inputs=example)
    assert own == whole
    assert whole.batch_size == 2
    (explained,) = narformer.explain(net, example, devices="adreno-640:tflite-2.1:fp32")
    assert explained.latency_ms == pytest.approx(whole.latency_ms, rel=1e-4)
    assert narformer.inspect(net, example).cost.macs == 2 * 14 * 14 * 8 * 27


def test_operators_that_pytorch_writes_by_others_are_read_as_these() -> None:
    class Differences(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.diff(x, dim=-1)

    class Spelt(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, 1:] - x[:, :-1]

    x = torch.zeros(2, 9)
    assert network_hash(read_torch(Differences(), x)) == network_hash(read_torch(Spelt(), x))
    normed = nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 4, 5))
    maps = torch.zeros(1, 3, 16)
    assert network_hash(read_torch(normed, maps)) == network_hash(read_torch(nn.Conv1d(3, 4, 5), maps))
