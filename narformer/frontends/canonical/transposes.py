"""Transposes run as late as they can, so that they meet what undoes them, and are written in one way.

Requires: parts.py; layout of convolutions settled. Ensures: no Transpose before an element-wise operator, a Concat, a
Split, a Slice or a mean, unless something else reads it or another operand is not transposed alike.
"""

from __future__ import annotations

from narformer.frontends.canonical.draft import Draft
from narformer.frontends.canonical.identities import transposes
from narformer.frontends.canonical.normalisation import mean_axes
from narformer.frontends.canonical.parts import as_read
from narformer.frontends.canonical.rule import Rules
from narformer.frontends.canonical.views import permutation, transposed_view
from narformer.graph import Attribute, Node, Operand, Shape, Tensor

_UNARY = (
    *("Relu", "Gelu", "Swish", "HardSwish", "HardSigmoid", "Sigmoid", "Tanh", "Clip", "LeakyRelu", "Mish", "Elu"),
    *(
        "Selu",
        "Softplus",
        "Softsign",
        "Erf",
        "Exp",
        "Log",
        "Neg",
        "Abs",
        "Sqrt",
        "Reciprocal",
        "Cast",
        "Not",
        "Sin",
        "Cos",
    ),
)
BINARY = ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Where", "Equal", "Greater", "Less", "And", "Or", "PRelu")
_MEANS = ("ReduceMean", "ReduceMax", "ReduceSum", "ReduceL2", "GlobalAveragePool", "GlobalMaxPool")


def _before(draft: Draft, operand: Operand, shared: bool = False) -> Node | None:
    """The Transpose that an operand reads, as it is, or with other axes of length 1."""
    node = draft.made_by(operand, "Transpose", shared=shared)
    if node is None or node.outputs[0].shape == operand.tensor.shape:
        return node
    return _restated(node, operand.tensor.shape)


def _restated(node: Node, shape: Shape) -> Node | None:
    """The same Transpose giving a shape that differs by axes of length 1 alone; None for any other shape."""
    data = node.operands[0]
    moved = [axis for axis in permutation(node) if data.tensor.shape[axis] != 1]
    places = [place for place, size in enumerate(shape) if size != 1]
    if [shape[place] for place in places] != [data.tensor.shape[axis] for axis in moved]:
        return None
    perm = list(range(len(shape)))
    for place, k in zip(places, sorted(range(len(moved)), key=moved.__getitem__), strict=True):
        perm[places[k]] = place
    out = node.outputs[0]._replace(shape=shape)
    data = data._replace(tensor=_turned(out, tuple(perm))._replace(dtype=data.tensor.dtype))
    return node._replace(operands=(data,), outputs=(out,), attributes={"perm": tuple(perm)})


def elementwise(draft: Draft, index: int, node: Node) -> bool:
    """One operator whose computed operands are transposed alike, or move nothing if turned: it runs before."""
    if len(node.outputs) != 1:
        return False
    found = [_before(draft, operand, shared=True) for operand in node.operands]
    full = [o.tensor.shape == node.output_shape for o in node.operands]
    first = next((made for made, whole in zip(found, full, strict=True) if made is not None and whole), None)
    if first is None:
        return False
    perm = permutation(first)
    alone = False
    operands: list[Operand] = []
    for operand, made, whole in zip(node.operands, found, full, strict=True):
        if made is not None and whole and permutation(made) == perm:
            alone |= draft.uses[operand.source or 0] == sum(o.source == operand.source for o in node.operands)
            operands.append(made.operands[0])
            continue
        turned = constant(operand, perm)
        if turned is None or (operand.source is not None and not _still(operand.tensor.shape, perm)):
            return False
        operands.append(turned)
    if not alone:
        return False
    turned_node = node._replace(operands=tuple(operands), outputs=(_turned(node.outputs[0], perm),))
    _swap(draft, index, node, turned_node, first)
    return True


