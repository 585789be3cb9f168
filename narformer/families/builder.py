"""Writes a network as weightless ONNX, operator by operator, keeping track of shapes.

Weightless: each weight is an initializer with name, type and dims but no data, and an input of the graph, as NNLQP has
it. Every value carries its shape, so a reader needs no shape inference. Messages are filled field by field:
`onnx.helper` spends ten times as long on the same graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto

Shape = tuple[int, ...]
OPSET = 13


@dataclass(frozen=True)
class Value:
    """One tensor of the network under construction."""

    name: str
    shape: Shape

    @property
    def channels(self) -> int:
        return self.shape[1]


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME for one dimension: padding before and after, the smaller half first."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class NetworkBuilder:
    """Builds one network. Methods append an operator and return its output; names count up."""

    def __init__(self, name: str, input_shape: Shape, opset: int = OPSET, input_type: int = TensorProto.FLOAT) -> None:
        self._model = onnx.ModelProto(ir_version=8, producer_name="narformer")
        self._model.opset_import.add(domain="", version=opset)
        self._graph = self._model.graph
        self._graph.name = name
        self._count = 0
        self.input = Value("input", input_shape)
        _declare(self._graph.input.add(), "input", input_shape, input_type)

    def finish(self, output: Value) -> onnx.ModelProto:
        """The network with `output` as its only output."""
        self._graph.value_info.pop()  # the output is declared as such, not as an inner value
        _declare(self._graph.output.add(), output.name, output.shape)
        return self._model

    # --- layers

    def conv(
        self,
        x: Value,
        channels: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        valid: bool = False,
        padding: int | None = None,
        bias: bool = True,
    ) -> Value:
        """Convolution, padded SAME unless `valid` or a symmetric `padding` is given."""
        weights = [self.weight((channels, x.channels // groups, kernel, kernel))]
        if bias:
            weights.append(self.weight((channels,)))
        pads, size = _window(x.shape, kernel, stride, 0 if valid else padding)
        return self.node(
            "Conv",
            [x.name, *weights],
            (x.shape[0], channels, *size),
            dilations=(1, 1),
            group=groups,
            kernel_shape=(kernel, kernel),
            pads=pads,
            strides=(stride, stride),
        )

    def depthwise(self, x: Value, kernel: int, stride: int = 1) -> Value:
        return self.conv(x, x.channels, kernel, stride, groups=x.channels)

    def fully_connected(self, x: Value, features: int, bias: bool = False) -> Value:
        """Gemm on (N, inputs)."""
        weights = [self.weight((features, x.shape[1]))]
        if bias:
            weights.append(self.weight((features,)))
        return self.node("Gemm", [x.name, *weights], (x.shape[0], features), transB=1)

    def batch_norm(self, x: Value) -> Value:
        parameters = [self.weight((x.channels,)) for _ in range(4)]
        return self.node("BatchNormalization", [x.name, *parameters], x.shape)

    def max_pool(self, x: Value, kernel: int, stride: int, valid: bool = False, padding: int | None = None) -> Value:
        return self._pool("MaxPool", x, kernel, stride, 0 if valid else padding)

    def average_pool(self, x: Value, kernel: int, stride: int) -> Value:
        return self._pool("AveragePool", x, kernel, stride, None)

    def global_average_pool(self, x: Value) -> Value:
        return self.node("GlobalAveragePool", [x.name], (*x.shape[:2], 1, 1))

    def flatten(self, x: Value) -> Value:
        return self.node("Flatten", [x.name], (x.shape[0], int(np.prod(x.shape[1:]))), axis=1)

    def add(self, x: Value, y: Value) -> Value:
        return self.node("Add", [x.name, y.name], x.shape)

    def concat(self, values: Sequence[Value]) -> Value:
        first = values[0].shape
        shape = (first[0], sum(v.channels for v in values), *first[2:])
        return self.node("Concat", [v.name for v in values], shape, axis=1)

    def split_halves(self, x: Value) -> tuple[Value, Value]:
        """First and second half of the channels."""
        half = x.channels // 2
        shape = (x.shape[0], half, *x.shape[2:])
        sizes = self.constant(np.array([half, x.channels - half], dtype=np.int64))
        first = self.node("Split", [x.name, sizes], shape, outputs=2, axis=1)
        return first, Value(first.name + "_1", (x.shape[0], x.channels - half, *x.shape[2:]))

    def first_channels(self, x: Value, channels: int) -> Value:
        """The first of x's channels; x itself where it has no more."""
        if channels == x.channels:
            return x
        starts, ends, axes = (self.constant(np.array([v], dtype=np.int64)) for v in (0, channels, 1))
        return self.node("Slice", [x.name, starts, ends, axes], (x.shape[0], channels, *x.shape[2:]))

    def channel_shuffle(self, x: Value, groups: int) -> Value:
        """Reshape, transpose, reshape: channels of the groups interleaved."""
        n, c, height, width = x.shape
        grouped = self.reshape(x, (n, groups, c // groups, height, width))
        turned = self.node("Transpose", [grouped.name], (n, c // groups, groups, height, width), perm=(0, 2, 1, 3, 4))
        return self.reshape(turned, x.shape)

    def relu(self, x: Value) -> Value:
        return self.node("Relu", [x.name], x.shape)

    def relu6(self, x: Value) -> Value:
        return self.node("Clip", [x.name, self.scalar(0.0), self.scalar(6.0)], x.shape)

    def hard_sigmoid(self, x: Value) -> Value:
        """relu6(x + 3) / 6, as exporters write it."""
        shifted = self.node("Add", [x.name, self.scalar(3.0)], x.shape)
        return self.node("Div", [self.relu6(shifted).name, self.scalar(6.0)], x.shape)

    def hard_swish(self, x: Value) -> Value:
        return self.multiply(x, self.hard_sigmoid(x))

    def multiply(self, x: Value, y: Value) -> Value:
        """x · y, y broadcast to x's shape."""
        return self.node("Mul", [x.name, y.name], x.shape)

    def zeros_like(self, x: Value) -> Value:
        return self.node("Mul", [x.name, self.scalar(0.0)], x.shape)

    def squeeze_excite(self, x: Value, squeezed: int) -> Value:
        """Channel weights from the global average (Hu et al., 2018), hard sigmoid as gate."""
        pooled = self.global_average_pool(x)
        gate = self.conv(self.relu(self.conv(pooled, squeezed, 1)), x.channels, 1)
        return self.multiply(x, self.hard_sigmoid(gate))

    def head(self, x: Value, classes: int = 1000) -> Value:
        """Global average pool, flatten, fully connected."""
        return self.fully_connected(self.flatten(self.global_average_pool(x)), classes)

    # --- messages

    def weight(self, shape: Shape) -> str:
        """Declare a weight without data; returns its name."""
        name = f"weight_{len(self._graph.initializer)}"
        tensor = self._graph.initializer.add()
        tensor.name = name
        tensor.data_type = TensorProto.FLOAT
        tensor.dims.extend(shape)
        _declare(self._graph.input.add(), name, shape)
        return name

    def constant(self, values: np.ndarray) -> str:
        """An operand with its data: indices, sizes, settings."""
        name = f"constant_{len(self._graph.initializer)}"
        self._graph.initializer.append(onnx.numpy_helper.from_array(values, name))
        return name

    def scalar(self, value: float) -> str:
        return self.constant(np.array(value, dtype=np.float32))

    def reshape(self, x: Value, shape: Shape) -> Value:
        return self.node("Reshape", [x.name, self.constant(np.array(shape, dtype=np.int64))], shape)

    def _pool(self, op: str, x: Value, kernel: int, stride: int, padding: int | None) -> Value:
        pads, size = _window(x.shape, kernel, stride, padding)
        shape = (*x.shape[:2], *size)
        return self.node(op, [x.name], shape, kernel_shape=(kernel, kernel), pads=pads, strides=(stride, stride))

    def node(
        self, op: str, inputs: list[str], shape: Shape, outputs: int = 1, **attributes: int | float | str | Shape
    ) -> Value:
        """Append an operator whose (first) output has this shape; further outputs have the same."""
        name = f"{op.lower()}_{self._count}"
        self._count += 1
        node = self._graph.node.add()
        node.name = name
        node.op_type = op
        node.input.extend(inputs)
        node.output.append(name)
        node.output.extend(f"{name}_{k}" for k in range(1, outputs))
        for key, value in attributes.items():
            attribute = node.attribute.add()
            attribute.name = key
            if isinstance(value, int):
                attribute.type = AttributeProto.INT
                attribute.i = value
            elif isinstance(value, float):
                attribute.type = AttributeProto.FLOAT
                attribute.f = value
            elif isinstance(value, str):
                attribute.type = AttributeProto.STRING
                attribute.s = value.encode()
            else:
                attribute.type = AttributeProto.INTS
                attribute.ints.extend(value)
        for output in node.output:
            _declare(self._graph.value_info.add(), output, shape)
        return Value(name, shape)


def _window(shape: Shape, kernel: int, stride: int, padding: int | None) -> tuple[Shape, Shape]:
    """Pads [top, left, bottom, right] and output height and width; SAME without a `padding`."""
    before, after, size = [], [], []
    for length in shape[2:]:
        low, high = same_padding(length, kernel, stride) if padding is None else (padding, padding)
        before.append(low)
        after.append(high)
        size.append((length + low + high - kernel) // stride + 1)
    return (*before, *after), tuple(size)


def _declare(info: onnx.ValueInfoProto, name: str, shape: Shape, element_type: int = TensorProto.FLOAT) -> None:
    info.name = name
    tensor_type = info.type.tensor_type
    tensor_type.elem_type = element_type
    for size in shape:
        tensor_type.shape.dim.add().dim_value = size
    if not shape:
        tensor_type.shape.SetInParent()
