"""What a network costs: MACs, parameters, bytes read and written, for each node and in all.

MACs are multiplications that are added up: those of convolutions, matrix products and recurrent cells; everything else
counts none. FLOPs are twice the MACs. Batch included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from narformer.errors import ModelError
from narformer.graph import Graph, Node, Operand, Tensor

# Constant operands that say where or how, or that training only records, and are no parameters of the network: by
# operator, from this position on. BatchNormalization's running mean and variance are such records.
_SETTINGS: Mapping[str, int] = {
    "BatchNormalization": 3,
    **dict.fromkeys(("Gather", "GatherElements", "GatherND", "Scatter", "ScatterElements", "ScatterND"), 1),
    **dict.fromkeys(("Clip", "Dropout", "Expand", "OneHot", "Pad", "Pow", "Reshape", "Resize", "Slice", "Split"), 1),
    **dict.fromkeys(("Squeeze", "Tile", "TopK", "Trilu", "Unsqueeze", "Upsample", "CumSum", "QuantizeLinear"), 1),
    **dict.fromkeys(("DequantizeLinear", "GroupQueryAttention", "NonMaxSuppression"), 1),
    "Div": 1,
    **dict.fromkeys(("ConstantOfShape", "Equal", "Greater", "Less", "Range", "Where"), 0),
}
# Operands that are parameters where scales and zero points stand between them.
_QUANTISED: Mapping[str, tuple[int, ...]] = {
    "QLinearConv": (3, 8),
    "ConvInteger": (1,),
    "MatMulInteger": (1,),
    "QLinearMatMul": (0, 3),
    "QGemm": (0, 3, 6),
    "QAttention": (1, 2),
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), (0, 3)),
    **dict.fromkeys(("QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearSigmoid"), ()),
    **dict.fromkeys(("QLinearSoftmax", "QLinearReduceMean", "QLinearConcat", "QLinearWhere"), ()),
}


class Cost(NamedTuple):
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
    """Cost of one node. Raises ModelError where its operands are not what its operator reads."""
    try:
        macs = _MACS.get(node.op, _no_macs)(node)
    except (IndexError, ValueError, TypeError) as error:
        shapes = ", ".join(str(list(o.tensor.shape)) for o in node.operands)
        raise ModelError(f"node {node.name!r}: operands of shapes {shapes} do not fit {node.op}") from error
    read = weights = parameters = 0
    for operand in node.operands:
        if operand.source is None:
            weights += operand.tensor.bytes
        else:
            read += operand.tensor.bytes
    if weights:
        parameters = _parameters(node)
    written = 0
    for tensor in node.outputs:
        written += tensor.bytes
    return Cost(macs, parameters, read, written, weights)


def node_costs(graph: Graph) -> tuple[Cost, ...]:
    """Cost of each node, in the Graph's order."""
    distinct = graph.distinct
    costs = distinct.each(node_cost)
    return tuple([costs[place] for place in distinct.place.tolist()])


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
    """Operands that training adjusts: those that the front end says; of others, what the operator tells."""
    told = _told_operands(node)
    if all(o.trained is None for o in node.operands):
        return told
    return [o for o in node.operands if o.source is None and (o in told if o.trained is None else o.trained)]


def _told_operands(node: Node) -> list[Operand]:
    """What an operator tells: constants with at least one dimension that are neither indices nor settings."""
    op = node.op
    if op in _RECURRENT:  # W, R, and what has two dimensions: biases and peepholes; never lengths and initial states
        return [o for k, o in enumerate(node.operands) if o.is_weight and (k in (1, 2) or len(o.tensor.shape) == 2)]
    if op in _PACKED_BIAS:  # the bias is the last operand, if it is one: what stands before are scales of integers
        last = len(node.operands) - 1
        found = [o for k, o in enumerate(node.operands) if o.is_weight and o.tensor.shape and (k == 1 or k == last > 2)]
        return [o for o in found if o is node.operands[1] or o.tensor.dtype.startswith("float")]
    listed = _QUANTISED.get(op)
    settings_from = _SETTINGS.get(op, len(node.operands))
    return [
        o
        for position, o in enumerate(node.operands)
        if o.source is None
        and o.tensor.shape
        and (op not in _ELEMENTWISE or o.tensor.elements > 1)
        and (position < settings_from if listed is None else position in listed)
        and o.tensor.dtype not in _INDICES
    ]


# int32 stays: quantised models keep their biases in it.
_INDICES = frozenset({"int64", "bool", "string"})
# A constant of one element is a number in the formula here, such as the root of an attention's width.
_ELEMENTWISE = frozenset({"Div", "Expand", "Max", "Min", "Mul", "Sub"})
_RECURRENT = frozenset({"LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"})
_PACKED_BIAS = frozenset({"DynamicQuantizeMatMul", "MatMulIntegerToFloat"})


