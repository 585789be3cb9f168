"""The raw numbers of a network that the tokens of NNLP and NAR-Former V2 are made of.

Both read the same operation codes, attributes and shapes (NNLQP's, taken over by NAR-Former V2); they differ in the
code by which a number becomes features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from narformer.graph import Graph, Node, Shape

# Slot of each operation in the one-hot code. "Matmul" is spelt as the authors spell it, so ONNX's MatMul has no code.
OPERATIONS = (
    "Conv",
    "Relu",
    "Add",
    "Sigmoid",
    "Reshape",
    "MaxPool",
    "Split",
    "GlobalAveragePool",
    "Gemm",
    "Transpose",
    "Upsample",
    "BatchNormalization",
    "Mul",
    "Concat",
    "Flatten",
    "AveragePool",
    "Cast",
    "Matmul",
    "ReduceMean",
    "Pow",
    "Slice",
    "Div",
    "Sub",
    "Sqrt",
    "Clip",
    "Softmax",
    "Tanh",
    "ConvTranspose",
)
CODE: Mapping[str, int] = {name: code for code, name in enumerate(OPERATIONS)}
TRANSPOSE = CODE["Transpose"]
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "Conv": ("kernel_shape", "strides", "pads", "dilations", "group", "bias"),
    "MaxPool": ("kernel_shape", "strides", "pads"),
    "AveragePool": ("kernel_shape", "strides", "pads"),
    "Gemm": ("bias",),
    "ConvTranspose": ("kernel_shape", "strides", "pads", "dilations", "group", "bias", "output_padding"),
}
SLOTS = 8
UNKNOWN = -1
# Number of attribute slots in use, by operation code; the last entry serves UNKNOWN.
USED = np.array([len(ATTRIBUTES.get(name, ())) for name in OPERATIONS] + [0])
_DEFAULTS = {"strides": 1, "pads": 0, "dilations": 1, "group": 1, "output_padding": 0}


@dataclass(frozen=True)
class RawNodes:
    """operation (N,) code or UNKNOWN; attributes (N, 8); shapes (N, 4), missing dims 0; edges (2, E) from, to;
    work (N, 3): what tokens/physical.py adds, where it is asked for.

    The Graph's inputs come first, as tokens without an operation, then its nodes.
    """

    operation: npt.NDArray[np.int64]
    attributes: npt.NDArray[np.int64]
    shapes: npt.NDArray[np.int64]
    edges: npt.NDArray[np.int32]
    work: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.operation)


def raw_nodes(graph: Graph) -> RawNodes:
    """Read the numbers off a Graph, in one pass over its distinct nodes."""
    inputs = len(graph.inputs)
    distinct = graph.distinct
    rows = [[UNKNOWN, *(0,) * SLOTS, *_four(tensor.shape)] for tensor in graph.inputs]
    for node in distinct.nodes:
        reader = _READERS.get(node.op)
        values = reader(node) if reader is not None else []
        rows.append([CODE.get(node.op, UNKNOWN), *values, *(0,) * (SLOTS - len(values)), *_four(node.output_shape)])
    table = np.array(rows, dtype=np.int64).reshape(-1, 1 + SLOTS + 4)
    table = table[np.concatenate([np.arange(inputs), distinct.place + inputs])]
    from_inputs = graph.input_edges + np.array([0, inputs])
    edges = np.concatenate([from_inputs, graph.edges + inputs]).astype(np.int32).T
    return RawNodes(table[:, 0], table[:, 1 : 1 + SLOTS], table[:, 1 + SLOTS :], edges)


def _four(shape: Shape) -> Shape:
    """The first four dims, missing ones 0."""
    return (*shape[:4], *(0,) * (4 - len(shape)))


def _listed(node: Node) -> list[int]:
    """The attributes of ATTRIBUTES in their order; of a list only the first element counts."""
    return [_first(node, name) for name in ATTRIBUTES[node.op]]


def _first(node: Node, name: str) -> int:
    if name == "bias":
        return int(len(node.operands) > 2)
    value = node.attributes.get(name)
    if value is None:
        if name == "kernel_shape":
            weight = node.operands[1].tensor.shape if len(node.operands) > 1 else ()
            return weight[2] if len(weight) > 2 else 1
        return _DEFAULTS[name]
    if isinstance(value, tuple):
        return int(value[0]) if value else _DEFAULTS.get(name, 1)
    return int(value)


def _permutation(node: Node) -> list[int]:
    # Without perm ONNX reverses the dims; the release codes that as zeros.
    perm = node.attributes.get("perm", ())
    return [int(p) for p in perm[:SLOTS]] if isinstance(perm, tuple) else []


_READERS: Mapping[str, Callable[[Node], list[int]]] = {**dict.fromkeys(ATTRIBUTES, _listed), "Transpose": _permutation}
