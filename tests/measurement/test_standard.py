"""Graphs written as files that a runtime runs: they run, and what is read of them is the same network."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from narformer.cost import graph_cost
from narformer.datasets import zoo
from narformer.errors import ModelError
from narformer.families.drawn.registry import drawn
from narformer.frontends.canonical.form import canonical
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph, Node, Operand, Tensor
from narformer.measurement.quantised import converted
from narformer.measurement.standard import standard_onnx
from narformer.measurement.weights import Runnable, runnable


def outputs(network: Runnable) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(network.model.SerializeToString())
    return list(session.run(None, dict(network.inputs)))


@pytest.mark.parametrize(
    ("name", "size"), [("test_vit", 160), ("test_efficientnet", 160), ("mnasnet_small", 224), ("test_convnext2", 160)]
)
def test_a_network_of_the_zoo_runs_and_does_the_same_work(name: str, size: int) -> None:
    graph = zoo.load(name, size)
    network = runnable(standard_onnx(graph))
    assert outputs(network)[-1].shape == graph.nodes[-1].output_shape
    assert graph_cost(network.graph).macs == graph_cost(graph).macs
    assert canonical(network.graph).hash == canonical(graph).hash


@pytest.mark.parametrize(("name", "size"), [("mnasnet_small", 224), ("test_vit", 160), ("efficientformerv2_s0", 224)])
def test_it_runs_at_another_batch_size(name: str, size: int) -> None:
    network = runnable(standard_onnx(zoo.load(name, size), 3), batch_size=3)
    assert outputs(network)[-1].shape == (3, 1000)


@pytest.mark.parametrize(
    "kind", ["text encoder", "decoder with a cache", "U-Net", "audio network", "detector", "mixer"]
)
def test_a_canonical_graph_runs_though_views_are_no_nodes(kind: str) -> None:
    form = canonical(read_onnx(drawn(kind, 3)))
    network = runnable(standard_onnx(form))
    outputs(network)
    assert graph_cost(canonical(network.graph)).macs == graph_cost(form).macs


def test_a_root_mean_square_over_channels_is_written() -> None:
    x = Tensor((1, 3, 4, 4))
    norm = Node("norm", "RMSNormalization", (Operand(x, ~0), Operand(Tensor((3,)), name="s")), (x,), {"axes": (1,)})
    graph = Graph((norm,), (x,))
    assert canonical(read_onnx(standard_onnx(graph))).hash == canonical(graph).hash


def data(*shape: int, source: int | None = None) -> Operand:
    return Operand(Tensor(shape), source)


@pytest.mark.parametrize("attributes", [{"is_causal": 1}, {"is_causal": 1, "unfused": 1}])
def test_attention_is_that_of_the_definition(attributes: dict[str, int]) -> None:
    shape = (1, 2, 5, 4)
    operands = tuple(data(*shape, source=~k) for k in range(3))
    node = Node("attention", "Attention", operands, (Tensor(shape),), attributes)
    written = standard_onnx(Graph((node,), (Tensor(shape),) * 3))
    (read,) = canonical(read_onnx(written)).nodes
    assert dict(read.attributes) == attributes  # whether PyTorch has one kernel for it
    network = runnable(written)
    query, key, value = network.inputs.values()
    scores = query @ key.swapaxes(2, 3) / 2 + np.triu(np.full((5, 5), -np.inf), 1)
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    assert outputs(network)[0] == pytest.approx(weights @ value, abs=1e-5)


def test_an_adaptive_pool_of_uneven_windows_is_refused() -> None:
    x, y = Tensor((1, 2, 10, 10)), Tensor((1, 2, 7, 7))
    pool = Node("avgpool", "AveragePool", (Operand(x, ~0),), (y,), {"kernel_shape": (2, 2), "strides": (1, 1)})
    with pytest.raises(
        ModelError, match=r"avgpool: an adaptive pool from \[10, 10\] to \[7, 7\] positions has windows"
    ):
        standard_onnx(Graph((pool,), (x,)))
    even = pool._replace(outputs=(Tensor((1, 2, 9, 9)),))
    assert read_onnx(standard_onnx(Graph((even,), (x,)))).nodes[0].output_shape == (1, 2, 9, 9)


def test_attention_whose_queries_share_keys_is_refused() -> None:
    operands = (data(1, 4, 5, 4, source=-1), *(data(1, 2, 5, 4, source=-k) for k in (2, 3)))
    node = Node("grouped", "Attention", operands, (Tensor((1, 4, 5, 4)),))
    with pytest.raises(ModelError, match="grouped: attention of this form cannot be written"):
        standard_onnx(Graph((node,), (Tensor((1, 4, 5, 4)), *[Tensor((1, 2, 5, 4))] * 2)))


def test_a_canonical_graph_that_no_longer_tells_what_is_cut_out_is_refused() -> None:
    with pytest.raises(ModelError, match="slice_1: what this Slice takes is not in the Graph"):
        standard_onnx(canonical(read_onnx(drawn("slice", 3))))


@pytest.mark.parametrize(
    ("precision", "op"), [("fp16", "Cast"), ("int8", "QuantizeLinear"), ("int8-dynamic", "MatMulInteger")]
)
def test_a_network_is_converted_to_another_precision_and_runs(precision: str, op: str) -> None:
    model = converted(drawn("mixer", 4), precision)
    assert op in {node.op_type for node in model.graph.node}
    assert all(np.isfinite(result).all() for result in outputs(runnable(model)))


def test_an_unknown_precision_is_told() -> None:
    with pytest.raises(ModelError, match="no precision 'int3'; there are fp16, int8, int8-dynamic"):
        converted(drawn("mixer", 4), "int3")
