"""FLOPs, parameters and memory access as the authors of NNLQP and NAR-Former V2 count them: part of their tokens.

Not the product's own counts (see cost.py): a multiplication and an addition are two FLOPs here, convolutions leave the
batch out, BatchNormalization has four parameters a channel, and much else counts nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from narformer.errors import ModelError
from narformer.graph import Graph, Node

ELEMENT_WISE = frozenset({"Add", "Mul", "Sub", "Div", "Pow", "Sqrt", "Sigmoid", "Tanh", "ReduceMean"})


def authors_cost(graph: Graph) -> tuple[int, int, int]:
    """FLOPs, parameters and memory access (elements of all outputs and parameters, summed) of a Graph.

    Raises ModelError for a node without the operands or dims that its operator has.
    """
    flops = parameters = access = 0
    distinct = graph.distinct
    for node, times in zip(distinct.nodes, distinct.times, strict=True):
        try:
            node_flops, node_parameters = _COUNTERS.get(node.op, _nothing)(node)
        except IndexError as error:
            raise ModelError(
                f"{graph.name or 'graph'}: node {node.name!r} lacks operands or dims that every {node.op} has; "
                "export the network again"
            ) from error
        flops += times * node_flops
        parameters += times * node_parameters
        access += times * (sum([output.elements for output in node.outputs]) + node_parameters)
    return flops, parameters, access


def _nothing(node: Node) -> tuple[int, int]:
    return 0, 0


def _conv(node: Node) -> tuple[int, int]:
    # Cin/groups · kernel elements, for a Conv and a ConvTranspose alike: their weights differ in the order of channels.
    # The weight is the second operand, stored or computed: de-quantised weights are the output of a node.
    channels = node.output_shape[1]
    fan_in = math.prod(node.operands[1].tensor.shape) // max(1, channels)
    bias = int(len(node.operands) > 2)
    return channels * math.prod(node.output_shape[2:]) * (2 * fan_in - 1 + bias), channels * (fan_in + bias)


def _gemm(node: Node) -> tuple[int, int]:
    inputs = node.operands[0].tensor.shape[0 if node.attributes.get("transA") else -1]
    outputs, bias = node.output_shape[-1], int(len(node.operands) > 2)
    return outputs * (2 * inputs - 1 + bias), outputs * (inputs + bias)


def _matmul(node: Node) -> tuple[int, int]:
    return math.prod(node.output_shape[-2:]) * (2 * node.operands[0].tensor.shape[-1] - 1), 0


def _batch_norm(node: Node) -> tuple[int, int]:
    tensor = node.operands[0].tensor
    return 4 * tensor.elements, 4 * math.prod(tensor.shape[1:2])


def _average_pool(node: Node) -> tuple[int, int]:
    kernel = node.attributes.get("kernel_shape", ())
    size = math.prod(int(k) for k in kernel) if isinstance(kernel, tuple) else 1
    return math.prod(node.output_shape[1:]) * size, 0


def _global_average_pool(node: Node) -> tuple[int, int]:
    # The release counts the height ratio alone, not height times width.
    before, after = node.operands[0].tensor.shape, node.output_shape
    ratio = before[2] // max(1, after[2]) if len(before) > 2 else 1
    return math.prod(after[1:]) * ratio, 0


def _element_wise(node: Node) -> tuple[int, int]:
    return math.prod(node.output_shape), 0


def _upsample(node: Node) -> tuple[int, int]:
    # Two multiplications and three additions an element, where it interpolates.
    return (5 * math.prod(node.output_shape[1:]) if node.attributes.get("mode") == "linear" else 0), 0


def _softmax(node: Node) -> tuple[int, int]:
    features = node.operands[0].tensor.shape
    return 3 * math.prod(features[1:]) - 1, 0


_COUNTERS: Mapping[str, Callable[[Node], tuple[int, int]]] = {
    "Conv": _conv,
    "ConvTranspose": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _batch_norm,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average_pool,
    "Softmax": _softmax,
    "Upsample": _upsample,
    **dict.fromkeys(ELEMENT_WISE, _element_wise),
}
