"""Scalar operations that are no MACs: additions, comparisons, roots and the like, each counted as one.

A function such as exp, erf or tanh is one operation here, whatever it takes on a processor.
"""

from __future__ import annotations

import math

from narformer.graph import Node
from narformer.operators.attention import held
from narformer.operators.macs import GATES, shape_at
from narformer.operators.operator import Count


def each(operations: int) -> Count:
    """As many for every element of the first output."""
    return lambda node: operations * math.prod(node.output_shape)


def each_read(operations: int = 1) -> Count:
    """As many for every element of the first operand: reductions and normalizations."""
    return lambda node: operations * (node.operands[0].tensor.elements if node.operands else 0)


def several(node: Node) -> int:
    """One for every element and each operand after the first: sums of several."""
    return math.prod(node.output_shape) * max(len(node.operands) - 1, 1)


def window(node: Node) -> int:
    """One for every output element and each place of the window."""
    kernel = node.attributes.get("kernel_shape", ())
    return math.prod(node.output_shape) * (math.prod(int(k) for k in kernel) if isinstance(kernel, tuple) else 1)


def interpolated(node: Node) -> int:
    """One for every output element and each neighbour: 1 to the nearest, 2 an axis if linear, 4 if cubic."""
    near = {"linear": 2, "bilinear": 2, "cubic": 4, "bicubic": 4}.get(str(node.attributes.get("mode", "nearest")), 1)
    before = node.operands[0].tensor.shape if node.operands else ()
    after = node.output_shape
    resized = sum(a != b for a, b in zip(before, after, strict=False)) if len(before) == len(after) else 2
    return math.prod((*after, *[near] * resized))


def activated(node: Node) -> int:
    """What is fused behind a product: an activation, or a further operand that is added."""
    return math.prod(node.output_shape) * (("activation" in node.attributes) + (node.operand(3) is not None))


def gated(node: Node) -> int:
    """Of a recurrent cell: two for each gate of each element of the state, at every step in every direction."""
    return 2 * GATES[node.op] * math.prod(node.output_shape)


def fourier(node: Node) -> int:
    """5 n log2 n for a transform of n points, as fast Fourier transforms are charged."""
    elements = math.prod(node.output_shape)
    axis = node.output_shape[-2] if len(node.output_shape) > 1 else elements
    return 5 * elements * math.ceil(math.log2(max(axis, 2)))


def cubed(node: Node) -> int:
    """Of inverses and determinants: n³/3 for each matrix."""
    shape = shape_at(node, 0)
    return math.prod(shape) * shape[-1] // 3


def sorted_elements(node: Node) -> int:
    """A comparison for each element and each halving of the axis that is sorted."""
    shape = shape_at(node, 0)
    axis = node.attributes.get("axis")
    length = shape[axis] if isinstance(axis, int) and -len(shape) <= axis < len(shape) else math.prod(shape)
    if node.op == "TopK":
        length = node.output_shape[int(axis) if isinstance(axis, int) else -1] if shape else 1
    return math.prod(shape) * math.ceil(math.log2(max(length, 2)))


def suppressed(node: Node) -> int:
    """Of NonMaxSuppression: boxes (N, B, 4) sorted by score (N, C, B), each compared with every one that is kept."""
    batch, classes, boxes = shape_at(node, 1)
    most = held(node, 2)
    kept = min(boxes, boxes if most is None else most)
    return batch * classes * boxes * (math.ceil(math.log2(max(boxes, 2))) + 10 * kept)
