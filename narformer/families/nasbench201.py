"""NAS-Bench-201 networks: a cell of six edges, stacked in three stages for CIFAR (Dong and Yang, 2020)."""

from __future__ import annotations

import random

import onnx

from narformer.errors import DataError
from narformer.families.builder import NetworkBuilder, Value

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
VERSIONS = ("",)
Cell = tuple[tuple[str, ...], ...]


def parse_cell(arch: str) -> Cell:
    """`|op~0|+|op~0|op~1|+|op~0|op~1|op~2|` as operations by node, in the order of their source nodes.

    Raises DataError, naming the cell, for anything else.
    """
    nodes = []
    for target, text in enumerate(arch.strip().split("+"), start=1):
        edges = text.strip("|").split("|")
        if len(edges) != target or not (text.startswith("|") and text.endswith("|")):
            raise DataError(f"cell {arch!r}: node {target} needs {target} edges written `|operation~source|`")
        operations = []
        for source, edge in enumerate(edges):
            operation, _, origin = edge.partition("~")
            if operation not in OPERATIONS:
                raise DataError(f"cell {arch!r}: unknown operation {operation!r}; known are {', '.join(OPERATIONS)}")
            if origin != str(source):
                raise DataError(f"cell {arch!r}: edge {source} of node {target} should come from node {source}")
            operations.append(operation)
        nodes.append(tuple(operations))
    if len(nodes) != 3:
        raise DataError(f"cell {arch!r}: expected 3 nodes joined by `+`, found {len(nodes)}")
    return tuple(nodes)


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
    cell = parse_cell(config)
    net = NetworkBuilder("nasbench201", (batch_size, 3, input_size, input_size))
    x = net.conv(net.input, channels, 3)
    for stage in range(3):
        if stage:
            x = _reduction(net, x, channels * 2**stage)
        for _ in range(repeats):
            x = _cell(net, x, cell)
    return net.finish(net.head(net.relu(net.batch_norm(x)), classes))


def _cell(net: NetworkBuilder, x: Value, cell: Cell) -> Value:
    nodes: list[Value | None] = [x]
    for operations in cell:
        total: Value | None = None
        for source, operation in zip(nodes, operations, strict=True):
            if operation == "none" or source is None:
                continue
            y = _operation(net, source, operation)
            total = y if total is None else net.add(total, y)
        nodes.append(total)
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
