"""What a network costs: MACs, other operations, parameters, bytes read and written, for each node and in all.

MACs are multiplications that are added up: those of convolutions, matrix products, attention and recurrent cells.
FLOPs are twice the MACs. Other operations are scalar ones: sums, comparisons, roots. What each operator computes, reads
and writes is told by its row in narformer.operators. Batch included; bytes follow dtypes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from narformer.errors import ModelError
from narformer.figures import count
from narformer.graph import DTYPE_BYTES, Graph, Node, Operand, Tensor
from narformer.operators import Operator, operator_of
from narformer.parameters import graph_parameters, node_parameters


class Cost(NamedTuple):
    """What a node, or a network, computes and moves.

    macs; parameters (numbers that training adjusts); bytes read of activations, written as outputs, and stored as
    weights; scalar operations other than MACs; bytes read of weights: of a table the rows that are looked up.

    >>> import narformer
    >>> narformer.inspect("examples/resnet18.onnx").cost
    Cost(1.81 GMACs, 11.7 Mparameters, 46.8 MB of weights, 70.2 MB of activations read and written)
    """

    macs: int = 0
    parameters: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    weight_bytes: int = 0
    operations: int = 0
    weight_read_bytes: int = 0

    def __repr__(self) -> str:
        return (
            f"Cost({count(self.macs)}MACs, {count(self.parameters)}parameters, {count(self.weight_bytes)}B of weights, "
            f"{count(self.activation_bytes)}B of activations read and written)"
        )

    @property
    def flops(self) -> int:
        """Floating-point operations, two a MAC."""
        return 2 * self.macs

    @property
    def activation_bytes(self) -> int:
        """Bytes of activations that are read and written."""
        return self.read_bytes + self.written_bytes


def node_cost(node: Node) -> Cost:
    """Cost of one node. Raises ModelError where its operands are not what its operator reads."""
    row = operator_of(node)
    try:
        macs = row.macs(node) if row.macs is not None else 0
        operations = row.operations(node) if row.operations is not None else 0
        parts = row.reads(node) if row.reads is not None else _WHOLE
        outputs = row.writes(node) if row.writes is not None else _WHOLE
        return _cost(node, macs, operations, parts, outputs)
    except (IndexError, ValueError, TypeError, ZeroDivisionError) as error:
        shapes = ", ".join(str(list(o.tensor.shape)) for o in node.operands)
        reason = f" ({error})" if type(error) is ValueError and error.args else ""
        raise ModelError(
            f"node {node.name!r}: operands of shapes {shapes} do not fit {node.op}{reason}; export the network again"
        ) from error


_WHOLE: Mapping[int, int] = {}


def _cost(node: Node, macs: int, operations: int, parts: Mapping[int, int], outputs: Mapping[int, int]) -> Cost:
    read = stored = from_weights = written = 0
    positions = node.positions if parts else ()
    for k, operand in enumerate(node.operands):
        size = operand.tensor.bytes
        used = size
        if parts and positions[k] in parts:
            used = min(size, math.ceil(parts[positions[k]] * DTYPE_BYTES[operand.tensor.dtype]))
        if operand.source is None:
            stored += size
            from_weights += used
        else:
            read += used
    for k, tensor in enumerate(node.outputs):
        written += math.ceil(outputs[k] * DTYPE_BYTES[tensor.dtype]) if k in outputs else tensor.bytes
    parameters = node_parameters(node) if stored else 0
    return Cost(macs, parameters, read, written, stored, operations, from_weights)


def node_costs(graph: Graph) -> tuple[Cost, ...]:
    """Cost of each node, in the Graph's order."""
    distinct = graph.distinct
    costs = distinct.each(node_cost)
    parameters, _ = graph_parameters(graph)
    return tuple(
        [
            cost if cost.parameters == own else cost._replace(parameters=own)
            for cost, own in zip([costs[place] for place in distinct.place.tolist()], parameters, strict=True)
        ]
    )


def summed(costs: Iterable[Cost]) -> Cost:
    """Several costs together."""
    rows = list(costs)
    return Cost(*[sum(column) for column in zip(*rows, strict=True)]) if rows else Cost()


def graph_cost(graph: Graph) -> Cost:
    """Cost of the whole Graph; a matrix that several nodes share counts once as parameters and as stored bytes."""
    distinct = graph.distinct
    costs = [(cost, times) for cost, times in zip(distinct.each(node_cost), distinct.times, strict=True)]
    stored = {o.name: o.tensor for n in graph.nodes for o in n.operands if o.source is None and o.name}
    unnamed = [o.tensor for n in graph.nodes for o in n.operands if o.source is None and not o.name]
    return Cost(
        macs=sum(c.macs * times for c, times in costs),
        parameters=graph_parameters(graph)[1],
        read_bytes=sum(c.read_bytes * times for c, times in costs),
        written_bytes=sum(c.written_bytes * times for c, times in costs),
        weight_bytes=sum(t.bytes for t in (*stored.values(), *unnamed)),
        operations=sum(c.operations * times for c, times in costs),
        weight_read_bytes=sum(c.weight_read_bytes * times for c, times in costs),
    )


def without_cost_rule(graph: Graph) -> dict[str, int]:
    """Operators of which nobody knows what they compute, as domain.name, and how many nodes of each there are.

    They count no MACs and no operations; narformer.operators.register gives one a row.
    """
    found: dict[str, int] = {}
    distinct = graph.distinct
    for node, times in zip(distinct.nodes, distinct.times, strict=True):
        if not operator_of(node).known:
            name = f"{node.domain}.{node.op}" if node.domain else node.op
            found[name] = found.get(name, 0) + times
    return found


def peak_bytes(graph: Graph) -> int:
    """The most bytes alive at once when nodes run in the Graph's order: weights, and activations.

    An input or output of a node lives until its last reader has run, one that nobody reads to the end; a view takes no
    memory of its own. Nothing is computed in place, and no memory of a runtime's own is counted.
    """
    values: list[Tensor] = list(graph.inputs)
    first = [len(graph.inputs)]  # where the outputs of each node stand
    for node in graph.nodes:
        values += node.outputs
        first.append(len(values))
    same = list(range(len(values)))  # the value whose memory a view takes
    last = [-1] * len(values)
    unread = set(range(len(values)))
    for index, node in enumerate(graph.nodes):
        places = [_place(o, first) for o in node.operands if o.source is not None]
        unread.difference_update(places)
        read = [same[place] for place in places]
        for place in read:
            last[place] = index
        if read and _looks_on(operator_of(node)):
            for place in range(first[index], first[index + 1]):
                same[place] = read[0]
    for place in unread:  # an output of the network
        last[same[place]] = len(graph)
    ends: list[list[int]] = [[] for _ in range(len(graph) + 1)]
    for place, value in enumerate(same):
        if place == value:
            ends[last[place]].append(place)
    alive = peak = sum(t.bytes for t in graph.inputs)
    for index in range(len(graph)):
        alive += sum(values[k].bytes for k in range(first[index], first[index + 1]) if same[k] == k)
        peak = max(peak, alive)
        alive -= sum(values[k].bytes for k in ends[index])
    return peak + graph_cost(graph).weight_bytes


def _place(operand: Operand, first: list[int]) -> int:
    """Where a value stands among the inputs and outputs of all nodes."""
    assert operand.source is not None
    return ~operand.source if operand.source < 0 else first[operand.source] + operand.output


def _looks_on(row: Operator) -> bool:
    """Whether its outputs are its first operand, in the same memory; Shape and Size put out numbers of their own."""
    return row.free and row.name not in ("Shape", "Size", "Constant")
