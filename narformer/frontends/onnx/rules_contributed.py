"""Output shapes of operators of com.microsoft that no optimiser writes for CPUs: packed sequences, caches, spectra.

Signatures: ONNX Runtime's documentation of its contributed operators (1.32).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from narformer.frontends.onnx.call import Call, Rule, UnknownShape, axis_of, broadcast
from narformer.frontends.onnx.rules_elementwise import same
from narformer.frontends.onnx.rules_products import gemm, matmul
from narformer.graph import Tensor

Tensors = Sequence[Tensor]


def remove_padding(call: Call) -> Tensors:
    """Sequences (N, S, D) one behind the other, as if none were padded; where each token was, and where each begins."""
    x = call.tensor(0)
    if len(x.shape) != 3:
        raise UnknownShape(f"sequences {list(x.shape)}")
    n, length, width = x.shape
    offsets = (Tensor((n, length), "int32"), Tensor((n + 1,), "int32"), Tensor((1,), "int32"))
    return (Tensor((n * length, width), x.dtype), *offsets)


def restore_padding(call: Call) -> Tensors:
    """Tokens (tokens, D) as sequences (N, S, D), of which the second operand says where each token belongs."""
    x, offsets = call.tensor(0), call.shape(1)
    if len(x.shape) != 2 or len(offsets) != 2:
        raise UnknownShape(f"tokens {list(x.shape)} of {list(offsets)}")
    return (Tensor((*offsets, x.shape[1]), x.dtype),)


def packed_attention(call: Call) -> Tensors:
    """Tokens (tokens, in) and weights (in, q + k + v) into (tokens, v)."""
    x, weight = call.tensor(0), call.shape(1)
    if len(x.shape) != 2 or len(weight) != 2:
        raise UnknownShape(f"tokens {list(x.shape)} and weights {list(weight)}")
    sizes = call.integers("qkv_hidden_sizes") or (weight[1] // 3,) * 3
    return (Tensor((x.shape[0], sizes[2]), x.dtype),)


def packed_multi_head_attention(call: Call) -> Tensors:
    """Queries (tokens, D) with keys and values alike, or all of them as (tokens, heads, 3, head)."""
    q = call.tensor(0)
    if len(q.shape) == 4:
        return (Tensor((q.shape[0], q.shape[1] * q.shape[3]), q.dtype),)
    if len(q.shape) != 2 or not call.has(2) or len(call.shape(2)) != 2:
        raise UnknownShape(f"queries {list(q.shape)} without their values")
    return (Tensor((q.shape[0], call.shape(2)[1]), q.dtype),)


def decoder_self_attention(call: Call) -> Tensors:
    """One more token (N, 1, in) behind a past (2, N, heads, P, head), which may be a buffer that the present shares."""
    x, weight, past = call.tensor(0), call.shape(1), call.tensor(4)
    if len(x.shape) != 3 or len(weight) != 2 or len(past.shape) != 5:
        raise UnknownShape(f"a sequence {list(x.shape)}, weights {list(weight)} and a past {list(past.shape)}")
    length = past.shape[3] if call.integer("past_present_share_buffer", 0) else past.shape[3] + x.shape[1]
    present = past._replace(shape=(*past.shape[:3], length, past.shape[4]))
    return (Tensor((*x.shape[:2], weight[1] // 3), x.dtype), present)


def sparse_attention(call: Call) -> Tensors:
    """As GroupQueryAttention with a buffer of keys and values, of which blocks are read."""
    q, past = call.tensor(0), [call.tensor(3), call.tensor(4)]
    heads, kv_heads = call.integer("num_heads", 0), call.integer("kv_num_heads", 0)
    if len(q.shape) != 3 or heads < 1 or kv_heads < 1:
        raise UnknownShape(f"queries {list(q.shape)} for {heads} and {kv_heads} heads")
    head = q.shape[2] // heads if call.has(1) else q.shape[2] // (heads + 2 * kv_heads)
    return (Tensor((*q.shape[:2], heads * head), q.dtype), *past)


def relative_bias(call: Call) -> Tensors:
    """A table (buckets, heads) looked up for every query and key: (1, heads, queries, keys)."""
    table = call.tensor(0)
    queries, keys = call.needed(1, "a number of queries"), call.needed(2, "a number of keys")
    if len(table.shape) != 2 or len(queries) != 1 or len(keys) != 1:
        raise UnknownShape(f"a table {list(table.shape)}")
    return (Tensor((1, table.shape[1], queries[0], keys[0]), table.dtype),)


def gated_relative_bias(call: Call) -> Tensors:
    """A bias (1, heads, S, S), scaled for each query (N, S, heads * head): (N, heads, S, S)."""
    q, bias = call.tensor(0), call.shape(2)
    if len(bias) != 4 or not q.shape:
        raise UnknownShape(f"queries {list(q.shape)} and a bias {list(bias)}")
    batch = call.shape(6)[0] if call.has(6) else q.shape[0]
    return (Tensor((batch, *bias[1:]), q.dtype),)


def embedded(call: Call) -> Tensors:
    """Word, position and segment embeddings of integers, summed and normalised as floats; then the mask's ends."""
    ids, words = call.shape(0), call.shape(2)
    return (Tensor((*ids, words[-1])), Tensor(ids[:1], "int32"))


