"""Output shapes of operators that work element by element: arithmetic, activations, normalisation, quantisation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from narformer.frontends.onnx.call import Call, Misfit, Rule, UnknownShape, axis_of, broadcast
from narformer.frontends.tensors import DTYPES
from narformer.graph import Tensor

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
    if call.integer("spatial", 1):
        _one_a_channel(call, (1, 2, 3, 4))
    x = call.tensor(0)
    return (x, *(call.tensor(1) for _ in range(call.outputs - 1)))


def layer_normalization(call: Call) -> Tensors:
    """Mean and inverse deviation, if asked for, keep the leading axes and have 1 in each normalised one."""
    _over_last_axes(call)
    x = call.tensor(0)
    axis = axis_of(call.integer("axis", -1), len(x.shape))
    kept = Tensor(x.shape[:axis] + (1,) * (len(x.shape) - axis))
    return (x, kept, kept)


def root_mean_square_normalization(call: Call) -> Tensors:
    _over_last_axes(call)
    return same(call)


def channel_normalization(call: Call) -> Tensors:
    """InstanceNormalization and GroupNormalization: a scale and a bias for each channel, or each group."""
    _one_a_channel(call, (1, 2))
    return same(call)


def parametric_rectifier(call: Call) -> Tensors:
    """Slopes are broadcast to the data; before opset 7, one for each channel was written without the axes behind."""
    data, slope = call.shape(0), call.shape(1)
    if slope != data[1:2] and broadcast(data, slope) != data:
        raise Misfit(f"slopes {list(slope)} for data {list(data)}")
    return same(call)


def _one_a_channel(call: Call, positions: Sequence[int]) -> None:
    """Raises UnknownShape for a parameter that has another length than there are channels (or groups)."""
    data = call.shape(0)
    if len(data) < 2:
        return
    fitting = (data[1], call.integer("num_groups", data[1]))
    for position in positions:
        shape = call.shape(position) if call.has(position) else ()
        if len(shape) == 1 and shape[0] not in fitting:
            raise Misfit(f"its operand {position} has {shape[0]} numbers for {data[1]} channels")


def _over_last_axes(call: Call) -> None:
    """Raises UnknownShape for a scale or bias that fits none of the data's last axes."""
    data = call.shape(0)
    axis = axis_of(call.integer("axis", -1), len(data))
    for position in (1, 2):
        shape = call.shape(position) if call.has(position) else ()
        if math.prod(shape) != math.prod(data[axis:]) and broadcast(data, shape) != data:
            raise Misfit(f"its operand {position} is {list(shape)} for data {list(data)}")


def quantize(call: Call) -> Tensors:
    dtype = call.dtype(2) if call.has(2) else DTYPES.get(call.integer("output_dtype", 0), "uint8")
    return (Tensor(call.shape(0), dtype),)


def dequantize(call: Call) -> Tensors:
    return (Tensor(call.shape(0), DTYPES.get(call.integer("output_dtype", 0), call.dtype(1))),)


def dynamic_quantize(call: Call) -> Tensors:
    return (Tensor(call.shape(0), "uint8"), Tensor(()), Tensor((), "uint8"))


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
    "HardSigmoid",
    "HardSwish",
    "Hardmax",
    "Identity",
    "LRN",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "MeanVarianceNormalization",
    "Mish",
    "Neg",
    "Not",
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
    "StringConcat",
    "Sub",
    "Sum",
    "Xor",
]


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_SAME, same),
    **dict.fromkeys(_ELEMENTWISE, elementwise),
    **dict.fromkeys(("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"), comparison),
    **dict.fromkeys(("IsInf", "IsNaN", "RegexFullMatch"), as_type("bool")),
    **dict.fromkeys(("Bernoulli", "RandomNormalLike", "RandomUniformLike"), like),
    **dict.fromkeys(("BitCast", "Cast"), cast),
    "CastLike": lambda call: (Tensor(call.shape(0), call.dtype(1)),),
    "Where": where,
    "Dropout": dropout,
    "BatchNormalization": batch_normalization,
    "LayerNormalization": layer_normalization,
    "RMSNormalization": root_mean_square_normalization,
    **dict.fromkeys(("GroupNormalization", "InstanceNormalization"), channel_normalization),
    "PRelu": parametric_rectifier,
    "QuantizeLinear": quantize,
    "DequantizeLinear": dequantize,
    "DynamicQuantizeLinear": dynamic_quantize,
}
