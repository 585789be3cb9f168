"""Tokens of kernels: what a runtime runs at once is one token, told by its kind, its work and its shapes.

Runtimes run several nodes as one kernel: a rectifier within the convolution before it, a hard swish (four nodes in
ONNX) on its own. `fused` finds these. The token of the node that takes others in stands for all; theirs are empty.

Sizes enter as logarithms, so that twice as wide is the same step everywhere. A kernel has a kind, and a kind a class
(products of matrices, element-wise, movement of data, pools, views); one never seen in training borrows its class's.

A token is WIDTH wide; its first three columns are ln of MACs, of bytes moved and of bytes of weights that serve many
positions, each from 1 up, over 20; ln 1 = 0 where there are none. The static features are those of tokens/physical.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from narformer.graph import Graph
from narformer.tokens import physical
from narformer.tokens.narformer_v2 import static_numbers
from narformer.tokens.packing import FloatArray, Tokens
from narformer.tokens.raw import CODE, RawNodes, raw_nodes
from narformer.tokens.surroundings import WINDOWS, surroundings, window_place

BYTES = physical.BYTES
CLASSES = ("input", "matrix", "element-wise", "movement", "pool", "view")
INPUT, MATRIX, ELEMENT_WISE, MOVEMENT, POOL, VIEW = range(len(CLASSES))
CLASS_OF = {
    "input": INPUT,
    "convolution": MATRIX,
    "pointwise": MATRIX,
    "depthwise": MATRIX,
    "fully connected": MATRIX,
    "transposed convolution": MATRIX,
    "rectifier": ELEMENT_WISE,
    "clip": ELEMENT_WISE,
    "add": ELEMENT_WISE,
    "multiply": ELEMENT_WISE,
    "normalization": ELEMENT_WISE,
    "smooth activation": ELEMENT_WISE,
    "other": ELEMENT_WISE,
    "concatenate": MOVEMENT,
    "split": MOVEMENT,
    "transpose": MOVEMENT,
    "move": MOVEMENT,
    "pool": POOL,
    "global pool": POOL,
    "view": VIEW,
}
KINDS = tuple(CLASS_OF)
_OTHER_NAMES = {"divide": "multiply", "max pool": "pool", "average pool": "pool", "reshape": "view"}
_KIND_OF_GROUP = np.array([KINDS.index(_OTHER_NAMES.get(group, group)) for group in physical.GROUPS])
_CLASS = np.array(list(CLASS_OF.values()))
_CONVOLUTION, _POINTWISE, _DEPTHWISE, _CONNECTED = (KINDS.index(n) for n in KINDS[1:5])
_RECTIFIER, _CLIP = KINDS.index("rectifier"), KINDS.index("clip")
_MULTIPLY, _NORMALIZATION, _SMOOTH = (KINDS.index(n) for n in ("multiply", "normalization", "smooth activation"))
# As physical.COLUMNS; bytes moved (activations, and weights that are read in a stream) come in place of all traffic.
COLUMNS: Mapping[str, float] = {
    **{"moved" if name == "traffic" else name: scale for name, scale in physical.COLUMNS.items()},
    "channels by 8": 1.0,
    "odd": 1.0,
}
COLUMN: Mapping[str, int] = {name: place for place, name in enumerate(COLUMNS)}
_SCALE = np.array(list(COLUMNS.values()))
NUMBERS = len(COLUMNS)
# After the numbers: the kind, the size of the window (1, 3, 5, 7, other), and which rectifiers run within the kernel.
WIDTH = NUMBERS + len(KINDS) + len(WINDOWS) + 1 + 2
STATIC_WIDTH = physical.STATIC_WIDTH


def fused(raw: RawNodes) -> RawNodes:
    """The same tokens with edges from kernel to kernel, and as `work` (N, 4): kind, MACs, parameters, place.

    The place of the kernel's token is relative: 0 for a node that has one, −1 for one within the kernel of the token
    before. raw: of one network or of a batch, with the work of physical.node_work. Raises ValueError without.
    """
    if raw.work is None:
        raise ValueError("tokens of kernels need the work of each node: raw_nodes alone does not have it")
    count = len(raw)
    kind = _KIND_OF_GROUP[raw.work[:, 0].astype(np.int64)]
    window, groups = raw.attributes[:, 0], raw.attributes[:, 4]
    one = raw.shapes[:, 2:].prod(axis=1) <= 1
    plain = np.where(window > 1, _CONVOLUTION, np.where(one, _CONNECTED, _POINTWISE))
    kind = np.where(raw.operation == CODE["Conv"], np.where(groups > 1, _DEPTHWISE, plain), kind)
    kind[raw.operation == CODE["Clip"]] = _CLIP
    kind[raw.operation == CODE["BatchNormalization"]] = _NORMALIZATION
    kinds = kind.tolist()
    place = np.array(_kernels(kinds, raw.edges, count), dtype=np.int64)
    ends = place[raw.edges]
    pairs = np.unique(ends[0] * count + ends[1])
    edges = np.stack([pairs // max(count, 1), pairs % max(count, 1)])
    work = np.column_stack([kinds, raw.work[:, 1:3], place - np.arange(count)])
    return replace(raw, edges=edges[:, edges[0] != edges[1]].astype(np.int32), work=work)


def _kernels(kinds: list[int], edges: npt.NDArray[np.int32], count: int) -> list[int]:
    """For each token that of the kernel it runs in; sets the kind of smooth activations found in `kinds`.

    A rectifier runs with the product of matrices it follows, any element-wise node of one operand with the element-wise
    node it follows, if nothing else reads that; and x · f(x) is one kernel if f is.
    """
    classes = _CLASS[kinds].tolist()
    readers = np.bincount(edges[0], minlength=count).tolist()
    sources: list[list[int]] = [[] for _ in range(count)]
    for producer, consumer in edges.T.tolist():
        if classes[consumer] == ELEMENT_WISE:
            sources[consumer].append(producer)
    place = list(range(count))
    members = [[index] for index in place]  # of the kernel whose token this is
    for index, several in enumerate(sources):
        if len(several) == 1 and readers[several[0]] == 1:
            into = place[several[0]]
            if classes[into] == ELEMENT_WISE:
                place[index] = into
                members[into].append(index)
                if len(sources[into]) == 1 and kinds[into] != _NORMALIZATION:
                    kinds[into] = _SMOOTH
            elif classes[into] == MATRIX and kinds[index] in (_RECTIFIER, _CLIP):
                place[index] = into
                members[into].append(index)
        elif len(several) == 2 and kinds[index] == _MULTIPLY:
            for x, y in (several, several[::-1]):
                first = place[y]
                if readers[y] == 1 and classes[first] == ELEMENT_WISE and sources[first] == [x]:
                    for member in members[first]:
                        place[member] = index
                    members[index] += members[first]
                    kinds[index] = _SMOOTH
                    break
    return place


def features(raw: RawNodes) -> FloatArray:
    """Features of every token, (N, WIDTH), from what `fused` returns."""
    assert raw.work is not None
    count = len(raw)
    kind, place = raw.work[:, 0].astype(np.int64), raw.work[:, 3].astype(np.int64)
    macs, parameters = raw.work[:, 1], raw.work[:, 2]
    of = surroundings(raw)
    channels = of.shapes[:, 1]
    # Weights that serve one position each are read in a stream, as activations are.
    streamed = kind == _CONNECTED
    moved = BYTES * (of.read + of.elements + streamed * parameters)
    weights = BYTES * parameters * ~streamed
    sizes = np.log1p([macs, moved, weights, BYTES * of.read, BYTES * of.elements, moved + weights])
    columns = [
        *sizes[:5],
        sizes[0] - sizes[5],
        *np.log(of.shapes).T,
        np.log1p(of.widest),
        np.log(of.groups),
        (of.groups > 1) & (of.groups >= channels),
        np.log1p(of.window),
        np.log(np.maximum(of.stride, 1)),
        channels % 4 == 0,
        of.readers > 1,
        of.sources > 1,
        channels % 8 == 0,
        # Odd: kernels whose vectors run over channels have other code, or none, for numbers that four does not divide.
        # ONNX Runtime's depthwise convolutions take several times as long there.
        (of.widest % 4 != 0) & (of.widest >= 8),
    ]
    out = np.zeros((count, WIDTH), dtype=np.float32)
    out[:, :NUMBERS] = (np.array(columns) / _SCALE[:, None]).T
    token = np.arange(count)
    out[token, NUMBERS + kind] = 1
    windowed = np.flatnonzero(of.window > 0)
    out[windowed, NUMBERS + len(KINDS) + window_place(of.window[windowed])] = 1
    within = place != 0
    out[within] = 0
    for column, rectifier in ((-2, _RECTIFIER), (-1, _CLIP)):
        out[(token + place)[within & (kind == rectifier)], column] = 1
    return out


def tokenize(graph: Graph) -> Tokens:
    """Tokens of a Graph: one for each input, then one for each node in topological order."""
    raw = raw_nodes(graph)
    raw = fused(RawNodes(raw.operation, raw.attributes, raw.shapes, raw.edges, physical.node_work(graph)))
    numbers = np.array([static_numbers(graph)], dtype=np.float64)
    return Tokens(features(raw), raw.edges, physical.static_features(numbers)[0])
