"""A network in a few dozen numbers: sizes and operator counts of the whole Graph, for baselines and for novelty."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from narformer.cost import node_cost
from narformer.graph import Graph

# Operators that are counted apart; every other one is counted together.
OPERATORS = (
    "Conv",
    "Gemm",
    "MatMul",
    "Relu",
    "Clip",
    "Sigmoid",
    "Add",
    "Mul",
    "Div",
    "Concat",
    "Split",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "BatchNormalization",
    "LayerNormalization",
    "Softmax",
    "Reshape",
    "Transpose",
    "Flatten",
)
NAMES = (
    "log_macs",
    "log_parameters",
    "log_activation_bytes",
    "log_nodes",
    "log_depth",
    "log_input_elements",
    "batch_size",
    "log_conv_macs",
    "log_depthwise_macs",
    "log_pointwise_macs",
    "log_matrix_macs",
    "log_largest_node_macs",
    *(f"log_count_{op}" for op in OPERATORS),
    "log_count_other",
)


def statistics(graph: Graph) -> npt.NDArray[np.float64]:
    """The numbers named in NAMES, (S,); `log` is ln(1 + x), sizes in MACs, elements and bytes."""
    by_kind = {"conv": 0, "depthwise": 0, "pointwise": 0, "matrix": 0}
    counts = dict.fromkeys(OPERATORS, 0)
    macs = parameters = activation_bytes = largest = other = 0
    distinct = graph.distinct
    for node, cost, times in zip(distinct.nodes, distinct.each(node_cost), distinct.times, strict=True):
        macs += times * cost.macs
        parameters += times * cost.parameters
        activation_bytes += times * cost.activation_bytes
        largest = max(largest, cost.macs)
        if node.op in counts:
            counts[node.op] += times
        else:
            other += times
        if cost.macs:
            kind = _kind(node.op, node.attributes.get("group", 1), node.attributes.get("kernel_shape", ()))
            by_kind[kind] += times * cost.macs
    elements = sum(tensor.elements for tensor in graph.inputs)
    sizes = [macs, parameters, activation_bytes, len(graph), _depth(graph), elements]
    kinds = [*by_kind.values(), largest, *counts.values(), other]
    return np.array([*map(math.log1p, sizes), graph.batch_size, *map(math.log1p, kinds)])


# What a batch multiplies; all of it is told as ln(1 + x).
_BATCHED = [
    *map(NAMES.index, ("log_macs", "log_activation_bytes", "log_input_elements", "log_largest_node_macs")),
    *map(NAMES.index, ("log_conv_macs", "log_depthwise_macs", "log_pointwise_macs", "log_matrix_macs")),
]


def with_batch(numbers: npt.NDArray[np.float64], factor: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """The statistics of networks (B, S) at `factor` (B,) times their batch."""
    times = np.asarray(factor, dtype=np.float64)[:, None]
    out = numbers.copy()
    out[:, _BATCHED] = np.log1p(np.expm1(out[:, _BATCHED]) * times)
    out[:, NAMES.index("batch_size")] *= times[:, 0]
    return out


def _depth(graph: Graph) -> int:
    """Nodes on the longest path."""
    depth = [1] * len(graph)
    for source, consumer in graph.reads:
        if source >= 0 and depth[source] >= depth[consumer]:
            depth[consumer] = depth[source] + 1
    return max(depth, default=0)


def _kind(op: str, group: object, kernel: object) -> str:
    if op != "Conv":
        return "matrix"
    if isinstance(group, int) and group > 1:
        return "depthwise"
    return "pointwise" if isinstance(kernel, tuple) and set(kernel) == {1} else "conv"
