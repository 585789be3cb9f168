"""What a shape rule sees of one node: its attributes, the tensors it reads, and the values of those that are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from narformer.frontends.tensors import contents
from narformer.graph import Attribute, Shape, Tensor

Value = npt.NDArray[np.generic]


class UnknownShape(Exception):
    """A rule cannot tell the shape; the text says why, and ends up in the message of a ShapeError."""


class Misfit(UnknownShape):
    """Operands whose sizes are known and do not fit together: whatever the file states, no runtime runs it."""


class UnknownOperator(UnknownShape):
    """Nobody has told what the operator puts out: no sizes of the inputs would help."""


@dataclass(frozen=True, slots=True)
class Call:
    """One node, about to be given its output shapes.

    operands: tensors in the operator's order; None for one that is left out.
    values: contents of the operands that are known (small constants, shape arithmetic), None elsewhere.
    outputs: how many the node has. node: the message itself, for what is rare (tensor attributes).
    """

    node: onnx.NodeProto
    opset: int
    attributes: Mapping[str, Attribute]
    operands: Sequence[Tensor | None]
    values: Callable[[int], Value | None]
    outputs: int

    def has(self, position: int) -> bool:
        """Whether the node has an operand at a position."""
        return position < len(self.operands) and self.operands[position] is not None

    def tensor(self, position: int) -> Tensor:
        """The operand at a position."""
        tensor = self.operands[position] if position < len(self.operands) else None
        if tensor is None:
            raise UnknownShape(f"its operand {position} is missing")
        return tensor

    def shape(self, position: int) -> Shape:
        """Shape of the operand at a position."""
        return self.tensor(position).shape

    def dtype(self, position: int = 0) -> str:
        """Type of numbers of the operand at a position."""
        return self.tensor(position).dtype

    def integer(self, name: str, default: int) -> int:
        """An attribute that is one integer."""
        value = self.attributes.get(name, default)
        if not isinstance(value, int):
            raise UnknownShape(f"its attribute {name} is no integer")
        return value

    def integers(self, name: str, default: Shape = ()) -> Shape:
        """An attribute that is a list of integers."""
        value = self.attributes.get(name)
        if value is None:
            return default
        if not isinstance(value, tuple) or not all(isinstance(v, int) for v in value):
            raise UnknownShape(f"its attribute {name} is no list of integers")
        return tuple(int(v) for v in value)

    def known(self, position: int) -> Shape | None:
        """Integers that the operand holds, None where its contents are not known before the network runs."""
        value = self.values(position)
        if value is None:
            return None
        if value.dtype.kind not in "iub":
            raise UnknownShape(f"its operand {position} should hold integers")
        return tuple(int(v) for v in value.reshape(-1))

    def needed(self, position: int, what: str) -> Shape:
        """Like `known`, for an operand without which the shape stays unknown."""
        self.tensor(position)
        known = self.known(position)
        if known is None:
            raise UnknownShape(
                f"it depends on {what}, known only while the network runs ({self.node.input[position]!r})"
            )
        return known

    def listed(self, name: str, position: int, what: str) -> Shape | None:
        """Integers given as an attribute in earlier opsets and as an operand in later ones; None for neither."""
        if name in self.attributes:
            return self.integers(name)
        return self.needed(position, what) if self.has(position) else None


Rule = Callable[[Call], Sequence[Tensor]]


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the front. Raises UnknownShape for one that the tensor does not have."""
    if not -rank <= axis < rank:
        raise UnknownShape(f"axis {axis} of a tensor with {rank} dimensions")
    return axis % rank


def axes_of(axes: Sequence[int], rank: int) -> Shape:
    """Axes counted from the front."""
    return tuple(axis_of(a, rank) for a in axes)


def broadcast(*shapes: Shape) -> Shape:
    """NumPy's broadcasting. Raises UnknownShape where sizes do not fit."""
    first, *others = shapes
    for other in others:
        if other == first:
            continue
        rank = max(len(first), len(other))
        one = (1,) * (rank - len(first)) + first
        two = (1,) * (rank - len(other)) + other
        for a, b in zip(one, two, strict=True):
            if a != b and a != 1 and b != 1:
                raise Misfit(f"shapes {list(first)} and {list(other)} do not fit together")
        first = tuple(b if a == 1 else a for a, b in zip(one, two, strict=True))
    return first


# AttributeProto's types, by number, of the attributes that tokens and costs count on.
_INT, _INTS = 2, 7
_KINDS = {"group": _INT, "kernel_shape": _INTS, "strides": _INTS, "pads": _INTS, "dilations": _INTS, "perm": _INTS}
_KINDS["output_padding"] = _INTS


def attributes_of(node: onnx.NodeProto) -> dict[str, Attribute]:
    """Numbers and strings of a node; of tensors and bodies there is the number alone that fills a ConstantOfShape."""
    values: dict[str, Attribute] = {}
    for a in node.attribute[:]:
        kind, name = a.type, a.name
        if not isinstance(name, str):  # protobuf gives bytes for what is not UTF-8
            raise UnknownShape("an attribute has a name that is no text")
        if _KINDS.get(name, kind) != kind:
            raise UnknownShape(f"its attribute {name} is of the wrong type")
        if kind == _INTS:
            values[name] = tuple(a.ints[:])
        elif kind == _INT:
            values[name] = a.i
        elif kind == 1:
            values[name] = a.f
        elif kind == 3:
            values[name] = a.s.decode(errors="replace")
        elif kind == 4 and node.op_type == "ConstantOfShape":
            held = contents(a.t, 1)
            if held is not None and held.size == 1 and held.dtype.kind in "iufb":
                values[name] = held.item()
        elif kind == 6:
            values[name] = tuple(a.floats)
        elif kind == 8:
            values[name] = tuple(s.decode(errors="replace") for s in a.strings)
    return values
