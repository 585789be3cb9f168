"""Normalisations, however they are spelt: by means and deviations, between casts, or by another of ONNX's operators.

Requires: no views, no constant arithmetic, no node that does nothing. Ensures: LayerNormalization (over the last axes
from `axis`; over `axes` where these are not the last), RMSNormalization, GroupNormalization (data, one scale and bias a
channel) and InstanceNormalization are one node each, which reads its scale and its bias if it has them.

A spelling ends in up to three steps: the quotient (a normalisation without scale), its scale, its bias. Each step is
recognised where it stands, and what comes of it is what the next one looks for.
"""

from __future__ import annotations

from narformer.frontends.canonical.draft import Draft, is_number
from narformer.frontends.canonical.expressions import aligned, factors, made, pair, same, scalar
from narformer.frontends.canonical.rule import Rules
from narformer.frontends.canonical.views import permutation
from narformer.graph import Attribute, Node, Operand

NORMALISED = ("LayerNormalization", "RMSNormalization", "InstanceNormalization", "GroupNormalization")


def quotient(draft: Draft, index: int, node: Node) -> bool:
    """A value, less its mean or not, over the root of the mean of its squares."""
    parts = factors(draft, node)
    if len(parts) == 3:  # over a root whose 1 is written
        parts = [part for part in parts if part.inverse or not is_number(part.operand, 1)]
    if len(parts) != 2:
        return False
    for value, root in (parts, reversed(parts)):
        if value.inverse or value.operand.source is None or root.operand.source is None:
            continue
        squares = _under_root(draft, root.operand, root.inverse)
        found = None if squares is None else _mean_of_squares(draft, squares, value.operand)
        if found is None:
            continue
        data, centred, axes = found
        rank = len(data.tensor.shape)
        if not axes or max(axes) >= rank or (axes[0] == 0 and rank > 1):  # a batch is not normalised as one
            continue
        last = axes == tuple(range(axes[0], rank))
        attributes: dict[str, Attribute] = {"axis": axes[0] - rank} if last else {"axes": axes}
        op = "LayerNormalization" if centred else "RMSNormalization"
        put = Node(node.name, op, (data,), node.outputs, attributes)
        draft.put(index, put)
        return True
    return False


def _under_root(draft: Draft, operand: Operand, inverse: bool) -> Operand | None:
    """What an operand is the reciprocal root of (or, if it divides already, the root), less a small constant."""
    if not inverse:
        node = draft.made_by(operand, "Reciprocal", "Pow", "Div", shared=True)
        if node is None:
            return None
        if node.op == "Pow":
            return _less_epsilon(draft, node.operands[0]) if is_number(node.operands[1], -0.5) else None
        if node.op == "Div" and not is_number(node.operands[0], 1):
            return None
        operand = node.operands[-1]
    node = draft.made_by(operand, "Sqrt", "Pow", shared=True)
    if node is None or (node.op == "Pow" and not is_number(node.operands[1], 0.5)):
        return None
    return _less_epsilon(draft, node.operands[0])


def _less_epsilon(draft: Draft, operand: Operand) -> Operand:
    """The operand without the small constant that is added to it, or of which it is at least."""
    node = draft.made_by(operand, "Add", "Clip", "Max", shared=True)
    if node is not None:
        if node.op == "Clip":
            return node.operands[0]
        parts = pair(node, scalar)
        if parts is not None and (not parts[0].value or abs(parts[0].value[0]) < 0.1):
            return parts[1]
    return operand


def _mean_of_squares(draft: Draft, squares: Operand, value: Operand) -> tuple[Operand, bool, tuple[int, ...]] | None:
    """If squares are the mean of the value's: what is normalised, whether its mean is taken off, over which axes."""
    mean = draft.made_by(squares, "ReduceMean", "GlobalAveragePool", shared=True)
    axes = None if mean is None else mean_axes(mean)
    if mean is None or axes is None:
        return _difference_of_squares(draft, squares, value)
    square = draft.made_by(mean.operands[0], "Pow", "Mul", shared=True)
    if square is None or not _square(square):
        return None
    root, value = _uncast(draft, square.operands[0]), _uncast(draft, value)
    less = draft.made_by(value, "Sub", shared=True)
    other = less if same(root, value) else draft.made_by(root, "Sub", shared=True)
    if less is not None and other is not None and len(less.operands) == 2:
        # The difference may be computed twice.
        twice = same(less.operands[0], other.operands[0]) and same(less.operands[1], other.operands[1])
        average = draft.made_by(less.operands[1], "ReduceMean", "GlobalAveragePool", shared=True)
        if twice and average is not None and mean_axes(average) == axes and same(average.operands[0], less.operands[0]):
            return less.operands[0], True, axes
    return (value, False, axes) if same(root, value) else None


