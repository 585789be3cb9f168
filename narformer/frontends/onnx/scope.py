"""Nodes as the front end asks them, and the names that they read and write, with their values."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import onnx

from narformer.errors import ModelError
from narformer.frontends.onnx.call import UnknownShape, attributes_of
from narformer.frontends.onnx.protobuf import LENGTH, strings
from narformer.graph import Attribute, Operand, Tensor


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
    """A node and what is asked of it again and again.

    domain: "" for ONNX's own. attributes: None where they are malformed; one object for nodes that have the same.
    module: the path of the module that calls it, where its metadata say so.
    """

    node: onnx.NodeProto
    op: str
    domain: str
    attributes: Mapping[str, Attribute] | None
    name: str
    reads: list[str]
    writes: list[str]
    module: str = ""


# Tags of NodeProto's first fields, all of them texts: number and wire type.
_INPUT, _OUTPUT, _NAME = (number << 3 | LENGTH for number in (1, 2, 3))


def steps_of(nodes: Sequence[onnx.NodeProto], label: str) -> list[Step]:
    """The nodes as Steps. Raises ModelError for names that are no text."""
    steps: list[Step] = []
    for node in nodes[:]:  # a slice of a protobuf field is a list, made several times faster than by iteration
        # As bytes a node has its fields in the order of their numbers, and is taken apart in half the time that asking
        # protobuf for each takes: what follows the names, operator and attributes, is the same for many nodes.
        data = node.SerializeToString() + b"\0"
        try:
            reads, place = strings(data, _INPUT, 0)
            writes, place = strings(data, _OUTPUT, place)
            names, place = strings(data, _NAME, place)
            rest = data[place:-1]
            kind = _kind(rest) if len(rest) <= _REMEMBERED else _kind.__wrapped__(rest)
        except UnicodeError:
            raise ModelError(f"{label}: node {node.name!r} ({node.op_type!r}) has a name that is no text") from None
        op, domain, attributes, module = kind
        steps.append(Step(node, op, domain, attributes, names[0] if names else "", reads, writes, module))
    return steps


_REMEMBERED = 512  # bytes: more than that is a tensor, a body or a comment


@functools.lru_cache(maxsize=4096)
def _kind(rest: bytes) -> tuple[str, str, Mapping[str, Attribute] | None, str]:
    """Operator, domain, attributes and module of a node from its bytes without names; files repeat these, and each
    other's.

    Raises UnicodeError where operator or domain are no text.
    """
    node = onnx.NodeProto.FromString(rest)
    op, domain = node.op_type, node.domain
    if type(op) is not str or type(domain) is not str:  # protobuf gives bytes for what is not UTF-8
        raise UnicodeError(op)
    try:
        attributes = attributes_of(node)
    except UnknownShape:
        return op, domain, None, ""
    module = _module(node) if len(node.metadata_props) else ""
    return op, "" if domain == "ai.onnx" else domain, attributes, module


def _module(node: onnx.NodeProto) -> str:
    """The path of the module that calls a node, as torch's exporter writes it into metadata.

    Its names of scopes are those of the modules around the node, from the outermost, and then the node's own; where
    they are missing, its namespace has each with its class: ": Net/layer: Linear/linear: aten.linear.default".
    """
    metadata = {entry.key: entry.value for entry in node.metadata_props[:]}
    scopes = metadata.get("pkg.torch.onnx.name_scopes", "")
    if isinstance(scopes, str) and scopes.startswith("["):
        listed = [scope.strip(" '\"") for scope in scopes.strip("[]").split(",")]
    else:
        space = metadata.get("namespace", "")
        listed = [part.partition(": ")[0] for part in space.split("/")] if isinstance(space, str) else []
    return listed[-2] if len(listed) > 1 else ""
