"""Tokens of the kernels that a runtime runs: a canonical Graph, a token for each kernel, numbers in columns with names.

Runtimes run several nodes at once: a rectifier within the product before it, a chain of element-wise nodes as one. The
token of the node that takes others in stands for all. The first token is the run itself: what a network costs whatever
is in it. Numbers are as they are (MACs, bytes, sizes); a model that reads them takes the logarithms it needs, so that
a batch of B is made from a batch of 1 by multiplication (`with_batch`).

Floating-point numbers count four bytes whatever their type: the precision in which a target computes is the target's,
and its prices hold it. Integers, packed ones too, count their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from narformer.cost import node_cost
from narformer.frontends.canonical import canonical
from narformer.graph import DTYPE_BYTES, Graph, Node, Operand, Tensor
from narformer.operators import KINDS as CLASS_OF
from narformer.operators import kernel_kind, operator_of
from narformer.tokens.access import copies, padding_share, pieces, planes
from narformer.tokens.one_by_one import one_by_one
from narformer.tokens.packing import FloatArray, Tokens

# Numbers that a batch multiplies come first, the last of them for products of matrices in which positions are rows.
COLUMNS = (
    "macs",
    "operations",
    "scalar",
    "read",
    "written",
    "within",
    "idle",
    "padding",
    "unblocked",
    "unfolded",
    "reordered",
    "pieces",
    "unfused",
    "planes",
    "apart",
    "rows",
    "products",
    "weights",
    "streamed",
    "held",
    "absorbed",
    "columns",
    "depth",
    "widest",
    "channels",
    "height",
    "window",
    "stride",
    "groups",
    "steps",
)
COLUMN: Mapping[str, int] = {name: k for k, name in enumerate(COLUMNS)}
FLAGS = (
    "depthwise",
    "channels by 4",
    "channels by 8",
    "reads by 4",
    "reads by 8",
    "read often",
    "reads several",
    "integer data",
    "integer weights",
    "integer result",
    "half data",
    "rectified",
    "clipped",
)
FLAG: Mapping[str, int] = {name: len(COLUMNS) + k for k, name in enumerate(FLAGS)}
ROWS = 8  # of a fully connected layer, from which on it takes what a product of matrices does
LANES = 16  # channels that wide vector units work on at once
WINDOWS = (1, 3, 5, 7)  # sizes that tokens tell apart; every other is one more
RUN, LINEAR = "run", "linear"
KINDS: tuple[str, ...] = (RUN, LINEAR, *(kind for kind in CLASS_OF if kind != "input"))
CLASSES: tuple[str, ...] = (RUN, *dict.fromkeys(CLASS_OF[kind] for kind in CLASS_OF if kind != "input"))
CLASS_OF_KIND: tuple[int, ...] = (0, CLASSES.index("matrix"), *(CLASSES.index(CLASS_OF[k]) for k in KINDS[2:]))
FIRST_KIND = len(COLUMNS) + len(FLAGS)
FIRST_WINDOW = FIRST_KIND + len(KINDS)
WIDTH = FIRST_WINDOW + len(WINDOWS) + 1
STATIC_WIDTH = 1  # the batch size
_KIND: Mapping[str, int] = {kind: k for k, kind in enumerate(KINDS)}
_ELEMENT_WISE = frozenset(kind for kind, of in CLASS_OF.items() if of == "element-wise")
MATRIX = frozenset({LINEAR, *(kind for kind, of in CLASS_OF.items() if of == "matrix")})
_MATRIX = MATRIX - {LINEAR}
# Element-wise kernels that take others in, or are taken in: what works on one element at a time.
_CHAINED = _ELEMENT_WISE - {"softmax", "normalization", "quantize"}
_CONVOLUTIONS = frozenset({"convolution", "pointwise", "depthwise", "grouped convolution"})
_BLOCKED = _CONVOLUTIONS | {"pool", "global pool"}
_KEEP_BLOCKS = _CHAINED | {"concatenate"}
_SKIP_NS = 4  # a number that a normalisation adds takes, where those of `one_by_one` take theirs
_ROTATED = 3  # what is written of a rotary embedding, times this, moves between the kernels that PyTorch makes of it
_RECTIFIERS = {"rectifier": FLAG["rectified"], "clip": FLAG["clipped"]}


class _Described(NamedTuple):
    """One node: its kind, its row of numbers and flags, and its window."""

    kind: str
    row: tuple[float, ...]
    window: int


def tokenize(graph: Graph) -> Tokens:
    """Tokens of a Graph, in the order of its canonical form's nodes; those that run within another have none."""
    read = canonical(graph)
    nodes = _nodes(read)
    place = _hosts(read, nodes)
    kept = sorted(set(place))
    token = {index: 1 + k for k, index in enumerate(kept)}
    features = np.zeros((1 + len(kept), WIDTH), dtype=np.float64)
    features[0, FIRST_KIND] = 1
    for index in kept:
        kind, row, window = nodes[index]
        at = token[index]
        features[at, : len(row)] = row
        features[at, FIRST_KIND + _KIND[kind]] = 1
        if window:
            features[at, FIRST_WINDOW + (WINDOWS.index(window) if window in WINDOWS else len(WINDOWS))] = 1
    pairs: set[tuple[int, int]] = set()
    for source, reader in read.reads:
        ends = (0 if source < 0 else token[place[source]], token[place[reader]])
        if ends[0] != ends[1]:
            pairs.add(ends)
    _absorb(features, nodes, place, token)
    _reorder(features, read, nodes, place, token)
    _skip(features, read, nodes, place, token)
    _channels_last(features, read, place, token)
    edges = np.array(sorted(pairs), dtype=np.int32).reshape(-1, 2).T
    producers, readers = np.bincount(edges[1], minlength=len(features)), np.bincount(edges[0], minlength=len(features))
    features[:, FLAG["read often"]] = readers > 1
    features[:, FLAG["reads several"]] = producers > 1
    _spread(features, graph.batch_size)
    # Weights that a processor's caches hold from one run to the next need not be fetched: all kernels are told how
    # many there are.
    recurrent = features[:, FIRST_KIND + _KIND["recurrent"]]
    features[:, COLUMN["held"]] = (
        features[:, COLUMN["weights"]] + (1 - recurrent) * features[:, COLUMN["streamed"]]
    ).sum()
    static = np.array([graph.batch_size], dtype=np.float32)
    return Tokens(features.astype(np.float32), np.ascontiguousarray(edges), static)