def _uncast(draft: Draft, operand: Operand) -> Operand:
    """The operand before it was cast to another type in which only squares and means are computed."""
    cast = draft.made_by(operand, "Cast", shared=True)
    inner = None if cast is None else draft.made_by(cast.operands[0], "Sub", shared=True)
    return operand if cast is None or inner is None else cast.operands[0]


def _difference_of_squares(
    draft: Draft, squares: Operand, value: Operand
) -> tuple[Operand, bool, tuple[int, ...]] | None:
    """The mean of squares less the square of the mean."""
    less, centred = draft.made_by(squares, "Sub", shared=True), draft.made_by(value, "Sub", shared=True)
    if less is None or centred is None:
        return None
    mean = draft.made_by(less.operands[0], "ReduceMean", shared=True)
    average = draft.made_by(centred.operands[1], "ReduceMean", shared=True)
    squared = draft.made_by(less.operands[1], "Pow", "Mul", shared=True)
    if mean is None or average is None or squared is None or not _square(squared):
        return None
    inner = draft.made_by(mean.operands[0], "Pow", "Mul", shared=True)
    axes = mean_axes(average)
    data = centred.operands[0]
    fits = inner is not None and _square(inner) and same(inner.operands[0], data) and same(average.operands[0], data)
    if not fits or not same(squared.operands[0], centred.operands[1]) or axes is None or mean_axes(mean) != axes:
        return None
    return data, True, axes


def _square(node: Node) -> bool:
    if node.op == "Pow":
        return is_number(node.operands[1], 2)
    return len(node.operands) == 2 and same(*node.operands)


def mean_axes(node: Node) -> tuple[int, ...] | None:
    """The axes of a mean, ascending and not negative; None where they cannot be told."""
    rank = len(node.operands[0].tensor.shape)
    if node.op.startswith("Global"):
        return tuple(range(2, rank))
    axes = node.attributes.get("axes")
    if axes is None and len(node.operands) > 1:
        axes = node.operands[1].value
        if axes is None:  # contents unknown: the axes along which it shrank, as far as that tells
            before, after = node.operands[0].tensor.shape, node.output_shape
            axes = tuple([k for k, size in enumerate(before) if len(after) == rank and after[k] != size]) or None
    if isinstance(axes, int):
        axes = (axes,)
    if axes is None or isinstance(axes, float | str):
        return None
    return tuple(sorted(int(axis) % rank for axis in axes))


def scaled(draft: Draft, index: int, node: Node) -> bool:
    """A normalisation times a constant: its scale."""
    found = made(draft, node, *NORMALISED)
    if found is None or found[1].source is not None:
        return False
    norm, scale = found
    data = norm.operands[0]
    shape = data.tensor.shape
    if norm.op == "InstanceNormalization":
        return _grouped(draft, index, node, norm, scale)
    if len(norm.operands) != 1 or norm.op == "GroupNormalization":
        return False
    if node.output_shape != norm.output_shape:
        return _grouped(draft, index, node, norm, scale)
    if scale.tensor.elements == 1 < shape[-1]:
        return False
    varies = aligned(scale.tensor.shape, node.output_shape)
    if set(varies) <= set(_axes(norm)):
        draft.put(index, norm._replace(name=node.name, operands=(data, _flat(scale)), outputs=node.outputs))
        return True
    if varies == (1,) and norm.op == "LayerNormalization" and _axes(norm) == tuple(range(2, len(shape))):
        # One scale a channel over its own positions.
        put = Node(node.name, "InstanceNormalization", (data, _flat(scale)), node.outputs)
        draft.put(index, put)
        return True
    return _grouped(draft, index, node, norm, scale)


def _grouped(draft: Draft, index: int, node: Node, norm: Node, scale: Operand) -> bool:
    """Groups normalised as (batch, groups, rest), then a scale for each channel: GroupNormalization."""
    shape, groups = node.output_shape, norm.operands[0].tensor.shape
    if (
        len(shape) < 3
        or len(groups) < 3
        or shape[0] != groups[0]
        or aligned(scale.tensor.shape, shape) not in ((1,), ())
    ):
        return False
    if norm.op == "InstanceNormalization":
        if any(o.source is not None for o in norm.operands[1:]):
            return False
    elif norm.op != "LayerNormalization" or _axes(norm) != tuple(range(2, len(groups))):
        return False
    if not groups[1] or shape[1] % groups[1]:
        return False
    data = norm.operands[0]
    data = data._replace(tensor=data.tensor._replace(shape=shape))
    put = Node(node.name, "GroupNormalization", (data, _flat(scale)), node.outputs, {"num_groups": groups[1]})
    draft.put(index, put)
    return True


