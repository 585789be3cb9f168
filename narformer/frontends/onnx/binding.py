"""Every input gets a concrete shape: what the file says of it, and what the caller says of the sizes left open.

A size is open where the file gives it a name, a negative number, or nothing. All that stays open is told at once.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

import onnx

from narformer.errors import BindingError, ModelError, ShapeError
from narformer.frontends.onnx.shapes import MOST_AXES, MOST_ELEMENTS
from narformer.frontends.onnx.unbound import SUM, WORD, Open, UnboundError, spelled
from narformer.frontends.sizes import Size, Sizes
from narformer.frontends.tensors import DTYPES
from narformer.graph import Tensor


class Declared(NamedTuple):
    """An input as the file declares it. sizes: a name for a named size, "" for one without, None without any shape."""

    name: str
    dtype: str
    sizes: tuple[Size, ...] | None


def bind_shapes(inputs: Sequence[onnx.ValueInfoProto], given: Sizes, label: str) -> tuple[dict[str, Tensor], bool]:
    """Concrete shapes of the inputs, and whether any differs from what the file says.

    Of an input that is a sequence, or optional, this is the shape of what it holds. An open batch is 1 without a batch
    size. Raises UnboundError for other sizes that stay open, BindingError for what the caller gives that does not fit.
    """
    declared = [_declared(info, label) for info in inputs]
    shapes = _given_shapes(declared, given, label)
    known = _known_names(declared, shapes, given, label)
    batches = {d.name: _batch_axis(d.sizes, declared) for d in declared}
    for d in declared:
        name = _open_batch(d, batches[d.name], shapes)
        if name and given.batch_size is not None and given.dims.get(name, given.batch_size) != given.batch_size:
            raise BindingError(
                f"{label}: {name!r} is the batch, given as {given.dims[name]} and as {given.batch_size}; leave one out"
            )
        if name:
            known.setdefault(name, 1 if given.batch_size is None else given.batch_size)
    bound: dict[str, Tensor] = {}
    rebound = False
    still_open: list[Open] = []
    for d in declared:
        sizes = d.sizes
        if sizes is None and d.name not in shapes:
            still_open.append(Open(d.name, None, None))
            continue
        axis = batches[d.name]
        wanted: list[Size] = []
        for k, size in enumerate(shapes.get(d.name, sizes or ())):
            declared_here = sizes is not None and (d.name not in shapes or size == -1)
            if sizes is not None and declared_here:
                size = sizes[k]
            if declared_here and k == axis and given.batch_size is not None:
                size = given.batch_size
            elif declared_here and k == axis and (size == "" or (size == 0 and len(sizes or ()) > 1)):
                size = 1  # early exporters wrote 0 for it
            wanted.append(_valued(size, known) if isinstance(size, str) else size)
        if any(isinstance(size, str) for size in wanted):
            still_open.append(Open(d.name, sizes, tuple(wanted)))
            continue
        shape = tuple(int(size) for size in wanted)
        if axis is not None and sizes and isinstance(sizes[axis], str) and not shape[axis]:
            raise BindingError(f"{label}: input {d.name!r} would have a batch of 0; give at least 1")
        if any(s < 0 for s in shape) or math.prod(shape) >= MOST_ELEMENTS or len(shape) > MOST_AXES:
            raise ShapeError(f"{label}: input {d.name!r} cannot have the shape {spelled(shape)}")
        rebound |= shape != sizes
        bound[d.name] = Tensor(shape, d.dtype)
    if still_open:
        raise UnboundError(label, still_open, known)
    return bound, rebound


def assumed_batches(inputs: Sequence[onnx.ValueInfoProto], given: Sizes, label: str) -> list[Open]:
    """Inputs of which an open size was taken for a batch of 1, though the file does not call it one."""
    if given.batch_size is not None:
        return []
    declared = [_declared(info, label) for info in inputs]
    found: list[Open] = []
    for d in declared:
        axis = _batch_axis(d.sizes, declared)
        if not d.sizes or axis is None or d.name in given.input_shapes:
            continue
        name = d.sizes[axis]
        if isinstance(name, str) and "batch" not in name.lower() and name not in given.dims:
            wanted = [_valued(size, given.dims) if isinstance(size, str) else size for size in d.sizes]
            found.append(Open(d.name, d.sizes, tuple(wanted)))
    return found


def _declared(info: onnx.ValueInfoProto, label: str) -> Declared:
    tensor = held_type(info.type, info.name, label)
    dtype = DTYPES.get(tensor.elem_type, "float32")
    if not tensor.HasField("shape"):
        return Declared(info.name, dtype, None)
    sizes: list[Size] = []
    for d in tensor.shape.dim:
        if d.HasField("dim_value") and d.dim_value >= 0:
            sizes.append(d.dim_value)
        else:  # a negative number is open, as -1; names that stand for no name too
            named = str(d.dim_param) if not d.HasField("dim_value") else ""
            sizes.append("" if named.strip().lower() in ("", "?", "-1", "none", "unk") else named)
    return Declared(info.name, dtype, tuple(sizes))


def _given_shapes(declared: Sequence[Declared], given: Sizes, label: str) -> dict[str, tuple[Size, ...]]:
    """The caller's shapes by input. Raises BindingError for inputs that do not exist, and ranks that are not theirs."""
    names = [d.name for d in declared]
    shapes = {names[0] if name == "" and len(names) == 1 else name: s for name, s in given.input_shapes.items()}
    for name in shapes:
        if name not in names:
            told = "a shape without a name needs a network with one input" if name == "" else f"no input {name!r}"
            raise BindingError(f"{label}: {told}; the inputs are {', '.join(names) or 'none'}")
    names_of_sizes = _names(declared).union(given.dims)
    for d in declared:
        shape = shapes.get(d.name)
        if shape is None:
            # A length that has no name of its own may be called by its input's.
            if d.sizes == ("",) and d.name in given.dims:
                shapes[d.name] = (given.dims[d.name],)
        elif unknown := [s for s in shape if isinstance(s, str) and s not in names_of_sizes]:
            raise BindingError(
                f"{label}: the shape of {d.name!r} has {unknown[0]!r}, which is no number and no size that is known; "
                f"write it as NAME=1,3,224,224, or bind it, as with --dim {unknown[0]}=128"
            )
        elif given.batch_size is not None and given.batch_size not in shape and -1 not in shape:
            raise BindingError(
                f"{label}: the shape {spelled(shape)} of {d.name!r} has no batch of {given.batch_size}; leave one out"
            )
        elif d.sizes is not None and len(shape) != len(d.sizes):
            raise BindingError(f"{label}: input {d.name!r} has {len(d.sizes)} dimensions: {spelled(d.sizes)}")
        elif d.sizes is None and -1 in shape:
            raise BindingError(f"{label}: the file says nothing of the shape of {d.name!r}; give all of it")
    return shapes


