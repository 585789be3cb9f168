"""Arithmetic on shapes that exporters leave in a network (Shape, Gather, Slice, Concat, …), computed where it can be.

Only tensors of at most LARGEST elements are computed: what comes out is known to be as small before any of it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from narformer.frontends.call import Call, UnknownShape, Value, axes_of
from narformer.frontends.rules_layout import parts, resolved
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
        with np.errstate(all="ignore"):
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


def _slice(call: Call, v: list[Value]) -> Value:
    x = v[0]
    starts, ends = call.listed("starts", 1, ""), call.listed("ends", 2, "")
    if starts is None or ends is None:
        raise ValueError("a slice without ends")
    axes = axes_of(call.listed("axes", 3, "") or tuple(range(len(starts))), x.ndim)
    steps = call.listed("steps", 4, "") or (1,) * len(starts)
    index = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        begin, stop, stride = slice(start, end, step).indices(x.shape[axis])
        index[axis] = slice(begin, None if stop < 0 else stop, stride)
    return np.asarray(x[tuple(index)])


def _reduce(function: Callable[..., Value]) -> Callable[[Call, list[Value]], Value]:
    def compute(call: Call, v: list[Value]) -> Value:
        axes = call.listed("axes", 1, "") or None
        if not axes and call.integer("noop_with_empty_axes", 0):
            return v[0]
        value = function(v[0], axis=axes, keepdims=bool(call.integer("keepdims", 1)))
        return np.asarray(value).astype(v[0].dtype)

    return compute


def _split(call: Call, v: list[Value]) -> list[Value]:
    axis = call.integer("axis", 0)
    sizes = call.listed("split", 1, "") or parts(v[0].shape[axis], call.outputs)
    return [np.asarray(part) for part in np.split(v[0], np.cumsum(sizes)[:-1], axis)]


def _filled(call: Call, v: list[Value]) -> Value:
    held = next((a.t for a in call.node.attribute if a.name == "value"), None)
    value = np.zeros(1, np.float32) if held is None else contents(held, 1)
    if value is None:
        raise ValueError("a value that is not in the file")
    return np.full(tuple(int(s) for s in v[0]), value.reshape(-1)[0])


def _range(call: Call, v: list[Value]) -> Value:
    return np.arange(*(x.reshape(-1)[0] for x in v)).astype(v[0].dtype)


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
    "Min": _fold(np.minimum),
    "Max": _fold(np.maximum),
    "Sum": _fold(np.add),
    "Neg": _one(np.negative),
    "Abs": _one(np.abs),
    "Relu": lambda call, v: np.asarray(np.maximum(v[0], np.zeros(1, v[0].dtype))).reshape(v[0].shape),
    "Floor": _one(np.floor),
    "Ceil": _one(np.ceil),
    "Round": _one(np.round),
    "Sqrt": _one(np.sqrt),
    "Log": _one(np.log),
    "Exp": _one(np.exp),
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
    "Where": lambda call, v: np.where(v[0], v[1], v[2]),
    "Gather": lambda call, v: np.asarray(np.take(v[0], v[1].astype(np.int64), axis=call.integer("axis", 0))),
    "GatherElements": lambda call, v: np.take_along_axis(v[0], v[1].astype(np.int64), call.integer("axis", 0)),
    "Slice": _slice,
    "Concat": lambda call, v: np.concatenate(v, axis=call.integer("axis", 1)),
    "Split": _split,
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
    "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min),
    "CumSum": lambda call, v: np.asarray(np.cumsum(v[0], axis=int(v[1].reshape(-1)[0]))).astype(v[0].dtype),
}
COMPUTED = frozenset(_COMPUTE)
