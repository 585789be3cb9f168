"""One network as a predictor reads it. Whatever is said of the network depends on this alone, not on its Graph."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from narformer.graph import Graph, Node
from narformer.operators import KINDS, operator_of
from narformer.tokens import runtime_kernels
from narformer.tokens.packing import Tokens
from narformer.tokens.statistics import statistics, with_batch


@dataclass(frozen=True)
class Reading:
    """What a predictor reads of one network.

    tokens: what its model reads. statistics: of the whole network, (S,). nodes: how many run. operators: which;
    unknown: those of them without a rule of cost. precision: the type of number in which it computes.
    weight_bytes: of all weights; working_bytes: that one node, the one which needs most, reads and writes (both 0 where
    that is not known). hash: of the network's canonical form, where it was asked for.
    """

    name: str
    tokens: Tokens
    statistics: npt.NDArray[np.float64]
    nodes: int
    operators: frozenset[str]
    unknown: frozenset[str]
    precision: str
    batch_size: int
    weight_bytes: int = 0
    working_bytes: int = 0
    hash: str = ""

    def at_batch(self, factor: int) -> Reading:
        """The same at `factor` times the batch, for tokens of kernels."""
        if factor == 1:
            return self
        tokens = Tokens(
            runtime_kernels.with_batch(self.tokens.features, factor), self.tokens.edges, self.tokens.static * factor
        )
        numbers = with_batch(self.statistics[None], np.array([float(factor)]))[0]
        working = self.working_bytes * factor
        return replace(
            self, tokens=tokens, statistics=numbers, batch_size=self.batch_size * factor, working_bytes=working, hash=""
        )


def read(graph: Graph, tokens: Tokens, name: str) -> Reading:
    """A Graph, in the form in which a predictor reads it, with its tokens."""
    distinct = graph.distinct.nodes
    weights = [operand for node in graph.nodes for operand in node.operands if operand.source is None]
    stored = {operand.name: operand.tensor for operand in weights}  # one that several nodes share counts once
    return Reading(
        name=name,
        tokens=tokens,
        statistics=statistics(graph),
        nodes=len(graph),
        operators=frozenset(node.op for node in distinct),
        unknown=frozenset(node.op for node in distinct if not operator_of(node).known),
        precision=precision_of(graph),
        batch_size=graph.batch_size,
        weight_bytes=sum([tensor.bytes for tensor in stored.values()]),
        working_bytes=max([_working_bytes(node) for node in distinct], default=0),
    )


def _working_bytes(node: Node) -> int:
    """Bytes that are alive at once while a node runs; only products and their like cannot write where they read."""
    read = sum([operand.tensor.bytes for operand in node.operands if operand.source is not None])
    written = sum([tensor.bytes for tensor in node.outputs])
    return read + written if KINDS[operator_of(node).kind] == "matrix" else max(read, written)


def precision_of(graph: Graph) -> str:
    """The type of number in which a network computes: that of the data of most of its products of matrices."""
    counts: Counter[str] = Counter()
    for node, times in zip(graph.distinct.nodes, graph.distinct.times, strict=True):
        if node.operands and KINDS[operator_of(node).kind] == "matrix":
            counts[node.operands[0].tensor.dtype] += times
    return counts.most_common(1)[0][0] if counts else "float32"
