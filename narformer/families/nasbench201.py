"""NAS-Bench-201 networks: a cell of six edges, stacked in three stages for CIFAR (Dong and Yang, 2020)."""

from __future__ import annotations

import random

import onnx

from narformer.families.builder import NetworkBuilder, Value
from narformer.frontends.cells import EDGES_201, parse_nasbench201

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
VERSIONS = ("",)


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
    operations = parse_nasbench201(config).operations[1:-1]
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
    for (source, target), operation in zip(EDGES_201, operations, strict=True):
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
