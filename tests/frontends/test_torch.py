"""PyTorch modules: the Graph of a module is that of its exported file; what cannot be traced is told."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn

import narformer
from narformer.cost import graph_cost
from narformer.errors import ModelError
from narformer.frontends.canonical import canonical
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
    ],
    ids=["control flow", "wrong inputs", "a function"],
)
def test_what_cannot_be_traced_is_told_in_one_line(
    module: nn.Module, inputs: torch.Tensor, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        read_torch(module, inputs)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_pytorch_is_imported_for_modules_alone() -> None:
    code = "import sys, narformer.frontends.torch, narformer.predictor; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