def with_batch(features: FloatArray, factor: npt.ArrayLike) -> FloatArray:
    """The tokens of networks at `factor` times the batch, (T,) or one number: (T, WIDTH) -> (T, WIDTH)."""
    times = np.broadcast_to(np.asarray(factor, dtype=np.float32), (len(features),))[:, None]
    out = features.copy()
    out[:, : COLUMN["rows"]] *= times
    batched = features[:, COLUMN["products"]] > 1
    several = features[:, FIRST_KIND + _KIND["matrix product"]] + features[:, FIRST_KIND + _KIND["attention"]] > 0
    by_products = (batched & several)[:, None]
    out[:, COLUMN["rows"] : COLUMN["products"]] *= np.where(by_products, 1, times)
    out[:, COLUMN["products"] : COLUMN["weights"]] *= np.where(by_products, times, 1)
    _spread(out, ROWS)
    return out


def kinds(features: FloatArray) -> npt.NDArray[np.int64]:
    """The kind of each token, (T, WIDTH) -> (T,) places in KINDS."""
    return np.asarray(features[:, FIRST_KIND:FIRST_WINDOW].argmax(axis=1))


def kind_names(features: FloatArray) -> list[str]:
    """The kind of each token, (T, WIDTH) -> T names."""
    return [KINDS[k] for k in kinds(features)]


