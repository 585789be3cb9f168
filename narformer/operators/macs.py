"""How many multiplications that are added up (MACs) a product of matrices or a convolution has.

A rule raises ValueError, TypeError or IndexError where operands do not fit the operator.
"""

from __future__ import annotations

import math

from narformer.graph import Node, Shape
from narformer.operators.operator import Count, Counts


def shape_at(node: Node, position: int) -> Shape:
    """Shape of the operand at a position. Raises ValueError where there is none."""
    operand = node.operand(position)
    if operand is None:
        raise ValueError(f"operand {position} is missing")
    return operand.tensor.shape


def number(node: Node, name: str, default: int = 0) -> int:
    """An attribute that is an integer."""
    value = node.attributes.get(name, default)
    if not isinstance(value, int):
        raise ValueError(f"attribute {name} is no integer")
    return value


def convolution(data: int = 0, weight: int = 1, channels: int | None = 1) -> Count:
    """Every output element sums over the weights of one filter: (N, Cout, *out) · Cin/groups · kernel.

    channels: which axis of the data they are; None where blocks or layouts pad them.
    """

    def rule(node: Node) -> int:
        x, filters = shape_at(node, data), shape_at(node, weight)
        if len(x) < 3 or (channels is not None and x[channels] != filters[1] * number(node, "group", 1)):
            raise ValueError(f"data {x} and filters {filters}")
        return math.prod(node.output_shape) * math.prod(filters[1:])

    return rule


def transposed_convolution(data: int = 0, weight: int = 1) -> Count:
    """Every input element is spread over one filter: (N, Cin, *in) · Cout/groups · kernel."""

    def rule(node: Node) -> int:
        x, filters = shape_at(node, data), shape_at(node, weight)
        if len(x) < 3:
            raise ValueError(f"data {x}")
        return math.prod(x) * math.prod(filters[1:])

    return rule


def gemm(a: int = 0, b: int = 1) -> Count:
    """A product of two matrices, either of them transposed."""

    def rule(node: Node) -> int:
        first, second = shape_at(node, a), shape_at(node, b)
        inner = first[0] if node.attributes.get("transA") else first[-1]
        if inner != (second[-1] if node.attributes.get("transB") else second[0]):
            raise ValueError(f"matrices {first} and {second}")
        return math.prod(node.output_shape) * inner

    return rule


def matmul(a: int = 0, b: int = 1) -> Count:
    """Every output element sums over the last axis of the first operand, or another, where that is transposed."""

    def rule(node: Node) -> int:
        first, second = _read(node, a, "A"), _read(node, b, "B")
        if not first or not second or first[-1] != second[-2 if len(second) > 1 else 0]:
            raise ValueError(f"matrices {first} and {second}")
        return math.prod(node.output_shape) * first[-1]

    return rule


def _read(node: Node, position: int, side: str) -> Shape:
    """The shape in which a side of a product is read: batches moved to the front, then the matrix transposed."""
    shape = shape_at(node, position)
    if len(shape) > 2 and node.attributes.get(f"transBatch{side}"):
        shape = (*shape[1:-1], shape[0], shape[-1])
    if len(shape) > 1 and node.attributes.get(f"trans{side}"):
        shape = (*shape[:-2], shape[-1], shape[-2])
    return shape


def rows(node: Node) -> int:
    """A product with weights that are packed: every output element sums over the last axis of the data."""
    return math.prod(node.output_shape) * shape_at(node, 0)[-1]


def columns(*names: str) -> Count:
    """Products of one data operand with several packed matrices, of widths that attributes name."""

    def rule(node: Node) -> int:
        return math.prod(shape_at(node, 0)) * sum(number(node, name) for name in names)

    return rule


def distances(node: Node) -> int:
    """Every row of A (n, d) with every row of B (m, d)."""
    a, b = shape_at(node, 0), shape_at(node, 1)
    return a[0] * b[0] * a[1]


