"""Graph → ONNX that a runtime runs: operators of opset 20, written as exporters write them.

A Graph of the zoo, or one in canonical form, has operators that few files have (Attention, Swish, a Gemm of any rank),
and may leave views out. Here each becomes what people's files say, from which runtimes fuse what they can.
Weights have no data yet: `runnable` (weights.py) gives them some.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from narformer.errors import ModelError
from narformer.families.drawn.layers import gelu, gelu_tanh, mish, swish
from narformer.families.drawn.network import Network, Value
from narformer.graph import Graph, Node, Operand

OPSET = 20
Operands = Sequence[Value | None]
Handler = Callable[[Network, Node, list[Value]], Value]


def standard_onnx(graph: Graph, batch_size: int | None = None) -> onnx.ModelProto:
    """The network as weightless ONNX at opset 20.

    batch_size: at which it will be read and run, where that is another than the Graph's; inputs keep their shapes.

    Raises ModelError for an operator that opset 20 has no way to say, and for a canonical Graph that no longer tells
    what a Slice, Pad, Expand or Tile takes.
    """
    net = Network(graph.name or "network", graph.batch_size, open_batch=True)
    net.require(OPSET)
    inputs = [net.input(*tensor.shape, dtype=tensor.dtype) for tensor in graph.inputs]
    made: dict[tuple[int, int], Value] = {}
    constants: dict[str, Value] = {}

    def value(node: Node, operand: Operand | None) -> Value | None:
        if operand is None:
            return None
        shape = operand.tensor.shape
        if operand.source is None:
            if not operand.name or operand.name not in constants:
                constants[operand.name] = _constant(net, node, operand)
            found = constants[operand.name]
        else:
            found = inputs[~operand.source] if operand.source < 0 else made[operand.source, operand.output]
        if found.shape == shape:
            return found
        if operand.source is None and found.shape == shape[::-1]:  # weights that an embedding shares, turned
            return net.transpose(found, *reversed(range(len(shape))))
        return net.reshape(found, *shape)

    for index, node in enumerate(graph.nodes):
        operands = [value(node, node.operand(k)) for k in range(len(node.operands) + len(node.left_out))]
        if (
            batch_size is not None
            and batch_size != graph.batch_size
            and node.op == "Concat"
            and node.attributes.get("axis") != 0
        ):
            operands = [_repeated(net, x, batch_size) for x in operands]
        for port, output in enumerate(_written(net, node, operands)):
            made[index, port] = output
    return net.finish()


def _repeated(net: Network, x: Value | None, batch_size: int) -> Value | None:
    """A constant that is joined to data (a class token) once for each of the batch."""
    if x is None or not x.name.startswith("weight") or x.shape[0] != 1:
        return x
    shape = (batch_size, *x.shape[1:])
    return net.node("Expand", [x, net.integers(*shape)], *shape)


def _constant(net: Network, node: Node, operand: Operand) -> Value:
    """What is known of a constant; otherwise a weight, or integers that stand for places."""
    shape, dtype = operand.tensor.shape, operand.tensor.dtype
    if operand.value is not None:
        return net.constant(np.array(operand.value, dtype).reshape(shape), dtype)
    if dtype == "float32":
        return net.weight(*shape)
    if dtype == "bool":
        return net.constant(np.ones(shape, dtype), dtype)
    if dtype not in ("int64", "int32"):
        raise ModelError(f"{node.name}: a constant of {dtype} without its numbers cannot be written")
    rows = 1
    if node.op == "Gather" and operand is node.operand(1):
        axis = node.attributes.get("axis", 0)
        assert isinstance(axis, int)
        rows = node.operands[0].tensor.shape[axis]
    return net.constant(np.arange(operand.tensor.elements).reshape(shape) % max(rows, 1), dtype)


def _written(net: Network, node: Node, operands: Operands) -> list[Value]:
    there = [value for value in operands if value is not None]
    if node.op in _TOLD_BY_OPERANDS and len(there) < 2:
        raise ModelError(f"{node.name}: what this {node.op} takes is not in the Graph; write the one that was read")
    if node.op in ("AveragePool", "MaxPool") and _uneven(node):
        before, after = node.operands[0].tensor.shape, node.output_shape
        raise ModelError(
            f"{node.name}: an adaptive pool from {list(before[2:])} to {list(after[2:])} positions has windows "
            "of several sizes, which ONNX has no operator for; read the network at a resolution where they are even"
        )
    if node.op == "Reshape" and there[0].elements:
        return [net.reshape(there[0], *node.output_shape)]
    if node.op in _WITH_OPTIONS:
        return _WITH_OPTIONS[node.op](net, node, operands)
    if node.op in _HANDLERS:
        return [_HANDLERS[node.op](net, node, there)]
    attributes: dict[str, Any] = {key: kept for key, kept in node.attributes.items() if kept != ()}
    if node.op.startswith("Reduce") and "axes" in attributes:
        operands = [operands[0], net.constant(attributes.pop("axes"), "int64")]
    if node.domain:
        net.require(1, node.domain)
    shapes, dtypes = [t.shape for t in node.outputs], [t.dtype for t in node.outputs]
    return net.nodes(node.op, operands, shapes, dtype=dtypes, domain=node.domain, **attributes)


def _uneven(node: Node) -> bool:
    """Whether a pool without padding, as adaptive pools are read, gives more or fewer positions than its windows."""
    told = (node.attributes.get(name, ()) for name in ("kernel_shape", "strides", "pads"))
    kernel, strides, pads = (
        [k for k in kept if isinstance(k, int)] if isinstance(kept, tuple) else [] for kept in told
    )
    if any(pads) or {"dilations", "auto_pad"} & {*node.attributes} or node.attributes.get("ceil_mode"):
        return False
    places = zip(node.operands[0].tensor.shape[2:], node.output_shape[2:], kernel, strides, strict=False)
    return any((size - k) // step + 1 != out for size, out, k, step in places)


def _gemm(net: Network, node: Node, operands: list[Value]) -> Value:
    """Gemm for a matrix, MatMul and Add for a sequence."""
    data, shape = operands[0], node.output_shape
    settings: dict[str, Any] = {
        key: kept for key, kept in node.attributes.items() if key in ("transA", "transB", "alpha", "beta")
    }
    if settings or len(data.shape) == 2:
        return net.node("Gemm", operands, *shape, **settings)
    product = net.node("MatMul", operands[:2], *shape)
    return net.binary("Add", product, operands[2]) if len(operands) > 2 else product


def _attention(net: Network, node: Node, operands: Operands) -> list[Value]:
    """softmax(Q Kᵀ · scale + mask) V; keys and values of the past come first, and what is joined is an output.

    Scores are scaled where it was spelt out, queries and keys each by a root elsewhere, as PyTorch's exporters do.
    """
    query, key, value, mask, past_key, past_value = (operands[k] if k < len(operands) else None for k in range(6))
    if (
        query is None
        or key is None
        or value is None
        or len(query.shape) != 4
        or key.shape[1] not in (1, query.shape[1])
    ):
        raise ModelError(f"{node.name}: attention of this form cannot be written")
    key = key if past_key is None else net.concat([past_key, key], 2)
    value = value if past_value is None else net.concat([past_value, value], 2)
    given = node.attributes.get("scale")
    scale = float(given) if isinstance(given, int | float) and given > 0 else query.shape[-1] ** -0.5
    square = (*query.shape[:3], key.shape[2])
    turned = net.transpose(key, 0, 1, 3, 2)
    if not node.attributes.get("unfused"):
        query, turned = (net.same("Mul", each, net.constant(scale**0.5)) for each in (query, turned))
    scores = net.node("MatMul", [query, turned], *square)
    if node.attributes.get("unfused"):
        scores = net.same("Mul", scores, net.constant(scale))
    if node.attributes.get("is_causal"):
        ahead = np.triu(np.full(square[2:], -1e9), 1 + square[3] - square[2])
        scores = net.same("Add", scores, net.constant(ahead))
    if mask is not None and mask.dtype == "bool":
        mask = net.node("Where", [mask, net.constant(0.0), net.constant(-1e9)], *mask.shape, dtype="float32")
    if mask is not None:
        scores = net.same("Add", scores, mask)
    mixed = net.node("MatMul", [net.same("Softmax", scores, axis=-1), value], *node.output_shape)
    return [mixed, key, value][: len(node.outputs)]


def _resize(net: Network, node: Node, operands: Operands) -> list[Value]:
    """The axes after the second (all, where the first two change) to the sizes that the output has."""
    settings: dict[str, Any] = {key: kept for key, kept in node.attributes.items() if key != "axes" and kept != ()}
    data, shape = operands[0], node.output_shape
    assert data is not None
    first = 2 if data.shape[:2] == shape[:2] else 0
    axes = tuple(range(first, len(shape)))
    return [net.node("Resize", [data, None, None, net.integers(*shape[first:])], *shape, axes=axes, **settings)]


def _split(net: Network, node: Node, operands: Operands) -> list[Value]:
    """Into the sizes that the outputs have."""
    data, axis = operands[0], node.attributes.get("axis", 0)
    assert data is not None
    assert isinstance(axis, int)
    return net.split(data, [tensor.shape[axis] for tensor in node.outputs], axis)


def _clip(net: Network, node: Node, operands: Operands) -> list[Value]:
    """Ends are operands, which a canonical Graph has as attributes."""
    ends = [node.attributes.get(key) for key in ("min", "max")]
    if ends != [None, None]:
        data = operands[0]
        assert data is not None
        operands = [data, *(None if end is None else net.constant(end, data.dtype) for end in ends)]
    return net.nodes("Clip", operands, [node.output_shape], dtype=node.outputs[0].dtype)


def _group_norm(net: Network, node: Node, operands: list[Value]) -> Value:
    """An instance normalisation of the groups, then scale and shift of each channel."""
    data, scale, shift = operands
    groups = node.attributes["num_groups"]
    assert isinstance(groups, int)
    batch, channels = data.shape[:2]
    grouped = net.reshape(data, batch, groups, data.elements // (batch * groups))
    ends = [net.constant([number] * groups) for number in (1.0, 0.0)]
    epsilon = node.attributes.get("epsilon", 1e-5)
    normal = net.reshape(net.same("InstanceNormalization", grouped, *ends, epsilon=epsilon), *data.shape)
    ones = [1] * (len(data.shape) - 2)
    scaled = net.same("Mul", normal, net.reshape(scale, channels, *ones))
    return net.same("Add", scaled, net.reshape(shift, channels, *ones))


def _rms_norm(net: Network, node: Node, operands: list[Value]) -> Value:
    """x / √(mean x² + ε) · scale."""
    data, scale = operands
    first = node.attributes.get("axis", -1)
    assert isinstance(first, int)
    given = node.attributes.get("axes")
    axes = list(range(first % len(data.shape), len(data.shape)))
    if isinstance(given, tuple):
        axes = [int(axis) for axis in given]
        scale = net.reshape(scale, *[size if k in axes else 1 for k, size in enumerate(data.shape)])
    shape = [1 if axis in axes else size for axis, size in enumerate(data.shape)]
    squared = net.same("Pow", data, net.constant(2.0))
    mean = net.node("ReduceMean", [squared, net.constant(axes, "int64")], *shape, keepdims=1)
    root = net.same("Sqrt", net.same("Add", mean, net.constant(node.attributes.get("epsilon", 1e-5))))
    return net.same("Mul", net.same("Div", data, root), scale)


def _gelu(net: Network, node: Node, operands: list[Value]) -> Value:
    return (gelu_tanh if node.attributes.get("approximate") == "tanh" else gelu)(net, operands[0])


_TOLD_BY_OPERANDS = ("Slice", "Pad", "Expand", "Tile")
_WITH_OPTIONS: Mapping[str, Callable[[Network, Node, Operands], list[Value]]] = {
    "Attention": _attention,
    "Resize": _resize,
    "Split": _split,
    "Clip": _clip,
}
_HANDLERS: Mapping[str, Handler] = {
    "Gemm": _gemm,
    "GroupNormalization": _group_norm,
    "RMSNormalization": _rms_norm,
    "Gelu": _gelu,
    "Swish": lambda net, node, operands: swish(net, operands[0]),
    "Mish": lambda net, node, operands: mish(net, operands[0]),
}
