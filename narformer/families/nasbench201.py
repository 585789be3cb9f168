"""NAS-Bench-201 networks: a cell of six edges, stacked in three stages for CIFAR (Dong and Yang, 2020)."""

from __future__ import annotations

import random

import onnx

from narformer.errors import DataError
from narformer.families.builder import NetworkBuilder, Value

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
VERSIONS = ("",)
# The six edges as (source, target) nodes of the cell, in the order in which the text of a cell has them.
EDGES = tuple((source, target) for target in (1, 2, 3) for source in range(target))
# What NAR-Former V2's released code numbers 0, 1, …: a cell's input, the operations of its edges, its output.
CODES = ("input", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3", "skip_connect", "none", "output")


def edge_operations(text: str) -> tuple[str, ...]:
    """The operations of a cell's six edges, in the order of EDGES: `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`.

    Raises DataError, naming the cell, for any other text.
    """
    operations: list[str] = []
    known = CODES[1:-1]
    parts = text.strip().split("+")
    for target, part in enumerate(parts, start=1):
        words = part.strip("|").split("|")
        if len(words) != target or not (part.startswith("|") and part.endswith("|")):
            raise DataError(f"cell {text!r}: node {target} needs {target} edges written `|operation~source|`")
        for source, word in enumerate(words):
            operation, _, origin = word.partition("~")
            if operation not in known:
                raise DataError(f"cell {text!r}: unknown operation {operation!r}; known are {', '.join(known)}")
            if origin != str(source):
                raise DataError(f"cell {text!r}: edge {source} of node {target} should come from node {source}")
            operations.append(operation)
    if len(parts) != 3:
        raise DataError(f"cell {text!r}: expected 3 nodes joined by `+`, found {len(parts)}")
    return tuple(operations)


def build(
    config: str,
    version: str = "",
    batch_size: int = 1,
    input_size: int = 32,
    channels: int = 16,
    repeats: int = 5,
    classes: int = 10,
) -> onnx.ModelProto:
    """The whole network of a cell: `repeats` cells a stage, widths `channels` times 1, 2, 4."""
    operations = edge_operations(config)
    net = NetworkBuilder("nasbench201", (batch_size, 3, input_size, input_size))
    x = net.conv(net.input, channels, 3)
    for stage in range(3):
        if stage:
            x = _reduction(net, x, channels * 2**stage)
        for _ in range(repeats):
            x = _cell(net, x, operations)
    return net.finish(net.head(net.relu(net.batch_norm(x)), classes))


def _cell(net: NetworkBuilder, x: Value, operations: tuple[str, ...]) -> Value:
    nodes: list[Value | None] = [x, None, None, None]
    for (source, target), operation in zip(EDGES, operations, strict=True):
        start, total = nodes[source], nodes[target]
        if operation != "none" and start is not None:
            y = _operation(net, start, operation)
            nodes[target] = y if total is None else net.add(total, y)
    # A cell whose output nothing reaches still passes zeros on; the plainest network that does is the input times 0.
    return nodes[-1] if nodes[-1] is not None else net.zeros_like(x)


def _operation(net: NetworkBuilder, x: Value, operation: str) -> Value:
    if operation == "skip_connect":
        return x
    if operation == "avg_pool_3x3":
        return net.average_pool(x, 3, 1)
    return net.conv(net.relu(x), x.channels, 1 if operation == "nor_conv_1x1" else 3)


def _reduction(net: NetworkBuilder, x: Value, channels: int) -> Value:
    y = net.conv(net.relu(net.conv(x, channels, 3, 2)), channels, 3)
    return net.add(y, net.conv(net.average_pool(x, 2, 2), channels, 1))


def unscaled(version: str = "") -> str:
    return draw(random.Random(0))


def draw(rng: random.Random, version: str = "") -> str:
    nodes = [[f"{rng.choice(OPERATIONS)}~{source}" for source in range(target)] for target in (1, 2, 3)]
    return "+".join(f"|{'|'.join(edges)}|" for edges in nodes)
