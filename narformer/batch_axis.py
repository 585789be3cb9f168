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
_SUMMED = {"Conv": 1, "ConvTranspose": 1, "BatchNormalization": 1, "MatMul": -1}  # and over which axis
_SHAPED_BY_CONSTANT: dict[str, int] = {"Reshape": 1, "Expand": 1, "Resize": 3}  # and which operand it is


class Batch(NamedTuple):
    """Where a value has its batch: the axis, and how many parts of that axis come before it (1 unless it is merged)."""

    axis: int
    outer: int = 1


class Followed(NamedTuple):
    """Where a node's operands and outputs have the batch; None where they do not depend on it."""

    operands: tuple[Batch | None, ...]
    outputs: tuple[Batch | None, ...]


def followed(nodes: Sequence[Node], inputs: Sequence[Tensor], batch: int, axis: int = 0) -> list[Followed]:
    """Where each node has the batch in what it reads and writes; inputs of that size along `axis` have it there."""
    found: list[Followed] = []
    first = [Batch(axis) if tensor.shape[axis : axis + 1] == (batch,) else None for tensor in inputs]

    def state(operand: Operand) -> Batch | None:
        if operand.source is None:
            return None
        if operand.source < 0:
            before, shape = first[~operand.source], inputs[~operand.source].shape
        else:
            before = found[operand.source].outputs[operand.output]
            shape = nodes[operand.source].outputs[operand.output].shape
        if before is None or before.axis >= len(shape):  # lost: who asks for another batch size is told at that node
            return None
        return before if shape == operand.tensor.shape else viewed(before, shape, operand.tensor.shape, batch)

    for node in nodes:
        states = [state(operand) for operand in node.operands]
        if node.op in ("Concat", "QLinearConcat"):
            states = _joined(node, states, batch)
        outputs = [_moved(node, states, port, batch) for port in range(len(node.outputs))]
        found.append(Followed(tuple(states), tuple(outputs)))
    return found


def with_batch(
    nodes: Sequence[Node], inputs: Sequence[Tensor], old: int, new: int, name: str
) -> tuple[tuple[Node, ...], tuple[Tensor, ...]]:
    """Nodes and inputs at another batch size. Raises ShapeError where a size is fixed inside the network."""
    ratio = Fraction(new, old)
    made: list[Node] = []
    for node, (reads, writes) in zip(nodes, followed(nodes, inputs, old), strict=True):
        try:
            _check_weights(node, reads)
            operands = tuple(
                operand if at is None else operand._replace(tensor=grown(operand.tensor, at, ratio))
                for operand, at in zip(node.operands, reads, strict=True)
            )
            tensors = tuple(
                tensor if at is None else grown(tensor, at, ratio)
                for tensor, at in zip(node.outputs, writes, strict=True)
            )
        except ValueError:
            raise ShapeError(
                f"{name or 'graph'}: node {node.name!r} ({node.op}) cannot be followed to batch size {new}; read the "
                f"network's file at that batch size, as in read_onnx(path, batch_size={new})"
            ) from None
        made.append(_told(node._replace(operands=operands, outputs=tensors), node.outputs))
    return tuple(made), tuple(
        grown(tensor, Batch(0), ratio) if tensor.shape[:1] == (old,) else tensor for tensor in inputs
    )


def _check_weights(node: Node, reads: Sequence[Batch | None]) -> None:
    """Raises ValueError where the axis that weights sum over would grow: their sizes are fixed."""
    last = _SUMMED.get(node.op)
    at = reads[0] if reads else None
    if last is None or at is None or len(node.operands) < 2 or not node.operands[1].is_weight:
        return
    if at.axis == last % len(node.operands[0].tensor.shape):
        raise ValueError


def grown(tensor: Tensor, at: Batch, ratio: Fraction) -> Tensor:
    """Raises ValueError where the axis does not hold the batch."""
    if at.axis >= len(tensor.shape) or (tensor.shape[at.axis] * ratio).denominator != 1:
        raise ValueError
    shape = tuple(int(size * ratio) if k == at.axis else size for k, size in enumerate(tensor.shape))
    return tensor._replace(shape=shape)


