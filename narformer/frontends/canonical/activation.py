"""Activations are one node each, however they are spelt.

Requires: no views, no constant arithmetic. Ensures: Gelu (by erf, or `approximate` = "tanh"), Swish (x · sigmoid(x),
also with `alpha`, which is the quick form of Gelu), HardSigmoid, HardSwish, Mish, Softplus, Softsign, Relu and
LeakyRelu are one node that reads one value; Clip is one node, whether its bounds are attributes, operands, or a Min
and a Max.
"""

from __future__ import annotations

import math

from narformer.frontends.canonical.draft import Draft, is_number, number
from narformer.frontends.canonical.expressions import Factor, factors, holds, made, of_one, pair, plus, same, scalar
from narformer.frontends.canonical.rule import Rules
from narformer.graph import Attribute, Node, Operand

SIXTH = 1 / 6
QUICK = 1.702  # of x · sigmoid(1.702 x), which approximates Gelu
_LARGE = 3e38


def put(
    draft: Draft, index: int, node: Node, op: str, data: Operand, attributes: dict[str, Attribute] | None = None
) -> bool:
    """An activation of one value in place of the node that ends its spelling."""
    shape = node.outputs[0].shape
    if data.tensor.elements != node.outputs[0].elements:
        return False
    data = data._replace(tensor=data.tensor._replace(shape=shape))
    draft.put(index, Node(node.name, op, (data,), node.outputs, attributes or {}))
    return True


def product(draft: Draft, index: int, node: Node) -> bool:
    """Products: Gelu, Swish, Mish, HardSigmoid and HardSwish."""
    parts = factors(draft, node)
    if len(parts) > 3:
        return False
    for part in parts:
        if part.inverse or part.operand.source is None:
            continue
        others = [other for other in parts if other is not part]
        values = [other for other in others if not other.inverse and same(other.operand, part.operand)]
        if values:  # x · x is a square
            continue
        if _gated(draft, index, node, part.operand, others):
            return True
    return False


def _gated(draft: Draft, index: int, node: Node, gate: Operand, others: list[Factor]) -> bool:
    """A product of a gate and others, if it is an activation."""
    data = [other.operand for other in others if other.operand.source is not None and not other.inverse]
    numbers = [other for other in others if scalar(other.operand)]
    if len(data) > 1 or len(data) + len(numbers) != len(others):
        return False
    value = data[0] if data else None
    if _clipped(draft, gate) is not None and len(numbers) == 1 and _is(numbers[0], SIXTH):
        inner = _clipped(draft, gate)
        assert inner is not None
        if value is None:
            return put(draft, index, node, "HardSigmoid", inner, {"alpha": SIXTH, "beta": 0.5})
        return same(value, inner) and put(draft, index, node, "HardSwish", inner)
    if value is None:
        return False
    if not numbers:
        return _self_gated(draft, index, node, gate, value)
    if len(numbers) != 1 or not _is(numbers[0], 0.5):
        return False
    erf = plus(draft, gate, 1, "Erf", "Tanh")
    if erf is None:
        return False
    constants = of_one(draft, erf.operands[0], value, "Mul", "Div", "Add", "Pow")
    if constants is None:
        return False
    if erf.op == "Erf":
        found = len(constants) == 1 and (holds(constants, math.sqrt(0.5)) or holds(constants, math.sqrt(2)))
        return found and put(draft, index, node, "Gelu", value)
    cubic = (len(constants) >= 2 and holds(constants, 0.044715)) or holds(constants, 0.044715 * math.sqrt(2 / math.pi))
    return cubic and put(draft, index, node, "Gelu", value, {"approximate": "tanh"})


def _self_gated(draft: Draft, index: int, node: Node, gate: Operand, value: Operand) -> bool:
    """A value times a function of itself."""
    by = draft.made_by(gate, "Sigmoid", "HardSigmoid", "Tanh", "Add")
    if by is None:
        return False
    if by.op == "Sigmoid":
        if same(by.operands[0], value):
            return put(draft, index, node, "Swish", value)
        scaled = draft.made_by(by.operands[0], "Mul", "Div")
        parts = None if scaled is None else pair(scaled, scalar)
        if scaled is None or parts is None or not same(parts[1], value):
            return False
        alpha = number(parts[0])
        alpha = QUICK if alpha is None else 1 / alpha if scaled.op == "Div" and alpha else alpha
        return put(draft, index, node, "Swish", value, {"alpha": alpha})
    if by.op == "HardSigmoid":
        sixth = is_close(by.attributes.get("alpha", 0.2), SIXTH) and is_close(by.attributes.get("beta", 0.5), 0.5)
        return sixth and same(by.operands[0], value) and put(draft, index, node, "HardSwish", value)
    if by.op == "Tanh":
        inner = draft.made_by(by.operands[0], "Softplus")
        return inner is not None and same(inner.operands[0], value) and put(draft, index, node, "Mish", value)
    # Gelu whose half is inside: x · (0.5 erf(...) + 0.5), or x · (0.5 (1 + erf(...))).
    parts = pair(by, scalar)
    half = None if parts is None or not is_number(parts[0], 0.5) else draft.made_by(parts[1], "Mul")
    found = None if half is None else made(draft, half, "Erf")
    if found is None or not is_number(found[1], 0.5):
        return False
    constants = of_one(draft, found[0].operands[0], value, "Mul", "Div")
    return constants is not None and len(constants) == 1 and put(draft, index, node, "Gelu", value)


