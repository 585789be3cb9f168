"""Output shapes of operators that compute: element-wise, convolutions, products, pooling, normalisation, recurrence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from narformer.frontends.call import Call, Rule, UnknownShape, axes_of, axis_of, broadcast
from narformer.frontends.tensors import DTYPES
from narformer.graph import Shape, Tensor

Tensors = Sequence[Tensor]


def same(call: Call) -> Tensors:
    return (call.tensor(0),)


def as_type(dtype: str) -> Rule:
    return lambda call: (Tensor(call.shape(0), dtype),)


def elementwise(call: Call) -> Tensors:
    present = [t.shape for t in call.operands if t is not None]
    if not present:
        raise UnknownShape("it reads nothing")
    if call.opset < 7:  # broadcasting went one way then
        return (call.tensor(0),)
    return (Tensor(broadcast(*present), call.dtype(0)),)


def comparison(call: Call) -> Tensors:
    return (Tensor(elementwise(call)[0].shape, "bool"),)


def where(call: Call) -> Tensors:
    return (Tensor(broadcast(call.shape(0), call.shape(1), call.shape(2)), call.dtype(1)),)


def cast(call: Call) -> Tensors:
    return (Tensor(call.shape(0), DTYPES.get(call.integer("to", 1), "float32")),)


def like(call: Call) -> Tensors:
    """Random tensors of the first operand's shape."""
    dtype = DTYPES.get(call.integer("dtype", 0), call.dtype(0))
    return (Tensor(call.shape(0), dtype),)


def dropout(call: Call) -> Tensors:
    return (call.tensor(0), Tensor(call.shape(0), "bool"))


def batch_normalization(call: Call) -> Tensors:
    """In training mode running statistics follow, one for each channel."""
    x = call.tensor(0)
    return (x, *(call.tensor(1) for _ in range(call.outputs - 1)))


def layer_normalization(call: Call) -> Tensors:
    """Mean and inverse deviation, if asked for, keep the leading axes and have 1 in each normalised one."""
    x = call.tensor(0)
    axis = axis_of(call.integer("axis", -1), len(x.shape))
    kept = Tensor(x.shape[:axis] + (1,) * (len(x.shape) - axis))
    return (x, kept, kept)


