"""Integers that are put into places of a vector, as exporters write words that are shifted by one, are one ScatterND.

Requires: nothing. Ensures: a ScatterND or ScatterElements whose places are constant, and whose data are integers with a
single axis longer than one, is a ScatterND of a vector, with places of (M, 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from narformer.frontends.canonical.draft import Draft
from narformer.frontends.canonical.rule import Rule
from narformer.graph import Node, Operand, Tensor


def into_vector(draft: Draft, index: int, node: Node) -> bool:
    """Data of ones and one length, whichever axis that is."""
    data, places, updates = node.operands
    length, shape = data.tensor.elements, data.tensor.shape
    if places.source is not None or not data.tensor.dtype.startswith("int") or length < 2 or max(shape) != length:
        return False
    if node.attributes.get("reduction", "none") != "none" or not _chooses(node, shape.index(length)):
        return False
    count = updates.tensor.elements
    places = places._replace(tensor=places.tensor._replace(shape=(count, 1)), value=None)
    operands = (_read(data, length), places, _read(updates, count))
    outputs = (Tensor((length,), node.outputs[0].dtype),)
    if operands == node.operands:
        return False
    draft.put(index, node._replace(op="ScatterND", operands=operands, outputs=outputs, attributes={}))
    return True


def _chooses(node: Node, long: int) -> bool:
    """Whether the places are places along the long axis, and there is one of them for each number that is put there."""
    _, places, updates = (operand.tensor for operand in node.operands)
    if node.op == "ScatterND":
        chosen = places.shape[-1]
        return long < chosen and places.elements == chosen * updates.elements
    axis = node.attributes.get("axis", 0)
    rank = len(node.operands[0].tensor.shape)
    return isinstance(axis, int) and axis % rank == long and places.elements == updates.elements


def _read(operand: Operand, count: int) -> Operand:
    return operand._replace(tensor=operand.tensor._replace(shape=(count,)))


RULES: Mapping[str, Sequence[Rule]] = dict.fromkeys(("ScatterND", "ScatterElements"), (into_vector,))
