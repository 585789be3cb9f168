"""Writes a drawn network as weightless ONNX: inputs, weights, constants, operators, outputs.

Shapes of inner values are not stated in the file, so that a reader works them out as it does for most real files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto
from onnx.helper import make_attribute
from onnx.numpy_helper import from_array

Shape = tuple[int, ...]
OPSET = 17
UNKNOWN = -1  # a size that the data decides
_TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "bool": TensorProto.BOOL,
    "uint8": TensorProto.UINT8,
}


class Value(NamedTuple):
    """One tensor of the network under construction."""

    name: str
    shape: Shape
    dtype: str = "float32"

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


class Network:
    """One network under construction, at a batch size.

    open_batch: write reshapes so that the first axis may have another size when the network runs.
    """

    def __init__(self, name: str, batch: int = 1, open_batch: bool = False) -> None:
        self.batch = batch
        self.open_batch = open_batch
        self._model = onnx.ModelProto(ir_version=8, producer_name="narformer")
        self._model.opset_import.add(domain="", version=OPSET)
        self._graph = self._model.graph
        self._graph.name = name
        self._inputs = 0
        self._read: set[str] = set()
        self._computed: dict[str, Value] = {}

    def finish(self) -> onnx.ModelProto:
        """The network; its outputs are the values that nothing reads."""
        for value in self._computed.values():
            if value.name not in self._read:
                _declare(self._graph.output.add(), value)
        return self._model

    def require(self, opset: int, domain: str = "") -> None:
        """Operators of another opset than 17, or of another domain."""
        for known in self._model.opset_import:
            if known.domain == domain:
                known.version = max(opset, known.version)
                return
        self._model.opset_import.add(domain=domain, version=opset)

    def input(self, *shape: int, dtype: str = "float32") -> Value:
        """A tensor fed from outside."""
        value = Value(f"input_{self._inputs}", shape, dtype)
        self._inputs += 1
        _declare(self._graph.input.add(), value)
        return value

    def weight(self, *shape: int) -> Value:
        """A trained tensor: a name, a type and sizes, no data."""
        value = Value(f"weight_{len(self._graph.initializer)}", shape)
        tensor = self._graph.initializer.add()
        tensor.name, tensor.data_type = value.name, TensorProto.FLOAT
        tensor.dims.extend(shape)
        _declare(self._graph.input.add(), value)
        return value

    def constant(self, values: npt.ArrayLike, dtype: str = "float32") -> Value:
        """A constant with its data: indices, sizes, settings."""
        array = np.asarray(values, dtype=dtype)
        value = Value(f"constant_{len(self._graph.initializer)}", array.shape, dtype)
        self._graph.initializer.append(from_array(array, value.name))
        return value

    def integers(self, *values: int) -> Value:
        return self.constant(values, "int64")

    def node(self, op: str, inputs: Sequence[Value | None], *shape: int, dtype: str = "", **attributes: Any) -> Value:
        """Append an operator of one output with this shape; it is of the first operand's type where none is given."""
        return self.nodes(op, inputs, [shape], dtype=dtype, **attributes)[0]

    def same(self, op: str, *inputs: Value | None, **attributes: Any) -> Value:
        """An operator whose output has the first operand's shape."""
        first = inputs[0]
        assert first is not None
        return self.nodes(op, inputs, [first.shape], **attributes)[0]

    def nodes(
        self,
        op: str,
        inputs: Sequence[Value | None],
        shapes: Sequence[Shape],
        dtype: str | Sequence[str] = "",
        domain: str = "",
        **attributes: Any,
    ) -> list[Value]:
        """Append an operator with an output of each shape, all of one type unless several are given."""
        node = self._graph.node.add()
        node.op_type, node.domain = op, domain
        node.name = f"{op.lower()}_{len(self._graph.node)}"
        node.input.extend("" if value is None else value.name for value in inputs)
        node.attribute.extend(make_attribute(key, value) for key, value in attributes.items())
        first = inputs[0]
        kind = dtype or (first.dtype if first is not None else "float32")
        kinds = [kind] * len(shapes) if isinstance(kind, str) else kind
        outputs = [
            Value(f"{node.name}_out{k}", tuple(shape), kind)
            for k, (shape, kind) in enumerate(zip(shapes, kinds, strict=True))
        ]
        node.output.extend(value.name for value in outputs)
        self._read.update(node.input)
        self._computed.update({value.name: value for value in outputs})
        return outputs

    # --- what every subject needs

    def reshape(self, x: Value, *shape: int) -> Value:
        target = (-1, *shape[1:]) if self.open_batch and shape else shape
        return self.node("Reshape", [x, self.integers(*target)], *shape)

    def transpose(self, x: Value, *order: int) -> Value:
        return self.node("Transpose", [x], *(x.shape[axis] for axis in order), perm=order)

    def top(self, x: Value, count: int, axis: int) -> Value:
        """The largest of an axis; where they stand is an output beside."""
        shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
        operands = [x, self.integers(count)]
        return self.nodes("TopK", operands, [shape, shape], dtype=(x.dtype, "int64"), axis=axis)[0]

    def binary(self, op: str, x: Value, y: Value, dtype: str = "") -> Value:
        """An operator of two operands with broadcasting."""
        return self.node(op, [x, y], *np.broadcast_shapes(x.shape, y.shape), dtype=dtype)

    def concat(self, values: Sequence[Value], axis: int) -> Value:
        shape = list(values[0].shape)
        shape[axis] = sum(value.shape[axis] for value in values)
        return self.node("Concat", values, *shape, axis=axis)

    def split(self, x: Value, sizes: Sequence[int], axis: int) -> list[Value]:
        shapes = [(*x.shape[:axis], size, *x.shape[axis + 1 :]) for size in sizes]
        return self.nodes("Split", [x, self.integers(*sizes)], shapes, axis=axis)

    def slice(self, x: Value, axis: int, start: int, end: int, step: int = 1) -> Value:
        shape = list(x.shape)
        shape[axis] = len(range(start, end, step))
        operands = [x, *(self.integers(number) for number in (start, end, axis, step))]
        return self.node("Slice", operands, *shape)

    def reduce(self, op: str, x: Value, axes: Sequence[int], keep: bool = True) -> Value:
        shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
        if not keep:
            shape = [size for axis, size in enumerate(x.shape) if axis not in axes]
        if op == "ReduceSum":
            return self.node(op, [x, self.integers(*axes)], *shape, keepdims=int(keep))
        return self.node(op, [x], *shape, axes=tuple(axes), keepdims=int(keep))


def _declare(info: onnx.ValueInfoProto, value: Value) -> None:
    info.name = value.name
    info.type.tensor_type.elem_type = _TYPES[value.dtype]
    info.type.tensor_type.shape.SetInParent()
    for size in value.shape:
        dim = info.type.tensor_type.shape.dim.add()
        if size != UNKNOWN:
            dim.dim_value = size
