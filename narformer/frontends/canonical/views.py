"""Views are no nodes: what reads a Reshape reads what the Reshape reads, in a shape of its own.

Requires: nothing. Ensures: no node but those that move, copy or compute elements; readers' operands have the shape in
which they read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from narformer.frontends.canonical.draft import Draft
from narformer.frontends.canonical.rule import Rule
from narformer.graph import Node

VIEWS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")


def view(draft: Draft, index: int, node: Node) -> bool:
    """The same elements in the same order under another shape."""
    data, out = node.operands[0], node.outputs[0]
    if data.tensor.elements != out.elements:
        return False
    draft.drop(index, data._replace(tensor=out._replace(dtype=data.tensor.dtype)))
    return True


def transposed_view(draft: Draft, index: int, node: Node) -> bool:
    """A Transpose that keeps the order of all axes longer than 1 moves nothing."""
    data = node.operands[0].tensor.shape
    perm = permutation(node)
    moved = [axis for axis in perm if data[axis] != 1]
    return moved == sorted(moved) and view(draft, index, node)


def permutation(node: Node) -> tuple[int, ...]:
    """The axes of a Transpose's operand in the order of its output."""
    rank = len(node.operands[0].tensor.shape)
    perm = node.attributes.get("perm")
    if not isinstance(perm, tuple) or sorted(perm) != list(range(rank)):
        return tuple(range(rank))[::-1]
    return tuple([int(axis) for axis in perm])


def over_single(draft: Draft, index: int, node: Node) -> bool:
    """A mean, sum or maximum over single elements, or a pick from an axis of one, is what it reads."""
    return node.operands[0].tensor.elements == node.outputs[0].elements > 0 and view(draft, index, node)


def picked_single(draft: Draft, index: int, node: Node) -> bool:
    """A Gather of one index from an axis of length 1, or of every element of a vector, as exporters write a view."""
    data, axis = node.operands[0].tensor, node.attributes.get("axis", 0)
    places = node.operands[1]
    if len(data.shape) == 1 and places.source is None and node.outputs[0].elements == data.elements:
        # At another batch size than the file's, places are those of one batch.
        in_order = places.value is None or places.value == tuple(range(len(places.value)))
        return in_order and over_single(draft, index, node)
    if not isinstance(axis, int) or not -len(data.shape) <= axis < len(data.shape) or data.shape[axis] != 1:
        return False
    return node.operands[0].source is not None and over_single(draft, index, node)


_SINGLE = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "GlobalAveragePool", "GlobalMaxPool")
RULES: Mapping[str, Sequence[Rule]] = {
    **dict.fromkeys(VIEWS, (view,)),
    "Transpose": (transposed_view,),
    **dict.fromkeys(_SINGLE, (over_single,)),
    "Gather": (picked_single,),
}