def distances(call: Call) -> Tensors:
    """Of each row of one matrix to each of another."""
    first, second = call.tensor(0), call.shape(1)
    if len(first.shape) != 2 or len(second) != 2:
        raise UnknownShape(f"matrices {list(first.shape)} and {list(second)}")
    return (Tensor((first.shape[0], second[0]), first.dtype),)


def columns(*names: str) -> Rule:
    """Several products of packed weights over the last axis, as wide as these attributes say."""

    def rule(call: Call) -> Tensors:
        x = call.tensor(0)
        return tuple([x._replace(shape=(*x.shape[:-1], call.integer(name, 0))) for name in names])

    return rule


def spectrum(call: Call) -> Tensors:
    """Of real numbers: half of it and one more, each of two parts."""
    x = call.tensor(0)
    if not x.shape:
        raise UnknownShape("a signal without dimensions")
    return (x._replace(shape=(*x.shape[:-1], x.shape[-1] // 2 + 1, 2)),)


def from_spectrum(call: Call) -> Tensors:
    x = call.tensor(0)
    if len(x.shape) < 2:
        raise UnknownShape(f"a spectrum {list(x.shape)}")
    return (x._replace(shape=(*x.shape[:-2], 2 * (x.shape[-2] - 1))),)


def expanded(call: Call) -> Tensors:
    """One more axis of size 1, where the second operand says."""
    x, axis = call.tensor(0), call.needed(1, "an axis")
    place = axis_of(axis[0], len(x.shape) + 1)
    return (x._replace(shape=(*x.shape[:place], 1, *x.shape[place:])),)


def looked_up(call: Call) -> Tensors:
    table = call.tensor(0)
    return (table._replace(shape=(*call.shape(1), *table.shape[1:])),)


def product(call: Call) -> Tensors:
    return (Tensor(broadcast(call.shape(0), call.shape(1)), call.dtype(0)),)


CONTRIBUTED: Mapping[str, Rule] = {
    "RemovePadding": remove_padding,
    "RestorePadding": restore_padding,
    "PackedAttention": packed_attention,
    "PackedMultiHeadAttention": packed_multi_head_attention,
    "DecoderMaskedSelfAttention": decoder_self_attention,
    "SparseAttention": sparse_attention,
    "RelativePositionBias": relative_bias,
    "GatedRelativePositionBias": gated_relative_bias,
    "QEmbedLayerNormalization": embedded,
    "CDist": distances,
    "MatMulNBitsMlp": columns("N"),
    "MatMulNBitsQkv": columns("Nq", "Nkv", "Nkv"),
    "Rfft": spectrum,
    "Irfft": from_spectrum,
    "ExpandDims": expanded,
    "TorchEmbedding": looked_up,
    "GemmFloat8": gemm(),
    "MatMulInteger16": matmul(dtype="int32"),
    "QOrderedMatMul": matmul(0, 2),
    **dict.fromkeys(("ComplexMul", "ComplexMulConj"), product),
    **dict.fromkeys(("LongformerAttention", "QOrderedGelu", "QOrderedLayerNormalization", "ScaledSiLU"), same),
    **dict.fromkeys(("MRotaryEmbedding", "GatedRMSNorm", "BranchwiseRMSNorm"), same),
}
