"""Tokens of what a node does: how much it computes, reads and writes, on what shapes, with which neighbours.

Sizes enter as logarithms, so that twice as wide is the same step everywhere. An operator is told by its class (matrix
products, activations, element-wise, movement of data, pooling) and, where nn-Meter's families have it, by its group; an
operator never seen in training borrows what its class has learned.

A token is WIDTH wide; the first column is ln of MACs, the second ln of bytes read and written, both from 1 up; ln 1 = 0
where there are none. The static features are ln of batch size, FLOPs, parameters and memory access.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from narformer.cost import node_costs
from narformer.graph import Graph
from narformer.tokens.narformer_v2 import static_numbers
from narformer.tokens.packing import FloatArray, Tokens
from narformer.tokens.raw import CODE, RawNodes, raw_nodes

BYTES = 4  # of a number; predictors so far know float32 alone
# Groups of operators; the first COMMON of them occur in nn-Meter's families and have a column of their own.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "input": (),
    "convolution": ("Conv", "ConvInteger", "QLinearConv"),
    "fully connected": ("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul", "Einsum", "LSTM", "GRU", "RNN"),
    "rectifier": ("Relu", "Clip", "LeakyRelu", "PRelu"),
    "add": ("Add", "Sub", "Sum"),
    "multiply": ("Mul",),
    "divide": ("Div",),
    "concatenate": ("Concat",),
    "split": ("Split",),
    "max pool": ("MaxPool",),
    "average pool": ("AveragePool",),
    "global pool": ("GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceSum", "ReduceMax"),
    "reshape": ("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Dropout"),
    "transpose": ("Transpose",),
    # Rare: told by class alone.
    "move": ("Slice", "Pad", "Gather", "Resize", "Upsample", "DepthToSpace", "SpaceToDepth", "Expand", "Tile", "Cast"),
    "transposed convolution": ("ConvTranspose",),
    "smooth activation": ("Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Gelu", "Erf", "Exp", "Log", "Sqrt", "Pow"),
    "other": (),
}
COMMON = 14
CLASSES = ("input", "matrix", "element-wise", "movement", "pool", "view")
_CLASS_OF = {
    "input": 0,
    "convolution": 1,
    "fully connected": 1,
    "transposed convolution": 1,
    "rectifier": 2,
    "add": 2,
    "multiply": 2,
    "divide": 2,
    "smooth activation": 2,
    "other": 2,
    "concatenate": 3,
    "split": 3,
    "transpose": 3,
    "move": 3,
    "max pool": 4,
    "average pool": 4,
    "global pool": 4,
    "reshape": 5,
}
_GROUP = {op: index for index, ops in enumerate(GROUPS.values()) for op in ops}
_OTHER = len(GROUPS) - 1
_CLASS = np.array([_CLASS_OF[group] for group in GROUPS])
_KERNELS = (1, 3, 5, 7)
NUMBERS = 18
DEPTHWISE = 12  # the column that says so
WIDTH = NUMBERS + len(CLASSES) + COMMON + len(_KERNELS) + 1
STATIC_WIDTH = 4


def node_work(graph: Graph) -> npt.NDArray[np.float64]:
    """Group of the operator, MACs and parameters of each token of a Graph: (N, 3), inputs first."""
    rows = [(0.0, 0.0, 0.0)] * len(graph.inputs)
    rows += [
        (float(_GROUP.get(node.op, _OTHER)), float(cost.macs), float(cost.parameters))
        for node, cost in zip(graph.nodes, node_costs(graph), strict=True)
    ]
    return np.array(rows)


def features(raw: RawNodes) -> FloatArray:
    """Features of every token, (N, WIDTH), from raw numbers of one network or of a whole batch.

    Raises ValueError for raw numbers without `work`.
    """
    if raw.work is None:
        raise ValueError("physical tokens need the work of each node: raw_nodes alone does not have it")
    count = len(raw)
    group, macs, parameters = raw.work[:, 0].astype(np.int64), raw.work[:, 1], raw.work[:, 2]
    shapes = np.maximum(raw.shapes, 1).astype(np.float64)
    elements = shapes.prod(axis=1)
    producer, consumer = raw.edges
    read = np.bincount(consumer, elements[producer], count)
    widest = np.zeros(count)
    np.maximum.at(widest, consumer, shapes[producer, 1])
    readers, sources = np.bincount(producer, minlength=count), np.bincount(consumer, minlength=count)
    kernel = np.where(raw.operation >= 0, raw.attributes[:, 0], 0) * np.isin(raw.operation, _WINDOWED)
    stride = np.where(kernel > 0, raw.attributes[:, 1], 1)
    is_conv = raw.operation == CODE["Conv"]
    channel_groups = np.where(is_conv, np.maximum(raw.attributes[:, 4], 1), 1)
    traffic = BYTES * (read + elements + parameters)
    columns = np.column_stack(
        [
            np.log1p(macs),
            np.log1p(traffic),
            np.log1p(BYTES * parameters),
            np.log1p(BYTES * read),
            np.log1p(BYTES * elements),
            np.log1p(macs) - np.log1p(traffic),
            np.log(shapes),
            np.log1p(widest),
            np.log(channel_groups),
            (channel_groups > 1) & (channel_groups >= shapes[:, 1]),
            np.log1p(kernel),
            np.log(np.maximum(stride, 1)),
            (shapes[:, 1] % 4 == 0),
            readers > 1,
            sources > 1,
        ]
    )
    scale = np.array([20, 20, 20, 20, 20, 10, 3, 8, 5, 5, 8, 6, 1, 3, 1, 1, 1, 1], dtype=np.float64)
    out = np.zeros((count, WIDTH), dtype=np.float32)
    out[:, :NUMBERS] = columns / scale
    token = np.arange(count)
    out[token, NUMBERS + _CLASS[group]] = 1
    common = group < COMMON
    out[token[common], NUMBERS + len(CLASSES) + group[common]] = 1
    place = np.select([kernel == k for k in _KERNELS], range(len(_KERNELS)), len(_KERNELS))
    windowed = kernel > 0
    out[token[windowed], NUMBERS + len(CLASSES) + COMMON + place[windowed]] = 1
    return out


_WINDOWED = [CODE[name] for name in ("Conv", "ConvTranspose", "MaxPool", "AveragePool")]


def static_features(numbers: npt.NDArray[np.float64]) -> FloatArray:
    """ln(1 + x) of batch size, FLOPs, parameters, memory access, scaled: (B, 4) -> (B, 4)."""
    return np.asarray(np.log1p(numbers) / np.array([3, 20, 20, 20]), dtype=np.float32)


def tokenize(graph: Graph) -> Tokens:
    """Tokens of a Graph: one for each input, then one for each node in topological order."""
    raw = raw_nodes(graph)
    raw = RawNodes(raw.operation, raw.attributes, raw.shapes, raw.edges, node_work(graph))
    numbers = np.array([static_numbers(graph)], dtype=np.float64)
    return Tokens(features(raw), raw.edges, static_features(numbers)[0])
