"""Which nodes of a file its outputs need, each after those it reads: the order in which a Graph has them."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

import onnx

from narformer.errors import ModelError
from narformer.frontends.onnx.scope import Step

BODIED = frozenset({"If", "Loop", "Scan", "SequenceMap"})


def bodies_of(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Graphs within a node: those of If, Loop and Scan."""
    found: list[onnx.GraphProto] = []
    for a in node.attribute:
        if a.type == 5:
            found.append(a.g)
        elif a.type == 10:
            found += a.graphs
    return found


def free_names(body: onnx.GraphProto) -> dict[str, None]:
    """Names that a body, or a body within it, reads and does not define itself."""
    read = dict.fromkeys(o.name for o in body.output)
    defined = {i.name for i in body.input} | {t.name for t in body.initializer}
    for node in body.node:
        read.update(dict.fromkeys(node.input))
        for inner in bodies_of(node):
            read.update(free_names(inner))
        defined.update(node.output)
    return {name: None for name in read if name not in defined}


def live_in_order(
    steps: Sequence[Step],
    producer: Mapping[str, int],
    weights: Container[str],
    inputs: Iterable[str],
    outputs: Iterable[str],
    label: str,
) -> list[int]:
    """Indices of the steps that some output needs, each after those it reads; the file's order where it can stay.

    producer: which step computes a value. Raises ModelError where a node reads what nothing computes, or where nodes
    read each other in a circle.
    """
    given = {*inputs, ""}
    sources: list[list[int]] = []
    sorted_already = True
    for index, step in enumerate(steps):
        found = []
        for value in _read_by(step, producer):
            source = producer.get(value)
            if source is not None:
                found.append(source)
                if source >= index:
                    sorted_already = False
            elif value not in weights and value not in given:
                raise ModelError(f"{label}: node {step.name or step.op!r} reads {value!r}, which nothing computes")
        sources.append(found)
    last = [producer[name] for name in outputs if name in producer]
    if not last:
        raise ModelError(f"{label}: no output of the graph is computed by a node")
    live = set(last)
    stack = list(live)
    while stack:
        for source in sources[stack.pop()]:
            if source not in live:
                live.add(source)
                stack.append(source)
    return sorted(live) if sorted_already else _ordered(sorted(live), sources, steps, label)


def _read_by(step: Step, producer: Container[str]) -> Sequence[str]:
    """What a node reads, and what the bodies within it read of the graph around them."""
    if step.op not in BODIED:
        return step.reads
    return [*step.reads, *(v for body in bodies_of(step.node) for v in free_names(body) if v in producer)]


def _ordered(live: Sequence[int], sources: Sequence[Sequence[int]], steps: Sequence[Step], label: str) -> list[int]:
    """Depth first, without recursion: networks may be ten thousand nodes deep."""
    order: list[int] = []
    done: set[int] = set()
    for first in live:
        if first in done:
            continue
        stack = [(first, iter(sources[first]))]
        open_nodes = {first}
        while stack:
            current, waiting = stack[-1]
            for source in waiting:
                if source in open_nodes:
                    name = steps[current].name or steps[current].op
                    raise ModelError(f"{label}: the graph has a cycle through node {name!r}; a network has none")
                if source not in done:
                    open_nodes.add(source)
                    stack.append((source, iter(sources[source])))
                    break
            else:
                stack.pop()
                open_nodes.discard(current)
                done.add(current)
                order.append(current)
    return order
