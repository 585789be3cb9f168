"""One step of an exported program as the function sees it that writes its Nodes: arguments by name, and a pen.

A handler reads the arguments of an ATen operator from a Call, emits Nodes with ONNX's names and attributes, and returns
what the step gives: an Operand, or several.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from narformer.errors import ModelError
from narformer.frontends.tensors import ONNX_TYPES
from narformer.frontends.torch.program import DEPENDS_ON_DATA, Reference, Step, Symbol
from narformer.graph import VALUE_ELEMENTS, Attribute, Node, Operand, Tensor

Value = Any  # an Operand, several, or a number
Handler = Callable[["Call"], Value]


class Pen:
    """The Nodes written so far. Their names are the path of the calling module and the operator: layers.0/linear."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.nodes: list[Node] = []
        self._names: Counter[str] = Counter()

    def write(
        self,
        name: str,
        op: str,
        operands: Sequence[Operand],
        outputs: Sequence[Tensor],
        attributes: Mapping[str, Any],
        left_out: tuple[int, ...] = (),
    ) -> tuple[Operand, ...]:
        """A Node; its outputs as operands of others."""
        index = len(self.nodes)
        self._names[name] += 1
        if self._names[name] > 1:
            name = f"{name}_{self._names[name] - 1}"
        spelt = {key: _attribute(value) for key, value in attributes.items() if value is not None}
        self.nodes.append(Node(name, op, tuple(operands), tuple(outputs), spelt, left_out=left_out))
        return tuple([Operand(tensor, index, port) for port, tensor in enumerate(outputs)])