def each_channel(draft: Draft, index: int, node: Node) -> bool:
    """Groups of one channel each: InstanceNormalization."""
    if node.attributes.get("num_groups") != node.operands[0].tensor.shape[1]:
        return False
    draft.put(index, node._replace(op="InstanceNormalization", attributes={}))
    return True


def _flat(operand: Operand) -> Operand:
    """A constant without the axes of size 1 that broadcasting needs."""
    shape = tuple(size for size in operand.tensor.shape if size > 1) or (1,)
    return operand._replace(tensor=operand.tensor._replace(shape=shape))


def _axes(norm: Node) -> tuple[int, ...]:
    rank = len(norm.operands[0].tensor.shape)
    axes = norm.attributes.get("axes")
    if isinstance(axes, tuple):
        return tuple(int(a) for a in axes)
    axis = norm.attributes.get("axis", -1)
    return tuple(range(axis % rank, rank)) if isinstance(axis, int) else ()


def shifted(draft: Draft, index: int, node: Node) -> bool:
    """A scaled normalisation plus a constant: its bias."""
    found = made(draft, node, "LayerNormalization", "InstanceNormalization", "GroupNormalization")
    if found is None or found[1].source is not None:
        return False
    norm, bias = found
    if len(norm.operands) != 2 or bias.tensor.elements != norm.operands[1].tensor.elements:
        return False
    if node.output_shape != norm.output_shape:
        return False
    varies = aligned(bias.tensor.shape, node.output_shape)
    over = set(_axes(norm)) if norm.op == "LayerNormalization" else {1}
    if not set(varies) <= over:
        return False
    draft.put(index, norm._replace(name=node.name, operands=(*norm.operands, _flat(bias)), outputs=node.outputs))
    return True


def folded(draft: Draft, index: int, node: Node) -> bool:
    """x · k + (b - mean · k), where k is the scale over the deviation: Keras writes a normalisation so."""
    for one, other in (node.operands, reversed(node.operands)):
        product, offset = draft.made_by(one, "Mul"), _offset(draft, other)
        if product is not None and offset is not None and _folded(draft, index, node, product, *offset):
            return True
    return False


def _offset(draft: Draft, operand: Operand) -> tuple[list[Operand], Operand] | None:
    """Of b - mean · k, or -mean · k + b: the two that are multiplied, without the sign, and the constant b."""
    less = draft.made_by(operand, "Sub", "Add")
    if less is None:
        return None
    if less.op == "Sub":
        product = draft.made_by(less.operands[1], "Mul")
        constant = less.operands[0].source is None
        return (list(product.operands), less.operands[0]) if product is not None and constant else None
    parts = pair(less, lambda part: part.source is None)
    product = None if parts is None else draft.made_by(parts[1], "Mul")
    if parts is None or product is None:
        return None
    negated = [draft.made_by(part, "Neg") for part in product.operands]
    inner = [p if n is None else n.operands[0] for n, p in zip(negated, product.operands, strict=True)]
    return (inner, parts[0]) if sum(n is not None for n in negated) == 1 else None


def _folded(draft: Draft, index: int, node: Node, product: Node, off: list[Operand], bias: Operand) -> bool:
    for data, factor in (product.operands, reversed(product.operands)):
        (mean,) = [operand for operand in off if not same(operand, factor)][:1] or (factor,)
        scaling = draft.made_by(factor, "Mul", shared=True)
        parts = None if scaling is None else pair(scaling, lambda operand: operand.source is None)
        axes = _mean_of(draft, mean, data)
        if axes is None or parts is None or not any(same(operand, factor) for operand in off):
            continue
        scale, root = parts
        squares = _under_root(draft, root, False)
        varies = {*aligned(scale.tensor.shape, node.output_shape), *aligned(bias.tensor.shape, node.output_shape)}
        alike = scale.tensor.elements == bias.tensor.elements and varies <= set(axes)
        if squares is None or not alike or not _variance(draft, squares, data, mean, axes):
            continue
        rank = len(data.tensor.shape)
        last = axes == tuple(range(axes[0], rank))
        attributes: dict[str, Attribute] = {"axis": axes[0] - rank} if last else {"axes": axes}
        operands = (data, _flat(scale), _flat(bias))
        draft.put(index, Node(node.name, "LayerNormalization", operands, node.outputs, attributes))
        return True
    return False


