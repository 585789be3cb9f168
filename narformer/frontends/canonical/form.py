"""A Graph → its canonical form: stages of rules, each stage one sweep over the nodes in their order.

A rule belongs to the operator that a pattern ends in. It gets the draft, the index and the node, looks at what comes
before, and returns whether it changed something; then the rules of what now stands there are asked again. Work grows
with the number of nodes; a stage none of whose operators occur is not run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from narformer.frontends.canonical.draft import Draft
from narformer.graph import Graph, Node

Rule = Callable[[Draft, int, Node], bool]
Rules = Mapping[str, Sequence[Rule]]

# Passes in the order in which they run: each a table of rules by operator, from the file of its name in this folder.
STAGES: tuple[Rules, ...] = ()
_MOST = 8  # rules that may change one node after another; more would be two rules that undo each other


def canonical(graph: Graph) -> Graph:
    """The Graph as a runtime will run it. Asked again of the same Graph, it is not computed again.

    Requires: nothing of the Graph. Ensures: no constant is computed, no node does nothing, views are no nodes, and what
    exporters and runtimes spell differently is spelt one way; `origin` of each node names the others it stands for.
    """
    kept: Graph | None = graph.__dict__.get("_canonical")
    if kept is None:
        kept = _canonical(graph)
        graph.__dict__["_canonical"] = kept
        kept.__dict__["_canonical"] = kept
    return kept


def _canonical(graph: Graph) -> Graph:
    draft = Draft(graph)
    for rules in STAGES:
        sweep(draft, rules)
    return draft.finished()


def sweep(draft: Draft, rules: Rules) -> None:
    """Ask the rules about every node in order."""
    for index in draft.order():
        for _ in range(_MOST):
            node = draft.current(index)
            if node is None or not any(rule(draft, index, node) for rule in rules.get(node.op, ())):
                break
