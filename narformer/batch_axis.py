"""Another batch size for a Graph: where each value has its batch, followed from the inputs through every node.

A value's batch is one digit of the index of its elements: so many elements come before it, whatever the shape. A view
keeps that number; an operator moves the axis, or leaves it where it is. Reading the file at another batch size
(frontends/onnx/rebinding.py) does the same with what the file's constants say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from narformer.errors import ShapeError

if TYPE_CHECKING:
    from narformer.graph import Node, Operand, Tensor

Shape = tuple[int, ...]
_VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
_RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
_WITHOUT = frozenset({"Shape", "Size", "Constant", "ConstantOfShape", "Range", "EyeLike", "NonZero"})
_SHAPED_BY_CONSTANT: dict[str, int] = {"Reshape": 1, "Expand": 1, "Resize": 3}  # and which operand it is


class _Batch(NamedTuple):
    """Where a value has its batch: the axis, and how many parts of that axis come before it (1 unless it is merged)."""

    axis: int
    outer: int = 1


def with_batch(
    nodes: Sequence[Node], inputs: Sequence[Tensor], old: int, new: int, name: str
) -> tuple[tuple[Node, ...], tuple[Tensor, ...]]:
    """Nodes and inputs at another batch size. Raises ShapeError where a size is fixed inside the network."""
    ratio = Fraction(new, old)
    found: list[list[tuple[_Batch | None, Shape]]] = []  # of each node's outputs: where the batch is, the shape before
    made: list[Node] = []
    first = [_Batch(0) if tensor.shape[:1] == (old,) else None for tensor in inputs]

    def state(operand: Operand) -> _Batch | None:
        if operand.source is None:
            return None
        if operand.source < 0:
            before, shape = first[~operand.source], inputs[~operand.source].shape
        else:
            before, shape = found[operand.source][operand.output]
        if before is None or shape == operand.tensor.shape:
            return before
        return _viewed(before, shape, operand.tensor.shape, old)

    for node in nodes:
        states = [state(operand) for operand in node.operands]
        if node.op in ("Concat", "QLinearConcat"):
            states = _joined(node, states, old)
        outputs = [_moved(node, states, port, old) for port in range(len(node.outputs))]
        try:
            operands = tuple(
                operand if at is None else operand._replace(tensor=_grown(operand.tensor, at, ratio))
                for operand, at in zip(node.operands, states, strict=True)
            )
            tensors = tuple(
                tensor if at is None else _grown(tensor, at, ratio)
                for tensor, at in zip(node.outputs, outputs, strict=True)
            )
        except ValueError:
            raise ShapeError(
                f"{name or 'graph'}: node {node.name!r} ({node.op}) cannot be followed to batch size {new}; read the "
                f"network's file at that batch size, as in read_onnx(path, batch_size={new})"
            ) from None
        found.append([(at, tensor.shape) for at, tensor in zip(outputs, node.outputs, strict=True)])
        made.append(_told(node._replace(operands=operands, outputs=tensors), node.outputs))
    return tuple(made), tuple(
        tensor if at is None else _grown(tensor, at, ratio) for tensor, at in zip(inputs, first, strict=True)
    )


def _grown(tensor: Tensor, at: _Batch, ratio: Fraction) -> Tensor:
    """Raises ValueError where the axis does not hold the batch."""
    if at.axis >= len(tensor.shape) or (tensor.shape[at.axis] * ratio).denominator != 1:
        raise ValueError
    shape = tuple(int(size * ratio) if k == at.axis else size for k, size in enumerate(tensor.shape))
    return tensor._replace(shape=shape)


def _viewed(at: _Batch, before: Shape, after: Shape, batch: int) -> _Batch | None:
    """Where the batch is in another shape of the same elements."""
    place = math.prod(before[: at.axis]) * at.outer
    starts = [math.prod(after[:k]) for k in range(len(after))]
    exact = [k for k, start in enumerate(starts) if start == place]
    alone = [k for k in exact if after[k] == batch]
    if alone:
        return _Batch(alone[0])
    if batch > 1 or place == 1:
        merged = [k for k in exact if after[k] % batch == 0]
        if merged:
            return _Batch(merged[0])
    else:
        # A batch of 1 between two sizes has joined one of them: the one behind, where that was split up (heads out of
        # features), else the one before.
        behind = next((size for size in before[at.axis + 1 :] if size != 1), 1)
        for k in exact:
            if after[k] < behind and behind % after[k] == 0:
                return _Batch(k)
    for k, start in enumerate(starts):
        if start < place <= start * after[k] and place % start == 0:
            return _Batch(k, place // start)
    return None


def _joined(node: Node, states: list[_Batch | None], batch: int) -> list[_Batch | None]:
    """Constants that are joined to data (a class token) are there once for each of the batch."""
    at = next((s for s in states if s is not None), None)
    if at is None or at.axis == node.attributes.get("axis", 0):
        return states
    return [
        at if s is None and len(o.tensor.shape) > at.axis and o.tensor.shape[at.axis] == batch else s
        for s, o in zip(states, node.operands, strict=True)
    ]


def _moved(node: Node, states: Sequence[_Batch | None], port: int, batch: int) -> _Batch | None:
    """Where an output has its batch; None where it does not depend on it."""
    after = node.outputs[port].shape
    if node.op in _WITHOUT:
        return None
    place = next((k for k, at in enumerate(states) if at is not None), None)
    if place is None:
        # What is spread over the batch from constants alone.
        return _Batch(0) if node.op == "Expand" and after[:1] == (batch,) and node.sources == () else None
    at, before = states[place], node.operands[place].tensor.shape
    assert at is not None
    if node.op in _VIEWS:
        return _viewed(at, before, after, batch)
    axis = at.axis
    if node.op == "Transpose":
        perm = node.attributes.get("perm") or tuple(reversed(range(len(before))))
        assert isinstance(perm, tuple)
        return _Batch(perm.index(axis), at.outer)
    if node.op == "FusedMatMul" and node.attributes.get("transBatchB" if place else "transBatchA"):
        last = len(before) - 2  # the first axis goes there, and those in front of it come forward
        return _Batch(last if axis == 0 else axis - 1 if axis <= last else axis, at.outer)
    if node.op in _RECURRENT:
        if node.attributes.get("layout"):
            return _Batch(0)
        return _Batch(2 if port == 0 else 1) if axis == 1 else _Batch(len(after))  # steps cannot be more: an error
    if node.op in ("Gather", "GatherND") and len(node.operands) > 1:
        taken = node.attributes.get("axis", 0)
        assert isinstance(taken, int)
        taken %= max(len(node.operands[0].tensor.shape), 1)
        if node.operand(1) is node.operands[place]:
            return _Batch(taken + axis, at.outer)
        return _Batch(axis + (len(after) - len(before) if axis > taken else 0), at.outer)
    if node.op.startswith(("Reduce", "Arg")) and len(after) < len(before):
        axes = _axes(node, len(before))
        return None if axis in axes else _Batch(axis - sum(k < axis for k in axes), at.outer)
    if not after:  # one number of the whole
        return None
    if len(after) < len(before):  # a pool without the sizes it took the mean over
        return at if axis == 0 else _Batch(len(after))
    return _Batch(axis + len(after) - len(before), at.outer)


def _axes(node: Node, rank: int) -> tuple[int, ...]:
    told = node.attributes.get("axes", node.attributes.get("axis"))
    operand = node.operand(1)
    if told is None and operand is not None and operand.value is not None:
        told = tuple(int(k) for k in operand.value)
    if told is None:
        return tuple(range(rank)) if not node.op.startswith("Arg") else (0,)
    listed = told if isinstance(told, tuple) else (told,)
    return tuple(int(k) % rank for k in listed)


def _told(node: Node, before: Sequence[Tensor]) -> Node:
    """A constant that says the shape of what is computed says the new one, where it said a size and not a rule."""
    position = _SHAPED_BY_CONSTANT.get(node.op)
    held = None if position is None else node.operand(position)
    if held is None or held.source is not None or held.value is None or len(held.value) != len(before[0].shape):
        return node
    sizes = zip(held.value, before[0].shape, node.outputs[0].shape, strict=True)
    value = tuple(float(new) if said == old else said for said, old, new in sizes)
    operands = tuple(o._replace(value=value) if o is held else o for o in node.operands)
    return node._replace(operands=operands)
