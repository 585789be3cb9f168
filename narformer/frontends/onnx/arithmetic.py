"""Arithmetic on shapes that exporters leave in a network (Shape, Gather, Slice, Concat, …), computed where it can be.

Only tensors of at most LARGEST elements are computed: what comes out is known to be as small before any of it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from narformer.frontends.onnx.arithmetic_indexing import COMPUTE as INDEXING
from narformer.frontends.onnx.call import Call, UnknownShape, Value
from narformer.frontends.onnx.rules_layout import resolved
from narformer.frontends.tensors import DTYPES, contents
from narformer.graph import Tensor

LARGEST = 1024  # elements of a tensor that may be a shape, or a part of one


def computed(call: Call, outputs: Sequence[Tensor]) -> Sequence[Value] | None:
    """The contents of a node's outputs, whose shapes are `outputs`; None where they cannot be told in advance."""
    compute = _COMPUTE.get(call.node.op_type)
    if compute is None or not outputs or any(t.elements > LARGEST for t in outputs):
        return None
    reads = () if call.node.op_type in SHAPE_ALONE else range(len(call.operands))
    values = [call.values(k) if call.has(k) else None for k in reads]
    if any(v is None and call.has(k) for k, v in enumerate(values)):
        return None
    try:
        with np.errstate(all="ignore"):  # a division by zero, or infinity as an integer: as ONNX Runtime, no error
            results = compute(call, [v for v in values if v is not None])
    except (ValueError, TypeError, IndexError, OverflowError, UnknownShape):
        return None  # a malformed node: its value stays unknown
    several = results if isinstance(results, list) else [results]
    # A value that contradicts the shape would be a wrong number later.
    if any(v.shape != t.shape for v, t in zip(several, outputs, strict=False)):
        return None
    return several


Computed = Value | list[Value]
SHAPE_ALONE = frozenset({"Shape", "Size"})


def _as(dtype: str, value: Value) -> Value:
    """A type that NumPy lacks (bfloat16, int4) is computed in float32."""
    return np.asarray(value).astype(dtype if dtype in _NUMPY else "float32")


_NUMPY = frozenset(
    ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool")
)


def _divide(call: Call, v: list[Value]) -> Value:
    if v[0].dtype.kind not in "iu":
        return np.divide(v[0], v[1])
    if not np.all(v[1]):
        raise ValueError("division by zero")
    quotient = np.floor_divide(np.abs(v[0]), np.abs(v[1]))
    return np.asarray(quotient * np.sign(v[0]) * np.sign(v[1])).astype(v[0].dtype)


def _modulo(call: Call, v: list[Value]) -> Value:
    if v[0].dtype.kind in "iu" and not np.all(v[1]):
        raise ValueError("division by zero")
    return np.fmod(v[0], v[1]) if call.integer("fmod", 0) else np.mod(v[0], v[1])


def _reduce(function: Callable[..., Value]) -> Callable[[Call, list[Value]], Value]:
    def compute(call: Call, v: list[Value]) -> Value:
        axes = call.listed("axes", 1, "") or None
        if not axes and call.integer("noop_with_empty_axes", 0):
            return v[0]
        value = function(v[0], axis=axes, keepdims=bool(call.integer("keepdims", 1)))
        return np.asarray(value).astype(v[0].dtype)

    return compute


def _filled(call: Call, v: list[Value]) -> Value:
    held = next((a.t for a in call.node.attribute if a.name == "value"), None)
    value = np.zeros(1, np.float32) if held is None else contents(held, 1)
    if value is None:
        raise ValueError("a value that is not in the file")
    return np.full(tuple(int(s) for s in v[0]), value.reshape(-1)[0])


def _range(call: Call, v: list[Value]) -> Value:
    return np.arange(*(x.reshape(-1)[0] for x in v)).astype(v[0].dtype)


