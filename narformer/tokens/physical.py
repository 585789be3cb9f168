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

from narformer.cost import node_cost
from narformer.graph import Graph
from narformer.tokens.narformer_v2 import static_numbers
from narformer.tokens.packing import FloatArray, Tokens
from narformer.tokens.raw import RawNodes, raw_nodes
from narformer.tokens.surroundings import WINDOWS, surroundings, window_place

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
# What a token's first columns are, each divided by its scale so that it stays near 1: sizes as ln(1 + x), and what
# counts from 1 up (batch, channels, height, width, groups, stride) as ln(x).
COLUMNS: Mapping[str, float] = {
    "macs": 20.0,
    "traffic": 20.0,
    "weights": 20.0,
    "read": 20.0,
    "written": 20.0,
    "intensity": 10.0,
    "batch": 3.0,
    "channels": 8.0,
    "height": 5.0,
    "width": 5.0,
    "widest": 8.0,
    "groups": 6.0,
    "depthwise": 1.0,
    "window": 3.0,
    "stride": 1.0,
    "channels by 4": 1.0,
    "read often": 1.0,
    "reads several": 1.0,
}
COLUMN: Mapping[str, int] = {name: place for place, name in enumerate(COLUMNS)}
NUMBERS = len(COLUMNS)
DEPTHWISE = COLUMN["depthwise"]
WIDTH = NUMBERS + len(CLASSES) + COMMON + len(WINDOWS) + 1
STATIC_WIDTH = 4


def node_work(graph: Graph) -> npt.NDArray[np.float64]:
    """Group of the operator, MACs and parameters of each token of a Graph: (N, 3), inputs first."""
    distinct = graph.distinct
    rows = [
        (_GROUP.get(node.op, _OTHER), cost.macs, cost.parameters)
        for node, cost in zip(distinct.nodes, distinct.each(node_cost), strict=True)
    ]
    work = np.array(rows, dtype=np.float64).reshape(-1, 3)
    return np.concatenate([np.zeros((len(graph.inputs), 3)), work[distinct.place]])


def features(raw: RawNodes) -> FloatArray:
    """Features of every token, (N, WIDTH), from raw numbers of one network or of a whole batch.

    Raises ValueError for raw numbers without `work`.
    """
    if raw.work is None:
        raise ValueError("physical tokens need the work of each node: raw_nodes alone does not have it")
    count = len(raw)
    group, macs, parameters = raw.work[:, 0].astype(np.int64), raw.work[:, 1], raw.work[:, 2]
    of = surroundings(raw)
    channels = of.shapes[:, 1]
    traffic = BYTES * (of.read + of.elements + parameters)
    columns = np.column_stack(
        [
            np.log1p(macs),
            np.log1p(traffic),
            np.log1p(BYTES * parameters),
            np.log1p(BYTES * of.read),
            np.log1p(BYTES * of.elements),
            np.log1p(macs) - np.log1p(traffic),
            np.log(of.shapes),
            np.log1p(of.widest),
            np.log(of.groups),
            (of.groups > 1) & (of.groups >= channels),
            np.log1p(of.window),
            np.log(np.maximum(of.stride, 1)),
            (channels % 4 == 0),
            of.readers > 1,
            of.sources > 1,
        ]
    )
    scale = np.array(list(COLUMNS.values()))
    out = np.zeros((count, WIDTH), dtype=np.float32)
    out[:, :NUMBERS] = columns / scale
    token = np.arange(count)
    out[token, NUMBERS + _CLASS[group]] = 1
    common = group < COMMON
    out[token[common], NUMBERS + len(CLASSES) + group[common]] = 1
    windowed = np.flatnonzero(of.window > 0)
    out[windowed, NUMBERS + len(CLASSES) + COMMON + window_place(of.window[windowed])] = 1
    return out


def amounts(features: FloatArray, *names: str) -> npt.NDArray[np.float64]:
    """Sizes as they are, (T, names), from the columns of these names, which hold their scaled ln(1 + x)."""
    scale = np.array([COLUMNS[name] for name in names])
    return np.asarray(np.expm1(scale * features[:, [COLUMN[name] for name in names]].astype(np.float64)))


def static_features(numbers: npt.NDArray[np.float64]) -> FloatArray:
    """ln(1 + x) of batch size, FLOPs, parameters, memory access, scaled: (B, 4) -> (B, 4)."""
    return np.asarray(np.log1p(numbers) / np.array([3, 20, 20, 20]), dtype=np.float32)


def tokenize(graph: Graph) -> Tokens:
    """Tokens of a Graph: one for each input, then one for each node in topological order."""
    raw = raw_nodes(graph)
    raw = RawNodes(raw.operation, raw.attributes, raw.shapes, raw.edges, node_work(graph))
    numbers = np.array([static_numbers(graph)], dtype=np.float64)
    return Tokens(features(raw), raw.edges, static_features(numbers)[0])
