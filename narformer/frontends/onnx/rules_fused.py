"""Output shapes of the operators that ONNX Runtime's optimiser and quantiser write (domain com.microsoft).

Signatures: ONNX Runtime's documentation of its contributed operators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from narformer.frontends.onnx.call import Call, Rule, UnknownShape, broadcast
from narformer.frontends.onnx.rules_elementwise import same
from narformer.frontends.onnx.rules_products import gemm, matmul, multiplied
from narformer.frontends.onnx.rules_reductions import reduced
from narformer.frontends.onnx.rules_windows import convolution, global_pool, pool_channels_last, windows
from narformer.graph import Shape, Tensor

Tensors = Sequence[Tensor]


def fused_matmul(call: Call) -> Tensors:
    """A matrix product with either side transposed, in its last two axes or as batches (transBatch)."""
    shapes = []
    for position, side in enumerate("AB"):
        shape = call.shape(position)
        if len(shape) > 2 and call.integer(f"transBatch{side}", 0):
            shape = (*shape[1:-1], shape[0], shape[-1])
        if len(shape) > 1 and call.integer(f"trans{side}", 0):
            shape = (*shape[:-2], shape[-1], shape[-2])
        shapes.append(shape)
    return (Tensor(multiplied(*shapes), call.dtype(0)),)


def matmul_packed(call: Call) -> Tensors:
    """Weights of a few bits each, packed: their sizes are the attributes K and N."""
    x = call.tensor(0)
    if not x.shape or x.shape[-1] != call.integer("K", 0):
        raise UnknownShape(f"data {list(x.shape)} for K = {call.attributes.get('K')}")
    return (Tensor((*x.shape[:-1], call.integer("N", 0)), x.dtype),)


def quantized_gemm(call: Call) -> Tensors:
    return gemm(0, 3, call.dtype(8) if call.has(8) else "float32")(call)


def attention(bias: int = 2, past: int = 4, dtype: str = "") -> Rule:
    """Self-attention and its projection: X (N, S, in), W (in, q + k + v); the past is (2, N, heads, P, head)."""

    def rule(call: Call) -> Tensors:
        x, weight = call.shape(0), call.shape(1)
        heads = call.integer("num_heads", 0)
        if len(x) != 3 or len(weight) != 2 or heads < 1:
            raise UnknownShape(f"a sequence {list(x)} and weights {list(weight)} for {heads} heads")
        sizes = call.integers("qkv_hidden_sizes") or (weight[1] // 3,) * 3
        before = call.shape(past)[3] if call.has(past) else 0
        out: Shape = (*x[:2], sizes[2])
        present = (2, x[0], heads, before + x[1], sizes[1] // heads)
        kind = dtype or call.dtype(bias)
        return (Tensor(out, kind), Tensor(present, kind))

    return rule


def multi_head_attention(call: Call) -> Tensors:
    """Attention proper: Q (N, S, D), K and V alike or (N, heads, L, head); or all packed as (N, S, heads, 3, head)."""
    q, heads = call.tensor(0), call.integer("num_heads", 0)
    if heads < 1 or len(q.shape) not in (3, 5):
        raise UnknownShape(f"queries {list(q.shape)} for {heads} heads")
    past = call.shape(6)[2] if call.has(6) and len(call.shape(6)) == 4 else 0
    if len(q.shape) == 5:
        keys, head, width = q.shape[1], q.shape[4], q.shape[2] * q.shape[4]
    elif not call.has(1):
        raise UnknownShape("its keys are missing")
    else:
        key = call.shape(1)
        keys, head = (key[2], key[3]) if len(key) == 4 else (key[1], q.shape[2] // heads)
        value = call.shape(2) if call.has(2) else q.shape
        width = value[1] * value[3] if len(value) == 4 else value[-1]
        if len(key) == 5:  # keys and values packed as (N, L, heads, 2, head)
            width = q.shape[2]
    total = past + keys
    present = [Tensor((q.shape[0], heads, total, h), q.dtype) for h in (head, width // heads)]
    scores = Tensor((q.shape[0], heads, q.shape[1], total), q.dtype)
    return (Tensor((*q.shape[:2], width), q.dtype), *present, scores)


def group_query_attention(call: Call) -> Tensors:
    """Several query heads share one head of keys and values; Q, K, V may be packed into the first operand.

    The past may be a buffer as long as it will ever be, which the present then shares: max(past, total), where the
    number of keys in all (operand 6) is known; else the past is as long as it is, and the new keys come behind it.
    """
    q = call.tensor(0)
    heads, kv_heads = call.integer("num_heads", 0), call.integer("kv_num_heads", 0)
    if len(q.shape) != 3 or heads < 1 or kv_heads < 1:
        raise UnknownShape(f"queries {list(q.shape)} for {heads} and {kv_heads} heads")
    head = q.shape[2] // heads if call.has(1) else q.shape[2] // (heads + 2 * kv_heads)
    past = call.shape(3)[2] if call.has(3) else 0
    total = call.known(6) if call.has(6) else None
    length = max(past, total[0] if total else past + q.shape[1])
    kind = call.dtype(3) if call.has(3) else q.dtype
    present = Tensor((q.shape[0], kv_heads, length, head), kind)
    return (Tensor((*q.shape[:2], heads * head), q.dtype), present, present)


def skip_normalization(call: Call) -> Tensors:
    """The sum of input and skip, normalised; then mean, inverse deviation, and the sum itself."""
    x = call.tensor(0)
    kept = Tensor((*x.shape[:-1], 1))
    return (x, kept, kept, x)


def embed_normalization(call: Call) -> Tensors:
    """Word, position and segment embeddings, summed and normalised; then the mask's ends, and the sum."""
    ids, words = call.shape(0), call.tensor(2)
    out = Tensor((*ids, words.shape[-1]), words.dtype)
    return (out, Tensor(ids[:1], "int32"), out)


