"""Several nodes in place of one: what a fused operator does, step by step."""

from __future__ import annotations

from collections.abc import Mapping

from narformer.frontends.canonical.draft import Draft
from narformer.graph import Attribute, Node, Operand, Shape, Tensor

CLIPPED = ("min", "max")
# How a fused operator names an activation, and the attributes that its parameters become.
ACTIVATIONS: Mapping[str, tuple[str, ...]] = {
    "Relu": (),
    "Sigmoid": (),
    "Tanh": (),
    "Softplus": (),
    "Softsign": (),
    "HardSwish": (),
    "Gelu": (),
    "LeakyRelu": ("alpha",),
    "Elu": ("alpha",),
    "ThresholdedRelu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "Clip": CLIPPED,
}


class Chain:
    """Nodes to run in place of the one at an index; each step gives the operand that reads it.

    They all have its name: it is the file's node that they stand for.
    """

    def __init__(self, draft: Draft, index: int, node: Node) -> None:
        self.draft = draft
        self.index = index
        self.node = node

    def step(
        self,
        op: str,
        operands: tuple[Operand, ...],
        out: Tensor,
        attributes: Mapping[str, Attribute] | None = None,
        more: tuple[Tensor, ...] = (),
        left_out: tuple[int, ...] = (),
    ) -> Operand:
        """One more node; what reads its first output. more: its further outputs."""
        made = Node(self.node.name, op, operands, (out, *more), attributes or {}, "", self.node.origin, left_out)
        return Operand(out, self.draft.insert(self.index, made))

    def add(self, first: Operand, second: Operand) -> Operand:
        """Their sum, in the shape of the first."""
        return self.step("Add", (first, second), first.tensor)

    def scalar(self, name: str, value: float, dtype: str) -> Operand:
        """A number that the fused operator has as an attribute."""
        return Operand(Tensor((), dtype), name=f"{self.node.name}.{name}", value=(value,))

    def scaled(self, data: Operand, name: str) -> Operand:
        """The data times the node's attribute, unless that is 1."""
        factor = self.node.attributes.get(name, 1.0)
        if not isinstance(factor, int | float) or factor == 1:
            return data
        return self.step("Mul", (data, self.scalar(name, float(factor), data.tensor.dtype)), data.tensor)

    def transpose(self, data: Operand, *perm: int) -> Operand:
        """The data with its axes in another order; a constant is so from the start."""
        shape = tuple([data.tensor.shape[axis] for axis in perm])
        out = data.tensor._replace(shape=shape)
        if data.source is None:
            return data._replace(tensor=out, value=None)
        return self.step("Transpose", (data,), out, {"perm": perm})

    def channels_first(self, data: Operand) -> Operand:
        """(N, ..., C) as (N, C, ...)."""
        rank = len(data.tensor.shape)
        return self.transpose(data, 0, rank - 1, *range(1, rank - 1))

    def channels_last(self, data: Operand) -> Operand:
        """(N, C, ...) as (N, ..., C)."""
        rank = len(data.tensor.shape)
        return self.transpose(data, 0, *range(2, rank), 1)

    def activated(self, data: Operand) -> Operand:
        """The activation that the node's attributes name, if any."""
        given = self.node.attributes
        name = given.get("activation", "")
        if not isinstance(name, str) or not name:
            return data
        listed = given.get("activation_params", ())
        keys = ACTIVATIONS.get(name, ())
        values: list[float] = [float(v) for v in listed] if isinstance(listed, tuple) else []
        for key in keys[len(values) :]:
            value = given.get(f"activation_{key}")
            if isinstance(value, int | float):
                values.append(float(value))
        if keys == CLIPPED:
            bounds = [self.scalar(key, v, data.tensor.dtype) for key, v in zip(keys, values, strict=False)]
            return self.step("Clip", (data, *bounds), data.tensor)
        return self.step(name, (data,), data.tensor, dict(zip(keys, values, strict=False)))

    def done(self, *outputs: Operand) -> bool:
        """The node's outputs are these."""
        self.draft.drop_all(self.index, dict(enumerate(outputs[: len(self.node.outputs)])))
        return True


def reshaped(operand: Operand, shape: Shape) -> Operand:
    """An operand that reads the same elements in another shape."""
    return operand._replace(tensor=operand.tensor._replace(shape=shape))
