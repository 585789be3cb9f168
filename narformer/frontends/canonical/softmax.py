"""Softmax is one node, however it is spelt, and its axis counts from the end.

Requires: no views, no constant arithmetic. Ensures: Softmax and LogSoftmax state `axis` < 0, and run over that axis
alone (before opset 13, over all from theirs on: the front end says so by `flattened`); exponentials over their sum, and
the logarithm of a Softmax, are one node.
"""

from __future__ import annotations

import math

from narformer.frontends.canonical.draft import Draft
from narformer.frontends.canonical.expressions import same
from narformer.frontends.canonical.normalisation import mean_axes
from narformer.frontends.canonical.rule import Rules
from narformer.graph import Node, Operand


def stated(draft: Draft, index: int, node: Node) -> bool:
    """The axis from the end."""
    rank, axis = len(node.operands[0].tensor.shape), node.attributes.get("axis", -1)
    if not isinstance(axis, int) or not -rank <= axis < rank:
        return False
    attributes = {"axis": axis if axis < 0 else axis - rank}
    if node.attributes == attributes:
        return False
    shape = node.operands[0].tensor.shape
    if node.attributes.get("flattened") and math.prod(shape[axis % rank + 1 :]) != 1:
        data = node.operands[0].tensor._replace(
            shape=(math.prod(shape[: axis % rank]), math.prod(shape[axis % rank :]))
        )
        operands = (node.operands[0]._replace(tensor=data),)
        node = node._replace(operands=operands, outputs=(node.outputs[0]._replace(shape=data.shape),))
        attributes = {"axis": -1}
    draft.state(index, node._replace(attributes=attributes))
    return True


def spelt(draft: Draft, index: int, node: Node) -> bool:
    """exp(x - max x) / sum, or exp(x) / sum."""
    top, total = draft.made_by(node.operands[0], "Exp", shared=True), draft.made_by(node.operands[1], "ReduceSum")
    if top is None or total is None or not same(node.operands[0], total.operands[0]):
        return False
    axes = mean_axes(total)
    if axes is None or len(axes) != 1:
        return False
    draft.put(index, _softmax(node, "Softmax", _less_maximum(draft, top.operands[0]), axes[0]))
    return True


def _less_maximum(draft: Draft, operand: Operand) -> Operand:
    """The operand without its own maximum taken off."""
    less = draft.made_by(operand, "Sub", shared=True)
    highest = None if less is None else draft.made_by(less.operands[1], "ReduceMax")
    if less is not None and highest is not None and same(highest.operands[0], less.operands[0]):
        return less.operands[0]
    return operand


def logarithm(draft: Draft, index: int, node: Node) -> bool:
    """The logarithm of a Softmax."""
    softmax = draft.made_by(node.operands[0], "Softmax")
    if softmax is None or softmax.outputs[0].shape != node.outputs[0].shape:
        return False
    draft.put(index, node._replace(op="LogSoftmax", operands=softmax.operands[:1], attributes=softmax.attributes))
    return True


def shifted(draft: Draft, index: int, node: Node) -> bool:
    """x - log(sum exp(x)): LogSoftmax."""
    log = draft.made_by(node.operands[1], "Log", "ReduceLogSumExp") if len(node.operands) == 2 else None
    if log is None:
        return False
    total: Node | None = log
    data = node.operands[0]
    if log.op == "Log":
        total = draft.made_by(log.operands[0], "ReduceSum")
        exp = None if total is None else draft.made_by(total.operands[0], "Exp")
        if exp is None or not same(exp.operands[0], data):
            return False
        data = _less_maximum(draft, data)
    elif not same(log.operands[0], data):
        return False
    axes = None if total is None else mean_axes(total)
    if axes is None or len(axes) != 1:
        return False
    draft.put(index, _softmax(node, "LogSoftmax", data, axes[0]))
    return True


def _softmax(node: Node, op: str, data: Operand, axis: int) -> Node:
    rank = len(data.tensor.shape)
    return Node(node.name, op, (data,), node.outputs, {"axis": axis - rank})


RULES: Rules = {
    "Softmax": (stated,),
    "LogSoftmax": (stated,),
    "Div": (spelt,),
    "Log": (logarithm,),
    "Sub": (shifted,),
}