def kernels(graph: Graph) -> list[int]:
    """For each node of a canonical Graph the node in whose kernel it runs: (N,) indices.

    A rectifier or a clip runs with the product of matrices it follows, an element-wise node of one computed operand
    with the element-wise node it follows, if nothing else reads that.
    """
    return _hosts(graph, _nodes(graph))


def _masked(node: Node) -> bool:
    """Whether attention has a mask as large as its scores: computed, or another by window.

    Scores are then read and written, and on GPUs kept. A mask that all of a batch share is read from caches.
    """
    mask = node.operand(3)
    if mask is None or len(mask.tensor.shape) < 3:
        return False
    return mask.source is not None or math.prod(mask.tensor.shape[:-2]) > node.operands[0].tensor.shape[1]


def _hosts(graph: Graph, nodes: list[_Described]) -> list[int]:
    readers = np.zeros(len(nodes), dtype=np.int64)
    for source, _ in graph.reads:
        if source >= 0:
            readers[source] += 1
    place = list(range(len(nodes)))
    for index, node in enumerate(nodes):
        if node.kind not in _CHAINED:
            continue
        computed = {(o.source, o.output) for o in graph.nodes[index].operands if o.source is not None}
        source = next(iter(computed))[0] if len(computed) == 1 else -1
        if source < 0 or readers[source] != 1:
            continue
        host = nodes[place[source]].kind
        fused = node.kind in _RECTIFIERS and operator_of(graph.nodes[index]).fuses
        if host in _CHAINED or (host in _MATRIX and fused and place[source] == source):
            place[index] = place[source]
    return place


def _absorb(
    features: npt.NDArray[np.float64], nodes: list[_Described], place: list[int], token: dict[int, int]
) -> None:
    """What nodes that run within others would have moved, and which rectifiers they are."""
    for index, host in enumerate(place):
        if host == index:
            continue
        at, (kind, row, _) = token[host], nodes[index]
        features[at, COLUMN["absorbed"]] += 1
        for column in ("within", "apart"):
            features[at, COLUMN[column]] += row[COLUMN["read"]] + row[COLUMN["written"]]
        features[at, COLUMN["operations"]] += row[COLUMN["operations"]]
        features[at, COLUMN["scalar"]] += row[COLUMN["scalar"]]
        if kind in _RECTIFIERS:
            features[at, _RECTIFIERS[kind]] = 1


def _reorder(
    features: npt.NDArray[np.float64], graph: Graph, nodes: list[_Described], place: list[int], token: dict[int, int]
) -> None:
    """Bytes that change their layout, where runtimes keep images in blocks of channels for their convolutions.

    What convolutions write is in blocks, and what pools, sums, products and activations make of blocks alone. A reader
    of another kind has them put back in order, once; a convolution or pool has images that are in order put in blocks.
    """
    blocks = [False] * len(nodes)
    ordered: set[tuple[int, int]] = set()  # outputs put back in order already
    for index, node in enumerate(graph.nodes):
        kind, image = nodes[index].kind, len(node.output_shape) == 4
        computed = [o for o in node.operands if o.source is not None]
        there = [o.source is not None and o.source >= 0 and blocks[o.source] for o in computed]
        wants = image and kind in _BLOCKED and not nodes[index].row[COLUMN["unblocked"]]
        alike = len({o.tensor.shape for o in computed}) == 1 or kind == "concatenate"
        blocks[index] = wants or (image and kind in _KEEP_BLOCKS and alike and all(there))
        for operand, blocked in zip(computed, there, strict=True):
            if blocked == blocks[index] or operand.source is None:
                continue
            if blocked:
                if (operand.source, operand.output) in ordered:
                    continue
                ordered.add((operand.source, operand.output))
            elif not (wants and operand is computed[0] and _channels(operand.tensor.shape, kind) >= LANES):
                continue
            features[token[place[index]], COLUMN["reordered"]] += 2 * _bytes(operand.tensor)


