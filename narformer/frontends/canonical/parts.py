"""Parts of tensors: what takes a piece says so in one way, and pieces that make up the whole are one Split.

Requires: no views, no constant arithmetic. Ensures: a Slice reads its data alone and has `axes`, `starts`, `ends` and
`steps` as attributes, from the front; picking one place of an axis is a Slice; a Slice of a Slice is one; Slices of one
value that make up the whole are a Split; Slice and Split count axes as the node that they read has them, if it has such
an axis; what was computed from the same operands before is not computed again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from narformer.frontends.canonical.constants import RANDOM
from narformer.frontends.canonical.draft import Draft
from narformer.frontends.canonical.rule import EVERY, Rules
from narformer.graph import Attribute, Node, Operand, Shape

_BOUNDS = ("axes", "starts", "ends", "steps")
_NEVER_SAME = RANDOM | {"Dropout", "If", "Loop", "Scan"}


def again(draft: Draft, index: int, node: Node) -> bool:
    """What was computed before, from the same operands by the same operator, is not computed again."""
    if node.op in _NEVER_SAME:
        return False
    read: list[int] = []
    for operand in node.operands:
        if operand.source is None:
            if not operand.name and operand.value is None:
                return False
        elif operand.source >= 0:
            read.append(operand.source)
    for source in read:
        if draft.uses[source] < 2:
            draft.notes["lone", source] = index  # no other reads what this one reads; another may come to
            return False
    for source in read:
        before = draft.notes.pop(("lone", source), None)
        if isinstance(before, int) and (other := draft.current(before)) is not None:
            draft.notes.setdefault(_computation(other), before)
    key = _computation(node)
    first = draft.notes.setdefault(key, index)
    if first == index or not isinstance(first, int) or draft.nodes[first] is None:
        draft.notes[key] = index
        return False
    draft.drop_all(index, {k: Operand(tensor, first, k) for k, tensor in enumerate(node.outputs)})
    return True


def _computation(node: Node) -> tuple[object, ...]:
    """The same for nodes that compute the same."""
    attributes = tuple(sorted(node.attributes.items()))
    return (node.op, node.domain, node.outputs, node.left_out, attributes, *[_identity(o) for o in node.operands])


def _identity(operand: Operand) -> tuple[object, ...]:
    if operand.source is not None:
        return operand.source, operand.output, operand.tensor
    held = operand.name if operand.value is None else operand.value
    return None, held, operand.tensor


def sliced(draft: Draft, index: int, node: Node) -> bool:
    """A Slice whose bounds are attributes; only the axes that it shortens, or turns around, are named."""
    if len(node.operands) == 1 and "steps" in node.attributes:
        return as_read(draft, index, node)
    shape, out = node.operands[0].tensor.shape, node.output_shape
    stated: list[tuple[int, ...]] = []
    for position, name in ((1, "starts"), (2, "ends"), (3, "axes"), (4, "steps")):
        held: object = node.attributes.get(name)
        operand = node.operand(position)
        if operand is not None:
            held = operand.value
            if operand.source is not None or held is None:
                return False
        stated.append(tuple([int(v) for v in held]) if isinstance(held, tuple) else ())
    starts, ends, axes, steps = stated
    axes = tuple([axis % len(shape) for axis in axes]) or tuple(range(len(starts)))
    steps = steps or (1,) * len(starts)
    found: list[tuple[int, int, int, int]] = []
    for axis, start, end, step in sorted(zip(axes, starts, ends, steps, strict=True)):
        start, end, step = slice(start, end, step).indices(shape[axis])
        if (start, end, step) == (0, shape[axis], 1):
            continue
        if len(range(start, end, step)) != out[axis]:
            return False
        found.append((axis, start, end, step))
    if not found:
        draft.drop(index, node.operands[0])
        return True
    draft.put(index, node._replace(operands=node.operands[:1], attributes=_bounds(found), left_out=()))
    return True


def picked(draft: Draft, index: int, node: Node) -> bool:
    """A Gather of one place whose number is known: a Slice."""
    data, place = node.operands
    axis = node.attributes.get("axis", 0)
    shape = data.tensor.shape
    if data.source is None or place.source is not None or place.tensor.elements != 1 or not place.value:
        return _all(draft, index, node)
    if not isinstance(axis, int):
        return False
    axis %= len(shape)
    start = int(place.value[0]) % shape[axis]
    out = node.outputs[0]._replace(shape=(*shape[:axis], 1, *shape[axis + 1 :]))
    put = Node(node.name, "Slice", (data,), (out,), _bounds([(axis, start, start + 1, 1)]))
    draft.put(index, put)
    return True


def _all(draft: Draft, index: int, node: Node) -> bool:
    """A Gather of every place of a value in one row, in order: what torch's exporter writes for some views."""
    data, places = node.operands
    shape = data.tensor.shape
    alike = places.tensor.elements == data.tensor.elements == (shape[0] if len(shape) == 1 else 0)
    if data.source is None or places.source is not None or not alike or len(places.tensor.shape) < 3:
        return False
    if places.value is not None and places.value != tuple(range(len(places.value))):
        return False
    draft.drop(index, data._replace(tensor=node.outputs[0]))
    return True