def viewed(at: Batch, before: Shape, after: Shape, batch: int) -> Batch | None:
    """Where the batch is in another shape of the same elements."""
    place = math.prod(before[: at.axis]) * at.outer
    starts = [math.prod(after[:k]) for k in range(len(after))]
    exact = [k for k, start in enumerate(starts) if start == place]
    alone = [k for k in exact if after[k] == batch]
    if alone:
        return Batch(alone[0])
    if batch > 1 or place == 1:
        merged = [k for k in exact if after[k] % batch == 0]
        if merged:
            return Batch(merged[0])
    else:
        # A batch of 1 between two sizes has joined one of them: the one behind, where that was split up (heads out of
        # features), else the one before.
        behind = next((size for size in before[at.axis + 1 :] if size != 1), 1)
        for k in exact:
            if after[k] < behind and behind % after[k] == 0:
                return Batch(k)
    for k, start in enumerate(starts):
        if start < place <= start * after[k] and place % start == 0:
            return Batch(k, place // start)
    return None


def _joined(node: Node, states: list[Batch | None], batch: int) -> list[Batch | None]:
    """Constants that are joined to data (a class token) are there once for each of the batch."""
    at = next((s for s in states if s is not None), None)
    if at is None or at.axis == node.attributes.get("axis", 0):
        return states
    return [
        at if s is None and len(o.tensor.shape) > at.axis and o.tensor.shape[at.axis] == batch else s
        for s, o in zip(states, node.operands, strict=True)
    ]


def _moved(node: Node, states: Sequence[Batch | None], port: int, batch: int) -> Batch | None:
    """Where an output has its batch; None where it does not depend on it."""
    after = node.outputs[port].shape
    if node.op in _WITHOUT:
        return None
    place = next((k for k, at in enumerate(states) if at is not None), None)
    if place is None:
        # What is spread over the batch from constants alone.
        return Batch(0) if node.op == "Expand" and after[:1] == (batch,) and node.sources == () else None
    at, before = states[place], node.operands[place].tensor.shape
    assert at is not None
    if node.op in _VIEWS:
        return viewed(at, before, after, batch)
    axis = at.axis
    if node.op == "Transpose":
        perm = node.attributes.get("perm") or tuple(reversed(range(len(before))))
        return Batch(perm.index(axis), at.outer) if isinstance(perm, tuple) and axis in perm else None
    if node.op == "FusedMatMul" and node.attributes.get("transBatchB" if place else "transBatchA"):
        last = len(before) - 2  # the first axis goes there, and those in front of it come forward
        return Batch(last if axis == 0 else axis - 1 if axis <= last else axis, at.outer)
    if node.op in _RECURRENT:
        if node.attributes.get("layout"):
            return Batch(0)
        return Batch(2 if port == 0 else 1) if axis == 1 else Batch(len(after))  # steps cannot be more: an error
    if node.op in ("Gather", "GatherND") and len(node.operands) > 1:
        taken = node.attributes.get("axis", 0)
        if not isinstance(taken, int):
            return None
        taken %= max(len(node.operands[0].tensor.shape), 1)
        if node.operand(1) is node.operands[place]:
            return Batch(taken + axis, at.outer)
        return Batch(axis + (len(after) - len(before) if axis > taken else 0), at.outer)
    if node.op.startswith(("Reduce", "Arg")) and len(after) < len(before):
        axes = _axes(node, len(before))
        return None if axis in axes else Batch(axis - sum(k < axis for k in axes), at.outer)
    if not after:  # one number of the whole
        return None
    if len(after) < len(before):  # a pool without the sizes it took the mean over
        return at if axis == 0 else Batch(len(after))
    return Batch(axis + len(after) - len(before), at.outer)


def _axes(node: Node, rank: int) -> tuple[int, ...]:
    told = node.attributes.get("axes", node.attributes.get("axis"))
    operand = node.operand(1)
    if told is None and operand is not None and operand.value is not None:
        told = tuple(int(k) for k in operand.value)
    if told is None:
        return tuple(range(rank)) if not node.op.startswith("Arg") else (0,)
    listed = told if isinstance(told, tuple) else (told,)
    if not all(isinstance(k, int) for k in listed):  # a file may state words
        return tuple(range(rank))
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
