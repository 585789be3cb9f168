"""Folding of BatchNormalization: exact shapes, nothing else touched."""

from narformer.cost import node_costs
from narformer.families.builder import NetworkBuilder
from narformer.frontends.folding import fold_batch_norm, foldable
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph


def network(batch_norms: bool, bias: bool = False) -> Graph:
    net = NetworkBuilder("net", (1, 3, 8, 8))
    x = net.conv(net.input, 4, 3, bias=bias or not batch_norms)
    if batch_norms:
        x = net.batch_norm(x)
    y = net.conv(net.relu(x), 4, 1)
    return read_onnx(net.finish(net.add(x, y)))


def test_a_folded_network_is_the_one_built_without_batch_normalization() -> None:
    assert fold_batch_norm(network(True)).hash == network(False).hash
    assert fold_batch_norm(network(True, bias=True)).hash == network(False).hash


def test_a_network_without_any_is_returned_as_it_is() -> None:
    graph = network(False)
    assert fold_batch_norm(graph) is graph


def test_a_convolution_with_another_reader_keeps_its_batch_normalization() -> None:
    net = NetworkBuilder("net", (1, 3, 8, 8))
    x = net.conv(net.input, 4, 3)
    graph = read_onnx(net.finish(net.add(x, net.batch_norm(x))))
    assert foldable(graph) == []
    assert [node.op for node in fold_batch_norm(graph).nodes] == ["Conv", "BatchNormalization", "Add"]


def test_batch_normalization_of_anything_else_stays() -> None:
    net = NetworkBuilder("net", (1, 3, 8, 8))
    graph = read_onnx(net.finish(net.relu(net.batch_norm(net.input))))
    assert foldable(graph) == []


def test_macs_stay() -> None:
    macs = [sum(cost.macs for cost in node_costs(g)) for g in (network(True), fold_batch_norm(network(True)))]
    assert macs[0] >= macs[1] == sum(cost.macs for cost in node_costs(network(False)))
