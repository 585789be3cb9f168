"""The canonical hash of a Graph: equal for the same network under other names and another order of nodes or inputs.

A walk from the last node back through the operands, in their order, meets every node in an order that is the network's
own. It numbers nodes and inputs; what is hashed is each node's operator, attributes, output shapes and the numbers of
what it reads, or the shape and type of a weight. An attribute that states ONNX's default counts as absent. The order of
a node's operands counts, but not where its operator is commutative: these are put in order of how many nodes they are
away from the inputs at most, and then of what they compute.

Which nodes share a weight does not count: they run alike whether it is stored once or twice. Exporters store one that
several nodes read twice, and others once that are equal only as long as the network is fresh. Nor does a bias count
that is a constant, of a convolution or a product: exporters leave out one of zeros. Nor does a mask of attention that
is known beforehand and the same for all heads: exporters write one that lets everything through, others leave it out.
"""

from __future__ import annotations

import hashlib
import itertools
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
    if node.domain or not stated:
        return stated
    absent = dict(_DEFAULTS)
    for name, value in stated:
        if name in ("strides", "dilations", "pads", "output_padding") and isinstance(value, tuple):
            absent[name] = (1 if name in ("strides", "dilations") else 0,) * len(value)
    if node.op in ("Conv", "ConvTranspose") and len(node.operands) > 1:
        absent["kernel_shape"] = node.operands[1].tensor.shape[2:]
    if node.op == "Attention":  # a mask that only some exporters write; other kernels in PyTorch, the same network
        absent |= {name: value for name, value in stated if name in ("is_causal", "unfused")}
    if node.op == "Gemm":
        absent |= {"alpha": 1.0, "beta": 1.0}
    return [(name, value) for name, value in stated if name not in absent or absent[name] != value]


COMMUTATIVE = frozenset(
    ("Add", "Mul", "Sum", "Mean", "Max", "Min", "And", "Or", "Xor", "Equal", "BitwiseAnd", "BitwiseOr", "BitwiseXor")
)


class _Operands:
    """The operands of each node that count, in an order that is the network's own."""

    def __init__(self, graph: Graph, stated: Sequence[tuple[object, ...]]) -> None:
        self.graph, self.stated = graph, stated
        self.levels: list[int] = []
        self._digests: list[str] = []
        self.of: list[tuple[Operand, ...]] = []
        for node in graph.nodes:
            operands = _counting(node)
            self.levels.append(1 + max([self._level(o) for o in operands], default=0))
            if node.op in COMMUTATIVE and not node.domain and len(operands) > 1:
                operands = self._ordered(operands)
            self.of.append(operands)

    def _level(self, operand: Operand) -> int:
        """How many nodes there are at most between an operand and the inputs; -1 for a constant."""
        if operand.source is None:
            return -1
        return self.levels[operand.source] if operand.source >= 0 else 0

    def _ordered(self, operands: tuple[Operand, ...]) -> tuple[Operand, ...]:
        levels = [self._level(operand) for operand in operands]
        if len(set(levels)) == len(levels):
            return tuple([o for _, _, o in sorted(zip(levels, range(len(levels)), operands, strict=True))])
        keys = [(level, repr(self._read(o)), k) for k, (level, o) in enumerate(zip(levels, operands, strict=True))]
        return tuple([operands[k] for _, _, k in sorted(keys)])

    def digest(self, index: int) -> str:
        """What a node computes from the inputs, whatever their names."""
        while len(self._digests) <= index:
            k = len(self._digests)
            self._digests.append(_digest(self.stated[k], [self._read(operand) for operand in self.of[k]]))
        return self._digests[index]

    def _read(self, operand: Operand) -> tuple[object, ...]:
        if operand.source is not None and operand.source >= 0:
            return self.digest(operand.source), operand.output
        return operand.is_weight, operand.tensor.shape, operand.tensor.dtype


def _counting(node: Node) -> tuple[Operand, ...]:
    """The operands without a bias that is a constant."""
    biased = node.op in ("Conv", "ConvTranspose", "Gemm") and len(node.operands) == 3 and not node.domain
    return node.operands[:2] if biased and node.operands[2].source is None else node.operands


def _alone(node: Node) -> tuple[object, ...]:
    """What is hashed of a node beside what it reads."""
    told = (node.domain, node.op, _stated(node), [(t.shape, t.dtype) for t in node.outputs])
    return (*told, node.left_out) if node.left_out else told


def _canonical(graph: Graph) -> list[object]:
    """The Graph without names, its nodes in the order of a walk from the last ones back through their operands."""
    distinct = graph.distinct
    each = distinct.each(_alone)
    stated = [each[place] for place in distinct.place.tolist()]
    reads = _Operands(graph, stated)

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
                sources = [o.source for o in reads.of[index] if o.source is not None and o.source >= 0]
                stack += [(s, False) for s in reversed(sources) if s not in numbers]
                continue
            operands: list[object] = []
            for o in reads.of[index]:
                if o.source is None:
                    operands.append(("weight", o.tensor.shape, o.tensor.dtype, None))
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

    waiting = _last_nodes(graph, reads)
    while waiting:
        # Of last nodes that look the same, the one whose outlook is first in the alphabet; mostly there is but one.
        alike = waiting[0]
        chosen = min(alike[:ALIKE], key=outlook) if len(alike) > 1 else alike[0]
        records += walk(chosen, numbers)
        alike.remove(chosen)
        waiting = waiting if alike else waiting[1:]
    unread = [(t.shape, t.dtype) for k, t in enumerate(graph.inputs) if ~k not in numbers]
    return [records, sorted(unread)]


def _last_nodes(graph: Graph, reads: _Operands) -> list[list[int]]:
    """Nodes that no other reads, in groups of those that compute the same from the inputs."""
    read = {source for node in graph.nodes for source in node.sources}
    last = [index for index in range(len(graph.nodes)) if index not in read]
    if len(last) < 2:
        return [last]
    groups: dict[str, list[int]] = {}
    for index in sorted(last, key=reads.digest):
        groups.setdefault(reads.digest(index), []).append(index)
    return list(groups.values())


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
