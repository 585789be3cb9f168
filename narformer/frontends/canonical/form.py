"""A Graph → its canonical form: stages of rules, each stage one sweep over the nodes in their order.

A rule belongs to the operator that a pattern ends in (rule.py). Work grows with the number of nodes; a stage none of
whose operators occur is not run.
"""

from __future__ import annotations

from narformer.frontends.canonical import (
    activation,
    attention,
    attributes,
    blocks,
    constants,
    convolution,
    fused,
    fused_attention,
    identities,
    linear,
    normalisation,
    parts,
    pooling,
    qdq,
    quantised,
    rotary,
    scales,
    scatter,
    softmax,
    transposes,
    views,
)
from narformer.frontends.canonical.draft import Draft
from narformer.frontends.canonical.rule import Rules, merged, sweep
from narformer.graph import Graph

# Transposes meet once what stands between them has gone by, and Slices once they are the same.
MEETING = merged(pooling.SHAPED, transposes.RULES)
# What depends on dequantised constants alone is constant too.
DEQUANTISED = merged(constants.RULES, qdq.CONSTANTS)
PARTS = merged(parts.RULES)
# Tables that ask about every node, and without which operator there is nothing for them to do.
_NEEDED = ((MEETING, "Transpose"), (DEQUANTISED, "DequantizeLinear"))
# Tables that are swept again while they change something and such a node occurs; and how often at most.
_REPEATED = ((MEETING, "Transpose"), (PARTS, "Split"))
_SWEEPS = 4
_ROUNDS = 3  # of all stages
# Passes in the order in which they run: tables of rules by operator, from the file of their name in this folder.
STAGES: tuple[Rules, ...] = (
    blocks.RULES,
    merged(fused.RULES, fused_attention.RULES, quantised.RULES),
    merged(constants.RULES, views.RULES, identities.RULES, scatter.RULES),
    qdq.RULES,
    DEQUANTISED,
    linear.RULES,
    convolution.RULES,
    merged(normalisation.RULES, activation.RULES, softmax.RULES),
    merged(rotary.RULES, attention.RULES),
    PARTS,
    MEETING,
    merged(convolution.TAKEN_IN, scales.RULES, linear.BIASES),
    merged(transposes.WRITTEN, pooling.RULES),
    merged(parts.RULES, attributes.RULES, pooling.SHAPED),
)
_PATTERNS = STAGES.index(qdq.RULES)  # the first stage that asks how often a value is read


def canonical(graph: Graph) -> Graph:
    """The Graph as a runtime will run it. Asked again of the same Graph, it is not computed again.

    Requires: nothing of the Graph. Ensures: no constant is computed, no node does nothing, views are no nodes, and what
    exporters and runtimes spell differently is spelt one way; `origin` of each node names the others it stands for.
    """
    # A canonical Graph has a mark, and no reference to itself: such a circle would stay until Python looks for circles.
    if "_is_canonical" in graph.__dict__:
        return graph
    kept: Graph | None = graph.__dict__.get("_canonical")
    if kept is None:
        kept = _canonical(graph)
        kept.__dict__["_is_canonical"] = True
        if kept is not graph:
            graph.__dict__["_canonical"] = kept
    return kept


def network_hash(graph: Graph) -> str:
    """What a network is known by, whichever file it was read from: the hash of its canonical form (SHA-256, hex).

    Two networks of the same hash run as the same kernels; `Graph.hash` is that of a Graph as its file says. Where a
    rule changes the canonical form, what is kept under old hashes has to be found again: measurement/rehashing.py.
    """
    return canonical(graph).hash


def _canonical(graph: Graph) -> Graph:
    for turn in range(_ROUNDS):
        draft = Draft(graph)
        shared: list[int] = []
        for stage, rules in enumerate(STAGES):
            if stage == _PATTERNS:
                shared = [index for index, count in enumerate(draft.uses) if count > 1]
            _run(draft, rules)
        finished = draft.finished()
        if not finished.nodes:  # a network of views and constants alone stays what it is
            return graph
        # Patterns take in what nothing else reads. A value that lost a reader meanwhile may be in one now. And a
        # Transpose that was read in another shape has fewer axes now, and may move on.
        lost = any(draft.uses[index] == 1 and draft.nodes[index] is not None for index in shared)
        moves = turn == 0 and any(node.op == "Transpose" for node in finished.nodes)
        if not lost and not moves:
            return finished
        graph = finished
    return graph


def _run(draft: Draft, rules: Rules) -> None:
    """A stage: one sweep, or several where its rules make room for each other."""
    again = next((op for repeated, op in _REPEATED if repeated is rules), "")
    if any(rules is needing and op not in draft.ops for needing, op in _NEEDED):
        return
    for _ in range(_SWEEPS):
        if not sweep(draft, rules) or again not in draft.ops:
            return
