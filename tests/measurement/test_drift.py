"""The reference network, and when it is timed anew."""

from __future__ import annotations

import pytest

from narformer.cost import graph_cost
from narformer.frontends.onnx import read_onnx
from narformer.measurement.drift import MOMENTS, Reference, reference_network


class Machine:
    """A machine whose runs take `slow` milliseconds on a clock of its own."""

    def __init__(self) -> None:
        self.now, self.slow, self.runs = 0.0, 3.0, 0

    def clock(self) -> float:
        return self.now

    def run(self) -> None:
        self.now += self.slow / 1e3
        self.runs += 1


def test_a_young_time_is_still_now() -> None:
    machine = Machine()
    reference = Reference(machine.run, every_s=1.0, clock=machine.clock)
    assert reference.median_ms() == pytest.approx(3)
    runs = machine.runs
    machine.now += 0.5
    assert reference.median_ms() == pytest.approx(3)
    assert machine.runs == runs


def test_one_bad_moment_is_no_drift_but_a_lasting_change_is() -> None:
    machine = Machine()
    reference = Reference(machine.run, every_s=1.0, clock=machine.clock)
    reference.median_ms()
    machine.slow, machine.now = 6.0, machine.now + 2
    assert reference.median_ms() == pytest.approx(3)
    for _ in range(MOMENTS // 2):
        machine.now += 2
        last = reference.median_ms()
    assert last == pytest.approx(6)


def test_the_reference_network_never_changes() -> None:
    """Drift is reckoned from its first time on a device: another network would make nonsense of every store."""
    graph = read_onnx(reference_network())
    cost = graph_cost(graph)
    assert (len(graph), cost.macs, cost.parameters) == (31, 105_563_648, 2_434_944)
    assert [n.op for n in graph.nodes[:4]] == ["Conv", "Relu", "Conv", "Relu"]
