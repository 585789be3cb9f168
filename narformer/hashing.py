"""The canonical hash of a Graph: equal for the same network under other names and another order of nodes or inputs.

A walk from the last node back through the operands, in their order, meets every node in an order that is the network's
own. It numbers nodes, inputs and shared weights; what is hashed is each node's operator, attributes, output shapes and
the numbers of what it reads. An attribute that states ONNX's default counts as absent. Two networks of the same hash
are thus the same; the order of a node's operands counts, even where its operator is commutative.

Two things that exporters do to a fresh network, and not to a trained one, do not count: a vector that is stored once
for several nodes because theirs are equal, and a bias of zeros that is left out of a convolution or a product.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from narformer.graph import Attribute, Graph, Node, Operand


def canonical_hash(graph: Graph) -> str:
    """SHA-256 in hexadecimal digits."""
    return _digest(_canonical(graph))


# What ONNX takes where an attribute is absent, in every version of every operator that has it.
_DEFAULTS: Mapping[str, Attribute] = MappingProxyType(
    {
        "allowzero": 0,
        "auto_pad": "NOTSET",
        "ceil_mode": 0,
        "count_include_pad": 0,
        "epsilon": float(np.float32(1e-5)),
        "group": 1,
        "keepdims": 1,
        "momentum": float(np.float32(0.9)),
        "noop_with_empty_axes": 0,
        "storage_order": 0,
        "training_mode": 0,
        "transA": 0,
        "transB": 0,
    }
)


# As many last nodes are compared with each other, which takes cubic time; no network that is used has more alike.
ALIKE = 16


def _stated(node: Node) -> list[tuple[str, Attribute]]:
    """Attributes by name, without those that say what ONNX assumes anyway; exporters differ in writing them."""
    stated = sorted(node.attributes.items())
    if node.domain:
        return stated
    absent = dict(_DEFAULTS)
    for name, value in stated:
        if name in ("strides", "dilations", "pads", "output_padding") and isinstance(value, tuple):
            absent[name] = (1 if name in ("strides", "dilations") else 0,) * len(value)
    if node.op in ("Conv", "ConvTranspose") and len(node.operands) > 1:
        absent["kernel_shape"] = node.operands[1].tensor.shape[2:]
    if node.op == "Gemm":
        absent |= {"alpha": 1.0, "beta": 1.0}
    return [(name, value) for name, value in stated if name not in absent or absent[name] != value]


def _counting(node: Node) -> tuple[Operand, ...]:
    """The operands without a bias that is a constant."""
    biased = node.op in ("Conv", "ConvTranspose", "Gemm") and len(node.operands) == 3 and not node.domain
    return node.operands[:2] if biased and node.operands[2].source is None else node.operands


def _canonical(graph: Graph) -> list[object]:
    """The Graph without names, its nodes in the order of a walk from the last ones back through their operands."""
    uses = Counter(
        o.name for n in graph.nodes for o in n.weights if o.name and sum(size > 1 for size in o.tensor.shape) > 1
    )
    stated = [
        (n.domain, n.op, _stated(n), [(t.shape, t.dtype) for t in n.outputs], *([n.left_out] if n.left_out else []))
        for n in graph.nodes
    ]

    def walk(last: int, numbers: dict[object, int]) -> list[object]:
        """Records of the nodes that `last` needs and `numbers` lacks, each after those it reads; numbers them."""
        records: list[object] = []
        stack = [(last, False)]
        while stack:
            index, ready = stack.pop()
            if index in numbers:
                continue
            if not ready:
                stack.append((index, True))
                stack += [(s, False) for s in reversed(graph.nodes[index].sources) if s >= 0 and s not in numbers]
                continue
            operands: list[object] = []
            for o in _counting(graph.nodes[index]):
                if o.source is None:
                    number = numbers.setdefault(o.name, len(numbers)) if uses[o.name] > 1 else None
                    operands.append(("weight", o.tensor.shape, o.tensor.dtype, number))
                elif o.source < 0:
                    given = graph.inputs[~o.source]
                    operands.append(("input", given.shape, given.dtype, numbers.setdefault(o.source, len(numbers))))
                else:
                    operands.append((numbers[o.source], o.output))
            numbers[index] = len(numbers)
            records.append((*stated[index], operands))
        return records

    numbers: dict[object, int] = {}
    records: list[object] = []

    def outlook(last: int) -> tuple[str, list[str]]:
        """What the walk from `last` would write next, and then those from each other last node."""
        after = dict(numbers)
        written = repr(walk(last, after))
        others = itertools.chain(*waiting) if sum(map(len, waiting)) <= ALIKE else ()
        return written, sorted(repr(walk(other, dict(after))) for other in others if other != last)

    waiting = _last_nodes(graph, stated)
    while waiting:
        # Of last nodes that look the same, the one whose outlook is first in the alphabet; mostly there is but one.
        alike = waiting[0]
        chosen = min(alike[:ALIKE], key=outlook) if len(alike) > 1 else alike[0]
        records += walk(chosen, numbers)
        alike.remove(chosen)
        waiting = waiting if alike else waiting[1:]
    unread = [(t.shape, t.dtype) for k, t in enumerate(graph.inputs) if ~k not in numbers]
    return [records, sorted(unread)]


def _last_nodes(graph: Graph, stated: Sequence[tuple[object, ...]]) -> list[list[int]]:
    """Nodes that no other reads, in groups of those that compute the same from the inputs."""
    read = {source for node in graph.nodes for source in node.sources}
    last = [index for index in range(len(graph.nodes)) if index not in read]
    if len(last) < 2:
        return [last]
    digests: list[str] = []
    for node, own in zip(graph.nodes, stated, strict=True):
        operands = [
            (digests[o.source], o.output)
            if o.source is not None and o.source >= 0
            else (o.is_weight, o.tensor.shape, o.tensor.dtype)
            for o in _counting(node)
        ]
        digests.append(_digest(own, operands))
    groups: dict[str, list[int]] = {}
    for index in sorted(last, key=digests.__getitem__):
        groups.setdefault(digests[index], []).append(index)
    return list(groups.values())


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