def _clip(call: Call, v: list[Value]) -> Value:
    """Bounds are operands, either of which may be left out; before opset 11 attributes."""
    bounds = []
    for position, name in ((1, "min"), (2, "max")):
        held = call.values(position) if call.has(position) else None
        given = call.attributes.get(name)
        bounds.append(held.reshape(-1)[0] if held is not None else given)
    x, (low, high) = v[0], bounds
    x = x if low is None else np.maximum(x, np.asarray(low).astype(x.dtype))
    return x if high is None else np.asarray(np.minimum(x, np.asarray(high).astype(x.dtype)))


def _scanned(call: Call, v: list[Value]) -> Value:
    axis = int(v[1].reshape(-1)[0])
    x = np.flip(v[0], axis) if call.integer("reverse", 0) else v[0]
    total = np.cumsum(x, axis=axis).astype(x.dtype)
    if call.integer("exclusive", 0):
        total = np.asarray(np.subtract(total, x))
    return np.flip(total, axis) if call.integer("reverse", 0) else total


def _extremum(function: Callable[..., Value]) -> Callable[[Call, list[Value]], Value]:
    def compute(call: Call, v: list[Value]) -> Value:
        axis = call.integer("axis", 0)
        if call.integer("select_last_index", 0):
            place = v[0].shape[axis] - 1 - function(np.flip(v[0], axis), axis=axis)
        else:
            place = function(v[0], axis=axis)
        return np.expand_dims(place, axis) if call.integer("keepdims", 1) else np.asarray(place)

    return compute


def _shift(call: Call, v: list[Value]) -> Value:
    left = str(call.attributes.get("direction", "LEFT")) == "LEFT"
    return np.asarray(np.left_shift(v[0], v[1]) if left else np.right_shift(v[0], v[1]))


def _infinite(call: Call, v: list[Value]) -> Value:
    up = np.equal(v[0], np.inf) & bool(call.integer("detect_positive", 1))
    return np.asarray(up | (np.equal(v[0], -np.inf) & bool(call.integer("detect_negative", 1))))


def _pair(function: Callable[..., Value]) -> Callable[[Call, list[Value]], Value]:
    return lambda call, v: np.asarray(function(v[0], v[1]))


def _one(function: Callable[..., Value]) -> Callable[[Call, list[Value]], Value]:
    return lambda call, v: np.asarray(function(v[0])).astype(v[0].dtype)


def _fold(function: Callable[[Value, Value], Value]) -> Callable[[Call, list[Value]], Value]:
    def compute(call: Call, v: list[Value]) -> Value:
        result = v[0]
        for other in v[1:]:
            result = np.asarray(function(result, other))
        return result

    return compute


def _reshape(call: Call, v: list[Value]) -> Value:
    target = call.listed("shape", 1, "") or ()
    return v[0].reshape(resolved(v[0].shape, target, bool(call.integer("allowzero", 0))))


def _squeeze(call: Call, v: list[Value]) -> Value:
    axes = call.listed("axes", 1, "")
    return np.squeeze(v[0], None if axes is None else tuple(axes))


def _power(call: Call, v: list[Value]) -> Value:
    base, exponent = np.asarray(v[0]), np.asarray(v[1])
    if base.dtype.kind in "iu":
        largest = float(np.abs(base).max(initial=0)) ** float(np.abs(exponent).max(initial=0))
        if not math.isfinite(largest) or largest > 2**62 or float(exponent.min(initial=0)) < 0:
            raise ValueError("too large")
    return np.power(base, exponent).astype(base.dtype)