def _skip(
    features: npt.NDArray[np.float64], graph: Graph, nodes: list[_Described], place: list[int], token: dict[int, int]
) -> None:
    """Layer normalisations of a sum that nothing else reads: ONNX Runtime's kernel for both adds one by one."""
    readers = np.bincount([source for source, _ in graph.reads if source >= 0], minlength=len(nodes))
    for index, node in enumerate(graph.nodes):
        if node.op != "LayerNormalization" or len(node.output_shape) != 3:
            continue
        source = node.operands[0].source
        if source is None or source < 0 or readers[source] != 1 or graph.nodes[source].op != "Add":
            continue
        if all(o.tensor.shape == node.output_shape for o in graph.nodes[source].operands):
            features[token[place[index]], COLUMN["scalar"]] += _SKIP_NS * math.prod(node.output_shape)


def _channels_last(features: npt.NDArray[np.float64], graph: Graph, place: list[int], token: dict[int, int]) -> None:
    """An image whose channels a transposition made second lies in memory with channels last: no plane is by itself."""
    for index, node in enumerate(graph.nodes):
        source = node.operands[0].source if node.op == "Resize" else None
        if source is not None and source >= 0 and graph.nodes[source].op == "Transpose":
            features[token[place[index]], COLUMN["planes"]] = 0


def _spread(features: npt.NDArray[Any], batch: int) -> None:
    """Fully connected layers over many rows are of another kind: their weights are read again and again.

    Rows are positions and the batch: several positions, or ROWS of whatever, are many.
    """
    connected, linear = FIRST_KIND + _KIND["fully connected"], FIRST_KIND + _KIND[LINEAR]
    rows = features[:, COLUMN["rows"]]
    spread = np.flatnonzero((features[:, connected] > 0) & ((rows > max(batch, 1)) | (rows >= ROWS)))
    features[spread, connected], features[spread, linear] = 0, 1
    features[spread, COLUMN["weights"]] += features[spread, COLUMN["streamed"]]
    features[spread, COLUMN["streamed"]] = 0


def _nodes(graph: Graph) -> list[_Described]:
    """What a token says of each node of a canonical Graph alone."""
    distinct = graph.distinct
    described = distinct.each(_described)
    return [described[place] for place in distinct.place.tolist()]


