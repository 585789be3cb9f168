"""QuantizeLinear and DequantizeLinear around an operator say that it works on integers.

Requires: quantised.py, constants.py, views.py. Ensures: an operator between DequantizeLinears and a QuantizeLinear
reads and writes integers; operators that only move elements do so on integers; a product of integers that is scaled
back to floats gives these; a DequantizeLinear of a constant is a constant, and of a weight of four bits, or in blocks,
that a product reads, that weight; those that really run read their data alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from narformer.frontends.canonical.draft import Draft
from narformer.frontends.canonical.rule import Rule
from narformer.frontends.canonical.views import permutation
from narformer.graph import Node, Operand

_INTEGERS = frozenset({"int8", "uint8", "int16", "uint16", "int4", "uint4", "int2", "uint2"})
_QUANTISED = _INTEGERS | {"float8", "float4"}
_MOVING = ("Transpose", "Slice", "Concat", "Split", "Gather", "MaxPool", "Pad", "Expand", "Tile", "DepthToSpace")
_SATURATED = ("Relu", "Clip")  # what a QuantizeLinear's own limits do


def dequantised(draft: Draft, operand: Operand) -> Operand | None:
    """What a DequantizeLinear reads whose result an operand reads, in the operand's shape; None for any other."""
    node = draft.made_by(operand, "DequantizeLinear", shared=True)
    if node is None:
        return None
    data = node.operands[0]
    if data.tensor.dtype not in (*_QUANTISED, "int32"):
        return None
    return data._replace(tensor=operand.tensor._replace(dtype=data.tensor.dtype))


def as_integers(draft: Draft, node: Node) -> tuple[Operand, ...] | None:
    """The operands of a node as integers; None if any that is computed is none, or all are constant."""
    operands: list[Operand] = []
    computed = False
    for operand in node.operands:
        inner = dequantised(draft, operand)
        floats = operand.source is not None and operand.tensor.dtype not in (*_QUANTISED, "bool")
        if inner is None and floats and not _is_constant(draft, operand):
            return None
        inner = inner or operand
        computed |= inner.source is not None
        operands.append(inner)
    return tuple(operands) if computed else None


def _is_constant(draft: Draft, operand: Operand) -> bool:
    """Whether an operand is a constant once DequantizeLinears of constants are (CONSTANTS), whatever their type."""
    node = draft.made_by(operand, "DequantizeLinear", shared=True)
    return node is not None and node.operands[0].source is None


def quantise(draft: Draft, index: int, node: Node) -> bool:
    """The QuantizeLinear behind an operator: it writes integers, if it reads them."""
    data, out = node.operands[0], node.outputs[0]
    if data.source is None or data.source < 0 or draft.uses[data.source] != 1:
        back = dequantised(draft, data)
        if back is not None and back.tensor.dtype == out.dtype:
            draft.drop(index, back)
            return True
        return _alone(draft, index, node)
    back = dequantised(draft, data)
    if back is not None:
        if back.tensor.dtype != out.dtype:
            return _alone(draft, index, node)
        draft.drop(index, back)
        return True
    maker = draft.node(data)
    if maker is not None and maker.op in _SATURATED:
        before = draft.node(maker.operands[0])
        alone = draft.uses[maker.operands[0].source or 0] == 1
        if before is not None and alone and before.op not in ("DequantizeLinear", *_SATURATED):
            maker = before
    if maker is None or len(maker.outputs) != 1 or maker.domain or maker.op in ("QuantizeLinear", "Cast"):
        return _alone(draft, index, node)
    if maker.outputs[0].dtype in _QUANTISED:  # it writes integers already, and what makes integers of those runs
        return _alone(draft, index, node)
    operands = as_integers(draft, maker)
    if operands is None:
        return _alone(draft, index, node)
    made = maker._replace(operands=operands, outputs=(maker.outputs[0]._replace(dtype=out.dtype),))
    draft.put(index, made)
    return True


def _alone(draft: Draft, index: int, node: Node) -> bool:
    """One that really runs: scales and zero points are no data."""
    if len(node.operands) == 1 and not node.attributes:
        return False
    if any(operand.source is not None for operand in node.operands[1:]):
        return False
    draft.put(index, node._replace(operands=node.operands[:1], attributes={}, left_out=()))
    return True


