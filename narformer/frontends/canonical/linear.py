"""Products with a constant matrix are Gemm, however they are written; products of two computed values are MatMul.

Requires: constants.py and views.py. Ensures: a Gemm reads data (rows, in), a weight (in, out) and perhaps a bias (out),
and has no attributes; a constant that is added to it by output is its bias; no Einsum that is a product of two.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from narformer.frontends.canonical.draft import Draft
from narformer.frontends.canonical.rule import Rule
from narformer.graph import Node, Operand, Shape, Tensor


def gemm(node: Node, data: Operand, weight: Operand, bias: Operand | None = None, outputs: int = 0) -> Node:
    """A node that multiplies the last axis of data by a constant matrix, whose tensor is (in, out)."""
    width = weight.tensor.shape[0]
    rows = data.tensor.elements // width if width else 0
    data = data._replace(tensor=Tensor((rows, width), data.tensor.dtype))
    out = Tensor((rows, outputs or weight.tensor.shape[1]), node.outputs[0].dtype)
    operands = (data, weight) if bias is None else (data, weight, bias)
    return Node(node.name, "Gemm", operands, (out,), {}, origin=node.origin)


def vector(bias: Operand, outputs: int) -> Operand | None:
    """A constant as the bias of a Gemm; None where it is not one number for each output."""
    shape = bias.tensor.shape
    if bias.source is not None or bias.tensor.elements != outputs or (shape and shape[-1] != outputs):
        return None
    return bias._replace(tensor=bias.tensor._replace(shape=(outputs,)))


def _in_line(bias: Operand, data: Operand) -> Operand:
    """A constant that fills the last axes of the data it is added to, such as heads and their size, as one axis."""
    shape = bias.tensor.shape
    while shape and shape[0] == 1:
        shape = shape[1:]
    if bias.source is not None or len(shape) < 2 or data.tensor.shape[-len(shape) :] != shape:
        return bias
    return bias._replace(tensor=bias.tensor._replace(shape=(bias.tensor.elements,)))


def product(draft: Draft, index: int, node: Node) -> bool:
    """A MatMul by a constant matrix."""
    if len(node.operands) != 2:
        return False
    data, weight = node.operands
    shape = weight.tensor.shape
    if weight.source is not None or data.source is None or not data.tensor.shape or not weight.tensor.elements:
        return False
    if len(shape) == 1:
        shape = (*shape, 1)
    if math.prod(shape[:-2]) != 1 or data.tensor.shape[-1] != shape[-2]:
        return False
    weight = weight._replace(tensor=weight.tensor._replace(shape=shape[-2:]))
    draft.put(index, gemm(node, data, weight))
    return True


def plain(draft: Draft, index: int, node: Node) -> bool:
    """A Gemm without transA, transB, alpha and beta; what is not constant in it is multiplied and added for itself."""
    data, weight = node.operands[:2]
    bias = node.operands[2] if len(node.operands) > 2 else None
    beta = node.attributes.get("beta", 1.0)
    if bias is not None and (beta == 0 or (bias.value and not any(bias.value))):
        bias = None
    out = node.outputs[0]
    held = None if bias is None else vector(bias, out.shape[-1])
    if weight.source is None and not node.attributes and (bias is None or held == bias):
        return False
    if bias is not None and bias.source is None and bias.tensor.elements == 1 < out.shape[-1]:
        held = bias._replace(tensor=bias.tensor._replace(shape=out.shape[-1:]), value=None)
    if node.attributes.get("transA"):
        data = transposed(draft, index, node, data)
    matrix = weight._replace(tensor=swapped(weight.tensor)) if node.attributes.get("transB") else weight
    if weight.source is None:
        made = gemm(node, data, matrix, held)
    else:
        made = Node(node.name, "MatMul", (data, matrix), (out,), origin=node.origin)
    factor = 1.0 if weight.source is None else node.attributes.get("alpha", 1.0)
    if isinstance(factor, float) and factor != 1:
        made = after(draft, index, made, "Mul", _scalar(node, "alpha", factor))
    if bias is None or (weight.source is None and held is not None):
        draft.put(index, made)
        return True
    if isinstance(beta, float) and beta != 1 and bias.source is not None:
        scaled = Node(node.name, "Mul", (bias, _scalar(node, "beta", beta)), (bias.tensor,))
        bias = Operand(bias.tensor, draft.insert(index, scaled))
    draft.put(index, after(draft, index, made, "Add", bias))
    return True


def after(draft: Draft, index: int, made: Node, op: str, other: Operand) -> Node:
    """A node that reads one which is made to run before it, and another operand; it is to be put at the index."""
    out = made.outputs[0]
    first = Operand(out, draft.insert(index, made))
    return Node(made.name, op, (first, other), (out,), origin=made.origin)


def _scalar(node: Node, name: str, value: float) -> Operand:
    return Operand(Tensor((), node.outputs[0].dtype), name=f"{node.name}.{name}", value=(value,))


def swapped(tensor: Tensor) -> Tensor:
    """A tensor with its last two axes exchanged."""
    shape = tensor.shape
    return tensor._replace(shape=(*shape[:-2], shape[-1], shape[-2])) if len(shape) > 1 else tensor


def transposed(draft: Draft, index: int, node: Node, data: Operand, perm: Shape = ()) -> Operand:
    """What a Transpose of the operand, by default of its last two axes, that runs before the node would give."""
    rank = len(data.tensor.shape)
    perm = perm or (*range(rank - 2), rank - 1, rank - 2)
    out = data.tensor._replace(shape=tuple([data.tensor.shape[axis] for axis in perm]))
    if data.source is None:
        return data._replace(tensor=out, value=None)
    moved = [axis for axis in perm if data.tensor.shape[axis] != 1]
    if moved == sorted(moved):
        return data._replace(tensor=out)
    return Operand(out, draft.insert(index, Node(node.name, "Transpose", (data,), (out,), {"perm": perm})))


def biased(draft: Draft, index: int, node: Node) -> bool:
    """A constant that is added to a Gemm by output is its bias, or a part of it."""
    for data, constant in (node.operands[:2], node.operands[1::-1]):
        made = draft.made_by(data, "Gemm") if constant.source is None else None
        if node.op == "Sub" and data is not node.operands[0]:
            break
        if made is None or made.attributes or len(made.operands) < 2 or node.outputs[0].shape != data.tensor.shape:
            continue
        outputs, held = made.output_shape[-1], _in_line(constant, data)
        bias = vector(held, outputs)
        if bias is None or outputs == 1 or (held is constant and data.tensor.shape[-1:] != (outputs,)):
            continue
        if len(made.operands) > 2 or node.op == "Sub":
            bias = bias._replace(name=f"{made.name}.bias", value=None)
        draft.put(index, made._replace(operands=(*made.operands[:2], bias)))
        return True
    return False


def einsum(draft: Draft, index: int, node: Node) -> bool:
    """An Einsum of two operands that is one product, perhaps with its axes in another order."""
    equation = str(node.attributes.get("equation", "")).replace(" ", "")
    terms, arrow, result = equation.partition("->")
    first, comma, second = terms.partition(",")
    if len(node.operands) != 2 or not arrow or not comma or not (first + second + result).isalpha():
        return False
    left, right = node.operands
    if left.source is None:
        left, right, first, second = right, left, second, first
    if any(len(set(term)) != len(term) for term in (first, second, result)) or left.source is None:
        return False
    if (len(first), len(second)) != (len(left.tensor.shape), len(right.tensor.shape)):
        return False
    batch = [c for c in result if c in first and c in second]
    rows, columns = (
        [c for c in result if c in one and c not in other] for one, other in ((first, second), (second, first))
    )
    inner = [c for c in first if c in second and c not in result]
    if set(first) - set(batch + rows + inner) or set(second) - set(batch + columns + inner):
        return False
    sizes = {**dict(zip(second, right.tensor.shape, strict=True)), **dict(zip(first, left.tensor.shape, strict=True))}
    if any(sizes[c] != size for c, size in zip(second, right.tensor.shape, strict=True)):
        return False
    matrix = not batch and right.source is None
    shapes = [[math.prod(sizes[c] for c in group) for group in groups] for groups in ((rows, inner), (inner, columns))]
    data = _arranged(draft, index, node, left, first, batch + rows + inner, batch + inner + rows)
    other = _arranged(draft, index, node, right, second, batch + inner + columns, batch + columns + inner)
    leading = tuple([sizes[c] for c in batch])
    data = data._replace(tensor=data.tensor._replace(shape=(*leading, *shapes[0])))
    other = other._replace(tensor=other.tensor._replace(shape=(*leading, *shapes[1])))
    out = Tensor((*leading, shapes[0][0], shapes[1][1]), node.outputs[0].dtype)
    made = gemm(node, data, other) if matrix else Node(node.name, "MatMul", (data, other), (out,), origin=node.origin)
    written = batch + rows + columns
    perm = tuple([written.index(c) for c in result])
    if perm != tuple(range(len(perm))):
        shape = tuple([sizes[c] for c in written])
        source = draft.insert(index, made)
        read = Operand(Tensor(shape, out.dtype), source)
        made = Node(node.name, "Transpose", (read,), node.outputs[:1], {"perm": perm}, origin=node.origin)
    draft.put(index, made)
    return True


def _arranged(
    draft: Draft, index: int, node: Node, operand: Operand, term: str, wanted: list[str], swapped: list[str]
) -> Operand:
    """An operand with its axes as a product reads them, or with those of its two sides exchanged."""
    if list(term) in (wanted, swapped):
        return operand
    return transposed(draft, index, node, operand, tuple([term.index(c) for c in wanted]))


def pointwise(draft: Draft, index: int, node: Node) -> bool:
    """A convolution over a single position is a product with a matrix."""
    data, weight = node.operands[0], node.operands[1]
    kernel = weight.tensor.shape[2:]
    if math.prod(kernel) != 1 or math.prod(data.tensor.shape[2:]) != 1 or math.prod(node.output_shape[2:]) != 1:
        return False
    pads = node.attributes.get("pads", ())
    if weight.source is not None or node.attributes.get("group", 1) != 1 or (isinstance(pads, tuple) and any(pads)):
        return False
    outputs, inputs = weight.tensor.shape[:2]
    weight = weight._replace(tensor=weight.tensor._replace(shape=(inputs, outputs)))
    draft.put(index, gemm(node, data, weight, node.operands[2] if len(node.operands) > 2 else None))
    return True


# Asked again once what stood between, such as the scale of a layer, is in the weights.
BIASES: Mapping[str, Sequence[Rule]] = dict.fromkeys(("Add", "Sub"), (biased,))
RULES: Mapping[str, Sequence[Rule]] = {
    **BIASES,
    "MatMul": (product,),
    "Gemm": (plain,),
    "Einsum": (einsum,),
}