def _clipped(draft: Draft, gate: Operand) -> Operand | None:
    """The x of clip(x + 3, 0, 6); None where it is none."""
    clip = draft.made_by(gate, "Clip", shared=True)
    if clip is None:
        return None
    low, high = bounds(clip)
    if (low is not None and not is_close(low, 0)) or (high is not None and not is_close(high, 6)):
        return None
    add = draft.made_by(clip.operands[0], "Add", shared=True)
    parts = None if add is None else pair(add, scalar)
    return parts[1] if parts is not None and is_number(parts[0], 3) else None


def bounds(clip: Node) -> tuple[float | None, float | None]:
    """What a Clip keeps its values between; None where it is not known or not bounded."""
    found: list[float | None] = []
    for position, name in ((1, "min"), (2, "max")):
        held = clip.attributes.get(name)
        operand = clip.operand(position)
        if operand is not None:
            held = number(operand)
        found.append(float(held) if isinstance(held, int | float) else None)
    return found[0], found[1]


def is_close(value: Attribute, wanted: float) -> bool:
    """Whether a number is another, to the precision of float16."""
    return isinstance(value, int | float) and abs(value - wanted) <= 2e-3 * max(abs(wanted), 1e-3)


def _is(factor: Factor, wanted: float) -> bool:
    """Whether a constant factor is a number, written as such or divided by."""
    return is_number(factor.operand, 1 / wanted if factor.inverse else wanted)


def clip(draft: Draft, index: int, node: Node) -> bool:
    """The bounds are attributes where they are known; between 0 and infinity a Clip is a Relu."""
    if any(operand.value is None for operand in node.operands[1:]):
        return False
    low, high = bounds(node)
    return _between(draft, index, node, node.operands[0], low, high)


def bounded(draft: Draft, index: int, node: Node) -> bool:
    """Max or Min of a value and a number: Relu, or Clip."""
    parts = pair(node, scalar)
    held = None if parts is None else number(parts[0])
    if parts is None or held is None or parts[1].source is None:
        return False
    return _between(draft, index, node, parts[1], *((held, None) if node.op == "Max" else (None, held)))


def _between(draft: Draft, index: int, node: Node, data: Operand, low: float | None, high: float | None) -> bool:
    """A value kept between bounds, together with what kept it between bounds before."""
    before = draft.made_by(data, "Clip", "Relu")
    if before is not None and len(before.operands) == 1:
        lower, upper = (0.0, None) if before.op == "Relu" else bounds(before)
        low = max((b for b in (low, lower) if b is not None), default=None)
        high = min((b for b in (high, upper) if b is not None), default=None)
        data = before.operands[0]
    attributes: dict[str, Attribute] = {}
    if low is not None and low > -_LARGE:
        attributes["min"] = low
    if high is not None and high < _LARGE:
        attributes["max"] = high
    if attributes == {"min": 0.0}:
        return put(draft, index, node, "Relu", data)
    if not attributes or (node.op == "Clip" and attributes == node.attributes and before is None):
        return False
    return put(draft, index, node, "Clip", data, attributes)


def sigmoid(draft: Draft, index: int, node: Node) -> bool:
    """1 / (1 + exp(-x)) is Sigmoid; ln(1 + exp(x)) is Softplus; x / (1 + |x|) is Softsign."""
    if node.op == "Log":
        exp = plus(draft, node.operands[0], 1, "Exp")
        return exp is not None and put(draft, index, node, "Softplus", exp.operands[0])
    divisor = node.operands[-1]
    inner = plus(draft, divisor, 1, "Exp", "Abs")
    if inner is None or (node.op == "Div" and inner.op == "Abs"):
        return (
            inner is not None
            and same(node.operands[0], inner.operands[0])
            and put(draft, index, node, "Softsign", inner.operands[0])
        )
    negative = draft.made_by(inner.operands[0], "Neg")
    one = node.op == "Reciprocal" or is_number(node.operands[0], 1)
    if negative is None or inner.op == "Abs":
        return False
    if one:
        return put(draft, index, node, "Sigmoid", negative.operands[0])
    return same(node.operands[0], negative.operands[0]) and put(draft, index, node, "Swish", negative.operands[0])


def one_slope(draft: Draft, index: int, node: Node) -> bool:
    """PRelu whose slope is one known number that is not trained, and Max(x, a x): LeakyRelu."""
    if node.op == "PRelu":
        slope = node.operands[1]
        held = number(slope)
        if held is None or slope.trained:
            return False
        return put(draft, index, node, "LeakyRelu", node.operands[0], {"alpha": held})
    found = made(draft, node, "Mul")
    parts = None if found is None else pair(found[0], scalar)
    if found is None or parts is None or not same(parts[1], found[1]):
        return False
    slope_held = number(parts[0])
    if slope_held is None or not 0 < slope_held < 1:
        return False
    return put(draft, index, node, "LeakyRelu", found[1], {"alpha": slope_held})


def guarded(draft: Draft, index: int, node: Node) -> bool:
    """Softplus, or x itself where x is so large that they are the same: PyTorch's decomposition writes that."""
    if len(node.operands) != 3:
        return False
    condition, large, otherwise = node.operands
    found, above = draft.made_by(otherwise, "Softplus"), draft.made_by(condition, "Greater")
    if found is None or above is None or len(above.operands) != 2 or not scalar(above.operands[1]):
        return False
    limit = number(above.operands[1])
    if not (same(found.operands[0], large) and same(above.operands[0], large)) or (limit is not None and limit < 10):
        return False
    return put(draft, index, node, "Softplus", large)


RULES: Rules = {
    "Where": (guarded,),
    "Mul": (product,),
    "Div": (product, sigmoid),
    "Clip": (clip,),
    "Max": (one_slope, bounded),
    "Min": (bounded,),
    "Log": (sigmoid,),
    "Reciprocal": (sigmoid,),
    "PRelu": (one_slope,),
}