def einsum(node: Node) -> int:
    """Operands are contracted one after the other; each contraction costs the product of the sizes of its indices."""
    left, arrow, right = str(node.attributes.get("equation", "")).replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) < 2 or len(terms) > len(node.operands):
        return 0
    sizes: dict[str, int] = {}
    indices: list[set[str]] = []
    for term, operand in zip(terms, node.operands, strict=False):
        named = _indices(term, len(operand.tensor.shape))
        for index, size in zip(named, operand.tensor.shape, strict=False):
            sizes[index] = max(sizes.get(index, 1), size)
        indices.append(set(named))
    everything = "".join(terms)
    kept = set(_indices(right, len(node.output_shape))) if arrow else {c for c in sizes if everything.count(c) == 1}
    macs, running = 0, indices[0]
    for position, term_indices in enumerate(indices[1:], 1):
        both = running | term_indices
        macs += math.prod(sizes.get(index, 1) for index in both)
        running = both & kept.union(*indices[position + 1 :])
    return macs


def _indices(term: str, rank: int) -> list[str]:
    """The index of each axis; those behind an ellipsis are numbered from the last."""
    before, dots, after = term.partition("...")
    spare = rank - len(before) - len(after) if dots else 0
    return [*before, *(f".{k}" for k in range(spare, 0, -1)), *after]


GATES = {"LSTM": 4, "DynamicQuantizeLSTM": 4, "GRU": 3, "RNN": 1}


def recurrent(node: Node) -> int:
    """Input and recurrent products of every step: X (steps, N, in), W (directions, gates·hidden, in), R (…, hidden)."""
    x, w, r = (shape_at(node, position) for position in range(3))
    if node.op == "DynamicQuantizeLSTM":  # there the last two axes change places
        w, r = (*w[:-2], w[-1], w[-2]), (*r[:-2], r[-1], r[-2])
    if len(x) != 3 or w[2] != x[2] or r[1] != w[1]:
        raise ValueError(f"a sequence {x} and weights {w}, {r}")
    if w[1] != GATES[node.op] * r[2]:
        raise ValueError(
            f"a state of {r[2]} in a cell of {w[1] // GATES[node.op]}: ONNX has no cells with a projection; "
            "put a Linear behind it instead"
        )
    return x[0] * x[1] * (math.prod(w) + math.prod(r))


def linear_attention(node: Node) -> int:
    """A state (heads, key, value) takes in k·vᵀ at every step and is read by q; the delta rule reads it once before.

    Q, K (N, steps, heads·key), V (N, steps, heads·value).
    """
    q, k, v = (shape_at(node, position) for position in range(3))
    heads, kv_heads = number(node, "q_num_heads"), number(node, "kv_num_heads")
    key, value = k[-1] // kv_heads, v[-1] // kv_heads
    updates = 2 if "delta" in str(node.attributes.get("update_rule", "gated_delta")) else 1
    return q[0] * q[1] * key * value * (max(heads, kv_heads) + updates * kv_heads)


def experts(*weights: int) -> Count:
    """Each token meets k of the experts; weights (experts, …) of one expert are multiplied once a token."""

    def rule(node: Node) -> int:
        x = shape_at(node, 0)
        elements = packed_experts(*weights)(node)
        each = sum(elements[p] // shape_at(node, p)[0] for p in elements)
        return math.prod(x[:-1]) * number(node, "k", 1) * each

    return rule


def packed_experts(*weights: int) -> Counts:
    """By position, how many numbers the weights of experts are, several of which may share a byte."""

    def rule(node: Node) -> dict[int, int]:
        found: dict[int, int] = {}
        for position in weights:
            operand = node.operand(position)
            if operand is not None:
                bits = number(node, "expert_weight_bits", 4) if operand.tensor.dtype == "uint8" else 8
                found[position] = operand.tensor.elements * max(8 // max(bits, 1), 1)
        return found

    return rule


def linear_model(node: Node) -> int:
    """Every row of data with the coefficients, an attribute (classes · features); of support vectors, with all."""
    data = shape_at(node, 0)
    total = 0
    for name in ("coefficients", "support_vectors"):
        value = node.attributes.get(name, ())
        total += len(value) if isinstance(value, tuple) else 0
    return total * (math.prod(data[:-1]) if len(data) > 1 else 1)
