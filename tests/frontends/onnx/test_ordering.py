from __future__ import annotations

import onnx
import pytest
from onnx import helper

from narformer.errors import ModelError
from narformer.frontends.onnx.ordering import live_in_order
from narformer.frontends.onnx.scope import steps_of


def order(nodes: list[onnx.NodeProto], outputs: list[str]) -> list[int]:
    steps = steps_of(nodes, "net")
    producer = {name: k for k, step in enumerate(steps) for name in step.writes}
    return live_in_order(steps, producer, {"w"}, ["x"], outputs, "net")


def relu(read: str, write: str) -> onnx.NodeProto:
    return helper.make_node("Relu", [read], [write], f"to {write}")


def test_the_order_of_the_file_stays_where_it_can() -> None:
    assert order([relu("x", "a"), relu("x", "b"), relu("a", "c"), relu("b", "d")], ["d", "c"]) == [0, 1, 2, 3]


def test_what_no_output_needs_is_left_out() -> None:
    assert order([relu("x", "a"), relu("a", "unused"), relu("a", "b")], ["b"]) == [0, 2]


def test_nodes_come_after_what_they_read() -> None:
    assert order([relu("b", "c"), relu("a", "b"), relu("x", "a")], ["c"]) == [2, 1, 0]


def test_a_circle_is_refused() -> None:
    with pytest.raises(ModelError, match="cycle"):
        order([relu("c", "a"), relu("a", "b"), relu("b", "c")], ["b"])


def test_a_node_that_reads_itself_is_refused() -> None:
    with pytest.raises(ModelError, match="cycle"):
        order([relu("a", "a")], ["a"])


def test_a_node_with_many_sources_in_reverse_order_asks_each_once() -> None:
    """Twenty thousand sources behind their reader: asking all of them again for each would take minutes."""
    count = 20_000
    join = helper.make_node("Concat", [f"v{k}" for k in range(count)], ["y"], "join", axis=1)
    found = order([join, *[relu("x", f"v{k}") for k in range(count)]], ["y"])
    assert found == [*range(1, count + 1), 0]
