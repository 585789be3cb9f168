"""Numbers that multiply the data or the result of a product go into its weights; Transposes into how it reads.

Requires: linear.py and convolution.py, and the patterns that look at such numbers themselves (activations, softmax,
attention), which must have run before. Ensures: no Mul or Div by a constant of one element next to a Gemm, or behind a
Conv, that nothing else reads, nor by one for each output of a Gemm; no Transpose of the last two axes before a MatMul
alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from narformer.frontends.canonical.draft import Draft
from narformer.frontends.canonical.rule import Rule
from narformer.frontends.canonical.views import permutation
from narformer.graph import Node, Operand


def factor(node: Node) -> Operand | None:
    """What a Mul or Div by one constant number multiplies; None for any other node."""
    if node.op not in ("Mul", "Div") or len(node.operands) != 2:
        return None
    first, second = node.operands
    if second.source is None and second.tensor.elements == 1 and first.source is not None:
        data = first
    elif node.op == "Mul" and first.source is None and first.tensor.elements == 1 and second.source is not None:
        data = second
    else:
        return None
    return data if data.tensor.elements == node.outputs[0].elements else None


def behind(draft: Draft, index: int, node: Node) -> bool:
    """A number that multiplies what a product with constant weights gives."""
    data = factor(node)
    made = None if data is None else draft.made_by(data, "Gemm", "Conv", "ConvTranspose")
    if made is None or any(operand.source is not None for operand in made.operands[1:]):
        return False
    draft.put(index, made._replace(outputs=(made.outputs[0]._replace(dtype=node.outputs[0].dtype),)))
    return True


def by_output(draft: Draft, index: int, node: Node) -> bool:
    """Constants by output that multiply what a Gemm gives, in whatever shape of rows that is read."""
    for data, constant in (node.operands, reversed(node.operands)):
        made = draft.made_by(data, "Gemm") if constant.source is None else None
        if made is None or data.tensor.shape != node.output_shape or (node.op == "Div" and data is node.operands[1]):
            continue
        outputs, shape = made.output_shape[-1], constant.tensor.shape
        whole = constant.tensor.elements == outputs > 1 and shape[-1:] == data.tensor.shape[-1:] == (outputs,)
        if whole and constant.tensor.dtype == data.tensor.dtype and made.operands[1].source is None:
            draft.put(index, made)
            return True
    return False


def before(draft: Draft, index: int, node: Node) -> bool:
    """A number that multiplies what a Gemm reads."""
    data = node.operands[0]
    scaled = draft.made_by(data, "Mul", "Div")
    inner = None if scaled is None else factor(scaled)
    if inner is None or inner.tensor.dtype != data.tensor.dtype or node.operands[1].source is not None:
        return False
    draft.put(index, node._replace(operands=(inner._replace(tensor=data.tensor), *node.operands[1:])))
    return True


def turned(draft: Draft, index: int, node: Node) -> bool:
    """A Transpose of the last two axes is a way to read a matrix."""
    for position, data in enumerate(node.operands[:2]):
        made = draft.made_by(data, "Transpose")
        if made is None or len(made.operands) != 1:
            continue
        if len(data.tensor.shape) < 2 or data.tensor.shape[-2:] != made.output_shape[-2:]:
            continue
        perm, rank = permutation(made), len(made.output_shape)
        if perm == (*range(rank - 2), rank - 1, rank - 2):
            operands = list(node.operands)
            operands[position] = made.operands[0]._replace(tensor=data.tensor)
            draft.put(index, node._replace(operands=tuple(operands)))
            return True
    return False


RULES: Mapping[str, Sequence[Rule]] = {
    **dict.fromkeys(("Mul", "Div"), (behind, by_output)),
    "Gemm": (before,),
    "MatMul": (turned,),
}