_COMPUTE: Mapping[str, Callable[[Call, list[Value]], Computed]] = {
    **INDEXING,
    "Shape": lambda call, v: np.array(call.shape(0), np.int64)[
        slice(call.integer("start", 0), call.attributes.get("end"))
    ],
    "Size": lambda call, v: np.array(call.tensor(0).elements, np.int64),
    "Identity": lambda call, v: v[0],
    "Cast": lambda call, v: _as(DTYPES.get(call.integer("to", 1), "float32"), v[0]),
    "CastLike": lambda call, v: np.asarray(v[0].astype(v[1].dtype)),
    "Add": _pair(np.add),
    "Sub": _pair(np.subtract),
    "Mul": _pair(np.multiply),
    "Div": _divide,
    "Mod": _modulo,
    "Pow": _power,
    "MatMul": _pair(np.matmul),
    "BitShift": _shift,
    "BitwiseAnd": _pair(np.bitwise_and),
    "BitwiseOr": _pair(np.bitwise_or),
    "BitwiseXor": _pair(np.bitwise_xor),
    "BitwiseNot": _one(np.bitwise_not),
    "Min": _fold(np.minimum),
    "Max": _fold(np.maximum),
    "Sum": _fold(np.add),
    "Mean": lambda call, v: np.asarray(np.divide(_fold(np.add)(call, v), len(v))).astype(v[0].dtype),
    "Clip": _clip,
    "Neg": _one(np.negative),
    "Abs": _one(np.abs),
    "Relu": lambda call, v: np.asarray(np.maximum(v[0], np.zeros(1, v[0].dtype))).reshape(v[0].shape),
    "Reciprocal": _one(np.reciprocal),
    "Floor": _one(np.floor),
    "Ceil": _one(np.ceil),
    "Round": _one(np.round),
    "Sqrt": _one(np.sqrt),
    "Log": _one(np.log),
    "Exp": _one(np.exp),
    "Sin": _one(np.sin),
    "Cos": _one(np.cos),
    "Tanh": _one(np.tanh),
    "Sigmoid": _one(lambda x: 1 / (1 + np.exp(-x))),
    "Sign": _one(np.sign),
    "Not": _one(np.logical_not),
    "And": _pair(np.logical_and),
    "Or": _pair(np.logical_or),
    "Xor": _pair(np.logical_xor),
    "Equal": _pair(np.equal),
    "Less": _pair(np.less),
    "LessOrEqual": _pair(np.less_equal),
    "Greater": _pair(np.greater),
    "GreaterOrEqual": _pair(np.greater_equal),
    "IsNaN": lambda call, v: np.isnan(v[0]),
    "IsInf": _infinite,
    "Where": lambda call, v: np.where(v[0], v[1], v[2]),
    "Reshape": _reshape,
    "Flatten": lambda call, v: v[0].reshape(math.prod(v[0].shape[: call.integer("axis", 1)]), -1),
    "Transpose": lambda call, v: np.transpose(v[0], call.integers("perm") or None),
    "Squeeze": _squeeze,
    "Unsqueeze": lambda call, v: np.expand_dims(v[0], tuple(call.listed("axes", 1, "") or ())),
    "Expand": lambda call, v: np.asarray(v[0] * np.ones(tuple(int(s) for s in v[1]), v[0].dtype)),
    "Tile": lambda call, v: np.tile(v[0], tuple(int(r) for r in v[1])),
    "ConstantOfShape": _filled,
    "Range": _range,
    "ReduceProd": _reduce(np.prod),
    "ReduceSum": _reduce(np.sum),
    "ReduceMean": _reduce(np.mean),
    "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min),
    "ReduceL1": _reduce(lambda x, **how: np.sum(np.abs(x), **how)),
    "ReduceL2": _reduce(lambda x, **how: np.sqrt(np.sum(np.square(x), **how))),
    "ReduceSumSquare": _reduce(lambda x, **how: np.sum(np.square(x), **how)),
    "ReduceLogSum": _reduce(lambda x, **how: np.log(np.sum(x, **how))),
    "ReduceLogSumExp": _reduce(lambda x, **how: np.log(np.sum(np.exp(x), **how))),
    "ArgMax": _extremum(np.argmax),
    "ArgMin": _extremum(np.argmin),
    "CumSum": _scanned,
}
COMPUTED = frozenset(_COMPUTE)
