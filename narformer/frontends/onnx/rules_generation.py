"""Output shapes of operators that make tensors of sizes, positions or nothing: ranges, fillings, random numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from narformer.frontends.onnx.call import Call, Rule, UnknownShape, axis_of
from narformer.frontends.tensors import DTYPES
from narformer.graph import Tensor

Tensors = Sequence[Tensor]


def shape(call: Call) -> Tensors:
    rank = len(call.shape(0))
    start, end = call.integer("start", 0), call.integer("end", rank)
    return (Tensor((len(range(*slice(start, end).indices(rank))),), "int64"),)


def filled(call: Call) -> Tensors:
    held = next((a.t.data_type for a in call.node.attribute if a.name == "value"), 1)
    return (Tensor(call.needed(0, "a shape"), DTYPES.get(held, "float32")),)


def range_(call: Call) -> Tensors:
    held = [call.values(k) for k in range(3)]
    bounds = [float(v.reshape(-1)[0]) for v in held if v is not None and v.size == 1]
    if len(bounds) < 3:
        raise UnknownShape("it depends on bounds computed while the network runs")
    start, limit, delta = bounds
    steps = (limit - start) / delta if delta else math.nan
    if not math.isfinite(steps):
        raise UnknownShape(f"a range from {start} to {limit} by {delta}")
    return (Tensor((max(math.ceil(steps), 0),), call.dtype(0)),)


def one_hot(call: Call) -> Tensors:
    indices, depth = call.shape(0), call.values(1)
    if depth is None or depth.size != 1:
        raise UnknownShape("it depends on a depth computed while the network runs")
    axis = axis_of(call.integer("axis", -1), len(indices) + 1)
    return (Tensor((*indices[:axis], int(depth.reshape(-1)[0]), *indices[axis:]), call.dtype(2)),)


def non_zero(call: Call) -> Tensors:
    """The most positions there can be, where their number is known only when it runs."""
    x, held = call.tensor(0), call.values(0)
    count = x.elements if held is None else int(np.count_nonzero(held))
    return (Tensor((len(x.shape), count), "int64"),)


def unique(call: Call) -> Tensors:
    """As if every element differed, where how many do is known only when it runs."""
    x, held = call.tensor(0), call.values(0)
    axis = axis_of(call.integer("axis", 0), len(x.shape)) if "axis" in call.attributes else None
    size = x.elements if axis is None else x.shape[axis]
    count = size if held is None else len(np.unique(held, return_index=True, axis=axis)[1])
    out = (count,) if axis is None else (*x.shape[:axis], count, *x.shape[axis + 1 :])
    each, inverse = Tensor((count,), "int64"), Tensor((size,), "int64")
    return (Tensor(out, x.dtype), each, inverse, each)


def generated(call: Call) -> Tensors:
    """Random numbers of a shape that an attribute gives."""
    return (Tensor(call.integers("shape"), DTYPES.get(call.integer("dtype", 1), "float32")),)


def constant_fill(call: Call) -> Tensors:
    """What PyTorch wrote before ONNX had ConstantOfShape."""
    dtype = DTYPES.get(call.integer("dtype", 1), "float32")
    if not call.has(0):
        return generated(call)
    sizes = call.needed(0, "a shape") if call.integer("input_as_shape", 0) else call.shape(0)
    return (Tensor(sizes + call.integers("extra_shape"), dtype),)


def eye_like(call: Call) -> Tensors:
    return (Tensor(call.shape(0), DTYPES.get(call.integer("dtype", 0), call.dtype(0))),)


def window(call: Call) -> Tensors:
    """A Hann, Hamming or Blackman window."""
    return (Tensor(call.needed(0, "its length")[:1], DTYPES.get(call.integer("output_datatype", 1), "float32")),)


def short_time_fourier(call: Call) -> Tensors:
    """Frames of a signal (N, length, 1 or 2), each as frequencies, half of them where it is real."""
    x, step = call.shape(0), call.needed(1, "its step")
    length = call.needed(3, "its frame length")[0] if call.has(3) else call.shape(2)[0]
    if len(x) < 2 or not step or step[0] < 1 or length < 1:
        raise UnknownShape(f"a signal {list(x)} in frames of {length}")
    frequencies = length // 2 + 1 if call.integer("onesided", 1) else length
    return (Tensor((x[0], (x[1] - length) // step[0] + 1, frequencies, 2), call.dtype(0)),)


def affine_grid(call: Call) -> Tensors:
    size = call.needed(1, "a shape")
    return (Tensor((size[0], *size[2:], len(size) - 2), call.dtype(0)),)


RULES: Mapping[str, Rule] = {
    "Shape": shape,
    "Size": lambda call: (Tensor((), "int64"),),
    "ConstantOfShape": filled,
    "Range": range_,
    "OneHot": one_hot,
    "NonZero": non_zero,
    "Unique": unique,
    **dict.fromkeys(("RandomNormal", "RandomUniform"), generated),
    "ConstantFill": constant_fill,
    "EyeLike": eye_like,
    **dict.fromkeys(("HannWindow", "HammingWindow", "BlackmanWindow"), window),
    "AffineGrid": affine_grid,
    "STFT": short_time_fourier,
}
