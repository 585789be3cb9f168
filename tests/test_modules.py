"""Nodes by module: one tree, whichever exporter wrote the file."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from narformer.frontends.canonical import canonical
from narformer.frontends.onnx import read_onnx
from narformer.frontends.torch import read_torch
from narformer.graph import Graph, Node, Operand, Tensor
from narformer.modules import Module, module_latencies, module_path, modules


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(Block(), Block())
        self.blocks = nn.ModuleList([Block()])
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks[0](self.layers(x)).mean(1))


LAYER = 4 * 2 * 8 * 16  # MACs of a block over four places
TREE = {
    "": (3 * LAYER + 8 * 5, 3 * (16 + 144 + 136) + 45),
    "layers": (2 * LAYER, 2 * 296),
    "layers.0": (LAYER, 296),
    "layers.0.norm": (0, 16),
    "layers.0.up": (LAYER // 2, 144),
    "layers.0.down": (LAYER // 2, 136),
    "layers.1": (LAYER, 296),
    "layers.1.norm": (0, 16),
    "layers.1.up": (LAYER // 2, 144),
    "layers.1.down": (LAYER // 2, 136),
    "blocks": (LAYER, 296),
    "blocks.0": (LAYER, 296),
    "blocks.0.norm": (0, 16),
    "blocks.0.up": (LAYER // 2, 144),
    "blocks.0.down": (LAYER // 2, 136),
    "head": (40, 45),
}


@pytest.fixture(scope="module")
def graphs() -> dict[str, Graph]:
    """The network through both of torch's exporters and from the module itself."""
    module, x = Net().eval(), torch.zeros(1, 4, 8)
    older = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), older, dynamo=False)
        newer = torch.onnx.export(module, (x,), dynamo=True, verbose=False)
    assert newer is not None
    found = {"older": read_onnx(older.getvalue()), "newer": read_onnx(newer.model_proto)}
    return {**found, "module": read_torch(module, x)}


@pytest.mark.parametrize("name", ["older", "newer", "module"])
def test_the_tree_is_that_of_the_module(graphs: dict[str, Graph], name: str) -> None:
    found = modules(graphs[name])
    assert {m.path: (m.cost.macs, m.cost.parameters) for m in found} == TREE
    assert [m.path for m in found] == list(TREE), "each before those within it, in the order in which they run"


@pytest.mark.parametrize("name", ["older", "newer", "module"])
def test_time_of_kernels_is_that_of_their_modules(graphs: dict[str, Graph], name: str) -> None:
    """A kernel's node keeps its name in the canonical form, and so its module."""
    graph = graphs[name]
    read = canonical(graph)
    found = modules(graph)
    times = module_latencies(graph, found, read, [1.0 if node.op == "Gemm" else 0.0 for node in read.nodes])
    assert {m.path: time for m, time in zip(found, times, strict=True) if time} == {
        **{"": 7.0, "layers": 4.0, "blocks": 2.0, "head": 1.0},
        **{
            f"{block}{part}": n
            for block in ("layers.0", "layers.1", "blocks.0")
            for part, n in (("", 2.0), (".up", 1.0), (".down", 1.0))
        },
    }


def test_depth_keeps_what_is_deeper_in_the_last_level(graphs: dict[str, Graph]) -> None:
    found = modules(graphs["older"], 1)
    assert {m.path: m.cost.macs for m in found} == {key: TREE[key][0] for key in ("", "layers", "blocks", "head")}
    assert [(m.depth, m.name) for m in found] == [(0, ""), (1, "layers"), (1, "blocks"), (1, "head")]
    assert [m.path for m in modules(graphs["older"], 0)] == [""]


PATHS = [
    ("/layer1/layer1.0/layer1.0.1/conv/Conv", "layer1.0.1.conv"),
    ("/stages.2/stages.2.0/Add", "stages.2.0"),
    ("layer1.0.conv1/conv2d", "layer1.0.conv1"),
    ("model/block_1/conv/Conv2D", "model.block_1.conv"),
    ("Conv_0", ""),
]


@pytest.mark.parametrize(("name", "path"), PATHS)
def test_paths_are_read_off_names(name: str, path: str) -> None:
    node = Node(name, "Relu", (Operand(Tensor((1,)), ~0),), (Tensor((1,)),))
    assert ".".join(module_path(Graph((node,), (Tensor((1,)),)), node)) == path


@pytest.mark.parametrize(
    ("weight", "path"), [("layer1.0.conv1.weight", "layer1.0.conv1"), ("onnx::Conv_12.5", ""), ("w", "")]
)
def test_where_names_of_nodes_say_nothing_those_of_weights_do(weight: str, path: str) -> None:
    x, w = Tensor((1, 4)), Tensor((4, 4))
    node = Node("Gemm_0", "Gemm", (Operand(x, ~0), Operand(w, name=weight)), (x,))
    assert ".".join(module_path(Graph((node,), (x,)), node)) == path


def test_metadata_of_the_newer_exporter_say_what_names_do_not() -> None:
    nodes = [onnx.helper.make_node("Relu", [a], [b], name=f"node_{b}") for a, b in ("xa", "ab", "bc", "cy")]
    nodes[0].metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'layer1', 'layer1.0', 'relu']")
    nodes[1].metadata_props.add(key="namespace", value=": net.Net/layer2: nn.Sequential/relu: aten.relu.default")
    nodes[2].metadata_props.add(key="namespace", value="of another tool")
    x, y = (onnx.helper.make_tensor_value_info(name, 1, [4]) for name in "xy")
    graph = read_onnx(onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [x], [y])))
    assert graph.modules == {"node_a": "layer1.0", "node_b": "layer2"}
    assert Graph.from_json(graph.to_json()).modules == graph.modules
    assert canonical(graph).modules == graph.modules
    assert [m.path for m in modules(graph)] == ["", "layer1", "layer1.0", "layer2"]


def test_the_manual_s_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[1] / "docs" / "how-to" / "predict.md").read_text()
    (code,) = [c for c in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "import module_latencies" in c]
    exec(code, {})
    assert re.search(r"^  layer1 +\d+\.\d ", capsys.readouterr().out, re.MULTILINE)


def test_a_module_names_its_last_part() -> None:
    assert Module("layer1.0.conv1", 3, (), modules(Graph((), ()))[0].cost).name == "conv1"
