"""Sequences and optional values: kept tensor by tensor, so that what reads one of them knows its shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx

from narformer.errors import ModelError, ShapeError
from narformer.frontends.onnx.arithmetic import LARGEST
from narformer.frontends.onnx.bodies import Handler, bind, body_of, gather, items_of, run_body
from narformer.frontends.onnx.call import Value, axis_of
from narformer.frontends.onnx.scope import Item, Listed, Scope
from narformer.frontends.tensors import DTYPES
from narformer.graph import Operand, Tensor

if TYPE_CHECKING:
    from narformer.frontends.onnx.walk import Walk


def sequence_map(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    first, *others = items_of(walk, node, scope)
    sequence = _sequence(walk, node, first)
    body = body_of(walk, node, "body")
    rounds: list[list[Item]] = []
    for k, element in enumerate(sequence.items):
        given: list[Item] = [element]
        for other in others:
            if isinstance(other, Listed) and k >= len(other.items):
                raise ModelError(f"{walk.label}: node {node.name or node.op_type!r} maps sequences of unequal lengths")
            given.append(other.items[k] if isinstance(other, Listed) else other)
        rounds.append(run_body(walk, body, given, scope, f"{prefix}{node.name or node.op_type}/#{k}/"))
    lists: list[Item] = []
    for position in range(len(node.output)):
        column = [r[position] for r in rounds if position < len(r)]
        lists.append(Listed(tuple(i for i in column if isinstance(i, Operand))))
    bind(node, scope, gather(walk, node, lists, lists, prefix))


def _sequence(walk: Walk, node: onnx.NodeProto, item: Item) -> Listed:
    if not isinstance(item, Listed):
        raise ModelError(f"{walk.label}: node {node.name or node.op_type!r} ({node.op_type}) needs a sequence")
    return item


def sequence_empty(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    dtype = next((a.i for a in node.attribute if a.name == "dtype"), 1)
    bind(node, scope, [Listed((), Tensor((), DTYPES.get(dtype, "float32")))])


def sequence_construct(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    items = [i for i in items_of(walk, node, scope) if isinstance(i, Operand)]
    bind(node, scope, gather(walk, node, items, [Listed(tuple(items))], prefix))


def sequence_insert(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    items = items_of(walk, node, scope)
    sequence, new = _sequence(walk, node, items[0]), items[1] if len(items) > 1 else None
    if not isinstance(new, Operand):
        raise ModelError(f"{walk.label}: node {node.name or node.op_type!r} (SequenceInsert) inserts no tensor")
    place = _position(walk, items[2] if len(items) > 2 else None, len(sequence.items))
    longer = Listed((*sequence.items[:place], new, *sequence.items[place:]))
    bind(node, scope, gather(walk, node, [longer], [longer], prefix))


def sequence_erase(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    items = items_of(walk, node, scope)
    sequence = _sequence(walk, node, items[0])
    place = _position(walk, items[1] if len(items) > 1 else None, len(sequence.items) - 1)
    kept = tuple(o for k, o in enumerate(sequence.items) if k != place % max(len(sequence.items), 1))
    bind(node, scope, gather(walk, node, [sequence], [Listed(kept, sequence.held)], prefix))


def sequence_at(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    """One tensor of a sequence; the first, where the position is known only when the network runs."""
    items = items_of(walk, node, scope)
    sequence = _sequence(walk, node, items[0])
    if not sequence.items:
        raise ShapeError(f"{walk.label}: node {node.name or node.op_type!r} reads from a sequence that is empty")
    asked = items[1] if len(items) > 1 else None
    one = sequence.items[_position(walk, asked, 0)]
    bind(node, scope, gather(walk, node, [one], [one], prefix, known=walk.contents(asked) is not None))


def _position(walk: Walk, item: Item, default: int) -> int:
    value = walk.contents(item)
    if value is None or value.size != 1:
        return default
    return int(value.reshape(-1)[0])


def sequence_length(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    sequence = _sequence(walk, node, items_of(walk, node, scope)[0])
    _known(walk, node, scope, prefix, np.array(len(sequence.items), np.int64))


def _known(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str, value: Value) -> None:
    """A Node whose result is known before the network runs."""
    (operand,) = walk.emit(node, (), [Tensor(value.shape, str(value.dtype))], prefix)
    walk.computed[operand.source or 0, 0] = value
    bind(node, scope, [operand])


def split_to_sequence(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    items = items_of(walk, node, scope)
    x = items[0]
    attributes = {a.name: a.i for a in node.attribute}
    if not isinstance(x, Operand):
        raise ModelError(f"{walk.label}: node {node.name or node.op_type!r} (SplitToSequence) reads no tensor")
    shape = x.tensor.shape
    axis = axis_of(attributes.get("axis", 0), len(shape))
    sizes: Sequence[int] = (1,)
    if len(items) > 1 and items[1] is not None:
        value = walk.contents(items[1])
        if value is None:
            raise ShapeError(
                f"{walk.label}: node {node.name or node.op_type!r} (SplitToSequence) splits into parts "
                "that are known only while the network runs"
            )
        sizes = [int(v) for v in value.reshape(-1)]
        each = value.ndim == 0
    else:
        each = True
    if each:
        if sizes[0] < 1:
            raise ModelError(f"{walk.label}: node {node.name or node.op_type!r} (SplitToSequence) splits by {sizes[0]}")
        count = -(-shape[axis] // sizes[0])
        walk.spend(count, node)
        sizes = [min(sizes[0], shape[axis] - k * sizes[0]) for k in range(count)]
    drop = len(items) < 2 and not attributes.get("keepdims", 1)
    tensors = [Tensor(shape[:axis] + (() if drop else (size,)) + shape[axis + 1 :], x.tensor.dtype) for size in sizes]
    parts = walk.emit(node, [x], tensors, prefix)
    held = walk.contents(x)
    if held is not None and held.shape == shape:
        places = np.split(held, np.cumsum(sizes)[:-1], axis=axis)
        for part, value in zip(parts, places, strict=False):
            if value.size == part.tensor.elements:
                walk.computed[part.source or 0, part.output] = value.reshape(part.tensor.shape)
    bind(node, scope, [Listed(tuple(parts))])


def concat_from_sequence(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    sequence = _sequence(walk, node, items_of(walk, node, scope)[0])
    attributes = {a.name: a.i for a in node.attribute}
    if not sequence.items:
        raise ShapeError(f"{walk.label}: node {node.name or node.op_type!r} joins a sequence that is empty")
    one = sequence.items[0].tensor
    if attributes.get("new_axis", 0):
        axis = axis_of(attributes.get("axis", 0), len(one.shape) + 1)
        shape = (*one.shape[:axis], len(sequence.items), *one.shape[axis:])
    else:
        axis = axis_of(attributes.get("axis", 0), len(one.shape))
        total = sum(o.tensor.shape[axis] for o in sequence.items if len(o.tensor.shape) > axis)
        shape = (*one.shape[:axis], total, *one.shape[axis + 1 :])
    (joined,) = walk.emit(node, [sequence], [Tensor(shape, one.dtype)], prefix)
    held = [value for operand in sequence.items if (value := walk.contents(operand)) is not None]
    if len(held) == len(sequence.items) and joined.tensor.elements <= LARGEST:
        value = np.stack(held, axis) if attributes.get("new_axis", 0) else np.concatenate(held, axis)
        walk.computed[joined.source or 0, 0] = value
    bind(node, scope, [joined])


def optional(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    """Optional, OptionalGetElement: what they hold, or nothing."""
    items = items_of(walk, node, scope) or [None]
    bind(node, scope, gather(walk, node, items[:1], items[:1], prefix))


def optional_has_element(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    items = items_of(walk, node, scope)
    _known(walk, node, scope, prefix, np.array(bool(items) and items[0] is not None))


SEQUENCES: Mapping[str, Handler] = {
    "SequenceMap": sequence_map,
    "SequenceEmpty": sequence_empty,
    "SequenceConstruct": sequence_construct,
    "SequenceInsert": sequence_insert,
    "SequenceErase": sequence_erase,
    "SequenceAt": sequence_at,
    "SequenceLength": sequence_length,
    "SplitToSequence": split_to_sequence,
    "ConcatFromSequence": concat_from_sequence,
    "Optional": optional,
    "OptionalGetElement": optional,
    "OptionalHasElement": optional_has_element,
}