def _known_names(
    declared: Sequence[Declared], shapes: Mapping[str, tuple[Size, ...]], given: Sizes, label: str
) -> dict[str, int]:
    """Sizes by name: as given, and as the shapes imply that are given. Raises BindingError where these contradict."""
    names = _names(declared) | {s for shape in shapes.values() for s in shape if isinstance(s, str)}
    for name in given.dims:
        if name not in names and not (name in shapes and name not in given.input_shapes):
            listed = f"the named sizes are {', '.join(sorted(names))}" if names else "no size of an input has a name"
            raise BindingError(f"{label}: no size is called {name!r}; {listed}; --input-shape gives an input its shape")
    known = dict(given.dims)
    implied: dict[str, set[int]] = {}
    for d in declared:
        for size, wanted in zip(d.sizes or (), shapes.get(d.name, ()), strict=False):
            wanted = given.dims.get(wanted, -1) if isinstance(wanted, str) else wanted
            if isinstance(size, str) and size and wanted >= 0:
                implied.setdefault(size, set()).add(wanted)
                if size in given.dims and given.dims[size] != wanted:
                    raise BindingError(
                        f"{label}: {size!r} is given as {given.dims[size]}, and as {wanted} in the shape of "
                        f"{d.name!r}; give one of them"
                    )
    # Where two shapes disagree, exporters used one name for two sizes: it says nothing of a third.
    return {**{name: values.pop() for name, values in implied.items() if len(values) == 1}, **known}