def _described(node: Node) -> _Described:
    """What a token says of a node alone."""
    cost = node_cost(node)
    kind = kernel_kind(node)
    computed = [o for o in node.operands if o.source is not None]
    weights = [o for o in node.operands if o.source is None]
    shape = node.output_shape
    elements = math.prod(shape)
    rows, products, columns, depth = _product(node, kind, computed)
    held = _moved(cost.weight_read_bytes, weights)
    turns = _turns(node, kind)
    # A step of a recurrent kernel reads its weights again, as a fully connected layer does once.
    streamed = held if kind == "fully connected" else held * turns
    channels, height = _channels(shape, kind), _height(shape)
    widest = max((_channels(o.tensor.shape, kind) for o in computed), default=0)
    window, stride = _first(node, "kernel_shape"), _first(node, "strides")
    groups = _groups(node)
    depthwise = groups > 1 and groups >= channels
    unblocked = kind in _BLOCKED and not _in_blocks(node, kind, widest, channels, groups)
    integers = kind in _CONVOLUTIONS and _integers(computed[:1])
    scores = rows * columns * products if kind == "attention" else 0
    masked = kind == "attention" and _masked(node)
    vector = kind == "matrix product" and min(rows, columns) == 1  # runtimes have kernels for products with a vector
    # Made a product of matrices by copying windows, or, transposed, by adding windows up.
    taken_apart = node.op == "ConvTranspose" or (
        (unblocked or integers) and bool(cost.macs) and (window > 1 or stride > 1)
    )
    numbers: dict[str, float] = {
        "macs": cost.macs,
        "operations": cost.operations,
        "scalar": one_by_one(node),
        "read": _moved(cost.read_bytes, computed),
        "written": sum(_bytes(t) for t in node.outputs),
        "within": 8 * scores if masked else 0,
        "idle": cost.macs * _idle(channels if depthwise else columns) if kind in _MATRIX and not vector else 0,
        "padding": cost.macs * padding_share(node),
        "unblocked": _slow(node, weights) * cost.macs if integers else unblocked * (cost.macs or cost.operations),
        "unfolded": rows * products * (columns if node.op == "ConvTranspose" else depth) if taken_apart else 0,
        "reordered": 0,
        "pieces": copies(node) if taken_apart else pieces(node, kind, computed),
        "unfused": scores if masked or node.attributes.get("unfused") else 0,
        "planes": planes(node),
        "apart": _ROTATED * sum(_bytes(t) for t in node.outputs) if node.op == "RotaryEmbedding" else 0,
        "rows": rows,
        "products": products,
        "weights": 0 if kind in ("fully connected", "attention") else held,  # a mask is read beside the scores
        "streamed": streamed,
        "held": 0,
        "absorbed": 0,
        "columns": columns,
        "depth": depth,
        "widest": widest,
        "channels": channels,
        "height": height,
        "window": window,
        "stride": stride or 1,
        "groups": groups,
        "steps": turns * _directions(node),
    }
    flags: dict[str, bool] = {
        "depthwise": depthwise,
        "channels by 4": channels % 4 == 0,
        "channels by 8": channels % 8 == 0,
        "reads by 4": widest % 4 == 0,
        "reads by 8": widest % 8 == 0,
        "integer data": _integers(computed[:1]) and kind not in ("gather", "move", "view"),
        "integer weights": _integers(weights[:1]) and kind in _MATRIX,
        "integer result": _short(node),
        "half data": any(o.tensor.dtype in ("float16", "bfloat16") for o in computed[:1]),
    }
    if elements == 0:
        numbers = dict.fromkeys(numbers, 0.0)
    row = (*[float(numbers[name]) for name in COLUMNS], *[float(flags.get(name, False)) for name in FLAGS])
    return _Described(kind, row, window)


def _in_blocks(node: Node, kind: str, read: int, written: int, groups: int) -> bool:
    """Whether runtimes can compute it on blocks of channels (ONNX Runtime's rules for x86 processors)."""
    if len(node.output_shape) != 4 or (kind in _CONVOLUTIONS and node.operands[1].source is not None):
        return False
    if kind in ("pool", "global pool"):
        return read % LANES == 0
    if kind == "grouped convolution":
        return read // groups % LANES == 0 and written // groups % LANES == 0
    if kind == "depthwise":
        return read % 4 == 0 and read == written
    return read % 4 == 0 or read < LANES


def _slow(node: Node, weights: list[Operand]) -> bool:
    """Whether a convolution of integers has no quick kernel: its sums are kept, and its weights have a sign.

    ONNX Runtime's ConvInteger then takes twenty times as long as QLinearConv, and eight times as long as with unsigned
    weights (`benchmarks/operators.py`).
    """
    return not _short(node) and any(o.tensor.dtype == "int8" for o in weights[:1])


def _short(node: Node) -> bool:
    """Whether the result is integers of 16 bits at most."""
    return bool(node.outputs) and node.outputs[0].dtype.lstrip("u") in ("int8", "int16")


def _idle(channels: float) -> float:
    """How many lanes of a wide vector unit idle, for each that works, on so many channels."""
    return math.ceil(channels / LANES) * LANES / channels - 1 if channels else 0.0


