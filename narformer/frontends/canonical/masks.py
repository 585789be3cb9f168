"""Masks of attention: as they are added to scores, and several as one.

A mask that is known beforehand and the same for all heads is `is_causal`; one that a condition makes is the condition.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from narformer.frontends.canonical.draft import Draft, number
from narformer.frontends.canonical.expressions import scalar
from narformer.graph import Node, Operand, Shape, Tensor


def as_scores(mask: Operand, read: Operand, node: Node) -> Operand:
    """A mask in the four axes of the scores, also where it was added to them in a view of five."""
    shape = mask.tensor.shape
    rank = len(node.outputs[0].shape)
    shape = (1,) * (rank - len(shape)) + shape
    while len(shape) > 4:
        shape = (shape[0] * shape[1], *shape[2:])
    if rank < 4 and shape:
        shape = (1,) * (4 - rank) + shape
    return mask._replace(tensor=mask.tensor._replace(shape=shape))


def one_mask(draft: Draft, index: int, masks: Sequence[Operand], scores: Shape) -> tuple[Operand | None, bool]:
    """What is added to the scores as one operand, if there is any; whether there is one that is known beforehand."""
    masks = [_condition(draft, mask) for mask in masks if mask.tensor.elements > 1]
    alike = [mask for mask in masks if mask.source is None and mask.tensor.elements <= scores[2] * scores[3]]
    alike = [mask for mask in alike if mask.tensor.shape[:-2].count(1) == len(mask.tensor.shape[:-2])]
    others = [mask for mask in masks if not any(mask is one for one in alike)]
    constants = [mask for mask in others if mask.source is None]
    computed = [mask for mask in others if mask.source is not None]
    found: Operand | None = None
    if constants:
        shape = np.broadcast_shapes(*(mask.tensor.shape for mask in constants))
        dtype = next((m.tensor.dtype for m in constants if m.tensor.dtype != "bool"), "bool")
        found = constants[0]._replace(tensor=Tensor(tuple(shape), dtype), value=None, trained=None)
    for mask in computed:
        if found is not None:
            shape = np.broadcast_shapes(mask.tensor.shape, found.tensor.shape)
            added = Node(f"{mask.source}.mask", "Add", (mask, found), (mask.tensor._replace(shape=tuple(shape)),))
            found = Operand(added.outputs[0], draft.insert(index, added))
        else:
            found = mask
    if found is not None and found.tensor.elements == math.prod(scores):  # added in a view with an axis for each side
        found = found._replace(tensor=found.tensor._replace(shape=tuple(scores)))
    # With others that are added anyway, one that is the same for all is added to them once, beforehand.
    return found, bool(alike) and found is None


def _condition(draft: Draft, mask: Operand) -> Operand:
    """Of a mask that is 0 or very small, as a condition says, the condition, which Attention takes as well."""
    node = draft.made_by(mask, "Where", shared=True)
    if node is not None and len(node.operands) == 3 and all(scalar(o) for o in node.operands[1:]):
        condition = node.operands[0]
        values = [number(o) for o in node.operands[1:]]
        if condition.tensor.elements == mask.tensor.elements and any(v is None or v == 0 for v in values):
            mask = condition._replace(tensor=mask.tensor._replace(dtype=condition.tensor.dtype))
    for _ in range(2):
        node = draft.made_by(mask, "Not", shared=True)
        if node is None:
            break
        mask = node.operands[0]._replace(tensor=mask.tensor._replace(dtype=node.operands[0].tensor.dtype))
    return mask


def widened(mask: Operand) -> Operand:
    """The mask with four axes, ones before its own."""
    shape = mask.tensor.shape
    return mask._replace(tensor=mask.tensor._replace(shape=(1,) * (4 - len(shape)) + shape))
