"""What a network costs: MACs, parameters, bytes read and written, for each node and in all.

MACs are multiplications that are added up: those of convolutions, matrix products and recurrent cells; everything else
counts none. FLOPs are twice the MACs. Batch included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from narformer.graph import Graph, Node, Operand, Tensor

# Constant operands that say where or how, or that training only records, and are no parameters of the network: by
# operator, from this position on. BatchNormalization's running mean and variance are such records.
_SETTINGS: Mapping[str, int] = {
    "BatchNormalization": 3,
    "Clip": 1,
    "Dropout": 1,
    "Pad": 1,
    "Pow": 1,
    "Range": 0,
    "Resize": 1,
    "Upsample": 1,
}


@dataclass(frozen=True)
class Cost:
    """macs; parameters (elements of weights); bytes read as activations, written as outputs, and read as weights."""

    macs: int = 0
    parameters: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    weight_bytes: int = 0

    @property
    def flops(self) -> int:
        return 2 * self.macs

    @property
    def activation_bytes(self) -> int:
        return self.read_bytes + self.written_bytes


def node_cost(node: Node) -> Cost:
    """Cost of one node."""
    return Cost(
        macs=_MACS.get(node.op, _no_macs)(node),
        parameters=sum(o.tensor.elements for o in parameter_operands(node)),
        read_bytes=sum(o.tensor.bytes for o in node.operands if o.source is not None),
        written_bytes=sum(t.bytes for t in node.outputs),
        weight_bytes=sum(o.tensor.bytes for o in node.weights),
    )


def node_costs(graph: Graph) -> tuple[Cost, ...]:
    """Cost of each node, in the Graph's order."""
    return tuple(node_cost(node) for node in graph.nodes)


def graph_cost(graph: Graph) -> Cost:
    """Cost of the whole Graph; a weight that several nodes share counts once as parameters and bytes."""
    costs = node_costs(graph)
    parameters = _once([o for node in graph.nodes for o in parameter_operands(node)])
    weights = _once([o for node in graph.nodes for o in node.weights])
    return Cost(
        macs=sum(c.macs for c in costs),
        parameters=sum(t.elements for t in parameters),
        read_bytes=sum(c.read_bytes for c in costs),
        written_bytes=sum(c.written_bytes for c in costs),
        weight_bytes=sum(t.bytes for t in weights),
    )


def _once(operands: list[Operand]) -> list[Tensor]:
    """The tensors of weights, one for each name."""
    named = {o.name: o.tensor for o in operands if o.name}
    return [*named.values(), *(o.tensor for o in operands if not o.name)]


def parameter_operands(node: Node) -> list[Operand]:
    """Operands that training adjusts: constants with at least one dimension that are neither indices nor settings."""
    settings_from = _SETTINGS.get(node.op, len(node.operands))
    return [
        o
        for position, o in enumerate(node.operands)
        if o.source is None and o.tensor.shape and position < settings_from and o.tensor.dtype not in _INDICES
    ]


# int32 stays: quantised models keep their biases in it.
_INDICES = frozenset({"int64", "bool", "string"})


def _no_macs(node: Node) -> int:
    return 0


def _conv(node: Node) -> int:
    """Every output element sums over the weights of one filter: (N, Cout, *out) · Cin/groups · kernel."""
    weight = node.operands[_weight_position(node)].tensor.shape
    return math.prod(node.output_shape) * math.prod(weight[1:])


def _conv_transpose(node: Node) -> int:
    """Every input element is spread over one filter: (N, Cin, *in) · Cout/groups · kernel."""
    return node.operands[0].tensor.elements * math.prod(node.operands[1].tensor.shape[1:])


def _gemm(node: Node) -> int:
    first = node.operands[0].tensor.shape
    inner = first[0] if node.attributes.get("transA") else first[-1]
    return math.prod(node.output_shape) * inner


def _matmul(node: Node) -> int:
    shape = node.operands[0].tensor.shape
    return math.prod(node.output_shape) * (shape[-1] if shape else 0)


def _einsum(node: Node) -> int:
    """The product of all index sizes: what a sum over one loop nest costs."""
    equation = str(node.attributes.get("equation", "")).replace(" ", "")
    left, _, _ = equation.partition("->")
    terms = left.split(",")
    if len(terms) < 2 or "." in equation:
        return 0
    sizes: dict[str, int] = {}
    for term, operand in zip(terms, node.operands, strict=False):
        sizes.update(zip(term, operand.tensor.shape, strict=False))
    return math.prod(sizes.values())


def _recurrent(node: Node) -> int:
    """Input and recurrent products of every step: X (steps, N, in), W (directions, gates·hidden, in), R (…, hidden)."""
    steps, batch = node.operands[0].tensor.shape[:2]
    return steps * batch * sum(o.tensor.elements for o in node.operands[1:3])


def _weight_position(node: Node) -> int:
    return 3 if node.op == "QLinearConv" else 1


_MACS: Mapping[str, Callable[[Node], int]] = {
    "Conv": _conv,
    "ConvInteger": _conv,
    "QLinearConv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "Einsum": _einsum,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