def windows(
    call: Call, spatial: Shape, kernel: Shape, *, ceil: bool = False, strides: Shape = (), transposed: bool = False
) -> Shape:
    """Output sizes of a window that slides over `spatial`, or, transposed, of what such windows would have read."""
    rank = len(spatial)
    if len(kernel) != rank:
        raise UnknownShape(f"a kernel {list(kernel)} over {rank} spatial axes")
    strides = strides or call.integers("strides") or (1,) * rank
    dilations = call.integers("dilations") or (1,) * rank
    pads = call.integers("pads") or (0,) * (2 * rank)
    if len(strides) != rank or len(dilations) != rank or len(pads) != 2 * rank or min((*strides, *dilations)) < 1:
        raise UnknownShape("strides, dilations or pads do not fit its kernel")
    auto = str(call.attributes.get("auto_pad", "NOTSET"))
    sizes = []
    for k, size in enumerate(spatial):
        window = (kernel[k] - 1) * dilations[k] + 1
        padding = pads[k] + pads[k + rank] if auto == "NOTSET" else 0
        if transposed:
            grown = call.integers("output_padding") or (0,) * rank
            if auto.startswith("SAME"):
                sizes.append(size * strides[k])
            else:
                sizes.append(strides[k] * (size - 1) + grown[k] + window - padding)
        elif auto.startswith("SAME"):
            sizes.append(-(-size // strides[k]))
        else:
            steps = size + padding - window
            count = (-(-steps // strides[k]) if ceil else steps // strides[k]) + 1
            # A last window that would start in the padding behind the data is left out.
            if ceil and count > 1 and (count - 1) * strides[k] >= size + pads[k]:
                count -= 1
            sizes.append(count)
    if any(s < 0 for s in sizes):
        raise UnknownShape(f"a window larger than what it slides over: {list(spatial)}")
    return tuple(sizes)


def convolution(x: int = 0, w: int = 1, dtype: str = "") -> Rule:
    """Data at operand x, filters at operand w."""

    def rule(call: Call) -> Tensors:
        data, filters = call.shape(x), call.shape(w)
        if len(data) < 3 or len(filters) != len(data):
            raise UnknownShape(f"data {list(data)} and filters {list(filters)}")
        if data[1] != filters[1] * call.integer("group", 1):
            raise UnknownShape(f"{data[1]} channels into filters {list(filters)}")
        sizes = windows(call, data[2:], call.integers("kernel_shape") or filters[2:])
        return (Tensor((data[0], filters[0], *sizes), dtype or call.dtype(x)),)

    return rule


def qlinear_conv(call: Call) -> Tensors:
    """As a convolution; ONNX Runtime's own form may have the channels last."""
    x, w = call.shape(0), call.shape(3)
    if call.integer("channels_last", 0) and len(x) > 2:
        sizes = windows(call, x[1:-1], call.integers("kernel_shape") or w[2:])
        return (Tensor((x[0], *sizes, w[0]), call.dtype(0)),)
    return convolution(0, 3)(call)


def convolution_transposed(call: Call) -> Tensors:
    data, filters = call.shape(0), call.shape(1)
    if len(data) < 3 or len(filters) != len(data):
        raise UnknownShape(f"data {list(data)} and filters {list(filters)}")
    channels = filters[1] * call.integer("group", 1)
    sizes = call.integers("output_shape")
    if sizes and len(sizes) == len(data):
        sizes = sizes[2:]
    sizes = sizes or windows(call, data[2:], call.integers("kernel_shape") or filters[2:], transposed=True)
    return (Tensor((data[0], channels, *sizes), call.dtype(0)),)


def deformable_convolution(call: Call) -> Tensors:
    return convolution()(call)


def pool(call: Call) -> Tensors:
    x = call.tensor(0)
    if len(x.shape) < 3:
        raise UnknownShape(f"pooling over {list(x.shape)}")
    ceil = bool(call.integer("ceil_mode", 0))
    out = Tensor((*x.shape[:2], *windows(call, x.shape[2:], call.integers("kernel_shape"), ceil=ceil)), x.dtype)
    return (out, Tensor(out.shape, "int64"))


def pool_channels_last(call: Call) -> Tensors:
    """ONNX Runtime's quantised pooling: channels last if it says so."""
    x = call.tensor(0)
    if not call.integer("channels_last", int(call.node.op_type.startswith("Nhwc"))):
        return pool(call)[:1]
    sizes = windows(call, x.shape[1:-1], call.integers("kernel_shape"), ceil=bool(call.integer("ceil_mode", 0)))
    return (Tensor((x.shape[0], *sizes, x.shape[-1]), x.dtype),)


def global_pool(call: Call) -> Tensors:
    x = call.tensor(0)
    if call.integer("channels_last", 0):
        return (Tensor((x.shape[0], *(1,) * (len(x.shape) - 2), x.shape[-1]), x.dtype),)
    return (Tensor(x.shape[:2] + (1,) * (len(x.shape) - 2), x.dtype),)


def max_unpool(call: Call) -> Tensors:
    x = call.tensor(0)
    if call.has(2):
        return (Tensor(call.needed(2, "an output shape"), x.dtype),)
    sizes = windows(call, x.shape[2:], call.integers("kernel_shape"), transposed=True)
    return (Tensor((*x.shape[:2], *sizes), x.dtype),)


def gemm(a: int = 0, b: int = 1, dtype: str = "") -> Rule:
    def rule(call: Call) -> Tensors:
        first, second = call.shape(a), call.shape(b)
        if len(first) != 2 or len(second) != 2:
            raise UnknownShape(f"matrices {list(first)} and {list(second)}")
        rows, inner = first[::-1] if call.integer("transA", 0) else first
        inner_b, columns = second[::-1] if call.integer("transB", 0) else second
        if inner != inner_b:
            raise UnknownShape(f"matrices {list(first)} and {list(second)} do not fit together")
        return (Tensor((rows, columns), dtype or call.dtype(a)),)

    return rule


def multiplied(first: Shape, second: Shape) -> Shape:
    """The shape of NumPy's matmul."""
    if not first or not second:
        raise UnknownShape("a product with a scalar")
    a = (1, *first) if len(first) == 1 else first
    b = (*second, 1) if len(second) == 1 else second
    if a[-1] != b[-2]:
        raise UnknownShape(f"matrices {list(first)} and {list(second)} do not fit together")
    out = (*broadcast(a[:-2], b[:-2]), a[-2], b[-1])
    if len(second) == 1:
        out = out[:-1]
    return out[: -1 - (len(second) > 1)] + out[len(out) - (len(second) > 1) :] if len(first) == 1 else out


def matmul(a: int = 0, b: int = 1, dtype: str = "") -> Rule:
    def rule(call: Call) -> Tensors:
        first, second = call.shape(a), call.shape(b)
        if len(first) > 1 and call.integer("transA", 0):
            first = (*first[:-2], first[-1], first[-2])
        if len(second) > 1 and call.integer("transB", 0):
            second = (*second[:-2], second[-1], second[-2])
        return (Tensor(multiplied(first, second), dtype or call.dtype(a)),)

    return rule


def einsum(call: Call) -> Tensors:
    left, arrow, right = str(call.attributes.get("equation", "")).replace(" ", "").partition("->")
    sizes: dict[str, int] = {}
    extra: Shape = ()
    for position, term in enumerate(left.split(",")):
        shape = call.shape(position)
        before, dots, after = term.partition("...")
        spare = len(shape) - len(before) - len(after)
        if spare < 0 or (spare and not dots):
            raise UnknownShape(f"term {term!r} for a tensor of shape {list(shape)}")
        extra = broadcast(extra, shape[len(before) : len(before) + spare])
        for letter, size in [
            *zip(before, shape, strict=False),
            *zip(after, shape[len(before) + spare :], strict=True),
        ]:
            if sizes.setdefault(letter, size) == 1:
                sizes[letter] = size
    if not arrow:
        letters = left.replace(".", "").replace(",", "")
        right = ("..." if "..." in left else "") + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    before, dots, after = right.partition("...")
    if not all(letter in sizes for letter in before + after):
        raise UnknownShape(f"equation {left}->{right}")
    out = tuple(sizes[c] for c in before) + (extra if dots else ()) + tuple(sizes[c] for c in after)
    return (Tensor(out, call.dtype(0)),)


def recurrent(call: Call) -> Tensors:
    """Y (steps, directions, N, hidden), then the last hidden and cell state (directions, N, hidden)."""
    x, weight = call.tensor(0), call.shape(2)  # R: (directions, gates * hidden, hidden)
    if len(x.shape) != 3 or len(weight) != 3:
        raise UnknownShape(f"a sequence {list(x.shape)} and recurrent weights {list(weight)}")
    directions, hidden = weight[0], call.integer("hidden_size", weight[2])
    if call.integer("layout", 0):
        batch, steps = x.shape[:2]
        shapes: list[Shape] = [(batch, steps, directions, hidden), *[(batch, directions, hidden)] * 2]
    else:
        steps, batch = x.shape[:2]
        shapes = [(steps, directions, batch, hidden), *[(directions, batch, hidden)] * 2]
    return [Tensor(s, x.dtype) for s in shapes]


def attention(call: Call) -> Tensors:
    """Y like Q with V's width; present keys and values with the past in front; the scores of every head."""
    q, k, v = call.shape(0), call.shape(1), call.shape(2)
    dtype = call.dtype(0)
    past = call.shape(4)[2] if call.has(4) else 0
    if len(q) == 4:
        heads, kv_heads, queries = q[1], k[1], q[2]
        out: Shape = (*q[:3], v[3])
        key, value = (k[0], kv_heads, past + k[2], k[3]), (v[0], kv_heads, past + v[2], v[3])
    else:
        heads, kv_heads, queries = call.integer("q_num_heads", 1), call.integer("kv_num_heads", 1), q[1]
        if not heads or not kv_heads or len(k) != 3 or len(v) != 3:
            raise UnknownShape("its numbers of heads are missing")
        out = (*q[:2], heads * v[2] // kv_heads)
        key = (k[0], kv_heads, past + k[1], k[2] // kv_heads)
        value = (v[0], kv_heads, past + v[1], v[2] // kv_heads)
    scores = (q[0], heads, queries, key[2])
    return [Tensor(s, dtype) for s in (out, key, value, scores)]


def reduced(call: Call) -> Tensors:
    x = call.tensor(0)
    none_given = call.has(1) and not call.tensor(1).elements
    axes = () if none_given else call.listed("axes", 1, "the axes to reduce")
    if not axes:
        if call.integer("noop_with_empty_axes", 0):
            return (x,)
        axes = tuple(range(len(x.shape)))
    return (Tensor(_without(x.shape, axes, call.integer("keepdims", 1)), x.dtype),)


def arg_extremum(call: Call) -> Tensors:
    shape = call.shape(0)
    return (Tensor(_without(shape, (call.integer("axis", 0),), call.integer("keepdims", 1)), "int64"),)


def _without(shape: Shape, axes: Sequence[int], keep: int) -> Shape:
    gone = set(axes_of(axes, len(shape)))
    if keep:
        return tuple(1 if k in gone else s for k, s in enumerate(shape))
    return tuple(s for k, s in enumerate(shape) if k not in gone)


def quantize(call: Call) -> Tensors:
    dtype = call.dtype(2) if call.has(2) else DTYPES.get(call.integer("output_dtype", 0), "uint8")
    return (Tensor(call.shape(0), dtype),)


def dequantize(call: Call) -> Tensors:
    return (Tensor(call.shape(0), DTYPES.get(call.integer("output_dtype", 0), call.dtype(1))),)


def dynamic_quantize(call: Call) -> Tensors:
    return (Tensor(call.shape(0), "uint8"), Tensor(()), Tensor((), "uint8"))


def roi_align(call: Call) -> Tensors:
    sizes = (call.integer("output_height", 1), call.integer("output_width", 1))
    return (Tensor((call.shape(1)[0], call.shape(0)[1], *sizes), call.dtype(0)),)


def grid_sample(call: Call) -> Tensors:
    return (Tensor((*call.shape(0)[:2], *call.shape(1)[1:-1]), call.dtype(0)),)


def loss(call: Call) -> Tensors:
    """Negative log likelihood and cross entropy: a scalar, or one number for each target."""
    x = call.tensor(0)
    out = () if str(call.attributes.get("reduction", "mean")) != "none" else call.shape(1)
    return (Tensor(out, x.dtype), x)


def top_k(call: Call) -> Tensors:
    x = call.tensor(0)
    axis = axis_of(call.integer("axis", -1), len(x.shape))
    count = (call.integer("k", 1),) if "k" in call.attributes else call.known(1)
    size = x.shape[axis] if not count else count[0]  # all of them at most
    shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
    return (Tensor(shape, x.dtype), Tensor(shape, "int64"))


def non_max_suppression(call: Call) -> Tensors:
    """The most boxes that can be kept: how many are is known only when it runs."""
    boxes, scores = call.shape(0), call.shape(1)
    if len(boxes) != 3 or len(scores) != 3:
        raise UnknownShape(f"boxes {list(boxes)} and scores {list(scores)}")
    limit = call.known(2) if call.has(2) else (0,)
    kept = boxes[1] if not limit else min(max(limit[0], 0), boxes[1])
    return (Tensor((scores[0] * scores[1] * kept, 3), "int64"),)


def roi_pool(call: Call) -> Tensors:
    sizes = call.integers("pooled_shape")
    return (Tensor((call.shape(1)[0], call.shape(0)[1], *sizes), call.dtype(0)),)


def multinomial(call: Call) -> Tensors:
    dtype = DTYPES.get(call.integer("dtype", 6), "int32")
    return (Tensor((call.shape(0)[0], call.integer("sample_size", 1)), dtype),)


_SAME = [
    "Abs",
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "BitwiseNot",
    "Ceil",
    "Celu",
    "Clip",
    "Cos",
    "Cosh",
    "CumProd",
    "CumSum",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "GroupNormalization",
    "HardSigmoid",
    "HardSwish",
    "Hardmax",
    "Identity",
    "InstanceNormalization",
    "LRN",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "MeanVarianceNormalization",
    "Mish",
    "Neg",
    "Not",
    "PRelu",
    "RMSNormalization",
    "Reciprocal",
    "Relu",
    "ReverseSequence",
    "RotaryEmbedding",
    "Round",
    "Scatter",
    "ScatterElements",
    "ScatterND",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softmax",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Swish",
    "Tan",
    "Tanh",
    "TensorScatter",
    "ThresholdedRelu",
    "Trilu",
    "SimplifiedLayerNormalization",
    "ThresholdedRelu",
    "Affine",
    "ImageScaler",
    "ParametricSoftplus",
    "ScaledTanh",
]
_ELEMENTWISE = [
    "Add",
    "And",
    "BitShift",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "Div",
    "Max",
    "Mean",
    "Min",
    "Mod",
    "Mul",
    "Or",
    "Pow",
    "Sub",
    "Sum",
    "Xor",
]
_REDUCTIONS = ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"]

RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_SAME, same),
    **dict.fromkeys(_ELEMENTWISE, elementwise),
    **dict.fromkeys(("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"), comparison),
    **dict.fromkeys((f"Reduce{kind}" for kind in _REDUCTIONS), reduced),
    **dict.fromkeys(("ArgMax", "ArgMin"), arg_extremum),
    **dict.fromkeys(("IsInf", "IsNaN"), as_type("bool")),
    **dict.fromkeys(("Bernoulli", "RandomNormalLike", "RandomUniformLike"), like),
    "Where": where,
    "Cast": cast,
    "CastLike": lambda call: (Tensor(call.shape(0), call.dtype(1)),),
    "Dropout": dropout,
    "BatchNormalization": batch_normalization,
    "LayerNormalization": layer_normalization,
    "Conv": convolution(),
    "ConvInteger": convolution(dtype="int32"),
    "QLinearConv": qlinear_conv,
    "DeformConv": deformable_convolution,
    "ConvTranspose": convolution_transposed,
    **dict.fromkeys(("AveragePool", "LpPool", "MaxPool"), pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool"), global_pool),
    "MaxUnpool": max_unpool,
    "Gemm": gemm(),
    "MatMul": matmul(),
    "MatMulInteger": matmul(dtype="int32"),
    "QLinearMatMul": matmul(0, 3),
    "Einsum": einsum,
    **dict.fromkeys(("GRU", "LSTM", "RNN"), recurrent),
    "Attention": attention,
    "QuantizeLinear": quantize,
    "DequantizeLinear": dequantize,
    "DynamicQuantizeLinear": dynamic_quantize,
    "BitCast": cast,
    "StringConcat": elementwise,
    "RegexFullMatch": as_type("bool"),
    "MaxRoiPool": roi_pool,
    "Multinomial": multinomial,
    "RoiAlign": roi_align,
    "GridSample": grid_sample,
    **dict.fromkeys(("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"), loss),
    "TopK": top_k,
    "NonMaxSuppression": non_max_suppression,
    "Det": lambda call: (Tensor(call.shape(0)[:-2], call.dtype(0)),),
}