def dequantise(draft: Draft, index: int, node: Node) -> bool:
    """One that really runs reads its data alone; of a constant, it is asked for by what reads it."""
    return node.operands[0].source is not None and _alone(draft, index, node)


def moved(draft: Draft, index: int, node: Node) -> bool:
    """What only moves elements moves integers, and what they stand for is told afterwards."""
    if node.op == "Transpose" and draft.node(node.operands[0]) is not None:
        inner = dequantised(draft, node.operands[0])
        if inner is not None and inner.source is None:
            return _constant(draft, index, node, inner)
    if node.operands[0].source is None and node.op != "Concat":
        return False
    turned = [dequantised(draft, operand) for operand in node.operands]
    if turned[0] is None or (node.op == "Concat" and any(operand is None for operand in turned)):
        return False
    operands = tuple([new or old for new, old in zip(turned, node.operands, strict=True)])
    dtype = operands[0].tensor.dtype
    if all(o.source is None for o in operands) or any(new is not None and new.tensor.dtype != dtype for new in turned):
        return False
    outputs = tuple([out._replace(dtype=dtype) for out in node.outputs])
    source = draft.insert(index, node._replace(operands=operands, outputs=outputs))
    after: dict[int, Operand] = {}
    for k, (out, before) in enumerate(zip(outputs, node.outputs, strict=True)):
        if before.dtype == dtype or before.dtype not in ("float32", "float16", "bfloat16"):  # such as places of maxima
            after[k] = Operand(before, source, k)
            continue
        back = Node(node.name, "DequantizeLinear", (Operand(out, source, k),), (before,))
        after[k] = Operand(before, draft.insert(index, back))
    draft.drop_all(index, after)
    return True


def _constant(draft: Draft, index: int, node: Node, inner: Operand) -> bool:
    """A constant of integers, transposed when the network is loaded."""
    out = node.outputs[0]
    shape = tuple([node.operands[0].tensor.shape[axis] for axis in permutation(node)])
    held = inner._replace(tensor=inner.tensor._replace(shape=shape), value=None)
    given = draft.node(node.operands[0])
    attributes = {} if given is None else given.attributes
    draft.put(index, Node(node.name, "DequantizeLinear", (held,), (out,), attributes))
    return True


def few_bits(draft: Draft, index: int, node: Node) -> bool:
    """A product that unpacks its weight of four bits, or of blocks, as it reads it."""
    operands = list(node.operands)
    for position, operand in enumerate(operands[:2]):
        unpacked = draft.made_by(operand, "DequantizeLinear", shared=True)
        inner = dequantised(draft, operand)
        if unpacked is None or inner is None or inner.source is not None:
            continue
        if inner.tensor.dtype.endswith("int4") or unpacked.attributes.get("block_size"):
            operands[position] = inner
            draft.put(index, node._replace(operands=tuple(operands)))
            return True
    return False


def scaled_back(draft: Draft, index: int, node: Node) -> bool:
    """A product of integers, cast to float and multiplied by the scales of both sides."""
    for data, scales in (node.operands, node.operands[::-1]):
        cast = draft.made_by(data, "Cast")
        if cast is None or scales.tensor.elements > node.outputs[0].shape[-1] > 0:
            continue
        product = draft.made_by(cast.operands[0], "MatMul", "Conv", "Gemm")
        if product is None or product.operands[0].tensor.dtype not in _INTEGERS:
            continue
        out = product.outputs[0]._replace(dtype=node.outputs[0].dtype)
        draft.put(index, product._replace(outputs=(out,)))
        return True
    return False


def constant(draft: Draft, index: int, node: Node) -> bool:
    """What no operator on integers has taken in is a constant of floats."""
    if node.operands[0].source is not None:
        return False
    draft.fold(index)
    return True


RULES: Mapping[str, Sequence[Rule]] = {
    "QuantizeLinear": (quantise,),
    "DequantizeLinear": (dequantise,),
    **dict.fromkeys(_MOVING, (moved,)),
    **dict.fromkeys(("MatMul", "Gemm"), (few_bits,)),
    "Mul": (scaled_back,),
}
CONSTANTS: Mapping[str, Sequence[Rule]] = {"DequantizeLinear": (constant, dequantise), "QuantizeLinear": (_alone,)}
