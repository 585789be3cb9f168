"""ATen operators that make tensors of nothing: they are constants. What random numbers fill, the program computes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from narformer.frontends.torch.call import Call, Handler, Value, constant, unknown
from narformer.graph import VALUE_ELEMENTS, Operand, Tensor


def filled(number: float | None) -> Handler:
    """zeros, ones, full and their kin; None: with the number that the call gives, or memory as it was."""

    def handler(call: Call) -> Value:
        held = number
        if held is None:
            given = call.arguments.get("fill_value", call.arguments.get("value"))
            if isinstance(given, Operand):
                return call.emit("Expand", call.cast(given, call.output.dtype), constant(call.output.shape))
            held = given if isinstance(given, int | float) else 0
        return _constant(call.output, lambda count: [held] * count)

    return handler


def _constant(tensor: Tensor, values: Callable[[int], Sequence[Any]]) -> Operand:
    if tensor.elements > VALUE_ELEMENTS:
        return unknown(tensor)
    return constant(values(tensor.elements), tensor.dtype, tensor.shape)


def arange(call: Call) -> Value:
    start, step = call.arguments.get("start", 0) or 0, call.arguments.get("step", 1) or 1
    return _constant(call.output, lambda count: [start + k * step for k in range(count)])


def linspace(call: Call) -> Value:
    start, end = call.number("start"), call.number("end")
    return _constant(call.output, lambda count: [start + k * (end - start) / max(count - 1, 1) for k in range(count)])


def some_constant(call: Call) -> Value:
    """A constant whose contents do not matter: eye, windows of signals, triangles of indices."""
    return unknown(call.output)


def scalar(call: Call) -> Value:
    value = next(iter(call.arguments.values()))
    return constant(value, call.output.dtype) if isinstance(value, int | float) else unknown(call.output)


def random(op: str) -> Handler:
    return lambda call: call.emit(op, shape=call.output.shape)


def meshgrid(call: Call) -> Value:
    """Every tensor along an axis of its own, spread over those of the others."""
    shape = call.output.shape
    order = list(range(len(shape)))
    if call.text("indexing") == "xy" and len(order) > 1:
        order[:2] = [1, 0]
    grids = []
    for axis, operand in zip(order, call.operands("tensors"), strict=True):
        one = [operand.tensor.elements if k == axis else 1 for k in range(len(shape))]
        line = call.reshaped(operand, one)
        output = Tensor(shape, operand.tensor.dtype)
        if math.prod(one) == math.prod(shape):
            grids.append(call.reshaped(line, shape))
        else:
            grids.append(call.emit("Expand", line, constant(shape), output=output))
    return tuple(grids)


def one_hot(call: Call) -> Value:
    return call.emit("OneHot", call.first, constant((call.output.shape[-1],)), constant((0, 1)))


OPERATORS: Mapping[str, Handler] = {
    **{f"aten.{name}": filled(0) for name in ("zeros", "zeros_like", "new_zeros", "zero")},
    **{f"aten.{name}": filled(1) for name in ("ones", "ones_like", "new_ones")},
    **{f"aten.{name}": filled(None) for name in ("full", "full_like", "new_full", "fill")},
    **{f"aten.{name}": filled(0) for name in ("empty", "empty_like", "new_empty", "empty_strided")},
    "aten.empty_permuted": filled(0),
    "aten.arange": arange,
    "aten.linspace": linspace,
    "aten.logspace": some_constant,
    "aten.eye": some_constant,
    "aten.tril_indices": some_constant,
    "aten.triu_indices": some_constant,
    "aten.hann_window": some_constant,
    "aten.hamming_window": some_constant,
    "aten.scalar_tensor": scalar,
    "aten.rand": random("RandomUniform"),
    "aten.randn": random("RandomNormal"),
    "aten.rand_like": random("RandomUniform"),
    "aten.randn_like": random("RandomNormal"),
    "aten.meshgrid": meshgrid,
    "aten.one_hot": one_hot,
}
