"""ATen operators that move data or look at it another way: views, slices, concatenation, indexing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from narformer.frontends.torch.call import Call, Handler, Value, constant, unknown
from narformer.graph import Operand, Tensor


def unchanged(call: Call) -> Value:
    """What does nothing in evaluation mode, or concerns memory alone."""
    return call.cast(call.first, call.output.dtype)


def as_type(call: Call) -> Value:
    return call.cast(call.first, call.output.dtype)


def reshape(call: Call) -> Value:
    return call.reshaped(call.first, call.output.shape)


def view(call: Call) -> Value:
    """view(shape), or view(dtype), which reads the same bytes as another type."""
    if call.output.dtype != call.first.tensor.dtype:
        return call.emit("BitCast", call.first)
    return reshape(call)


def permute(call: Call) -> Value:
    rank = len(call.first.tensor.shape)
    return call.transposed(call.first, [axis % rank for axis in call.integers("dims")])


def transpose(call: Call) -> Value:
    rank = len(call.first.tensor.shape)
    order = list(range(rank))
    if rank:
        first, second = call.axis("dim0"), call.axis("dim1")
        order[first], order[second] = second, first
    return call.transposed(call.first, order)


def move_axes(call: Call) -> Value:
    rank = len(call.first.tensor.shape)
    source = [axis % rank for axis in call.integers("source")]
    target = [axis % rank for axis in call.integers("destination")]
    order = [axis for axis in range(rank) if axis not in source]
    for place, axis in sorted(zip(target, source, strict=True)):
        order.insert(place, axis)
    return call.transposed(call.first, order)


def reverse_axes(call: Call) -> Value:
    """x.T, and t() of a matrix."""
    return call.transposed(call.first, list(range(len(call.first.tensor.shape)))[::-1])


def last_axes_swapped(call: Call) -> Value:
    order = list(range(len(call.first.tensor.shape)))
    return call.transposed(call.first, [*order[:-2], order[-1], order[-2]])


def broadcast_tensors(call: Call) -> Value:
    """Several tensors, all in the shape that they have together."""
    return tuple([broadcast_to(call, o, call.output.shape) for o in call.operands("tensors")])


def expand(call: Call) -> Value:
    return broadcast_to(call, call.first, call.output.shape)


def broadcast_to(call: Call, operand: Operand, shape: Sequence[int]) -> Operand:
    if operand.tensor.shape == tuple(shape):
        return operand
    if math.prod(shape) == operand.tensor.elements:
        return call.reshaped(operand, shape)
    return call.emit("Expand", operand, constant(tuple(shape)), output=Tensor(tuple(shape), operand.tensor.dtype))


def slice_(call: Call) -> Value:
    axis = call.axis("dim")
    size = call.first.tensor.shape[axis]
    start, end, step = slice(call.integer("start", 0), call.integer("end", 2**63 - 1), call.integer("step", 1)).indices(
        size
    )
    return call.sliced(call.first, axis, start, max(end, start), step)


def narrow(call: Call) -> Value:
    axis = call.axis("dim")
    start = call.integer("start") % max(call.first.tensor.shape[axis], 1)
    return call.sliced(call.first, axis, start, start + call.integer("length"))


def select(call: Call) -> Value:
    axis = call.axis("dim")
    index = call.integer("index") % max(call.first.tensor.shape[axis], 1)
    return call.emit("Gather", call.first, constant(index), axis=axis)


def split(call: Call) -> Value:
    """In equal parts, in parts of given sizes, or one apiece with the axis gone (unbind)."""
    axis = call.axis("dim")
    sizes = [tensor.shape[axis] for tensor in call.outputs]
    if len(sizes) == 1:
        return (call.first,)
    return call.emit_several("Split", [call.first, constant(tuple(sizes))], call.outputs, axis=axis)


def unbind(call: Call) -> Value:
    axis = call.axis("dim")
    shape = call.first.tensor.shape
    part = Tensor((*shape[:axis], 1, *shape[axis + 1 :]), call.first.tensor.dtype)
    if shape[axis] == 1:
        return (call.reshaped(call.first, call.output.shape),)
    parts = call.emit_several("Split", [call.first, constant((1,) * shape[axis])], [part] * shape[axis], axis=axis)
    return tuple([call.reshaped(o, call.output.shape) for o in parts])


def concatenate(call: Call) -> Value:
    tensors = [o for o in call.operands("tensors") if o.tensor.shape != (0,)]
    tensors = [call.cast(o, call.output.dtype) for o in tensors]
    rank = len(call.output.shape)
    if len(tensors) == 1:
        return tensors[0]
    return call.emit("Concat", *tensors, axis=call.integer("dim") % max(rank, 1))


def stack(call: Call) -> Value:
    axis = call.integer("dim") % len(call.output.shape)
    shape = call.output.shape
    one = (*shape[:axis], 1, *shape[axis + 1 :])
    tensors = [call.reshaped(call.cast(o, call.output.dtype), one) for o in call.operands("tensors")]
    return call.emit("Concat", *tensors, axis=axis) if len(tensors) > 1 else tensors[0]


def repeat(call: Call) -> Value:
    name = "repeats" if call.has("repeats") else "dims"
    times = call.integers(name)
    shape = call.first.tensor.shape
    rank = max(len(times), len(shape))
    times = (1,) * (rank - len(times)) + times
    whole = call.reshaped(call.first, (1,) * (rank - len(shape)) + shape)
    if all(number == 1 for number in times):
        return whole
    return call.emit("Tile", whole, constant(times))


def repeat_interleave(call: Call) -> Value:
    """Each element several times in a row."""
    times, shape = call.integer("repeats"), call.first.tensor.shape
    data = call.first
    if not call.has("dim"):
        data = call.reshaped(data, (data.tensor.elements,))
        shape, axis = data.tensor.shape, 0
    else:
        axis = call.axis("dim")
    data = call.reshaped(data, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
    data = broadcast_to(call, data, (*shape[: axis + 1], times, *shape[axis + 1 :]))
    return call.reshaped(data, call.output.shape)


def roll(call: Call) -> Value:
    data, shifts, axes = call.first, call.integers("shifts"), call.integers("dims")
    shape = data.tensor.shape
    if not axes:
        data, axes = call.reshaped(data, (data.tensor.elements,)), (0,)
    for shift, given in zip(shifts, axes, strict=True):
        axis = given % len(data.tensor.shape)
        size = data.tensor.shape[axis]
        cut = -shift % size if size else 0
        if not cut:
            continue
        parts = [call.sliced(data, axis, cut, size), call.sliced(data, axis, 0, cut)]
        data = call.emit("Concat", *parts, output=data.tensor, axis=axis)
    return call.reshaped(data, shape)


def flip(call: Call) -> Value:
    data = call.first
    for axis in call.axes("dims"):
        ends = [constant((number,)) for number in (-1, -(2**63) + 1, axis, -1)]
        data = call.emit("Slice", data, *ends, output=data.tensor)
    return data


def unfold(call: Call) -> Value:
    """Windows of an axis, their contents behind: (..., L, ...) → (..., windows, ..., size)."""
    axis, size, step = call.axis("dimension"), call.integer("size"), call.integer("step")
    shape = call.first.tensor.shape
    count = (shape[axis] - size) // step + 1
    where = constant([start * step + k for start in range(count) for k in range(size)], shape=(count, size))
    spread = Tensor((*shape[:axis], count, size, *shape[axis + 1 :]), call.first.tensor.dtype)
    found = call.emit("Gather", call.first, where, output=spread, axis=axis)
    order = [k for k in range(len(spread.shape)) if k != axis + 1]
    return call.transposed(found, [*order, axis + 1])


def diagonal(call: Call) -> Value:
    return call.emit("GatherND", call.first, unknown(Tensor((*call.output.shape, 2), "int64")))


def index(call: Call) -> Value:
    """x[i], x[:, i, j]: one list of indices picks along an axis, several pick points."""
    given = call.arguments["indices"]
    places = [axis for axis, item in enumerate(given) if item is not None]
    if any(given[axis].tensor.dtype in ("bool", "uint8") for axis in places):
        raise call.refusal("a mask picks as many elements as the data says; use torch.where")
    if len(places) == 1:
        return call.emit("Gather", call.first, given[places[0]], axis=places[0])
    rank = len(call.first.tensor.shape)
    data = call.transposed(call.first, [*places, *[axis for axis in range(rank) if axis not in places]])
    joined = call.outputs[0].shape
    picked = _broadcast([given[axis].tensor.shape for axis in places])
    columns = [call.reshaped(broadcast_to(call, given[axis], picked), (*picked, 1)) for axis in places]
    where = call.emit("Concat", *columns, output=Tensor((*picked, len(places)), "int64"), axis=len(picked))
    rest = data.tensor.shape[len(places) :]
    found = call.emit("GatherND", data, where, output=Tensor((*picked, *rest), data.tensor.dtype))
    if places == list(range(places[0], places[-1] + 1)) and places[0]:
        before, width = places[0], len(picked)
        axes = list(range(width + len(rest)))
        found = call.transposed(found, [*axes[width : width + before], *axes[:width], *axes[width + before :]])
    return call.reshaped(found, joined)


def _broadcast(shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    rank = max(len(shape) for shape in shapes)
    sizes = [[1] * (rank - len(shape)) + list(shape) for shape in shapes]
    return tuple([max(column) if 0 not in column else 0 for column in zip(*sizes, strict=True)])


def index_put(call: Call) -> Value:
    given = call.arguments["indices"]
    places = [item for item in given if item is not None]
    if any(item.tensor.dtype in ("bool", "uint8") for item in places):
        if len(places) == 1 and places[0].tensor.shape == call.first.tensor.shape:
            return call.emit("Where", places[0], call.operand("values"), call.first)
        raise call.refusal("a mask picks as many elements as the data says; use torch.where")
    picked = _broadcast([item.tensor.shape for item in places])
    where = places[0]
    if len(places) > 1:
        columns = [call.reshaped(broadcast_to(call, item, picked), (*picked, 1)) for item in places]
        where = call.emit("Concat", *columns, output=Tensor((*picked, len(places)), "int64"), axis=len(picked))
    return call.emit("ScatterND", call.first, where, call.operand("values"))


def index_select(call: Call) -> Value:
    return call.emit("Gather", call.first, call.operand("index"), axis=call.axis("dim"))


def gather(call: Call) -> Value:
    return call.emit("GatherElements", call.first, call.operand("index"), axis=call.axis("dim"))


def take_along(call: Call) -> Value:
    return call.emit("GatherElements", call.first, call.operand("indices"), axis=call.axis("dim"))


def scatter(call: Call) -> Value:
    values = call.operand("src" if call.has("src") else "value", call.first.tensor.dtype)
    index = call.operand("index")
    if values.tensor.shape != index.tensor.shape:
        values = broadcast_to(call, values, index.tensor.shape)
    reduction = "add" if "scatter_add" in call.step.operator else None
    return call.emit("ScatterElements", call.first, index, values, axis=call.axis("dim"), reduction=reduction)


def part_replaced(call: Call) -> Value:
    """slice_scatter, select_scatter: a tensor with a part of it replaced by another."""
    return put(call, call.first, call.operand("src"))


def copied(call: Call) -> Value:
    """copy_: the tensor becomes another one, in its own shape and type."""
    return broadcast_to(call, call.cast(call.operand("src"), call.output.dtype), call.output.shape)


def put(call: Call, whole: Operand, part: Operand) -> Operand:
    """A tensor with a part of it replaced; where, the indices say, whose contents do not matter."""
    where = unknown(Tensor((*part.tensor.shape, len(whole.tensor.shape)), "int64"))
    return call.emit("ScatterND", whole, where, part, output=whole.tensor)


def inverse(call: Call, whole: Operand, part: Operand) -> Operand:
    """What a tensor becomes when the view that the call made of it becomes `part`."""
    shape = whole.tensor.shape
    if call.step.operator in ("aten.permute.default", "aten.transpose.int", "aten.t.default", "aten.numpy_T.default"):
        rank = len(shape)
        if call.step.operator == "aten.permute.default":
            order = [axis % rank for axis in call.integers("dims")]
        elif call.step.operator == "aten.transpose.int":
            order = list(range(rank))
            first, second = call.axis("dim0"), call.axis("dim1")
            order[first], order[second] = second, first
        else:
            order = list(range(rank))[::-1]
        return call.transposed(part, [order.index(axis) for axis in range(rank)])
    if part.tensor.elements == whole.tensor.elements:
        return call.reshaped(part, shape)
    return put(call, whole, part)


VIEWS: Sequence[str] = (
    "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "reshape_as", "view_as", "ravel",
    "_reshape_copy", "atleast_1d", "atleast_2d", "atleast_3d",
)  # fmt: skip
NOTHING: Sequence[str] = (
    "alias", "detach", "contiguous", "clone", "lift_fresh_copy", "lift_fresh", "dropout", "feature_dropout",
    "alpha_dropout", "native_dropout", "resolve_conj", "resolve_neg", "positive", "requires_grad", "cpu",
)  # fmt: skip
OPERATORS: Mapping[str, Handler] = {
    **{f"aten.{name}": reshape for name in VIEWS},
    **{f"aten.{name}": unchanged for name in NOTHING},
    "aten.view": view,
    "aten.to": as_type,
    "aten._to_copy": as_type,
    "aten.type_as": as_type,
    "aten.float": as_type,
    "aten.permute": permute,
    "aten.transpose": transpose,
    "aten.swapaxes": lambda call: call.transposed(call.first, _swapped(call, "axis0", "axis1")),
    "aten.swapdims": transpose,
    "aten.movedim": move_axes,
    "aten.t": reverse_axes,
    "aten.numpy_T": reverse_axes,
    "aten.mT": last_axes_swapped,
    "aten.adjoint": last_axes_swapped,
    "aten.expand": expand,
    "aten.expand_as": expand,
    "aten.broadcast_to": expand,
    "aten.broadcast_tensors": broadcast_tensors,
    "aten.slice": slice_,
    "aten.narrow": narrow,
    "aten.select": select,
    "aten.split": split,
    "aten.split_with_sizes": split,
    "aten.chunk": split,
    "aten.tensor_split": split,
    "aten.unsafe_chunk": split,
    "aten.unsafe_split": split,
    "aten.unbind": unbind,
    "aten.cat": concatenate,
    "aten.concat": concatenate,
    "aten.stack": stack,
    "aten.repeat": repeat,
    "aten.tile": repeat,
    "aten.repeat_interleave.self_int": repeat_interleave,
    "aten.roll": roll,
    "aten.flip": flip,
    "aten.unfold": unfold,
    "aten.diagonal": diagonal,
    "aten.index": index,
    "aten.index_put": index_put,
    "aten._unsafe_index": index,
    "aten.index_select": index_select,
    "aten.gather": gather,
    "aten.take_along_dim": take_along,
    "aten.scatter": scatter,
    "aten.scatter_add": scatter,
    "aten.slice_scatter": part_replaced,
    "aten.select_scatter": part_replaced,
    "aten.copy": copied,
}


def _swapped(call: Call, first: str, second: str) -> list[int]:
    order = list(range(len(call.first.tensor.shape)))
    a, b = call.axis(first), call.axis(second)
    order[a], order[b] = b, a
    return order
