"""The whole CIFAR network of a cell, as weightless ONNX: the skeletons of NAS-Bench-101 and NAS-Bench-201."""

from __future__ import annotations

import onnx

from narformer.cells.cell import Cell
from narformer.cells.table import cell_table, nasbench101_channels
from narformer.families import nasbench201
from narformer.families.builder import NetworkBuilder, Value

STEM, STACKS, CELLS, CLASSES = 128, 3, 3, 10  # NAS-Bench-101, section 2.1


def to_onnx(cell: Cell, batch_size: int = 1) -> onnx.ModelProto:
    """The network that the benchmark trained on CIFAR-10 for this cell, 32×32 pixels.

    NAS-Bench-101: 3×3 stem of 128 channels, three stacks of three cells, half the size and twice the width each.
    NAS-Bench-201: stem of 16 channels, three stages of five cells, residual reductions in between.
    """
    if cell.space == "nasbench201":
        return nasbench201.build(str(cell), batch_size=batch_size)
    net = NetworkBuilder("nasbench101", (batch_size, 3, 32, 32))
    x = _conv_bn_relu(net, net.input, STEM, 3)
    for stack in range(STACKS):
        if stack:
            x = net.max_pool(x, 2, 2)
        for _ in range(CELLS):
            x = _cell(net, x, cell, STEM * 2**stack)
    return net.finish(net.fully_connected(net.flatten(net.global_average_pool(x)), CLASSES, bias=True))


def _conv_bn_relu(net: NetworkBuilder, x: Value, channels: int, kernel: int) -> Value:
    return net.relu(net.batch_norm(net.conv(x, channels, kernel, bias=False)))


def _cell(net: NetworkBuilder, x: Value, cell: Cell, channels: int) -> Value:
    """One cell: sums into vertices, their inputs cut to the vertex's channels; a concatenation as output, and the
    projected input added to it where an edge says so."""
    table = cell_table([cell])
    places = [*range(len(cell.operations) - 1), table.codes.shape[1] - 1]
    width = nasbench101_channels(table, x.channels, channels)[0, places].tolist()
    last = len(cell.operations) - 1
    values: dict[int, Value] = {}
    for vertex in range(1, last):
        parts = [net.first_channels(values[p], width[vertex]) for p, c in cell.edges if c == vertex and p]
        if (0, vertex) in cell.edges:
            parts.append(_conv_bn_relu(net, x, width[vertex], 1))
        total = parts[0]
        for part in parts[1:]:
            total = net.add(total, part)
        operation = cell.operations[vertex]
        if operation == "maxpool3x3":
            values[vertex] = net.max_pool(total, 3, 1)
        else:
            values[vertex] = _conv_bn_relu(net, total, width[vertex], 3 if "3x3" in operation else 1)
    feeding = [values[p] for p in range(1, last) if (p, last) in cell.edges]
    straight = _conv_bn_relu(net, x, channels, 1) if (0, last) in cell.edges else None
    if not feeding:
        assert straight is not None  # the input reaches the output
        return straight
    joined = feeding[0] if len(feeding) == 1 else net.concat(feeding)
    return joined if straight is None else net.add(joined, straight)