def _product(node: Node, kind: str, computed: list[Operand]) -> tuple[float, float, float, float]:
    """Rows, how many products, columns and depth of the products of matrices that a node amounts to.

    Of what is no product: positions, 1, channels (for a softmax or a normalisation, the elements it runs over), 1.
    """
    shape = node.output_shape
    elements = math.prod(shape)
    read = [o.tensor.shape for o in node.operands[:2]]
    if node.op in ("Conv", "ConvTranspose") and len(shape) > 2 and [len(s) for s in read] == [len(shape)] * 2:
        data, weight = read
        groups = max(_groups(node), 1)
        window = math.prod(weight[2:])
        if node.op == "Conv":
            return shape[0] * math.prod(shape[2:]), groups, shape[1] / groups, weight[1] * window
        return data[0] * math.prod(data[2:]), groups, weight[1] * window, data[1] / groups
    if kind == "fully connected" and len(read) > 1 and shape and read[0]:
        return elements / max(shape[-1], 1), 1, shape[-1], read[0][-1]
    if kind == "matrix product" and len(shape) > 1 and read and read[0]:
        return shape[-2], math.prod(shape[:-2]), shape[-1], read[0][-1]
    if kind == "attention" and len(shape) == 4 and len(read) > 1 and len(read[1]) > 1:
        return shape[2], shape[0] * shape[1], read[1][-2], shape[3]
    if kind == "recurrent" and len(node.operands) > 2 and len(node.operands[0].tensor.shape) == 3:
        weight = node.operands[1].tensor.shape
        return node.operands[0].tensor.shape[1], 1, math.prod(weight[:2]), sum(weight[2:])
    if kind in ("softmax", "normalization", "reduction") and computed:
        width = _normalised(node, computed[0].tensor.shape)
        return computed[0].tensor.elements / max(width, 1), 1, width, 1
    channels = _channels(shape, kind)
    return elements / max(channels, 1), 1, channels, 1


def _normalised(node: Node, shape: tuple[int, ...]) -> int:
    """How many elements a softmax, a normalisation or a reduction takes together."""
    axis = node.attributes.get("axis", -1)
    if node.op in ("LayerNormalization", "RMSNormalization") and isinstance(axis, int) and shape:
        return math.prod(shape[axis:])
    if node.op in ("Softmax", "LogSoftmax") and isinstance(axis, int) and shape:
        return shape[axis] if -len(shape) <= axis < len(shape) else shape[-1]
    if node.op in ("InstanceNormalization", "GroupNormalization"):
        return math.prod(shape[2:])
    out = math.prod(node.output_shape)
    return max(1, math.prod(shape) // max(out, 1)) if out else 1


def _channels(shape: tuple[int, ...], kind: str) -> int:
    """Channels come second in images, last elsewhere."""
    if len(shape) < 2:
        return shape[0] if shape else 1
    return shape[1] if len(shape) > 3 or "conv" in kind or kind in ("pointwise", "depthwise", "pool") else shape[-1]


def _height(shape: tuple[int, ...]) -> int:
    return shape[2] if len(shape) > 3 else shape[1] if len(shape) == 3 else 1


def _first(node: Node, name: str) -> int:
    value = node.attributes.get(name)
    return int(value[0]) if isinstance(value, tuple) and value else 0


def _groups(node: Node) -> int:
    groups = node.attributes.get("group", 1)
    return groups if isinstance(groups, int) else 1


def _integers(operands: list[Operand]) -> bool:
    """Whether any holds integers that are computed with: neither indices nor truth values."""
    return any(not o.tensor.dtype.startswith(("float", "bfloat", "int64", "bool")) for o in operands)


def _turns(node: Node, kind: str) -> int:
    """How many steps a recurrent kernel takes, one after the other."""
    if kind != "recurrent" or not node.operands or len(node.operands[0].tensor.shape) != 3:
        return 0
    return node.operands[0].tensor.shape[0]


def _directions(node: Node) -> int:
    weight = node.operands[1].tensor.shape if len(node.operands) > 1 else ()
    return max(weight[0], 1) if weight else 1


def _bytes(tensor: Tensor) -> float:
    width = 4.0 if tensor.dtype.startswith(("float", "bfloat")) else DTYPE_BYTES[tensor.dtype]
    return tensor.elements * width


def _moved(read: int, operands: list[Operand]) -> float:
    """Bytes that are read of operands, as the operator's row counts them, floating-point numbers at four each."""
    full = sum(o.tensor.bytes for o in operands)
    return sum(_bytes(o.tensor) for o in operands) * read / full if full else 0.0