def twice(draft: Draft, index: int, node: Node) -> bool:
    """A Slice of a Slice."""
    data = node.operands[0]
    made = draft.made_by(data, "Slice", shared=True)
    if made is None or made.outputs[0].shape != data.tensor.shape or len(made.operands) > 1 or len(node.operands) > 1:
        return False
    rows = {axis: (start, end, step) for axis, start, end, step in _rows(made)}
    for axis, start, end, step in _rows(node):
        first = rows.get(axis)
        if first is None:
            rows[axis] = (start, end, step)
            continue
        if first[2] < 0 or step < 0:
            return False
        rows[axis] = (first[0] + start * first[2], min(first[0] + end * first[2], first[1]), first[2] * step)
    draft.put(index, node._replace(operands=made.operands, attributes=_bounds((a, *rows[a]) for a in sorted(rows))))
    return True


def _rows(node: Node) -> list[tuple[int, ...]]:
    """Axis, start, end and step of each axis that a Slice shortens."""
    named = [node.attributes[name] for name in _BOUNDS]
    return list(zip(*named, strict=True))


def _bounds(rows: Iterable[tuple[int, ...]]) -> dict[str, Attribute]:
    """The attributes of a Slice from such rows."""
    listed = list(rows)
    return {name: tuple([row[k] for row in listed]) for k, name in enumerate(_BOUNDS)}


def joined(draft: Draft, index: int, node: Node) -> bool:
    """The last of the Slices that make up a value: all of them are one Split."""
    axes, starts, ends, steps = (node.attributes.get(name) for name in _BOUNDS)
    data = node.operands[0]
    if not isinstance(axes, tuple) or len(axes) != 1 or steps != (1,) or data.source is None or len(node.operands) > 1:
        return False
    assert isinstance(starts, tuple)
    assert isinstance(ends, tuple)
    axis, shape = int(axes[0]), data.tensor.shape
    key = ("parts", data.source, data.output, shape, axis)
    piece = draft.notes.get((*key, int(starts[0]), int(ends[0])))
    if isinstance(piece, Operand):  # a part of what is split already
        draft.drop(index, piece)
        return True
    found = draft.notes.setdefault(key, [0])
    assert isinstance(found, list)
    found.append((int(starts[0]), int(ends[0]), index))
    found[0] += int(ends[0]) - int(starts[0])
    if found[0] != shape[axis]:
        return False  # how many there may be is not known: they are only looked at once they could be all
    pieces = sorted({(start, end, at) for start, end, at in found[1:] if draft.nodes[at] is not None})
    if [start for start, _, _ in pieces] != [0, *[end for _, end, _ in pieces[:-1]]] or pieces[-1][1] != shape[axis]:
        return False
    if len(pieces) < 2:
        return False
    outputs = tuple([data.tensor._replace(shape=_with(shape, axis, end - start)) for start, end, _ in pieces])
    split = Node(node.name, "Split", (data,), outputs, {"axis": axis})
    first = min(at for _, _, at in pieces)
    names = [draft.nodes[at] for _, _, at in pieces]
    split = split._replace(origin=tuple([n.name for n in names if n is not None and n.name != node.name]))
    made = draft.insert(first, split)
    for k, (start, end, at) in enumerate(pieces):
        draft.notes[(*key, start, end)] = piece = Operand(outputs[k], made, k)
        draft.drop(at, piece)
    return True


