"""What control flow and sequences share: a body walked in place, and results passed on under a node's names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import onnx

from narformer.errors import ModelError
from narformer.frontends.onnx.scope import Item, Listed, Scope
from narformer.graph import Tensor

if TYPE_CHECKING:
    from narformer.frontends.onnx.walk import Walk

# What reads one node and gives its outputs their values: walk, node, scope, prefix of names.
Handler = Callable[["Walk", onnx.NodeProto, Scope, str], None]


def run_body(walk: Walk, graph: onnx.GraphProto, given: Sequence[Item], scope: Scope, prefix: str) -> list[Item]:
    """Walk a body once, its inputs bound to `given`; its outputs."""
    inner = Scope({}, scope)
    for tensor in graph.initializer:
        inner.names[tensor.name] = walk.weight(tensor, prefix.rsplit("#", 1)[0] + tensor.name)
    if len(given) > len(graph.input):
        raise ModelError(f"{walk.label}: the body {graph.name!r} has {len(graph.input)} inputs, not {len(given)}")
    inner.names.update((info.name, item) for info, item in zip(graph.input, given, strict=False))
    walk.run(walk.steps(graph), inner, prefix)
    return [walk.read(info.name, inner, onnx.NodeProto(op_type="body", name=graph.name)) for info in graph.output]


def body_of(walk: Walk, node: onnx.NodeProto, name: str) -> onnx.GraphProto:
    """The body that an attribute of a node holds. Raises ModelError where there is none."""
    for attribute in node.attribute:
        if attribute.name == name and attribute.HasField("g"):
            return attribute.g
    raise ModelError(f"{walk.label}: node {node.name or node.op_type!r} ({node.op_type}) has no {name}")


def items_of(walk: Walk, node: onnx.NodeProto, scope: Scope) -> list[Item]:
    """What a node's inputs are, None for those left out."""
    return [walk.read(value, scope, node) if value else None for value in node.input]


def gather(walk: Walk, node: onnx.NodeProto, read: Sequence[Item], results: Sequence[Item], prefix: str) -> list[Item]:
    """A Node that passes results on; sequences stay sequences."""
    tensors: list[Tensor] = []
    for item in results:
        tensors += [o.tensor for o in item.items] if isinstance(item, Listed) else [item.tensor] if item else []
    operands = iter(walk.emit(node, read, tensors, prefix))
    passed: list[Item] = []
    for item in results:
        if isinstance(item, Listed):
            passed.append(Listed(tuple(next(operands) for _ in item.items), item.held))
        else:
            passed.append(None if item is None else next(operands))
    return passed


def bind(node: onnx.NodeProto, scope: Scope, items: Sequence[Item]) -> None:
    """Give the outputs of a node their names."""
    scope.names.update((name, item) for name, item in zip(node.output, items, strict=False) if name)