def bias_split_gelu(call: Call) -> Tensors:
    x = call.tensor(0)
    return (Tensor((*x.shape[:-1], x.shape[-1] // 2), x.dtype),)


def quantized_pair(call: Call) -> Tensors:
    """Element-wise over two quantised tensors: each is followed by its scale and zero point."""
    return (Tensor(broadcast(call.shape(0), call.shape(3)), call.dtype(0)),)


def quantized_where(call: Call) -> Tensors:
    return (Tensor(broadcast(call.shape(0), call.shape(1), call.shape(4)), call.dtype(1)),)


def quantized_concat(call: Call) -> Tensors:
    """The result's scale and zero point come first, then each tensor with its own."""
    tensors = [call.tensor(k) for k in range(2, len(call.operands), 3)]
    if not tensors:
        raise UnknownShape("it reads nothing")
    first, axis = tensors[0].shape, call.integer("axis", 1) % max(len(tensors[0].shape), 1)
    if any(len(t.shape) != len(first) for t in tensors):
        raise UnknownShape("its tensors differ in rank")
    joined = sum(t.shape[axis] for t in tensors)
    return (Tensor((*first[:axis], joined, *first[axis + 1 :]), tensors[0].dtype),)


def dynamic_quantize_lstm(call: Call) -> Tensors:
    """As LSTM, with weights transposed: W (directions, in, 4 * hidden), R (directions, hidden, 4 * hidden)."""
    x, weight = call.tensor(0), call.shape(2)
    if len(x.shape) != 3 or len(weight) != 3:
        raise UnknownShape(f"a sequence {list(x.shape)} and recurrent weights {list(weight)}")
    last = Tensor((weight[0], x.shape[1], weight[1]))
    return (Tensor((x.shape[0], weight[0], x.shape[1], weight[1])), last, last)


def blocked_convolution(call: Call) -> Tensors:
    """Channels in blocks, as the domain com.microsoft.nchwc has them: filters are padded to whole blocks.

    A block holds 8 or 16 channels, whatever the vectors of the processor hold on which the file was written.
    """
    data, filters = call.shape(0), call.shape(1)
    group = call.integer("group", 1)
    if len(data) < 3 or len(filters) != len(data):
        raise UnknownShape(f"data {list(data)} and filters {list(filters)}")
    if not any(filters[1] * group == -(-data[1] // block) * block for block in (1, 8, 16)):
        raise UnknownShape(f"{data[1]} channels into filters {list(filters)}")
    sizes = windows(call, data[2:], call.integers("kernel_shape") or filters[2:])
    return (Tensor((data[0], filters[0], *sizes), call.dtype(0)),)


def convolution_channels_last(filters_last: bool) -> Rule:
    """Data (N, *sizes, channels); filters (out, *window, in), or, not last, (out, in, *window)."""

    def rule(call: Call) -> Tensors:
        data, filters = call.shape(0), call.shape(1)
        if len(data) < 3 or len(filters) != len(data):
            raise UnknownShape(f"data {list(data)} and filters {list(filters)}")
        channels, window = (filters[-1], filters[1:-1]) if filters_last else (filters[1], filters[2:])
        if data[-1] != channels * call.integer("group", 1):
            raise UnknownShape(f"{data[-1]} channels into filters {list(filters)}")
        sizes = windows(call, data[1:-1], call.integers("kernel_shape") or window)
        return (Tensor((data[0], *sizes, filters[0]), call.dtype(0)),)

    return rule


def linear_attention(call: Call) -> Tensors:
    """Q, K (N, steps, heads * key) and V alike into (N, steps, heads * value), and the state (N, heads, key, value)."""
    q, key, value = call.tensor(0), call.shape(1), call.shape(2)
    heads, kv_heads = call.integer("q_num_heads", 0), call.integer("kv_num_heads", 0)
    if len(q.shape) != 3 or len(key) != 3 or len(value) != 3 or heads < 1 or kv_heads < 1:
        raise UnknownShape(f"queries {list(q.shape)} and values {list(value)} for {heads} and {kv_heads} heads")
    width = value[2] // kv_heads
    out = Tensor((*q.shape[:2], max(heads, kv_heads) * width), q.dtype)
    state = (q.shape[0], kv_heads, key[2] // kv_heads, width)
    return (out, call.tensor(3) if call.has(3) else Tensor(state, q.dtype))


def gather_packed(call: Call) -> Tensors:
    """Rows of a table of a few bits a number, several to a byte of its last axis, in the type of its scales."""
    data, places = call.tensor(0), call.shape(1)
    axis = call.integer("gather_axis", 0) % max(len(data.shape), 1)
    share = 8 // call.integer("bits", 4) if data.dtype == "uint8" else 1
    shape = (*data.shape[:-1], data.shape[-1] * share)
    return (Tensor((*shape[:axis], *places, *shape[axis + 1 :]), call.dtype(2)),)


def reorder_input(call: Call) -> Tensors:
    """Into blocks of channels, which are the second axis, or the last as the node may say."""
    x = call.tensor(0)
    if not call.integer("channels_last", 0):
        return (x,)
    return (Tensor((x.shape[0], x.shape[-1], *x.shape[1:-1]), x.dtype),)


def reorder_output(call: Call) -> Tensors:
    """Back from blocks of channels, to the second axis or to the last."""
    x = call.tensor(0)
    channels = call.integer("channels", x.shape[1])
    if call.integer("channels_last", 0):
        return (Tensor((x.shape[0], *x.shape[2:], channels), x.dtype),)
    return (Tensor((x.shape[0], channels, *x.shape[2:]), x.dtype),)


_SAME = [
    "BiasAdd",
    "BiasDropout",
    "BiasGelu",
    "BiasSoftmax",
    "FastGelu",
    "Gelu",
    "GroupNorm",
    "Inverse",
    "MoE",
    "QLinearLeakyRelu",
    "QLinearSigmoid",
    "QLinearSoftmax",
    "QMoE",
    "QuickGelu",
    "RotaryEmbedding",
    "GemmaRotaryEmbedding",
    "SimplifiedLayerNormalization",
    "Trilu",
]

BLOCKED: Mapping[str, Rule] = {"Conv": blocked_convolution}

FUSED: Mapping[str, Rule] = {
    **dict.fromkeys(_SAME, same),
    "FusedConv": convolution(),
    "NhwcConv": convolution_channels_last(True),
    "NhwcFusedConv": convolution_channels_last(False),
    "LinearAttention": linear_attention,
    "GatherBlockQuantized": gather_packed,
    "FusedGemm": gemm(),
    "GemmFastGelu": matmul(),
    **dict.fromkeys(("FusedMatMul", "TransposeMatMul", "FusedMatMulActivation"), fused_matmul),
    **dict.fromkeys(("MatMulIntegerToFloat", "DynamicQuantizeMatMul"), matmul(dtype="float32")),
    **dict.fromkeys(("MatMulNBits", "MatMulBnb4", "MatMulFpQ4"), matmul_packed),
    "QGemm": quantized_gemm,
    "Attention": attention(),
    "QAttention": attention(past=8),
    **dict.fromkeys(("MultiHeadAttention", "DecoderMaskedMultiHeadAttention"), multi_head_attention),
    "GroupQueryAttention": group_query_attention,
    **dict.fromkeys(("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"), skip_normalization),
    "SkipGroupNorm": lambda call: (call.tensor(0), call.tensor(0)),
    "EmbedLayerNormalization": embed_normalization,
    "BiasSplitGelu": bias_split_gelu,
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), quantized_pair),
    "QLinearWhere": quantized_where,
    "QLinearConcat": quantized_concat,
    **dict.fromkeys(("QLinearAveragePool", "NhwcMaxPool"), pool_channels_last),
    "QLinearGlobalAveragePool": global_pool,
    "QLinearReduceMean": reduced,
    "DynamicQuantizeLSTM": dynamic_quantize_lstm,
    "ReorderInput": reorder_input,
    "ReorderOutput": reorder_output,
}
