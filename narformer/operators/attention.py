"""MACs of attention: scores of every query with every key, and as many weighted values; a causal mask spares nothing.

Keys are those of this run and of the past. A cache is either as long as the past, or a buffer that is as long as the
longest sequence: then the number of keys is an operand, and where its value is not known, the buffer's whole length.
"""

from __future__ import annotations

import math

from narformer.graph import Node
from narformer.operators.macs import number, shape_at
from narformer.operators.operator import Count


def held(node: Node, position: int) -> int | None:
    """The integer that an operand holds; None where it is not there, or not known."""
    operand = node.operand(position)
    if operand is None or not operand.value:
        return None
    return int(max(operand.value))


def keys_of(past: int, length: int = -1, total: int = -1) -> Count:
    """How many keys a query meets. past: position of the cached keys (N, heads, P, head); length: of how many of these
    count; total: of the number of keys in all.
    """

    def rule(node: Node) -> int:
        every = held(node, total) if total >= 0 else None
        if every is not None:
            return every
        if total >= 0 and len(node.outputs) > 1 and len(node.outputs[1].shape) == 4:
            return node.outputs[1].shape[2]
        q = shape_at(node, 0)
        key = node.operand(1)
        if len(q) == 5 or key is None:  # packed with the queries
            new = q[1]
        else:
            shape = key.tensor.shape
            new = shape[2] if len(shape) == 4 else shape[1]
        cached = node.operand(past)
        if cached is None:
            return new
        before = held(node, length) if length >= 0 else None
        if before is None:
            buffer = cached.tensor.shape[2]
            return buffer if length >= 0 and node.operand(length) is not None else buffer + new
        return before + new

    return rule


def attention(keys: Count) -> Count:
    """Q (N, heads, S, head) or (N, S, heads·head) or packed with keys and values; output alike, with values' width."""

    def rule(node: Node) -> int:
        q, out = shape_at(node, 0), node.output_shape
        value = math.prod(out) // max(q[0] * (out[2] if len(out) == 4 else out[1]), 1)
        if len(q) == 5:
            queries, width = q[1], q[2] * q[4]
        elif len(q) == 4:
            queries, width = q[2], q[1] * q[3]
        else:
            queries, width = q[1], q[2] if node.operand(1) is not None else out[-1]
        return q[0] * queries * keys(node) * (width + value)

    return rule


def projected(past: int, length: int = -1, weight: int = 1) -> Count:
    """The projection to Q, K and V, then attention. X (N, S, in), W (in, q + k + v), past (2, N, heads, P, head)."""

    def rule(node: Node) -> int:
        x, w = shape_at(node, 0), shape_at(node, weight)
        if x[-1] != w[0]:
            raise ValueError(f"data {x} and weights {w}")
        value = node.output_shape[-1]
        query = (w[1] - value) // 2
        keys = x[-2] + _before(node, past, length)
        return math.prod(x) * w[1] + math.prod(x[:-1]) * keys * (query + value)

    return rule


def _before(node: Node, past: int, length: int) -> int:
    """Keys of a past (2, N, heads, P, head), of which only some may count."""
    cached = node.operand(past)
    if cached is None:
        return 0
    known = held(node, length) if length >= 0 else None
    if known is None and node.attributes.get("past_present_share_buffer"):
        return max(cached.tensor.shape[3] - shape_at(node, 0)[-2], 0)
    return cached.tensor.shape[3] if known is None else known


def packed_sequences(offsets: int, weight: int | None) -> Count:
    """Sequences without their padding: X (tokens, in). offsets (N, S): S is the longest sequence."""

    def rule(node: Node) -> int:
        x, longest = shape_at(node, 0), shape_at(node, offsets)[1]
        value = node.output_shape[-1]
        if weight is None:
            return x[0] * longest * (math.prod(x[1:]) // (3 if len(x) == 4 else 1) + value)
        w = shape_at(node, weight)
        return math.prod(x) * w[1] + x[0] * longest * (w[1] - value)

    return rule


def windowed(node: Node) -> int:
    """Longformer's: projections of the weights (in, 3·out), and of the global ones, then a window on either side."""
    x, w = shape_at(node, 0), shape_at(node, 1)
    near = min(2 * number(node, "window") + 1, x[1])
    return 2 * math.prod(x) * w[1] + math.prod(x[:2]) * near * 2 * (w[1] // 3)


def softmax(keys: Count) -> Count:
    """Scalar operations of the softmax between: five for each score of every head."""

    def rule(node: Node) -> int:
        q = shape_at(node, 0)
        heads = number(node, "q_num_heads", number(node, "num_heads", 1))
        queries = math.prod(node.output_shape[:3]) if len(q) == 4 else q[0] * q[1] * heads
        return 5 * queries * keys(node)

    return rule


def projected_softmax(past: int, length: int = -1) -> Count:
    """The same of an operator that projects first."""

    def rule(node: Node) -> int:
        x = shape_at(node, 0)
        return 5 * math.prod(x[:-1]) * number(node, "num_heads", 1) * (x[-2] + _before(node, past, length))

    return rule