def viewed(draft: Draft, index: int, node: Node) -> bool:
    """An operator of one value, and of numbers, that reads a Transpose in another shape."""
    computed = [k for k, operand in enumerate(node.operands) if operand.source is not None]
    if len(computed) != 1 or len(node.outputs) != 1 or node.outputs[0].elements < 2:
        return False
    data = node.operands[computed[0]]
    transpose = draft.made_by(data, "Transpose")
    others = [operand for k, operand in enumerate(node.operands) if k != computed[0]]
    if transpose is None or data.tensor.elements != node.outputs[0].elements:
        return False
    if any(operand.tensor.elements != 1 for operand in others):
        return False
    operands = list(node.operands)
    operands[computed[0]] = transpose.operands[0]
    out = node.outputs[0]._replace(shape=transpose.operands[0].tensor.shape)
    _swap(draft, index, node, node._replace(operands=tuple(operands), outputs=(out,)), transpose)
    return True


def _still(shape: Shape, perm: Shape) -> bool:
    """Whether what is broadcast to a Transpose's result has its elements in the same order before it."""
    aligned = (1,) * (len(perm) - len(shape)) + shape
    moved = [axis for axis, size in zip(perm, aligned, strict=True) if size != 1]
    return moved == sorted(moved)


def constant(operand: Operand, perm: Shape) -> Operand | None:
    """An operand, such as a constant, as it is broadcast to what a Transpose reads; None where it has more axes."""
    shape = operand.tensor.shape
    if len(shape) > len(perm):
        return None
    shape = (1,) * (len(perm) - len(shape)) + shape
    turned = [1] * len(perm)
    for place, axis in enumerate(perm):
        turned[axis] = shape[place]
    while turned and turned[0] == 1:
        turned = turned[1:]
    several = sum(size > 1 for size in shape) > 1
    value = None if several else operand.value
    return operand._replace(tensor=operand.tensor._replace(shape=tuple(turned)), value=value)


def _swap(draft: Draft, index: int, node: Node, made: Node, transpose: Node) -> None:
    """A node that runs before, then a Transpose of what it gives in the node's place."""
    perm, out = permutation(transpose), node.outputs[0]
    shape = made.outputs[0].shape
    if _still(tuple([shape[axis] for axis in perm]), perm):
        draft.put(index, made)
        return
    before = draft.insert(index, made)
    read = Operand(made.outputs[0], before)
    out = out._replace(shape=tuple([shape[axis] for axis in perm]))
    draft.put(index, Node(transpose.name, "Transpose", (read,), (out,), {"perm": perm}))
    put = draft.nodes[index]
    assert put is not None
    theirs = {made.name, *made.origin}
    draft.state(index, put._replace(origin=tuple([name for name in put.origin if name not in theirs])))
    # What it reads now may be transposed in its turn.
    any(rule(draft, before, made) for rule in RULES.get(made.op, ()))


def _turned(out: Tensor, perm: Shape) -> Tensor:
    """What a Transpose reads, by what it gives."""
    shape = [0] * len(perm)
    for place, axis in enumerate(perm):
        shape[axis] = out.shape[place]
    return out._replace(shape=tuple(shape))


def concat(draft: Draft, index: int, node: Node) -> bool:
    """A Concat of values that are all transposed alike, or constant, or move nothing if turned."""
    axis = node.attributes.get("axis", 0)
    found = [_before(draft, operand) for operand in node.operands]
    first = next((made for made in found if made is not None), None)
    if not isinstance(axis, int) or first is None:
        return False
    perm = permutation(first)
    operands: list[Operand] = []
    for operand, made in zip(node.operands, found, strict=True):
        if made is not None and permutation(made) == perm:
            operands.append(made.operands[0])
        elif made is None and (operand.source is None or _still(operand.tensor.shape, perm)):
            value = operand.value if operand.tensor.elements == 1 else None
            operands.append(operand._replace(tensor=_turned(operand.tensor, perm), value=value))
        else:
            return False
    outputs = (_turned(node.outputs[0], perm),)
    turned = node._replace(operands=tuple(operands), outputs=outputs, attributes={"axis": perm[axis % len(perm)]})
    _swap(draft, index, node, turned, first)
    return True


