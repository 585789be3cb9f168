"""The reference network."""

from __future__ import annotations

from narformer.cost import graph_cost
from narformer.frontends.onnx import read_onnx
from narformer.measurement.drift import reference_network


def test_the_reference_network_never_changes() -> None:
    """Drift is reckoned from its first time on a device: another network would make nonsense of every store."""
    graph = read_onnx(reference_network())
    cost = graph_cost(graph)
    assert (len(graph), cost.macs, cost.parameters) == (31, 105_563_648, 2_434_944)
    assert [n.op for n in graph.nodes[:4]] == ["Conv", "Relu", "Conv", "Relu"]
