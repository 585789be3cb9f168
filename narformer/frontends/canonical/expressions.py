"""What rules ask of small expressions: whether two operands are one value, which factors a product has, and whether an
expression reads one value alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from narformer.frontends.canonical.draft import Draft, is_number
from narformer.graph import Node, Operand, Shape

_MOST = 12  # operators in an expression of one value: Gelu by tanh has eight


class Factor(NamedTuple):
    """One factor of a product: an operand, or its reciprocal."""

    operand: Operand
    inverse: bool = False


def same(first: Operand, second: Operand) -> bool:
    """Whether two operands are one computed value, in whatever shape each reads it."""
    return first.source is not None and first.source == second.source and first.output == second.output


def scalar(operand: Operand) -> bool:
    """Whether an operand is a constant of one element."""
    return operand.source is None and operand.tensor.elements == 1


def pair(node: Node, is_first: Callable[[Operand], bool]) -> tuple[Operand, Operand] | None:
    """The two operands of a commutative operator, in the order in which the first is what is asked for; else None."""
    if len(node.operands) != 2:
        return None
    first, second = node.operands
    if is_first(first):
        return first, second
    return (second, first) if is_first(second) else None


def made(draft: Draft, node: Node, *ops: str, shared: bool = False) -> tuple[Node, Operand] | None:
    """Of a binary operator's operands the one that such a node computes, as that node, and the other; else None."""
    if len(node.operands) != 2:
        return None
    for operand, other in (node.operands, reversed(node.operands)):
        found = draft.made_by(operand, *ops, shared=shared)
        if found is not None and not same(operand, other):
            return found, other
    return None


def factors(draft: Draft, node: Node) -> list[Factor]:
    """The product that a Mul or Div computes, its own Muls and Divs (read only here) taken apart; at most four."""
    found: list[Factor] = []
    waiting = [(node, False)]
    while waiting:
        at, inverse = waiting.pop()
        for position, operand in enumerate(at.operands):
            divided = inverse != (at.op == "Div" and position == 1)
            inner = draft.made_by(operand, "Mul", "Div")
            if inner is not None and len(found) + len(waiting) < 4:
                waiting.append((inner, divided))
            else:
                found.append(Factor(operand, divided))
    return found


def plus(draft: Draft, operand: Operand, number: float, *ops: str) -> Node | None:
    """The node of one of these operators to which a constant is added to make the operand; None where it is not so."""
    added = draft.made_by(operand, "Add")
    parts = None if added is None else pair(added, scalar)
    return None if parts is None or not is_number(parts[0], number) else draft.made_by(parts[1], *ops)


def of_one(draft: Draft, operand: Operand, value: Operand, *ops: str) -> list[Operand] | None:
    """The constants of an expression made by these operators that reads one value alone, each a number; else None."""
    numbers: list[Operand] = []
    waiting = [operand]
    for _ in range(_MOST):
        if not waiting:
            return numbers
        at = waiting.pop()
        if same(at, value):
            continue
        if scalar(at):
            numbers.append(at)
            continue
        node = draft.made_by(at, *ops, shared=True)
        if node is None:
            return None
        waiting += node.operands
    return numbers if not waiting else None


def holds(numbers: list[Operand], *values: float) -> bool:
    """Whether among constants each of these numbers may be: known to be there, or one whose value is not known."""
    unknown = sum(o.value is None for o in numbers)
    missing = [v for v in values if not any(o.value is not None and is_number(o, v) for o in numbers)]
    return len(missing) <= unknown


def aligned(constant: Shape, shape: Shape) -> tuple[int, ...]:
    """The axes of a shape over which a constant that is broadcast to it varies."""
    ahead = len(shape) - len(constant)
    return tuple(ahead + k for k, size in enumerate(constant) if size > 1)