def sliced(draft: Draft, index: int, node: Node) -> bool:
    """A Slice of a transposed value."""
    attended = "Attention" in draft.ops and index in _attended(draft)
    transpose, axes = _before(draft, node.operands[0], shared=attended), node.attributes.get("axes")
    if transpose is None or not isinstance(axes, tuple) or len(node.operands) > 1:
        return False
    perm = permutation(transpose)
    attributes = {**node.attributes, "axes": tuple([perm[int(axis)] for axis in axes])}
    outputs = (_turned(node.outputs[0], perm),)
    made = node._replace(operands=transpose.operands, outputs=outputs, attributes=attributes)
    _swap(draft, index, node, made, transpose)
    return True


def _attended(draft: Draft) -> frozenset[int]:
    """Nodes that an Attention reads."""
    found = draft.notes.get(("attended",))
    if not isinstance(found, frozenset):
        listed = [node for k, node in enumerate(draft.nodes) if node is not None and node.op == "Attention"]
        found = frozenset(
            o.source for node in listed for o in map(draft.resolved, node.operands) if o.source is not None
        )
        draft.notes["attended",] = found
    return found


def softmax(draft: Draft, index: int, node: Node) -> bool:
    """A Softmax of a transposed value."""
    transpose, axis = _before(draft, node.operands[0]), node.attributes.get("axis", -1)
    if transpose is None or not isinstance(axis, int) or len(node.operands) > 1:
        return False
    perm = permutation(transpose)
    attributes: dict[str, Attribute] = {"axis": perm[axis % len(perm)] - len(perm)}
    outputs = (_turned(node.outputs[0], perm),)
    made = node._replace(operands=transpose.operands, outputs=outputs, attributes=attributes)
    _swap(draft, index, node, made, transpose)
    return True


def split(draft: Draft, index: int, node: Node) -> bool:
    """A Split of a transposed value: each part is transposed for itself, where that may meet what undoes it.

    That is so of channels that move to the end or back, and of queries, keys and values.
    """
    transpose, axis = _before(draft, node.operands[0]), node.attributes.get("axis", 0)
    if transpose is None or not isinstance(axis, int) or len(node.operands) > 1:
        return False
    perm = permutation(transpose)
    layout = perm[0] == 0 and (perm[1], perm[-1]) in ((2, 1), (len(perm) - 1, len(perm) - 2))
    single = all(out.shape[axis] == 1 for out in node.outputs)
    if not layout and not single and index not in _attended(draft):
        return False
    parts = tuple([_turned(out, perm) for out in node.outputs])
    attributes: dict[str, Attribute] = {"axis": perm[axis % len(perm)]}
    made = node._replace(operands=transpose.operands, outputs=parts, attributes=attributes)
    source = draft.insert(index, made)
    outputs = {}
    for k, out in enumerate(node.outputs):
        read = Operand(parts[k], source, k)
        if _still(out.shape, perm):
            outputs[k] = read._replace(tensor=out)
            continue
        turned = Node(transpose.name, "Transpose", (read,), (out,), {"perm": perm})
        outputs[k] = Operand(out, draft.insert(index, turned))
    draft.drop_all(index, outputs)
    return True


def padded(draft: Draft, index: int, node: Node) -> bool:
    """A Pad of a transposed value."""
    transpose = _before(draft, node.operands[0])
    pads = node.attributes.get("pads", node.operands[1].value if len(node.operands) > 1 else None)
    rank = len(node.output_shape)
    if transpose is None or not isinstance(pads, tuple) or len(pads) != 2 * rank:
        return False
    perm = permutation(transpose)
    before = [0.0] * (2 * rank)
    for place, axis in enumerate(perm):
        before[axis], before[rank + axis] = float(pads[place]), float(pads[rank + place])
    operands, attributes = [transpose.operands[0], *node.operands[1:]], dict(node.attributes)
    if "pads" in attributes:
        attributes["pads"] = tuple([int(p) for p in before])
    else:
        operands[1] = node.operands[1]._replace(value=tuple(before), name="")
    outputs = (_turned(node.outputs[0], perm),)
    made = node._replace(operands=tuple(operands), outputs=outputs, attributes=attributes)
    _swap(draft, index, node, made, transpose)
    return True


