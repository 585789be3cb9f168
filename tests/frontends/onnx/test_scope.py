"""Nodes taken apart as bytes say what protobuf says of them."""

from __future__ import annotations

import gc
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from narformer.errors import ModelError
from narformer.frontends.onnx import read_onnx
from narformer.frontends.onnx.scope import Scope, steps_of
from narformer.graph import Operand, Tensor

NAMES = st.text(max_size=3) | st.text("ab/ü", min_size=120, max_size=300) | st.just("n" * 20_000)


@given(st.lists(NAMES), st.lists(NAMES), NAMES, NAMES, st.sampled_from(["", "ai.onnx", "com.microsoft"]), st.text())
def test_names_of_any_length(
    reads: list[str], writes: list[str], name: str, op: str, domain: str, comment: str
) -> None:
    node = onnx.NodeProto(input=reads, output=writes, name=name, op_type=op, domain=domain, doc_string=comment)
    node.attribute.append(helper.make_attribute("pads", [1, 2]))
    (step,) = steps_of([node], "net")
    assert step[1:] == (op, "" if domain == "ai.onnx" else domain, {"pads": (1, 2)}, name, reads, writes, "")


def test_a_node_without_anything() -> None:
    assert steps_of([onnx.NodeProto()], "net")[0][1:] == ("", "", {}, "", [], [], "")


def test_the_same_attributes_are_one_object() -> None:
    nodes = [helper.make_node("Relu", [f"x{k}"], [f"y{k}"], alpha=0.5) for k in range(2)]
    first, second = steps_of(nodes, "net")
    assert first.attributes is second.attributes
    (other,) = steps_of([helper.make_node("Relu", ["x"], ["y"], alpha=0.25)], "net")
    assert other.attributes == {"alpha": 0.25}


def test_malformed_attributes_are_an_error_only_where_they_are_needed() -> None:
    (step,) = steps_of([helper.make_node("Conv", ["x", "w"], ["y"], group="two")], "net")
    assert step.attributes is None


@pytest.mark.parametrize("field", [1, 2, 3, 4, 7])  # input, output, name, operator, domain
def test_a_name_that_is_no_text_is_refused(field: int) -> None:
    node = onnx.NodeProto.FromString(bytes([field << 3 | 2, 2, 0xFF, 0xFE]))
    with pytest.raises(ModelError, match="no text"):
        steps_of([node], "net")


def test_names_of_a_body_hide_those_around_it() -> None:
    outer, inner = Operand(Tensor((1,)), 0), Operand(Tensor((2,)), 1)
    scope = Scope({"a": inner}, Scope({"a": outer, "b": outer}))
    assert (scope["a"], scope["b"]) == (inner, outer)
    assert "c" not in scope
    with pytest.raises(KeyError):
        scope["c"]


def test_reading_switches_nothing_off_for_the_whole_process(monkeypatch: pytest.MonkeyPatch, resnet18: Path) -> None:
    switched: list[str] = []
    for name in ("disable", "freeze", "set_threshold"):
        monkeypatch.setattr(gc, name, lambda *_, name=name: switched.append(name))
    read_onnx(resnet18)
    with pytest.raises(ModelError):
        read_onnx(b"\x08")
    assert switched == []