def _mean_of(draft: Draft, mean: Operand, data: Operand) -> tuple[int, ...] | None:
    """The axes over which an operand is the mean of another; None where it is not."""
    node = draft.made_by(mean, "ReduceMean", "GlobalAveragePool", shared=True)
    fits = node is not None and data.source is not None and same(node.operands[0], data)
    axes = mean_axes(node) if node is not None and fits else None
    return axes if axes and (axes[0] > 0 or len(data.tensor.shape) == 1) else None


def _variance(draft: Draft, squares: Operand, data: Operand, mean: Operand, axes: tuple[int, ...]) -> bool:
    """Whether an operand is the mean of the squares of what the data differ from their mean."""
    average = draft.made_by(squares, "ReduceMean", "GlobalAveragePool", shared=True)
    square = None if average is None else draft.made_by(average.operands[0], "Mul", "Pow", shared=True)
    if average is None or square is None or not _square(square) or mean_axes(average) != axes:
        return False
    less = draft.made_by(square.operands[0], "Sub", shared=True)
    return less is not None and same(less.operands[0], data) and _mean_of(draft, less.operands[1], data) == axes


def centred(draft: Draft, index: int, node: Node) -> bool:
    """Values over the root of their mean square, where they are what others differ from their mean: LayerNormalization.

    The difference may have been taken before a Transpose: so ONNX Runtime leaves a normalisation behind one.
    """
    data, turned = node.operands[0], draft.made_by(node.operands[0], "Transpose")
    read = data if turned is None else turned.operands[0]
    less = draft.made_by(read, "Sub")
    axes = None if less is None or len(less.operands) != 2 else _mean_of(draft, less.operands[1], less.operands[0])
    if less is None or axes is None:
        return False
    inner, shape = less.operands[0], less.output_shape
    if turned is not None and read.tensor.shape == shape:
        perm = permutation(turned)
        axes = tuple(sorted(perm.index(axis) for axis in axes))
    elif turned is None and axes == (len(shape) - 1,) and read.tensor.shape[-1:] == shape[-1:]:  # rows, seen otherwise
        inner, axes = (
            inner._replace(tensor=inner.tensor._replace(shape=read.tensor.shape)),
            (len(read.tensor.shape) - 1,),
        )
    elif read.tensor.shape != shape:
        return False
    if axes != _axes(node) or (turned is not None and data.tensor.shape != turned.output_shape):
        return False
    if turned is not None and data.source is not None:
        draft.put(data.source, turned._replace(operands=(inner,)))
        inner = data
    draft.put(index, node._replace(op="LayerNormalization", operands=(inner, *node.operands[1:])))
    return True


def narrowed(draft: Draft, index: int, node: Node) -> bool:
    """A normalisation of what was cast to a wider type, cast back: it reads and writes the narrow one."""
    norm = draft.made_by(node.operands[0], *NORMALISED)
    if norm is None or node.outputs[0].dtype == norm.outputs[0].dtype:
        return False
    data = norm.operands[0]
    if data.tensor.dtype != node.outputs[0].dtype:
        widened = draft.made_by(data, "Cast", shared=True)
        if widened is None or widened.operands[0].tensor.dtype != node.outputs[0].dtype:
            return False
        data = widened.operands[0]._replace(tensor=data.tensor._replace(dtype=node.outputs[0].dtype))
    draft.put(index, norm._replace(name=node.name, operands=(data, *norm.operands[1:]), outputs=node.outputs))
    return True


def written(draft: Draft, index: int, node: Node) -> bool:
    """ONNX's own operator: `axis` as it counts from the end, and no outputs that only training reads."""
    rank, axis = len(node.operands[0].tensor.shape), node.attributes.get("axis", -1)
    if "axes" in node.attributes or not isinstance(axis, int) or not -rank <= axis < rank:
        return False
    attributes = {"axis": axis if axis < 0 else axis - rank}
    if node.attributes == attributes and len(node.outputs) == 1:
        return False
    draft.put(index, node._replace(attributes=attributes, outputs=node.outputs[:1]))
    return True


RULES: Rules = {
    "Div": (quotient,),
    "Mul": (quotient, scaled),
    "Add": (shifted, folded),
    "Cast": (narrowed,),
    "LayerNormalization": (written,),
    "GroupNormalization": (each_channel,),
    "RMSNormalization": (written, centred),
}
