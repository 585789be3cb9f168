"""A network in a few dozen numbers: sizes and operator counts of the whole Graph, for yardsticks and for novelty."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from narformer.cost import node_costs
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
    costs = node_costs(graph)
    by_kind = {"conv": 0, "depthwise": 0, "pointwise": 0, "matrix": 0}
    counts = dict.fromkeys(OPERATORS, 0)
    other = 0
    depth = [0] * len(graph)
    for index, (node, cost) in enumerate(zip(graph.nodes, costs, strict=True)):
        depth[index] = 1 + max((depth[s] for s in node.sources if s >= 0), default=0)
        if node.op in counts:
            counts[node.op] += 1
        else:
            other += 1
        if cost.macs:
            by_kind[_kind(node.op, node.attributes.get("group", 1), node.attributes.get("kernel_shape", ()))] += (
                cost.macs
            )
    sizes = [
        sum(c.macs for c in costs),
        sum(c.parameters for c in costs),
        sum(c.activation_bytes for c in costs),
        len(graph),
        max(depth, default=0),
        sum(t.elements for t in graph.inputs),
    ]
    kinds = [*by_kind.values(), max((c.macs for c in costs), default=0), *counts.values(), other]
    return np.array([*map(math.log1p, sizes), graph.batch_size, *map(math.log1p, kinds)])


def _kind(op: str, group: object, kernel: object) -> str:
    if op != "Conv":
        return "matrix"
    if isinstance(group, int) and group > 1:
        return "depthwise"
    return "pointwise" if isinstance(kernel, tuple) and set(kernel) == {1} else "conv"
