"""What a pass is: rules by the operator that a pattern ends in, and a sweep that asks them about every node.

A rule gets the draft, the index and the node, looks at what comes before, and returns whether it changed something;
then the rules of what now stands there are asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from narformer.frontends.canonical.draft import Draft
from narformer.graph import Node

Rule = Callable[[Draft, int, Node], bool]
# By operator: "Conv", or "com.microsoft.FusedConv" where it is not ONNX's own.
Rules = Mapping[str, Sequence[Rule]]
EVERY = "*"  # in place of an operator: rules that are asked about every node, once the table has been `merged`
_MOST = 8  # rules that may change one node after another; more would be two rules that undo each other


def sweep(draft: Draft, rules: Rules) -> bool:
    """Ask the rules about every node in order, unless none of their operators occurs; whether they changed any."""
    if EVERY not in rules and draft.ops.isdisjoint(rules):
        return False
    draft.notes.clear()
    every = rules.get(EVERY, ())
    spelt = draft.spelt
    changed = False
    for index in draft.order():
        for _ in range(_MOST):
            listed = rules.get(spelt[index], every)
            if not listed:
                break
            node = draft.current(index)
            if node is None or not _changed(draft, index, node, listed):
                break
            changed = True
    return changed


def _changed(draft: Draft, index: int, node: Node, rules: Sequence[Rule]) -> bool:
    try:
        for rule in rules:
            if rule(draft, index, node):
                return True
    except (AssertionError, IndexError, KeyError, TypeError, ValueError, OverflowError, ZeroDivisionError):
        pass  # a malformed node, which fits no pattern, stays what it is
    return False


def merged(*tables: Rules) -> Rules:
    """Several tables as one, swept at once; the rules of an operator are asked in this order, those of EVERY first."""
    rules: dict[str, list[Rule]] = {}
    for table in tables:
        for op, listed in table.items():
            rules.setdefault(op, []).extend(listed)
    every = rules.get(EVERY, [])
    return {op: listed if op == EVERY else [*every, *listed] for op, listed in rules.items()}