def halved(draft: Draft, index: int, node: Node) -> bool:
    """A Split without the operand or the attributes that say how long its parts are, which its outputs do."""
    axis = node.attributes.get("axis", 0)
    data = node.operands[0]
    if not isinstance(axis, int) or not data.tensor.shape:
        return False
    attributes: dict[str, Attribute] = {"axis": axis % len(data.tensor.shape)}
    if len(node.operands) > 1 or node.attributes != attributes:
        draft.put(index, node._replace(operands=(data,), attributes=attributes))
        return True
    return as_read(draft, index, node)


def as_read(draft: Draft, index: int, node: Node) -> bool:
    """Count the axis as the node that is read has it, where it has one that is cut in the same places."""
    data = node.operands[0]
    if data.source is None:
        return False
    made = draft.node(data)
    own = draft.graph.inputs[~data.source].shape if made is None else made.outputs[data.output].shape
    shape = data.tensor.shape
    if own == shape:
        return False
    if node.op == "Split":
        axis = node.attributes["axis"]
        cuts = [out.shape[axis] for out in node.outputs]  # type: ignore[index]
    else:
        axes, steps = node.attributes["axes"], node.attributes["steps"]
        if not isinstance(axes, tuple) or len(axes) != 1 or steps != (1,):
            return False
        axis = axes[0]
        cuts = [int(node.attributes[name][0]) for name in ("starts", "ends")]  # type: ignore[index]
    assert isinstance(axis, int)
    place = axis_like(own, shape, axis, cuts)
    if place is None:
        return False
    there, factor = place
    read = data._replace(tensor=data.tensor._replace(shape=own))
    outputs = []
    for out in node.outputs:
        size = out.shape[axis] * math.prod(shape[axis + 1 :]) // math.prod(own[there + 1 :])
        outputs.append(out._replace(shape=_with(own, there, size)))
    attributes: dict[str, Attribute] = {"axis": there}
    if node.op == "Slice":
        start, end = (cut * factor[0] // factor[1] for cut in cuts)
        attributes = _bounds([(there, start, end, 1)])
    draft.state(index, node._replace(operands=(read,), outputs=tuple(outputs), attributes=attributes))
    return True


def axis_like(own: Shape, shape: Shape, axis: int, cuts: Sequence[int]) -> tuple[int, tuple[int, int]] | None:
    """The axis of another shape of the same elements that can be cut in the same places, and by how much (as a
    fraction) sizes along it are longer; None where there is none."""
    outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    for there, size in enumerate(own):
        within = math.prod(own[there + 1 :])
        if math.prod(own[:there]) != outer or size * within != shape[axis] * inner or size == 1:
            continue
        if all(cut * inner % within == 0 for cut in cuts):
            return there, (inner, within)
    return None


def _with(shape: Shape, axis: int, size: int) -> Shape:
    return (*shape[:axis], size, *shape[axis + 1 :])


def by_number(draft: Draft, index: int, node: Node) -> bool:
    """Numbers picked from constant places by all axes at once: a Gather by their place in a row of all."""
    data, places = node.operands
    rank, written = len(data.tensor.shape), places.tensor.shape
    if places.source is not None or data.source is None or node.attributes.get("batch_dims", 0):
        return False
    if written[-1:] != (rank,) or node.output_shape != written[:-1]:
        return False
    numbers = places._replace(tensor=places.tensor._replace(shape=written[:-1]), value=None)
    row = data._replace(tensor=data.tensor._replace(shape=(data.tensor.elements,)))
    draft.put(index, Node(node.name, "Gather", (row, numbers), node.outputs))
    return True


def of_numbers(draft: Draft, index: int, node: Node) -> bool:
    """A Gather by constant places from rows of one number each: from a vector."""
    data, places = node.operands
    shape, out = data.tensor.shape, node.outputs[0]
    if places.source is not None or data.source is None or node.attributes.get("axis", 0) != 0:
        return False
    if (
        len(shape) < 2
        or data.tensor.elements != shape[0]
        or out.shape[: len(places.tensor.shape)] != places.tensor.shape
    ):
        return False
    vector = data._replace(tensor=data.tensor._replace(shape=shape[:1]))
    draft.put(index, Node(node.name, "Gather", (vector, places), (out._replace(shape=places.tensor.shape),)))
    return True


RULES: Rules = {
    EVERY: (again,),
    "GatherND": (by_number,),
    "Slice": (sliced, twice, joined),
    "Gather": (picked, of_numbers),
    "Split": (halved,),
}