def _parameters(node: Node) -> int:
    if node.op in _PACKED:  # the operand holds several weights in each byte
        return int(str(node.attributes.get("K", 0))) * int(str(node.attributes.get("N", 0)))
    return sum(o.tensor.elements for o in parameter_operands(node))


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
    """Every output element sums over the last axis of the first operand, or the one before, where it is transposed."""
    shape = node.operands[0].tensor.shape
    if len(shape) > 1 and node.attributes.get("transA"):
        return math.prod(node.output_shape) * shape[-2]
    return math.prod(node.output_shape) * (shape[-1] if shape else 0)


def _einsum(node: Node) -> int:
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


def _recurrent(node: Node) -> int:
    """Input and recurrent products of every step: X (steps, N, in), W (directions, gates·hidden, in), R (…, hidden)."""
    steps, batch = node.operands[0].tensor.shape[:2]
    return steps * batch * sum(o.tensor.elements for o in node.operands[1:3])


def _attention(node: Node) -> int:
    """Scores of every query with every key, and as many weighted values; a causal mask spares nothing.

    Q (N, heads, S, head) or (N, S, heads·head), K and V likewise or packed with Q. Keys of the past, whose place among
    the operands varies, are counted from the present ones that the node writes.
    """
    q, out = node.operands[0].tensor.shape, node.output_shape
    heads = node.attributes.get("q_num_heads", node.attributes.get("num_heads", 1))
    per_query = out[-1] * (out[1] if len(out) == 4 else 1)
    width = q[1] * q[3] if len(q) == 4 else q[2] * q[4] if len(q) == 5 else min(q[-1], _query_width(node, q[-1]))
    keys = _keys(node, len(q) == 4)
    queries = q[0] * (q[2] if len(q) == 4 else q[1])
    return queries * keys * (width + per_query) if heads else 0


def _query_width(node: Node, packed: int) -> int:
    """Width of the queries where GroupQueryAttention packs keys and values behind them."""
    heads, kv_heads = node.attributes.get("num_heads", 0), node.attributes.get("kv_num_heads", 0)
    if node.op != "GroupQueryAttention" or not isinstance(heads, int) or not isinstance(kv_heads, int):
        return packed
    return node.output_shape[-1]


def _keys(node: Node, heads_first: bool) -> int:
    if len(node.outputs) > 1 and len(node.outputs[1].shape) == 4:
        return node.outputs[1].shape[2]
    q = node.operands[0].tensor.shape
    key = node.operands[1].tensor.shape if len(node.operands) > 1 else q
    if len(q) == 5 or node.op == "GroupQueryAttention":
        return q[1]
    return key[2] if heads_first or len(key) == 4 else key[1]


def _projected_attention(node: Node) -> int:
    """com.microsoft's Attention: the projection to Q, K and V, then attention. X (N, S, in), W (in, q + k + v)."""
    if node.domain == "":
        return _attention(node)
    x, weight = node.operands[0].tensor, node.operands[1].tensor
    batch, steps = x.shape[:2]
    value = node.output_shape[-1]
    query = (weight.shape[1] - value) // 2
    keys = node.outputs[1].shape[3] if len(node.outputs) > 1 and len(node.outputs[1].shape) == 5 else steps
    return x.elements * weight.shape[1] + batch * steps * keys * (query + value)


def _packed(node: Node) -> int:
    return math.prod(node.output_shape) * int(str(node.attributes.get("K", 0)))


def _weight_position(node: Node) -> int:
    return 3 if node.op == "QLinearConv" else 1


_PACKED = frozenset({"MatMulNBits", "MatMulBnb4", "MatMulFpQ4"})
_MACS: Mapping[str, Callable[[Node], int]] = {
    **dict.fromkeys(("Conv", "ConvInteger", "QLinearConv", "FusedConv", "DeformConv", "CausalConvWithState"), _conv),
    "ConvTranspose": _conv_transpose,
    **dict.fromkeys(("Gemm", "FusedGemm", "QGemm"), _gemm),
    **dict.fromkeys(("MatMul", "MatMulInteger", "QLinearMatMul", "FusedMatMul", "TransposeMatMul"), _matmul),
    **dict.fromkeys(
        ("FusedMatMulActivation", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "GemmFastGelu"), _matmul
    ),
    **dict.fromkeys(_PACKED, _packed),
    "Einsum": _einsum,
    **dict.fromkeys(_RECURRENT, _recurrent),
    **dict.fromkeys(("Attention", "QAttention"), _projected_attention),
    **dict.fromkeys(("MultiHeadAttention", "DecoderMaskedMultiHeadAttention", "FlexAttention"), _attention),
    "GroupQueryAttention": _attention,
}
