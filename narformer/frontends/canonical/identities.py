"""Nodes that do nothing are gone: operators that give back what they read, and pairs that undo each other.

Requires: nothing. Ensures: no Identity, no Dropout in inference, no Cast, Slice, Expand, Tile, Pad, Resize, Clip,
Concat, Split or Sum that leaves its operand as it is, no neutral arithmetic (Add 0, Mul 1), no Transpose or Cast that
undoes the one before it or what stands around a sum of integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from narformer.frontends.canonical.draft import Draft, number
from narformer.frontends.canonical.rule import Rule
from narformer.frontends.canonical.views import permutation
from narformer.frontends.tensors import ONNX_TYPES
from narformer.graph import Node, Operand, Shape


def identity(draft: Draft, index: int, node: Node) -> bool:
    """Whatever it reads is its output; of a sequence, one tensor after another."""
    if len(node.outputs) > 1:
        if len(node.operands) != len(node.outputs):
            return False
        draft.drop_all(index, dict(enumerate(node.operands)))
        return True
    draft.drop(index, node.operands[0])
    return True


def unchanged(node: Node) -> bool:
    """Whether a node's output has the shape and type of its first operand."""
    return node.operands[0].tensor == node.outputs[0]


def dropout(draft: Draft, index: int, node: Node) -> bool:
    """In inference all is kept; the mask, if somebody reads it, is a constant."""
    training = node.operand(2)
    if training is not None and training.value is not None and any(training.value):
        return False
    outputs = {0: node.operands[0]}
    for k, mask in enumerate(node.outputs[1:], 1):
        outputs[k] = Operand(mask, name=f"{node.name}.mask")
    draft.drop_all(index, outputs)
    return True


def same(draft: Draft, index: int, node: Node) -> bool:
    """An operator that, where it does not change the shape, changes nothing."""
    return unchanged(node) and identity(draft, index, node)


def single(draft: Draft, index: int, node: Node) -> bool:
    """Concat, Sum, Max, Min or Mean of one, or of one and some that are empty."""
    kept = [operand for operand in node.operands if operand.tensor.elements]
    if len(kept) != 1 or kept[0].tensor != node.outputs[0] or (len(node.operands) > 1 and node.op != "Concat"):
        return False
    draft.drop(index, kept[0])
    return True


def sum_of_two(draft: Draft, index: int, node: Node) -> bool:
    """A Sum of two is an Add."""
    if len(node.operands) != 2:
        return False
    draft.put(index, node._replace(op="Add", attributes={}))
    return True


def mean(draft: Draft, index: int, node: Node) -> bool:
    """A sum over as many elements as it is divided by is their mean."""
    for data, count in (node.operands, reversed(node.operands)):
        total = draft.made_by(data, "ReduceSum")
        held = number(count)
        if total is None or not held or total.outputs[0].elements != node.outputs[0].elements:
            continue
        summed = total.operands[0].tensor.elements / max(total.outputs[0].elements, 1)
        divided = held if node.op == "Div" else 1 / held
        if (node.op == "Mul" or data is node.operands[0]) and abs(divided - summed) < 1e-3 * summed:
            draft.put(index, total._replace(op="ReduceMean", outputs=node.outputs))
            return True
    return False


def split(draft: Draft, index: int, node: Node) -> bool:
    """A Split into one part."""
    return len(node.outputs) == 1 and same(draft, index, node)


def slice_(draft: Draft, index: int, node: Node) -> bool:
    """A Slice that takes everything, from the front: one of the same shape may still turn an axis around."""
    if not unchanged(node):
        return False
    starts = node.attributes.get("starts", node.operands[1].value if len(node.operands) > 1 else None)
    longest = max(node.operands[0].tensor.shape, default=1)
    if isinstance(starts, tuple) and any(0 > int(s) > -longest or int(s) > 0 for s in starts):
        return False
    return identity(draft, index, node)


