"""Rotary positions: x · cos + (halves of x swapped, one negated) · sin is one RotaryEmbedding node.

Requires: no views. Ensures: RotaryEmbedding reads the value, its cosines and its sines, as they are.
"""

from __future__ import annotations

from narformer.frontends.canonical.draft import Draft, is_number
from narformer.frontends.canonical.expressions import pair, same, scalar
from narformer.frontends.canonical.rule import Rules
from narformer.graph import Node, Operand


def rotated(draft: Draft, index: int, node: Node) -> bool:
    """The sum that ends it."""
    if len(node.operands) != 2:
        return False
    products = [draft.made_by(operand, "Mul") for operand in node.operands]
    for straight, turned in (products, reversed(products)):
        if straight is None or turned is None or len(turned.operands) != 2:
            continue
        for position, operand in enumerate(turned.operands):
            data = _swapped(draft, operand)
            if data is None:
                continue
            parts = pair(straight, lambda o, data=data: same(o, data))  # type: ignore[misc]
            if parts is None:
                continue
            cosines, sines = parts[1], turned.operands[1 - position]
            value = parts[0]
            put = Node(node.name, "RotaryEmbedding", (value, cosines, sines), node.outputs)
            draft.put(index, put)
            return True
    return False


def _swapped(draft: Draft, operand: Operand) -> Operand | None:
    """The value of which an operand is the second half negated, then the first."""
    joined = draft.made_by(operand, "Concat")
    if joined is None or len(joined.operands) != 2:
        return None
    negative = draft.made_by(joined.operands[0], "Neg", "Mul")
    if negative is None:
        return None
    second = negative.operands[0]
    if negative.op == "Mul":
        parts = pair(negative, scalar)
        if parts is None or not is_number(parts[0], -1):
            return None
        second = parts[1]
    halves = [draft.made_by(o, "Slice", "Split", shared=True) for o in (second, joined.operands[1])]
    if halves[0] is None or halves[1] is None or not same(halves[0].operands[0], halves[1].operands[0]):
        return None
    return halves[0].operands[0]


RULES: Rules = {"Add": (rotated,)}
