"""ATen operators that work element by element: arithmetic, activations, comparisons, choices."""

from __future__ import annotations

import math
from collections.abc import Mapping

from narformer.frontends.torch.call import Call, Handler, Value, constant
from narformer.graph import Operand


def one(op: str) -> Handler:
    """An operator of one operand."""
    return lambda call: call.emit(op, call.cast(call.first, call.output.dtype))


def two(op: str) -> Handler:
    """An operator of two operands, in the element type of its result."""

    def handler(call: Call) -> Value:
        first, second = _both(call)
        dtype = call.output.dtype
        return call.emit(op, call.cast(first, dtype), call.cast(second, dtype))

    return handler


def _both(call: Call) -> tuple[Operand, Operand]:
    first, second = list(call.arguments)[:2]
    return call.operand(first), call.operand(second)


def sum_or_difference(op: str, turned: bool = False) -> Handler:
    """x ± alpha · y; rsub has the two the other way round."""

    def handler(call: Call) -> Value:
        first, second = [call.cast(o, call.output.dtype) for o in _both(call)]
        alpha = call.arguments.get("alpha", 1)
        if alpha not in (1, None):
            second = call.emit("Mul", second, constant(call.number("alpha"), second.tensor.dtype), output=second.tensor)
        operands = (second, first) if turned else (first, second)
        if call.output.dtype == "bool":
            return call.emit("Or", *operands)
        return call.emit(op, *operands)

    return handler


def multiply(call: Call) -> Value:
    if call.output.dtype == "bool":
        return call.emit("And", *_both(call))
    return two("Mul")(call)


def divide(call: Call) -> Value:
    first, second = [call.cast(o, call.output.dtype) for o in _both(call)]
    found = call.emit("Div", first, second)
    rounding = call.text("rounding_mode") or ("floor" if "floor_divide" in call.step.operator else "")
    if not rounding or not call.output.dtype.startswith("float"):
        return found
    return call.emit("Floor" if rounding == "floor" else "Trunc", found)


def square(call: Call) -> Value:
    return call.emit("Mul", call.first, call.first)


def power(call: Call) -> Value:
    """x to a power; the powers 1/2, 1 and -1 are operators of their own in no file, and stay."""
    first, second = _both(call)
    return call.emit("Pow", call.cast(first, call.output.dtype), second)


def reciprocal_root(call: Call) -> Value:
    root = call.emit("Sqrt", call.first)
    return call.emit("Reciprocal", root)


def add_multiple(op: str) -> Handler:
    """addcmul, addcdiv: x + value · (a · b)."""

    def handler(call: Call) -> Value:
        found = call.emit(op, call.operand("tensor1"), call.operand("tensor2"))
        if call.arguments.get("value", 1) != 1:
            found = call.emit("Mul", found, call.operand("value"))
        return call.emit("Add", call.first, found)

    return handler


def lerp(call: Call) -> Value:
    difference = call.emit("Sub", call.operand("end"), call.first)
    return call.emit("Add", call.first, call.emit("Mul", difference, call.operand("weight")))


def clip(call: Call) -> Value:
    """clamp, hardtanh, relu6: between two numbers, or tensors."""
    low, high = (
        next((name for name in names if call.has(name)), "") for names in (("min", "min_val"), ("max", "max_val"))
    )
    if call.step.operator.startswith("aten.relu6"):
        return call.emit("Clip", call.first, constant(0.0, call.output.dtype), constant(6.0, call.output.dtype))
    ends = [call.operand(name) for name in (low, high) if name]
    data = call.cast(call.first, call.output.dtype)
    if all(not end.tensor.shape for end in ends) and low:
        return call.emit("Clip", data, *ends)
    if low:
        data = call.emit("Max", data, call.operand(low))
    return call.emit("Min", data, call.operand(high)) if high else data


def hardsigmoid(call: Call) -> Value:
    return call.emit("HardSigmoid", call.first, alpha=1 / 6)


def gelu(call: Call) -> Value:
    approximate = call.text("approximate")
    return call.emit("Gelu", call.first, approximate=approximate if approximate == "tanh" else None)


def leaky_relu(call: Call) -> Value:
    return call.emit("LeakyRelu", call.first, alpha=call.number("negative_slope"))


def elu(call: Call) -> Value:
    return call.emit("Elu", call.first, alpha=call.number("alpha"))


def prelu(call: Call) -> Value:
    """Slopes for each channel, the second axis."""
    weight, rank = call.operand("weight"), len(call.first.tensor.shape)
    if weight.tensor.elements > 1 and rank > 2:
        weight = call.reshaped(weight, (weight.tensor.elements, *[1] * (rank - 2)))
    return call.emit("PRelu", call.first, weight)


def softplus(call: Call) -> Value:
    return call.emit("Softplus", call.first)


