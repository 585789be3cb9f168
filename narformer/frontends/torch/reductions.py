"""ATen operators that make one number of many along axes, sort, or find the largest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from narformer.frontends.torch.call import Call, Handler, Value, constant
from narformer.graph import Operand, Tensor


def reduced(
    call: Call, op: str, data: Operand, axes: Sequence[int], keep: bool, output: Tensor | None = None
) -> Operand:
    """A reduction over axes; the result has the element type of what it reads unless `output` says more."""
    if output is None:
        shape = data.tensor.shape
        kept = [1 if axis in axes else size for axis, size in enumerate(shape)]
        sizes = kept if keep else [size for axis, size in enumerate(shape) if axis not in axes]
        output = Tensor(tuple(sizes), data.tensor.dtype)
    return call.emit(op, data, constant(tuple(axes)), output=output, keepdims=int(keep))


def reduction(op: str) -> Handler:
    def handler(call: Call) -> Value:
        data = call.first
        if not data.tensor.shape:
            return call.cast(data, call.output.dtype)
        axes = call.axes("dim")
        keep = call.flag("keepdim")
        found = reduced(call, op, call.cast(data, call.output.dtype), axes, keep)
        return call.reshaped(found, call.output.shape)

    return handler


def variance(call: Call) -> Value:
    """The mean of squared differences from the mean, scaled where it is unbiased."""
    return _spread(call)[0]


def deviation(call: Call) -> Value:
    found, _ = _spread(call)
    return call.emit("Sqrt", found, output=found.tensor)


def variance_and_mean(call: Call) -> Value:
    return _spread(call)


def _spread(call: Call) -> tuple[Operand, Operand]:
    data, axes, keep = call.first, call.axes("dim"), call.flag("keepdim")
    mean = reduced(call, "ReduceMean", data, axes, True)
    difference = call.emit("Sub", data, mean, output=data.tensor)
    square = call.emit("Mul", difference, difference, output=data.tensor)
    found = reduced(call, "ReduceMean", square, axes, keep)
    count = math.prod([data.tensor.shape[axis] for axis in axes])
    correction = call.arguments.get("correction")
    less = int(call.flag("unbiased")) if "unbiased" in call.arguments else 1 if correction is None else int(correction)
    if less and count > less:
        scale = constant(count / (count - less), data.tensor.dtype)
        found = call.emit("Mul", found, scale, output=found.tensor)
    return found, call.reshaped(mean, found.tensor.shape)


def extreme(op: str, index: str) -> Handler:
    """max and min: of everything, of two tensors, or along an axis with the position."""

    def handler(call: Call) -> Value:
        if call.has("other"):
            return call.emit(op.removeprefix("Reduce"), call.first, call.operand("other"))
        if not call.has("dim"):
            return call.reshaped(reduced(call, op, call.first, call.axes("dim"), False), call.output.shape)
        axis, keep = call.axis("dim"), call.flag("keepdim")
        found = reduced(call, op, call.first, (axis,), keep)
        where = call.emit(index, call.first, output=call.outputs[1], axis=axis, keepdims=int(keep))
        return (found, where)

    return handler


def position(op: str) -> Handler:
    def handler(call: Call) -> Value:
        data = call.first
        if not call.has("dim"):
            data = call.reshaped(data, (data.tensor.elements,))
            found = call.emit(op, data, output=Tensor((), "int64"), axis=0, keepdims=0)
            return call.reshaped(found, call.output.shape)
        return call.emit(op, data, axis=call.axis("dim"), keepdims=int(call.flag("keepdim")))

    return handler


def top(call: Call) -> Value:
    count = constant((call.integer("k"),))
    return call.emit_several(
        "TopK",
        [call.first, count],
        call.outputs,
        axis=call.axis("dim"),
        largest=int(call.flag("largest")),
        sorted=int(call.flag("sorted")),
    )


def sort(call: Call) -> Value:
    """All elements, sorted: the largest or smallest of as many as there are."""
    axis = call.axis("dim")
    size = call.first.tensor.shape[axis] if call.first.tensor.shape else 1
    outputs = call.outputs if call.step.several else (call.first.tensor, *call.outputs)
    found = call.emit_several(
        "TopK",
        [call.first, constant((size,))],
        outputs,
        axis=axis,
        largest=int(call.flag("descending")),
        sorted=1,
    )
    return found if call.step.several else found[1]


def cumulative(op: str) -> Handler:
    def handler(call: Call) -> Value:
        return call.emit(op, call.cast(call.first, call.output.dtype), constant(call.axis("dim")))

    return handler


def all_or_any(op: str) -> Handler:
    """Of truth values: the least or largest of them as numbers."""

    def handler(call: Call) -> Value:
        data = call.cast(call.first, "int32")
        found = reduced(call, op, data, call.axes("dim"), call.flag("keepdim"))
        return call.cast(call.reshaped(found, call.output.shape), "bool")

    return handler


OPERATORS: Mapping[str, Handler] = {
    "aten.mean": reduction("ReduceMean"),
    "aten.sum": reduction("ReduceSum"),
    "aten.prod": reduction("ReduceProd"),
    "aten.amax": reduction("ReduceMax"),
    "aten.amin": reduction("ReduceMin"),
    "aten.logsumexp": reduction("ReduceLogSumExp"),
    "aten.var": variance,
    "aten.std": deviation,
    "aten.var_mean": variance_and_mean,
    "aten.max": extreme("ReduceMax", "ArgMax"),
    "aten.min": extreme("ReduceMin", "ArgMin"),
    "aten.argmax": position("ArgMax"),
    "aten.argmin": position("ArgMin"),
    "aten.topk": top,
    "aten.sort": sort,
    "aten.argsort": sort,
    "aten.cumsum": cumulative("CumSum"),
    "aten.cumprod": cumulative("CumProd"),
    "aten.all": all_or_any("ReduceMin"),
    "aten.any": all_or_any("ReduceMax"),
}