def _names(declared: Sequence[Declared]) -> set[str]:
    """Names of sizes, and those within sums of sizes, such as `past + sequence`."""
    whole = {s for d in declared for s in d.sizes or () if isinstance(s, str) and s}
    return whole | {word for text in whole if SUM.fullmatch(text) for word in WORD.findall(text)}


def _batch_axis(sizes: tuple[Size, ...] | None, declared: Sequence[Declared]) -> int | None:
    """The axis of the batch: the one that the file names so, else the first, unless that name is another axis' too."""
    if not sizes:
        return None
    named = next((k for k, size in enumerate(sizes) if isinstance(size, str) and "batch" in size.lower()), None)
    if named is not None:
        return named
    first = sizes[0]
    behind = {s for d in declared for s in (d.sizes or ())[1:]}
    return None if isinstance(first, str) and first and first in behind else 0


def _open_batch(d: Declared, axis: int | None, shapes: Mapping[str, tuple[Size, ...]]) -> str:
    """The name of an input's batch, where neither file nor caller gives it; "" where it has none, or is given."""
    if axis is None or not d.sizes or (d.name in shapes and shapes[d.name][axis] != -1):
        return ""
    return str(d.sizes[axis]) if isinstance(d.sizes[axis], str) else ""


_OPERATORS: Mapping[type[ast.operator], Callable[[Fraction, Fraction], Fraction | int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: lambda size, power: Fraction(size ** min(int(power), 8)),
}
_FUNCTIONS: Mapping[str, Callable[..., Fraction | int]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "ceiling": math.ceil,
    "max": max,
    "min": min,
}


def _valued(size: str, known: Mapping[str, int]) -> Size:
    """The size of this name, or of a sum or product of names that are known; the name itself where it is not."""
    if size in known:
        return known[size]
    words = WORD.findall(size)
    if not words or len(size) > 200 or not SUM.fullmatch(size) or not all(word in known for word in words):
        return size
    try:
        text = WORD.sub(lambda word: f" {known[word[0]]} ", size).strip()
        value = math.floor(_calculated(ast.parse(text, mode="eval").body))
    except (SyntaxError, TypeError, ValueError, KeyError, ZeroDivisionError, RecursionError, MemoryError):
        return size
    return value if 0 <= value < MOST_ELEMENTS else size


def _calculated(tree: ast.expr) -> Fraction:
    if isinstance(tree, ast.Constant) and type(tree.value) is int:
        return Fraction(tree.value)
    if isinstance(tree, ast.BinOp) and type(tree.op) in _OPERATORS:
        return Fraction(_OPERATORS[type(tree.op)](_calculated(tree.left), _calculated(tree.right)))
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        return -_calculated(tree.operand)
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and not tree.keywords:
        return Fraction(_FUNCTIONS[tree.func.id.lower()](*map(_calculated, tree.args)))
    raise ValueError("no sum of sizes")


def held_type(kind: onnx.TypeProto, name: str, label: str) -> onnx.TypeProto.Tensor:
    """The tensor type of a value, or, for a sequence or optional value, of what it holds."""
    for _ in range(4):
        if kind.HasField("sequence_type"):
            kind = kind.sequence_type.elem_type
        elif kind.HasField("optional_type"):
            kind = kind.optional_type.elem_type
        elif kind.HasField("map_type"):
            raise ModelError(f"{label}: input {name!r} is a map; only tensors and sequences of them are read")
        else:
            break
    if kind.HasField("sparse_tensor_type"):
        dense = onnx.TypeProto.Tensor(elem_type=kind.sparse_tensor_type.elem_type)
        dense.shape.CopyFrom(kind.sparse_tensor_type.shape)
        return dense
    return kind.tensor_type