def _attribute(value: Any) -> Attribute:
    """An attribute as a file holds it: floats in single precision."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        return float(np.float32(value))
    return tuple(value) if isinstance(value, list) else value


def constant(values: float | Sequence[float], dtype: str = "int64", shape: Sequence[int] | None = None) -> Operand:
    """A constant that the program states itself: a number, or a list of them, as its element type holds them."""
    held = tuple([_held(value, dtype) for value in (values if isinstance(values, Sequence) else (values,))])
    if shape is None:
        shape = (len(held),) if isinstance(values, Sequence) else ()
    return Operand(Tensor(tuple(shape), dtype), value=held if len(held) <= VALUE_ELEMENTS else None, trained=False)


def _held(value: float, dtype: str) -> float:
    """A number as a tensor of this element type holds it."""
    if dtype in ("float32", "float16"):
        return float(np.dtype(dtype).type(value))
    return float(value) if "float" in dtype else value


def unknown(tensor: Tensor) -> Operand:
    """A constant whose contents do not matter."""
    return Operand(tensor, trained=False)


class Call:
    """step: what is called. arguments: its arguments, references replaced by what they give."""

    def __init__(self, step: Step, arguments: Mapping[str, Value], pen: Pen) -> None:
        self.step = step
        self.arguments = arguments
        self.pen = pen

    # What handlers read.

    @property
    def output(self) -> Tensor:
        """The first tensor that the step gives."""
        return self.outputs[0]

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return tuple([t for t in self.step.outputs if t is not None])

    def has(self, name: str) -> bool:
        return self.arguments.get(name) is not None

    @property
    def first(self) -> Operand:
        """The first argument: the data, whatever its name."""
        return self.operand(next(iter(self.arguments)))

    def operand(self, name: str, dtype: str | None = None) -> Operand:
        """A tensor; a number as a constant of the output's element type, or the one given."""
        value = self.arguments.get(name)
        if isinstance(value, Operand):
            return value
        if isinstance(value, bool | int | float):
            return constant(value, dtype or self.output.dtype)
        raise self.refusal(f"its argument {name} is no tensor")

    def operands(self, name: str) -> list[Operand]:
        found = self.arguments.get(name) or ()
        if not all(isinstance(item, Operand) for item in found):
            raise self.refusal(f"its argument {name} is no list of tensors")
        return list(found)

    def integer(self, name: str, default: int | None = None) -> int:
        value = self.arguments.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, int):
            raise self._not_a_number(name, value)
        return int(value)

    def integers(self, name: str) -> tuple[int, ...]:
        value = self.arguments.get(name)
        value = (value,) if isinstance(value, int) else () if value is None else value
        for item in value:
            if not isinstance(item, int):
                raise self._not_a_number(name, item)
        return tuple(value)

    def pair(self, name: str, rank: int) -> tuple[int, ...]:
        """Integers, one for each of `rank` axes; a single one holds for all."""
        value = self.integers(name)
        return value * rank if len(value) == 1 else value

    def number(self, name: str) -> float:
        value = self.arguments.get(name)
        if not isinstance(value, int | float):
            raise self._not_a_number(name, value)
        return float(value)

    def flag(self, name: str) -> bool:
        return bool(self.arguments.get(name))

    def text(self, name: str) -> str:
        return str(self.arguments.get(name) or "")

    def axis(self, name: str, rank: int | None = None) -> int:
        """An axis counted from the front, of the first argument or of a tensor with `rank` axes."""
        count = len(self.first.tensor.shape) if rank is None else rank
        return self.integer(name) % max(count, 1)

    def axes(self, name: str) -> tuple[int, ...]:
        """Axes counted from the front; all of them where none is given."""
        count = len(self.first.tensor.shape)
        given = self.integers(name)
        return tuple([axis % max(count, 1) for axis in given]) if given else tuple(range(count))

    # What handlers write.

    def emit(
        self,
        op: str,
        *operands: Operand,
        output: Tensor | None = None,
        left_out: tuple[int, ...] = (),
        **attributes: Any,
    ) -> Operand:
        """A Node with one output, by default the step's. left_out: positions of operands that are not there."""
        outputs = [self.output if output is None else output]
        return self.emit_several(op, operands, outputs, left_out, **attributes)[0]

    def emit_several(
        self,
        op: str,
        operands: Sequence[Operand],
        outputs: Sequence[Tensor],
        left_out: tuple[int, ...] = (),
        **attributes: Any,
    ) -> tuple[Operand, ...]:
        name = self.step.operator.split(".")
        spelt = name[1] if len(name) > 1 else name[0]
        path = f"{self.step.module}/{spelt}" if self.step.module else spelt
        return self.pen.write(path, op, operands, outputs, attributes, left_out)

    def reshaped(self, operand: Operand, shape: Sequence[int]) -> Operand:
        """The same elements in another shape."""
        if operand.tensor.shape == tuple(shape):
            return operand
        if math.prod(shape) != operand.tensor.elements:
            raise self.refusal(f"{list(operand.tensor.shape)} cannot become {list(shape)}")
        return self.emit("Reshape", operand, constant(tuple(shape)), output=Tensor(tuple(shape), operand.tensor.dtype))

    def transposed(self, operand: Operand, permutation: Sequence[int]) -> Operand:
        """The same elements with axes in another order."""
        if list(permutation) == list(range(len(permutation))):
            return operand
        shape = tuple([operand.tensor.shape[axis] for axis in permutation])
        return self.emit("Transpose", operand, output=operand.tensor._replace(shape=shape), perm=tuple(permutation))

    def sliced(self, operand: Operand, axis: int, start: int, end: int, step: int = 1) -> Operand:
        """A range of an axis, all of it without a Node."""
        shape = list(operand.tensor.shape)
        size = len(range(*slice(start, end, step).indices(shape[axis])))
        if size == shape[axis] and step == 1:
            return operand
        shape[axis] = size
        where = [constant((number,)) for number in (start, end, axis, step)][: 3 if step == 1 else 4]
        return self.emit("Slice", operand, *where, output=operand.tensor._replace(shape=tuple(shape)))

    def cast(self, operand: Operand, dtype: str) -> Operand:
        """The same numbers in another element type; constants are stored in it."""
        if operand.tensor.dtype == dtype:
            return operand
        tensor = operand.tensor._replace(dtype=dtype)
        if operand.source is None:
            return operand._replace(tensor=tensor)
        return self.emit("Cast", operand, output=tensor, to=ONNX_TYPES[dtype])

    # What goes wrong.

    def refusal(self, reason: str) -> ModelError:
        module = f" in module {self.step.module!r}" if self.step.module else ""
        return ModelError(f"{self.pen.label}: {self.step.operator}{module} cannot be read: {reason}")

    def _not_a_number(self, name: str, value: Value) -> ModelError:
        if isinstance(value, Symbol | Operand | Reference):
            return ModelError(f"{self.pen.label}: {DEPENDS_ON_DATA} ({self.step.operator} takes {name} from data)")
        return self.refusal(f"its argument {name} is {value!r}")
