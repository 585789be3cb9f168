"""What control flow and sequences share: a body walked in place, and results passed on under a node's names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import onnx

from narformer.errors import ModelError
from narformer.frontends.onnx.scope import Item, Listed, Scope
from narformer.graph import Operand

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


def gather(
    walk: Walk, node: onnx.NodeProto, read: Sequence[Item], results: Sequence[Item], prefix: str, *, known: bool = True
) -> list[Item]:
    """A Node that passes results on; sequences stay sequences.

    known: whether the results are these for certain, so that what they hold is known too where it was before.
    """
    passed_on: list[Operand] = []
    for item in results:
        passed_on += item.items if isinstance(item, Listed) else [item] if item else []
    made = walk.emit(node, read, [operand.tensor for operand in passed_on], prefix)
    for before, after in zip(passed_on, made, strict=True) if known else ():
        if (value := walk.contents(before)) is not None and after.source is not None:
            walk.computed[after.source, after.output] = value
    operands = iter(made)
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
