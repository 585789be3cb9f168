"""Channels that only fill up a block are gone, where it is certain how many there are without them.

ONNX Runtime writes convolutions of its domain com.microsoft.nchwc over blocks of 8 or 16 channels, and fills the last
block with filters of zeros. How many channels there were is told by a value that is reordered into blocks or out of
them, and by filters of zeros (frontends/onnx/blocks.py). Pools, activations and sums have as many as what they read.

Requires: nothing. Ensures: values in blocks have the channels that are told, as have the filters that make and read
them, unless nothing tells, or what tells does not agree.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from narformer.frontends.canonical.chain import reshaped
from narformer.frontends.canonical.draft import Draft
from narformer.frontends.canonical.rule import Rule
from narformer.graph import Node, Operand, Tensor

BLOCKED = "com.microsoft.nchwc"
_POOLS = frozenset(("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool", "Upsample"))
_ELEMENTWISE = frozenset(
    [
        *("Relu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "HardSigmoid", "HardSwish", "Elu", "Softplus", "Softsign"),
        *("Gelu", "QuickGelu", "Swish", "Mish", "Erf", "Add", "Sub", "Mul", "Div", "Sum", "Max", "Min"),
    ]
)
_PLAIN = ("", "com.microsoft")
Value = tuple[int, int]  # node, and which of its outputs


class _Channels:
    """Values that have equally many channels, and how many those are said to be."""

    def __init__(self) -> None:
        self.above: dict[Value, Value] = {}
        self.told: dict[Value, set[int]] = {}

    def root(self, value: Value) -> Value:
        while value in self.above:
            value = self.above[value]
        return value

    def alike(self, one: Value, other: Value) -> None:
        one, other = self.root(one), self.root(other)
        if one != other:
            self.above[other] = one
            self.told.setdefault(one, set()).update(self.told.pop(other, ()))

    def tell(self, value: Value, channels: int) -> None:
        self.told.setdefault(self.root(value), set()).add(channels)

    def of(self, value: Value, padded: int) -> int:
        """How many channels a value has of those that are there."""
        told = self.told.get(self.root(value), set())
        return min(told) if len(told) == 1 and 0 < min(told) < padded else padded


def unpadded(draft: Draft, index: int, node: Node) -> bool:
    """At the first convolution over blocks: all values of the network that are in blocks."""
    if ("blocks",) in draft.notes:
        return False
    draft.notes["blocks",] = True
    channels = _channels(draft.graph.nodes)
    for k, each in enumerate(draft.graph.nodes):
        current = draft.nodes[k]
        if current is not None:
            made = _narrowed(channels, k, each)
            if made is not None:
                draft.state(k, made)
    return False


def _channels(nodes: Sequence[Node]) -> _Channels:
    channels = _Channels()
    blocked: set[Value] = set()
    for index, node in enumerate(nodes):
        read: list[tuple[Value, int]] | None = None
        if node.domain == BLOCKED and node.op == "Conv":
            read = _convolution(channels, index, node)
        elif _keeps(node, blocked):
            read = _like(node)
        if read is None:
            told = node.attributes.get("channels") if node.domain == BLOCKED and node.op == "ReorderOutput" else None
            for operand in node.operands:
                value = _value(operand)
                if value is not None and value in blocked and len(operand.tensor.shape) > 1:
                    channels.tell(value, told if isinstance(told, int) else operand.tensor.shape[1])
            continue
        own = (index, 0)
        blocked.add(own)
        for value, size in read:
            if value not in blocked:  # reordered into blocks here, with the channels that it has
                channels.tell(value, size)
                blocked.add(value)
            channels.alike(own, value)
    return channels


def _keeps(node: Node, blocked: Collection[Value]) -> bool:
    """Whether a node puts out blocks as it reads them."""
    if node.domain == BLOCKED:
        return node.op in _POOLS
    known = node.domain in _PLAIN and node.op in _ELEMENTWISE
    return known and any(_value(operand) in blocked for operand in node.operands)


def _value(operand: Operand) -> Value | None:
    return None if operand.source is None else (operand.source, operand.output)


def _convolution(channels: _Channels, index: int, node: Node) -> list[tuple[Value, int]]:
    """What has as many channels as a convolution puts out: what is added to it, and the data of a depthwise one."""
    told, group = node.attributes.get("channels"), node.attributes.get("group", 1)
    filters = node.operands[1].tensor.shape
    alike = [node.operand(3)]
    if isinstance(told, int):
        channels.tell((index, 0), told)
    if group == filters[0] and filters[1] == 1 and group != 1:
        alike.append(node.operands[0])
    elif group != 1:  # only made where no block has to be filled
        channels.tell((index, 0), filters[0])
        value = _value(node.operands[0])
        if value is not None:
            channels.tell(value, node.operands[0].tensor.shape[1])
    return [(value, o.tensor.shape[1]) for o in alike if o is not None and (value := _value(o)) is not None]


def _like(node: Node) -> list[tuple[Value, int]] | None:
    """What has as many channels as a pool, an activation or a sum puts out; None where constants have as many too."""
    out = node.output_shape[1]
    read = []
    for operand in node.operands:
        shape, value = operand.tensor.shape, _value(operand)
        if value is not None and len(shape) == len(node.output_shape) and shape[1] > 1:
            read.append((value, shape[1]))
        elif operand.tensor.elements > 1 and len(shape) > 1 and shape[1] == out:
            return None
    return read


def _narrowed(channels: _Channels, index: int, node: Node) -> Node | None:
    """The node with the channels that its values have; None where they are those that it has."""
    operands = []
    for operand in node.operands:
        value = _value(operand)
        operands.append(operand if value is None else operand._replace(tensor=_with(operand.tensor, channels, value)))
    outputs = tuple([_with(tensor, channels, (index, k)) for k, tensor in enumerate(node.outputs)])
    attributes = node.attributes
    if node.domain == BLOCKED and node.op == "Conv":
        attributes = {name: value for name, value in attributes.items() if name != "channels"}
        out, shape = outputs[0].shape[1], node.operands[1].tensor.shape
        if attributes.get("group", 1) == 1:
            operands[1] = reshaped(operands[1], (out, operands[0].tensor.shape[1], *shape[2:]))
        elif shape[1] == 1 and attributes["group"] == shape[0]:
            operands[1] = reshaped(operands[1], (out, *shape[1:]))
            attributes["group"] = out
        if node.operand(2) is not None:
            operands[2] = reshaped(operands[2], (out,))
    made = node._replace(operands=tuple(operands), outputs=outputs, attributes=attributes)
    return None if made == node else made


def _with(tensor: Tensor, channels: _Channels, value: Value) -> Tensor:
    shape = tensor.shape
    if len(shape) < 2:
        return tensor
    return tensor._replace(shape=(shape[0], channels.of(value, shape[1]), *shape[2:]))


RULES: Mapping[str, Sequence[Rule]] = {f"{BLOCKED}.Conv": (unpadded,)}