def pad(draft: Draft, index: int, node: Node) -> bool:
    """A Pad by nothing."""
    pads = node.attributes.get("pads", node.operands[1].value if len(node.operands) > 1 else None)
    if not unchanged(node) or (isinstance(pads, tuple) and any(pads)):
        return False
    return identity(draft, index, node)


def resize(draft: Draft, index: int, node: Node) -> bool:
    """A Resize to the size that it has; only a crop would still change something."""
    if not unchanged(node) or node.attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        return False
    return identity(draft, index, node)


def clip(draft: Draft, index: int, node: Node) -> bool:
    """A Clip without bounds, or with those of the type."""
    bounds = [value for name, value in node.attributes.items() if name in ("min", "max")]
    for operand in node.operands[1:]:
        if not operand.value or operand.source is not None:
            return False
        bounds.append(operand.value[0])
    if any(isinstance(bound, int | float) and not abs(bound) >= 3.4e38 for bound in bounds):
        return False
    return identity(draft, index, node)


def neutral(draft: Draft, index: int, node: Node) -> bool:
    """Arithmetic with one number, 0 or 1, that leaves the other operand as it is.

    Several numbers are rather weights of a fresh network, which will be others when it is trained.
    """
    if len(node.operands) != 2:
        return False
    value = 0.0 if node.op in ("Add", "Sub") else 1.0
    for kept, other in ((0, 1), (1, 0))[: 2 if node.op in ("Add", "Mul") else 1]:
        operand, data = node.operands[other], node.operands[kept]
        if data.tensor == node.outputs[0] and number(operand) == value:
            draft.drop(index, data)
            return True
    return False


_WIDTHS = {"float64": 3, "float32": 2, "float16": 1, "bfloat16": 1}


def cast(draft: Draft, index: int, node: Node) -> bool:
    """A Cast to the type that it reads; of two Casts the first goes where it loses nothing."""
    data, out = node.operands[0], node.outputs[0]
    if data.tensor.dtype == out.dtype:
        return identity(draft, index, node)
    before = draft.made_by(data, "Cast", shared=True)
    if before is None or before.operands[0].tensor.elements != data.tensor.elements:
        return False
    inner = before.operands[0]
    if not _WIDTHS.get(inner.tensor.dtype, 9) < _WIDTHS.get(data.tensor.dtype, 0):
        return False
    inner = inner._replace(tensor=data.tensor._replace(dtype=inner.tensor.dtype))
    if inner.tensor.dtype == out.dtype:
        draft.drop(index, inner)
    else:
        draft.put(index, node._replace(operands=(inner, *node.operands[1:])))
    return True


def counted(draft: Draft, index: int, node: Node) -> bool:
    """Integers that are summed up as wider ones, between two Casts, as PyTorch's newer exporter counts positions."""
    summed = draft.made_by(node.operands[0], "CumSum")
    if summed is None:
        return False
    wider = draft.made_by(summed.operands[0], "Cast")
    if wider is None:
        return False
    dtype = node.outputs[0].dtype
    given, wide = wider.operands[0].tensor.dtype, wider.outputs[0].dtype
    if given != dtype or not dtype.startswith("int") or wide not in ("int32", "int64"):
        return False
    data, axis = summed.operands
    data = wider.operands[0]._replace(tensor=data.tensor._replace(dtype=dtype))
    axis = axis._replace(tensor=axis.tensor._replace(dtype="int32"))  # as the older exporter writes it
    draft.put(index, summed._replace(operands=(data, axis), outputs=node.outputs))
    return True


def cast_like(draft: Draft, index: int, node: Node) -> bool:
    """A Cast to the type of another value, which it does not read."""
    attributes = {"to": ONNX_TYPES[node.outputs[0].dtype]}
    draft.put(index, node._replace(op="Cast", operands=node.operands[:1], attributes=attributes))
    return True


