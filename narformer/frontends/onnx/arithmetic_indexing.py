"""Arithmetic on shapes that picks, places and counts elements: Gather, Slice, ScatterND, TopK, NonZero, Pad and others.

Each function takes a node and what its operands hold, left-out ones skipped, and gives what its outputs hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from narformer.frontends.onnx.call import Call, Value, axes_of, axis_of
from narformer.frontends.onnx.rules_layout import parts


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


def _split(call: Call, v: list[Value]) -> list[Value]:
    axis = call.integer("axis", 0)
    sizes = call.listed("split", 1, "") or parts(v[0].shape[axis], call.outputs)
    return [np.asarray(part) for part in np.split(v[0], np.cumsum(sizes)[:-1], axis)]


def _indices(value: Value) -> npt.NDArray[np.int64]:
    return value.astype(np.int64)


def _gather_nd(call: Call, v: list[Value]) -> Value:
    x, indices = v[0], _indices(v[1])
    batch = call.integer("batch_dims", 0)
    if not batch:
        return np.asarray(x[tuple(np.moveaxis(indices, -1, 0))])
    front = x.shape[:batch]
    each = zip(x.reshape(-1, *x.shape[batch:]), indices.reshape(-1, *indices.shape[batch:]), strict=True)
    rows = [one[tuple(np.moveaxis(where, -1, 0))] for one, where in each]
    return np.reshape(rows, front + np.shape(rows)[1:])


# What becomes of an element that is already there, by the attribute `reduction`.
_REDUCTIONS: Mapping[str, np.ufunc] = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def _place(call: Call, x: Value, where: tuple[Value, ...], updates: Value) -> Value:
    """A copy of x with updates at some places."""
    placed = x.copy()
    reduction = _REDUCTIONS.get(str(call.attributes.get("reduction", "none")))
    if reduction is None:
        placed[where] = updates
    else:
        reduction.at(placed, where, updates)  # type: ignore[arg-type]
    return placed


def _scatter_nd(call: Call, v: list[Value]) -> Value:
    return _place(call, v[0], tuple(np.moveaxis(_indices(v[1]), -1, 0)), v[2])


def _scatter_elements(call: Call, v: list[Value]) -> Value:
    x, indices, updates = v[0], _indices(v[1]), v[2]
    axis = axis_of(call.integer("axis", 0), x.ndim)
    where: list[Value] = list(np.indices(indices.shape))
    where[axis] = indices
    return _place(call, x, tuple(where), updates)


def _pad(call: Call, v: list[Value]) -> Value:
    """Negative pads crop. The value to pad with is zero unless it is given."""
    x = v[0]
    pads = call.integers("pads") or call.needed(1, "how much to pad")
    axes = axes_of(call.needed(3, "the axes"), x.ndim) if call.has(3) else tuple(range(x.ndim))
    held = call.values(2) if call.has(2) else None
    fill = call.attributes.get("value", 0) if held is None else held.reshape(-1)[0]
    before, after = [0] * x.ndim, [0] * x.ndim
    for k, axis in enumerate(axes):
        before[axis], after[axis] = pads[k], pads[k + len(axes)]
    kept = tuple(slice(max(-b, 0), size - max(-a, 0)) for b, a, size in zip(before, after, x.shape, strict=True))
    widths = [(max(b, 0), max(a, 0)) for b, a in zip(before, after, strict=True)]
    mode = str(call.attributes.get("mode", "constant"))
    if mode == "constant":
        return np.pad(x[kept], widths, constant_values=np.asarray(fill).astype(x.dtype))
    return np.pad(x[kept], widths, mode=mode)  # type: ignore[call-overload, no-any-return]


def _top_k(call: Call, v: list[Value]) -> list[Value]:
    """Of equal elements the first comes first."""
    x = v[0]
    axis = axis_of(call.integer("axis", -1), x.ndim)
    count = call.integer("k", 0) if "k" in call.attributes else int(v[1].reshape(-1)[0])
    if call.integer("largest", 1):
        order = x.shape[axis] - 1 - np.flip(np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)
    else:
        order = np.argsort(x, axis=axis, kind="stable")
    order = _indices(np.take(order, range(count), axis=axis))
    return [np.take_along_axis(x, order, axis), order]


def _unique(call: Call, v: list[Value]) -> list[Value]:
    """Sorted, or in the order of their first places."""
    axis = call.integer("axis", 0) if "axis" in call.attributes else None
    values, first, inverse, counts = np.unique(
        v[0], return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    inverse = inverse.reshape(-1)
    if not call.integer("sorted", 1):
        order = np.argsort(first)
        rank = np.argsort(order)
        values, first, inverse, counts = np.take(values, order, axis or 0), first[order], rank[inverse], counts[order]
    return [values, *(part.astype(np.int64) for part in (first, inverse, counts))]


def _one_hot(call: Call, v: list[Value]) -> Value:
    indices, depth, (off, on) = v[0], int(v[1].reshape(-1)[0]), v[2]
    axis = axis_of(call.integer("axis", -1), indices.ndim + 1)
    place = np.expand_dims(np.mod(indices, depth), axis)
    inside = np.expand_dims(np.greater_equal(indices, -depth) & np.less(indices, depth), axis)
    classes = np.arange(depth).reshape([-1 if k == axis else 1 for k in range(indices.ndim + 1)])
    return np.asarray(np.where((place == classes) & inside, on, off)).astype(v[2].dtype)


def _triangle(call: Call, v: list[Value]) -> Value:
    diagonal = int(v[1].reshape(-1)[0]) if call.has(1) else 0
    return np.triu(v[0], diagonal) if call.integer("upper", 1) else np.tril(v[0], diagonal)


def _compress(call: Call, v: list[Value]) -> Value:
    axis = call.integer("axis", 0) if "axis" in call.attributes else None
    return np.asarray(np.compress(v[1].astype(bool), v[0], axis=axis))


COMPUTE: Mapping[str, Callable[[Call, list[Value]], Value | list[Value]]] = {
    "Gather": lambda call, v: np.asarray(np.take(v[0], _indices(v[1]), axis=call.integer("axis", 0))),
    "GatherElements": lambda call, v: np.take_along_axis(v[0], _indices(v[1]), call.integer("axis", 0)),
    "GatherND": _gather_nd,
    "ScatterND": _scatter_nd,
    **dict.fromkeys(("Scatter", "ScatterElements"), _scatter_elements),
    "Slice": _slice,
    "Concat": lambda call, v: np.concatenate(v, axis=call.integer("axis", 1)),
    "Split": _split,
    "Pad": _pad,
    "Trilu": _triangle,
    "TopK": _top_k,
    "Unique": _unique,
    "OneHot": _one_hot,
    "NonZero": lambda call, v: np.array(np.nonzero(v[0]), np.int64),
    "Compress": _compress,
}
