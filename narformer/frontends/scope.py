"""Nodes as the front end asks them, and the names that they read and write, with their values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import onnx

from narformer.errors import ModelError
from narformer.graph import Operand, Tensor


@dataclass(frozen=True, slots=True)
class Listed:
    """The value of a sequence: each of its tensors. held: what a tensor in it is like, where there is none."""

    items: tuple[Operand, ...]
    held: Tensor = Tensor(())  # noqa: RUF009 - immutable


Item = Operand | Listed | None  # None: an optional value that is absent


@dataclass(slots=True)
class Scope:
    """Names of one graph, and of the graphs around it."""

    names: dict[str, Item]
    outer: Scope | None = None

    def __contains__(self, name: str) -> bool:
        return name in self.names or (self.outer is not None and name in self.outer)

    def __getitem__(self, name: str) -> Item:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.outer
        raise KeyError(name)


class Step(NamedTuple):
    """A node and what is asked of it again and again. domain: "" for ONNX's own."""

    node: onnx.NodeProto
    op: str
    domain: str
    name: str
    reads: Sequence[str]
    writes: Sequence[str]


def steps_of(nodes: Sequence[onnx.NodeProto], label: str) -> list[Step]:
    """The nodes as Steps. Raises ModelError for names that are no text: protobuf gives bytes for what is not UTF-8."""
    steps = []
    for node in nodes[:]:  # a slice of a protobuf field is a list, made several times faster than by iteration
        op, domain, name, writes = node.op_type, node.domain, node.name, node.output[:]
        if not type(op) is type(domain) is type(name) is str or {*map(type, writes)} - {str}:
            raise ModelError(f"{label}: node {name!r} ({op!r}) has a name that is no text")
        steps.append(Step(node, op, "" if domain == "ai.onnx" else domain, name, node.input[:], writes))
    return steps