def transposes(draft: Draft, index: int, node: Node) -> bool:
    """Of two Transposes in a row one remains, or none."""
    data = node.operands[0]
    before = draft.made_by(data, "Transpose", shared=True)
    if before is None or data.tensor.shape != before.outputs[0].shape:
        return False
    first, second = permutation(before), permutation(node)
    perm = tuple([first[axis] for axis in second])
    inner = before.operands[0]
    if perm == tuple(range(len(perm))):
        draft.drop(index, inner)
    else:
        draft.put(index, node._replace(operands=(inner,), attributes={"perm": perm}))
    return True


def transposes_through_view(draft: Draft, index: int, node: Node) -> bool:
    """Of two Transposes with a view between them, which parts or joins whole axes, one remains."""
    data = node.operands[0]
    before = draft.made_by(data, "Transpose", shared=True)
    parts = None if before is None else in_parts(before.outputs[0].shape, data.tensor.shape)
    if before is None or parts is None:
        return False
    sizes, given, read = parts
    first, second = permutation(before), permutation(node)
    # The parts in the order in which the first reads them, and in which the second gives them.
    source = [part for axis in range(len(first)) for part in given[first.index(axis)]]
    result = [part for axis in second for part in read[axis]]
    inner = before.operands[0]
    inner = inner._replace(tensor=inner.tensor._replace(shape=tuple([sizes[part] for part in source])))
    out = node.outputs[0]._replace(shape=tuple([sizes[part] for part in result]))
    perm = tuple([source.index(part) for part in result])
    draft.put(index, node._replace(operands=(inner,), outputs=(out,), attributes={"perm": perm}))
    return True


def in_parts(first: Shape, second: Shape) -> tuple[list[int], list[list[int]], list[list[int]]] | None:
    """Axes of which two shapes of the same elements are made: their sizes, and which of them each axis of either has.

    None where no such axes are common to both. Axes of one element are those of the second.
    """
    if not first or 0 in first:
        return None
    sizes: list[int] = []
    ours: list[list[int]] = [[] for _ in first]
    theirs: list[list[int]] = [[] for _ in second]
    axis, left = 0, first[0]  # of the first shape, and what is left of it
    for of, size in zip(theirs, second, strict=True):
        while True:
            while left == 1 < size:
                axis, left = axis + 1, first[axis + 1]
            part = min(left, size)
            if max(left, size) % part:
                return None
            ours[axis].append(len(sizes))
            of.append(len(sizes))
            sizes.append(part)
            left, size = left // part, size // part
            if size == 1:
                break
    return sizes, ours, theirs


def pooled(draft: Draft, index: int, node: Node) -> bool:
    """A window of one element, in every place."""
    kernel, pads = node.attributes.get("kernel_shape", ()), node.attributes.get("pads", ())
    if not isinstance(kernel, tuple) or not isinstance(pads, tuple) or any(pads):
        return False
    if len(node.outputs) > 1 or not unchanged(node) or any(size != 1 for size in kernel):
        return False
    return identity(draft, index, node)


RULES: Mapping[str, Sequence[Rule]] = {
    "Identity": (identity,),
    "Dropout": (dropout,),
    "Cast": (cast, counted),
    "CastLike": (cast_like,),
    "Transpose": (transposes,),
    "Slice": (slice_,),
    **dict.fromkeys(("Expand", "Tile"), (same,)),
    "Pad": (pad,),
    **dict.fromkeys(("Resize", "Upsample"), (resize,)),
    "Clip": (clip,),
    **dict.fromkeys(("Concat", "Max", "Min", "Mean"), (single,)),
    "Sum": (single, sum_of_two),
    "Split": (split,),
    **dict.fromkeys(("Add", "Sub", "Pow"), (neutral,)),
    **dict.fromkeys(("Mul", "Div"), (neutral, mean)),
    **dict.fromkeys(("MaxPool", "AveragePool"), (pooled,)),
}