def expanded(draft: Draft, index: int, node: Node) -> bool:
    """An Expand of a transposed value along axes that it has; what it gives says how far."""
    transpose = _before(draft, node.operands[0])
    if transpose is None or len(transpose.output_shape) != len(node.output_shape):
        return False
    if any(operand.source is not None for operand in node.operands[1:]):
        return False
    outputs = (_turned(node.outputs[0], permutation(transpose)),)
    made = node._replace(operands=transpose.operands, outputs=outputs, attributes={}, left_out=())
    _swap(draft, index, node, made, transpose)
    return True


def mean(draft: Draft, index: int, node: Node) -> bool:
    """A mean, sum, maximum or length of a transposed value."""
    transpose = _before(draft, node.operands[0], shared=True)
    axes = None if transpose is None else mean_axes(node)
    if transpose is None or axes is None:
        return False
    perm = permutation(transpose)
    over = tuple(sorted(perm[axis] for axis in axes))
    data = transpose.operands[0]
    shape = tuple([1 if axis in over else size for axis, size in enumerate(data.tensor.shape)])
    out = node.outputs[0]._replace(shape=shape)
    if out.elements != node.outputs[0].elements:
        return False
    op = {"GlobalAveragePool": "ReduceMean", "GlobalMaxPool": "ReduceMax"}.get(node.op, node.op)
    attributes: dict[str, Attribute] = {"axes": over, "keepdims": 1}
    made = node._replace(op=op, operands=(data,), outputs=(out,), attributes=attributes)
    _swap(draft, index, node, made, transpose)
    return True


def written(draft: Draft, index: int, node: Node) -> bool:
    """A Transpose without axes of length 1, but the batch's; axes that stay together are one."""
    data = node.operands[0]
    shape, perm = data.tensor.shape, permutation(node)
    groups: list[list[int]] = []
    for axis in perm:
        if shape[axis] == 1:
            continue
        if groups and _next(shape, groups[-1][-1]) == axis:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    if len(groups) < 2:
        return transposed_view(draft, index, node)
    order = sorted(range(len(groups)), key=lambda k: groups[k][0])
    sizes = [1] * len(groups)
    for k, group in enumerate(groups):
        for axis in group:
            sizes[k] *= shape[axis]
    ahead = (1,) if draft.graph.batch_size == 1 else ()
    read = Tensor((*ahead, *[sizes[k] for k in order]), data.tensor.dtype)
    out = Tensor((*ahead, *sizes), node.outputs[0].dtype)
    new = (*range(len(ahead)), *[len(ahead) + order.index(k) for k in range(len(groups))])
    if read.shape == shape and new == perm:
        return False
    put = node._replace(operands=(data._replace(tensor=read),), outputs=(out,), attributes={"perm": new})
    draft.state(index, put)
    return True


def _next(shape: Shape, axis: int) -> int:
    """The axis after one, those of length 1 left out."""
    axis += 1
    while axis < len(shape) and shape[axis] == 1:
        axis += 1
    return axis


RULES: Rules = {
    "Transpose": (transposed_view, transposes),
    **dict.fromkeys((*_UNARY, *BINARY), (elementwise, viewed)),
    "Concat": (concat,),
    "Slice": (as_read, sliced),
    "Split": (as_read, split),
    "Pad": (padded,),
    "Expand": (expanded,),
    **dict.fromkeys(("Softmax", "LogSoftmax"), (softmax,)),
    **dict.fromkeys(_MEANS, (mean,)),
}
WRITTEN: Rules = {"Transpose": (written, transposes)}
