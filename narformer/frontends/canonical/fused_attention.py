"""What a runtime has fused of a transformer becomes the plain nodes again: attention, embeddings, normalisations.

Requires: nothing. Ensures: of ONNX Runtime's own domain no Attention, MultiHeadAttention or GroupQueryAttention, no
RotaryEmbedding, and no normalisation that skips or embeds. Attention is ONNX's own operator, by heads (N, heads, L,
head), behind the products that project to it. Signatures: ONNX Runtime's documentation of its contributed operators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from narformer.frontends.canonical.chain import Chain, reshaped
from narformer.frontends.canonical.draft import Draft
from narformer.frontends.canonical.fused import MICROSOFT
from narformer.frontends.canonical.rule import Rule
from narformer.graph import Attribute, Node, Operand, Tensor


def _number(node: Node, name: str) -> int:
    value = node.attributes.get(name, 0)
    return value if isinstance(value, int) else 0


def skip_normalization(draft: Draft, index: int, node: Node) -> bool:
    """The sum of what was computed and what skips it, perhaps with a bias, normalised; that sum may be an output."""
    chain = Chain(draft, index, node)
    simplified = "Simplified" in node.op
    data, skip, scale = node.operands[:3]
    shift, bias = (None, node.operand(3)) if simplified else (node.operand(3), node.operand(4))
    if bias is not None:
        # It is that of the product just before, which the plain network computes apart from the sum.
        if draft.made_by(data, "MatMul", "Gemm") is None and draft.made_by(skip, "MatMul", "Gemm") is not None:
            skip = chain.add(skip, bias)
        else:
            data = chain.add(data, bias)
    total = chain.add(data, skip)
    normalised = _normalised(chain, total, scale, shift, simplified)
    outputs = [normalised]
    for tensor in node.outputs[1:]:
        statistic = Operand(tensor, name=f"{node.name}.statistic")  # mean and deviation: nothing reads them
        outputs.append(total if tensor.shape == total.tensor.shape else statistic)
    return chain.done(*outputs)


def _normalised(chain: Chain, data: Operand, scale: Operand, shift: Operand | None, simplified: bool) -> Operand:
    operands = (data, scale) if shift is None else (data, scale, shift)
    return chain.step("RMSNormalization" if simplified else "LayerNormalization", operands, data.tensor, {"axis": -1})


def simplified(draft: Draft, index: int, node: Node) -> bool:
    """RMSNormalization, before ONNX had it."""
    attributes: dict[str, Attribute] = {"axis": node.attributes.get("axis", -1)}
    draft.put(index, node._replace(op="RMSNormalization", domain="", attributes=attributes, outputs=node.outputs[:1]))
    return True


def embedded(draft: Draft, index: int, node: Node) -> bool:
    """Embeddings of words, positions and segments, summed and normalised; lengths, where a mask gives them."""
    chain = Chain(draft, index, node)
    out = node.outputs[0]
    words, positions = node.operand(2), node.operand(3)
    ids, scale, shift = node.operand(0), node.operand(5), node.operand(6)
    if words is None or positions is None or ids is None or scale is None:
        return False
    total = chain.step("Gather", (words, ids), out)
    kinds, segments = node.operand(1), node.operand(4)
    if kinds is not None and segments is not None:
        total = chain.add(total, chain.step("Gather", (segments, kinds), out))
    where = node.operand(8)
    if where is None:
        place = Operand(Tensor((1, *out.shape[1:]), out.dtype), name=positions.name)
    else:
        place = chain.step("Gather", (positions, where), Tensor((*where.tensor.shape, out.shape[-1]), out.dtype))
    total = chain.add(total, place)
    outputs = [_normalised(chain, total, scale, shift, False)]
    for tensor in node.outputs[1:]:
        mask = node.operand(7)
        if tensor.shape == out.shape:
            outputs.append(total)
        elif mask is None:
            outputs.append(Operand(tensor, name=f"{node.name}.lengths"))
        else:
            outputs.append(chain.step("ReduceSum", (mask,), tensor, {"axes": (1,), "keepdims": 0}))
    return chain.done(*outputs)


def group_norm(draft: Draft, index: int, node: Node) -> bool:
    """GroupNormalization with channels last, perhaps of a sum with what skips and a bias, perhaps with SiLU."""
    chain = Chain(draft, index, node)
    data, scale, shift = node.operands[:3]
    total = data
    if node.op.startswith("Skip"):
        for other in (node.operand(4), node.operand(3)):
            if other is not None:
                if len(other.tensor.shape) == 2 != len(data.tensor.shape):  # (N, C), the same at all positions
                    n, c = other.tensor.shape
                    other = reshaped(other, (n, *(1,) * (len(data.tensor.shape) - 2), c))
                total = chain.add(total, other)
    last = bool(node.attributes.get("channels_last", 1))
    out = chain.channels_first(total) if last else total
    attributes: dict[str, Attribute] = {"num_groups": node.attributes.get("groups", 32)}
    out = chain.step("GroupNormalization", (out, scale, shift), out.tensor, attributes)
    if node.attributes.get("activation"):
        out = chain.step("Swish", (out,), out.tensor)
    return chain.done(chain.channels_last(out) if last else out, total)


def rotary(draft: Draft, index: int, node: Node) -> bool:
    """Rotary positions, by caches of cosines and sines: the value, its cosines, its sines."""
    data = node.operands[0]
    cosines, sines = node.operands[2:4] if node.domain else node.operands[1:3]
    if not node.domain and not node.attributes and len(node.operands) == 3:
        return False
    put = node._replace(domain="", operands=(data, cosines, sines), attributes={}, left_out=())
    draft.put(index, put)
    return True


class Heads:
    """Queries, keys and values as attention reads them, and its result as others do."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain

    def split(self, data: Operand, heads: int) -> Operand:
        """(N, L, heads · head) as (N, heads, L, head)."""
        n, length, width = data.tensor.shape
        return self.chain.transpose(reshaped(data, (n, length, heads, width // heads)), 0, 2, 1, 3)

    def attend(
        self,
        queries: Operand,
        keys: Operand,
        values: Operand,
        mask: Operand | None,
        past: Sequence[Operand],
        present: Sequence[Tensor],
        causal: bool,
    ) -> tuple[Operand, ...]:
        """The result as (N, L, heads · head), then keys and values with those of the past, where there are any."""
        n, heads, length, _ = queries.tensor.shape
        out = Tensor((n, heads, length, values.tensor.shape[3]), self.chain.node.outputs[0].dtype)
        operands = [queries, keys, values, *([] if mask is None else [mask]), *past]
        attributes: dict[str, Attribute] = {"is_causal": 1} if causal else {}
        left_out = (3,) if past and mask is None else ()
        more = tuple(present) if past else ()
        made = self.chain.step("Attention", tuple(operands), out, attributes, more, left_out)
        joined = self.chain.transpose(made, 0, 2, 1, 3)
        result = reshaped(joined, (n, length, heads * out.shape[3]))
        if past:
            return result, *[Operand(tensor, made.source, k) for k, tensor in enumerate(present, 1)]
        return result, keys, values


def masked(mask: Operand | None, batch: int) -> Operand | None:
    """A mask as it is added to scores (N, heads, L, S); one of lengths stays what it is."""
    if mask is None or mask.tensor.elements <= 1:
        return None
    shape = mask.tensor.shape
    if len(shape) == 2 and shape[0] == batch:
        return reshaped(mask, (shape[0], 1, 1, shape[1]))
    if len(shape) == 3:
        return reshaped(mask, (shape[0], 1, *shape[1:]))
    return mask if len(shape) == 4 else None


def projected(draft: Draft, index: int, node: Node) -> bool:
    """Attention of one value with itself, behind its projections: X (N, S, in), W (in, q + k + v)."""
    heads = _number(node, "num_heads")
    data, weight, bias = node.operand(0), node.operand(1), node.operand(2)
    if data is None or weight is None or weight.source is not None or heads < 1:
        return False
    chain = Chain(draft, index, node)
    by_heads = Heads(chain)
    given: object = node.attributes.get("qkv_hidden_sizes") or (weight.tensor.shape[1] // 3,) * 3
    assert isinstance(given, tuple)
    parts = []
    for name, size in zip(("query", "key", "value"), given, strict=True):
        width = int(size)
        matrix = Operand(Tensor((weight.tensor.shape[0], width), weight.tensor.dtype), name=f"{weight.name}.{name}")
        out = Tensor((*data.tensor.shape[:2], width), node.outputs[0].dtype)
        made = chain.step("MatMul", (data, matrix), out)
        if bias is not None:
            shift = Operand(Tensor((width,), bias.tensor.dtype), name=f"{bias.name}.{name}")
            made = chain.add(made, shift)
        parts.append(by_heads.split(made, heads))
    mask = masked(node.operand(5) or node.operand(3), data.tensor.shape[0])
    queries, keys, values = parts
    causal = bool(node.attributes.get("unidirectional"))
    past, both = node.operand(4), node.outputs[1] if len(node.outputs) > 1 else None
    before: list[Operand] = []
    present: list[Tensor] = []
    if past is not None and both is not None and len(past.tensor.shape) == len(both.shape) == 5:
        # Keys and values of the past stand one behind the other, as those of the present do.
        half = past.tensor._replace(shape=(1, *past.tensor.shape[1:]))
        first = chain.step("Split", (past,), half, {"axis": 0}, more=(half,))
        before = [reshaped(first._replace(output=k), half.shape[1:]) for k in range(2)]
        present = [both._replace(shape=both.shape[1:])] * 2
    elif past is not None:
        return False
    result, *written = by_heads.attend(queries, keys, values, mask, before, present, causal)
    return chain.done(result, *[written[0]] * (len(node.outputs) - 1))


def unpadded(draft: Draft, index: int, node: Node) -> bool:
    """Sequences without their padding are read as if none had any: the same elements, and nothing to be moved."""
    if node.operands[0].tensor.elements != node.outputs[0].elements:
        return False
    outputs = {0: node.operands[0]}
    for k, places in enumerate(node.outputs[1:], 1):
        outputs[k] = Operand(places, name=f"{node.name}.{k}")
    draft.drop_all(index, outputs)
    return True


def packed(draft: Draft, index: int, node: Node) -> bool:
    """Attention over sequences one behind the other, (tokens, ...), as over (N, S, ...) where none has padding."""
    alone = node.op == "PackedAttention"
    offsets, bias = node.operand(3 if alone else 4), node.operand(5 if alone else 6)
    if offsets is None or len(offsets.tensor.shape) != 2:
        return False
    tokens, rows = node.operands[0].tensor.shape[0], offsets.tensor.shape
    if tokens != rows[0] * rows[1]:
        return False

    def whole(tensor: Tensor) -> Tensor:
        return tensor._replace(shape=(*rows, *tensor.shape[1:]))

    kept: list[Operand | None] = [node.operand(k) for k in range(3 if alone else 4)]
    for k in range(1 if alone else 3):
        operand = kept[k]
        if operand is not None:
            kept[k] = operand._replace(tensor=whole(operand.tensor))
    kept += [None, None, bias] if alone else [None, bias]
    while kept[-1] is None:
        kept.pop()
    made = node._replace(
        op="Attention" if alone else "MultiHeadAttention",
        operands=tuple([operand for operand in kept if operand is not None]),
        outputs=tuple([whole(tensor) for tensor in node.outputs]),
        left_out=tuple([k for k, operand in enumerate(kept) if operand is None]),
    )
    return (projected if alone else multi_head)(draft, index, made)


def multi_head(draft: Draft, index: int, node: Node) -> bool:
    """Q (N, S, D) with K and V alike, or given by heads, or all packed as (N, S, heads, 3, head)."""
    chain, heads = Chain(draft, index, node), _number(node, "num_heads")
    by_heads = Heads(chain)
    inputs = [node.operand(k) for k in range(3)]
    shape = node.operands[0].tensor.shape
    present = list(node.outputs[1:3]) if len(node.outputs) >= 3 else []
    if len(shape) == 5:
        n, length, heads, _, head = shape
        part = Tensor((n, length, heads, 1, head), node.operands[0].tensor.dtype)
        first = chain.step("Split", (node.operands[0],), part, {"axis": 3, "num_outputs": 3}, more=(part, part))
        split = [first._replace(output=k) for k in range(3)]
        inputs = [reshaped(operand, (n, length, heads * head)) for operand in split]
    elif len(shape) != 3 or inputs[1] is None or inputs[2] is None or len(inputs[1].tensor.shape) == 5:
        return False
    bias, offset = node.operand(3) if node.op == "MultiHeadAttention" else None, 0
    parts: list[Operand] = []
    for operand in inputs:
        assert operand is not None
        if len(operand.tensor.shape) == 3:
            if bias is not None:
                width = operand.tensor.shape[2]
                shift = Operand(Tensor((width,), bias.tensor.dtype), name=f"{bias.name}.{offset}")
                operand = chain.add(operand, shift)
                offset += 1
            operand = by_heads.split(operand, heads)
        parts.append(operand)
    if node.op == "MultiHeadAttention":
        padding, added, past = node.operand(4), node.operand(5), [node.operand(6), node.operand(7)]
    else:
        padding, added, past = node.operand(3), node.operand(4), [node.operand(5), node.operand(6)]
    before = [operand for operand in past if operand is not None]
    if before and (len(before) != 2 or len(present) != 2):
        return False
    mask = masked(added, shape[0]) or masked(padding, shape[0])
    causal = bool(node.attributes.get("unidirectional"))
    return chain.done(*by_heads.attend(parts[0], parts[1], parts[2], mask, before, present, causal))


def group_query(draft: Draft, index: int, node: Node) -> bool:
    """Several query heads share a head of keys and values; Q, K, V may be packed; positions may be rotary."""
    chain = Chain(draft, index, node)
    by_heads = Heads(chain)
    heads, kv_heads = _number(node, "num_heads"), _number(node, "kv_num_heads")
    queries, keys, values = (node.operand(k) for k in range(3))
    if queries is None or heads < 1 or kv_heads < 1 or len(queries.tensor.shape) != 3:
        return False
    if keys is None or values is None:
        n, length, width = queries.tensor.shape
        head = width // (heads + 2 * kv_heads)
        outputs = [Tensor((n, length, count * head), queries.tensor.dtype) for count in (heads, kv_heads, kv_heads)]
        first = chain.step("Split", (queries,), outputs[0], {"axis": 2}, more=tuple(outputs[1:]))
        queries, keys, values = (Operand(tensor, first.source, k) for k, tensor in enumerate(outputs))
    parts = [
        by_heads.split(operand, count) for operand, count in ((queries, heads), (keys, kv_heads), (values, kv_heads))
    ]
    cosines, sines = node.operand(7), node.operand(8)
    if node.attributes.get("do_rotary") and cosines is not None and sines is not None:
        for k in range(2):
            parts[k] = chain.step("RotaryEmbedding", (parts[k], cosines, sines), parts[k].tensor)
    past = [operand for operand in (node.operand(3), node.operand(4)) if operand is not None]
    present = list(node.outputs[1:3])
    if past and (len(past) != 2 or len(present) != 2):
        return False
    mask = masked(node.operand(10), queries.tensor.shape[0])
    return chain.done(*by_heads.attend(parts[0], parts[1], parts[2], mask, past, present, True))


RULES: Mapping[str, Sequence[Rule]] = {
    **dict.fromkeys(
        [f"{MICROSOFT}.{op}" for op in ("SkipLayerNormalization", "SkipSimplifiedLayerNormalization")],
        (skip_normalization,),
    ),
    **dict.fromkeys(("SimplifiedLayerNormalization", f"{MICROSOFT}.SimplifiedLayerNormalization"), (simplified,)),
    f"{MICROSOFT}.EmbedLayerNormalization": (embedded,),
    **dict.fromkeys([f"{MICROSOFT}.{op}" for op in ("GroupNorm", "SkipGroupNorm")], (group_norm,)),
    **dict.fromkeys(("RotaryEmbedding", f"{MICROSOFT}.RotaryEmbedding"), (rotary,)),
    f"{MICROSOFT}.Attention": (projected,),
    **dict.fromkeys([f"{MICROSOFT}.{op}" for op in ("PackedAttention", "PackedMultiHeadAttention")], (packed,)),
    **dict.fromkeys([f"{MICROSOFT}.{op}" for op in ("RemovePadding", "RestorePadding")], (unpadded,)),
    **dict.fromkeys(
        [f"{MICROSOFT}.{op}" for op in ("MultiHeadAttention", "DecoderMaskedMultiHeadAttention")], (multi_head,)
    ),
    f"{MICROSOFT}.GroupQueryAttention": (group_query,),
}