def glu(call: Call) -> Value:
    """One half, times the other's sigmoid."""
    axis = call.axis("dim")
    size = call.first.tensor.shape[axis]
    halves = constant((size // 2, size - size // 2))
    first, second = call.emit_several("Split", [call.first, halves], [call.output] * 2, axis=axis)
    return call.emit("Mul", first, call.emit("Sigmoid", second))


def log_sigmoid(call: Call) -> Value:
    return call.emit("Log", call.emit("Sigmoid", call.first))


def logarithm(base: float) -> Handler:
    def handler(call: Call) -> Value:
        return call.emit("Div", call.emit("Log", call.first), constant(math.log(base), call.output.dtype))

    return handler


def log1p(call: Call) -> Value:
    return call.emit("Log", call.emit("Add", call.first, constant(1.0, call.output.dtype)))


def expm1(call: Call) -> Value:
    return call.emit("Sub", call.emit("Exp", call.first), constant(1.0, call.output.dtype))


def comparison(op: str, negated: bool = False) -> Handler:
    def handler(call: Call) -> Value:
        names = list(call.arguments)[:2]
        values = [call.arguments[name] for name in names]
        dtype = next(value.tensor.dtype for value in values if isinstance(value, Operand))
        found = call.emit(op, *[call.operand(name, dtype) for name in names])
        return call.emit("Not", found) if negated else found

    return handler


def truth(op: str) -> Handler:
    """Logical operators; and bitwise ones of truth values."""

    def handler(call: Call) -> Value:
        operands = [call.operand(name) for name in list(call.arguments)[: 1 if op == "Not" else 2]]
        if call.output.dtype != "bool":
            return call.emit(f"Bitwise{op}", *operands)
        return call.emit(op, *[call.cast(operand, "bool") for operand in operands])

    return handler


def where(call: Call) -> Value:
    names = list(call.arguments)
    if len(names) < 3:
        raise call.refusal("it gives as many elements as the data says; use torch.where with three arguments")
    chosen = [call.cast(call.operand(name), call.output.dtype) for name in names[1:3]]
    return call.emit("Where", call.operand(names[0]), *chosen)


def masked_fill(call: Call) -> Value:
    value = call.cast(call.operand("value"), call.output.dtype)
    return call.emit("Where", call.operand("mask"), value, call.first)


def triangle(upper: int) -> Handler:
    return lambda call: call.emit("Trilu", call.first, constant(call.integer("diagonal", 0)), upper=upper)


def modulo(call: Call) -> Value:
    first, second = [call.cast(o, call.output.dtype) for o in _both(call)]
    return call.emit("Mod", first, second, fmod=1 if "fmod" in call.step.operator else None)


def arctangent(call: Call) -> Value:
    """atan2 by way of a quotient; ONNX has no operator for it."""
    first, second = _both(call)
    return call.emit("Atan", call.emit("Div", first, second))


_ONE = {
    "abs": "Abs", "acos": "Acos", "acosh": "Acosh", "asin": "Asin", "asinh": "Asinh", "atan": "Atan", "atanh": "Atanh",
    "ceil": "Ceil", "cos": "Cos", "cosh": "Cosh", "erf": "Erf", "exp": "Exp", "floor": "Floor", "log": "Log",
    "neg": "Neg", "reciprocal": "Reciprocal", "relu": "Relu", "round": "Round", "sigmoid": "Sigmoid", "sign": "Sign",
    "sin": "Sin", "sinh": "Sinh", "sqrt": "Sqrt", "tan": "Tan", "tanh": "Tanh", "trunc": "Trunc", "silu": "Swish",
    "mish": "Mish", "hardswish": "HardSwish", "selu": "Selu", "softsign": "Softsign", "negative": "Neg",
    "absolute": "Abs", "special_erf": "Erf", "special_expit": "Sigmoid",
}  # fmt: skip
OPERATORS: Mapping[str, Handler] = {
    **{f"aten.{name}": one(op) for name, op in _ONE.items()},
    "aten.add": sum_or_difference("Add"),
    "aten.sub": sum_or_difference("Sub"),
    "aten.subtract": sum_or_difference("Sub"),
    "aten.rsub": sum_or_difference("Sub", turned=True),
    "aten.mul": multiply,
    "aten.multiply": multiply,
    "aten.div": divide,
    "aten.divide": divide,
    "aten.true_divide": divide,
    "aten.floor_divide": divide,
    "aten.square": square,
    "aten.pow": power,
    "aten.rsqrt": reciprocal_root,
    "aten.addcmul": add_multiple("Mul"),
    "aten.addcdiv": add_multiple("Div"),
    "aten.lerp": lerp,
    "aten.maximum": two("Max"),
    "aten.minimum": two("Min"),
    "aten.clamp": clip,
    "aten.clip": clip,
    "aten.clamp_min": clip,
    "aten.clamp_max": clip,
    "aten.hardtanh": clip,
    "aten.relu6": clip,
    "aten.hardsigmoid": hardsigmoid,
    "aten.gelu": gelu,
    "aten.leaky_relu": leaky_relu,
    "aten.elu": elu,
    "aten.prelu": prelu,
    "aten._prelu_kernel": prelu,
    "aten.softplus": softplus,
    "aten.glu": glu,
    "aten.log_sigmoid": log_sigmoid,
    "aten.log2": logarithm(2),
    "aten.log10": logarithm(10),
    "aten.log1p": log1p,
    "aten.expm1": expm1,
    "aten.eq": comparison("Equal"),
    "aten.ne": comparison("Equal", negated=True),
    "aten.gt": comparison("Greater"),
    "aten.ge": comparison("GreaterOrEqual"),
    "aten.lt": comparison("Less"),
    "aten.le": comparison("LessOrEqual"),
    "aten.isnan": lambda call: call.emit("IsNaN", call.first),
    "aten.isinf": lambda call: call.emit("IsInf", call.first),
    **{f"aten.{kind}_and": truth("And") for kind in ("logical", "bitwise")},
    **{f"aten.{kind}_or": truth("Or") for kind in ("logical", "bitwise")},
    **{f"aten.{kind}_xor": truth("Xor") for kind in ("logical", "bitwise")},
    **{f"aten.{kind}_not": truth("Not") for kind in ("logical", "bitwise")},
    **{f"aten.__{name}__": truth(op) for name, op in (("and", "And"), ("or", "Or"), ("xor", "Xor"))},
    "aten.where": where,
    "aten.masked_fill": masked_fill,
    "aten.tril": triangle(0),
    "aten.triu": triangle(1),
    "aten.remainder": modulo,
    "aten.fmod": modulo,
    "aten.atan2": arctangent,
}
