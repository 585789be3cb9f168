"""Single operators that work element by element, move data, reduce, search or choose."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from narformer.families.drawn.convolutions import Kind, image
from narformer.families.drawn.draw import Draw
from narformer.families.drawn.layers import ACTIVATIONS, activation, resize
from narformer.families.drawn.network import UNKNOWN, Network, Value

_NAMES = tuple(ACTIVATIONS)


def some(net: Network, draw: Draw, most: float = 4e6, ranks: tuple[int, ...] = (2, 3, 4, 4)) -> Value:
    """An input of any shape."""
    return net.input(net.batch, *draw.shape(draw.real(3000, most), draw.choice(ranks) - 1))


def one_operand(net: Network, draw: Draw) -> None:
    """An activation or two, every one as often."""
    x = some(net, draw)
    for _ in range(draw.choice((1, 1, 1, 2))):
        x = activation(net, x, draw.choice(_NAMES))


def two_operands(net: Network, draw: Draw) -> None:
    """Arithmetic: operands of one shape, a scalar, or axes of 1 that are repeated."""
    x = some(net, draw)
    for _ in range(draw.choice((1, 1, 2, 3))):
        op, way = draw.choice(("Add", "Add", "Sub", "Mul", "Mul", "Div", "Max", "Min")), draw.choice("sswbbb")
        if way == "s":
            other = net.input(*x.shape)
        elif way == "w":
            other = net.constant(draw.real(0.1, 2.0))
        else:
            other = net.input(*(size if draw.chance(0.5) else 1 for size in x.shape))
        x = net.binary(op, x, other)


def concatenation(net: Network, draw: Draw) -> None:
    first = some(net, draw, 1e6)
    axis = draw.choice(range(1, len(first.shape)))
    parts = [first]
    for _ in range(draw.choice((1, 1, 2, 3, 5))):
        sizes = list(first.shape)
        sizes[axis] = draw.integer(1, 2 * sizes[axis])
        parts.append(net.input(*sizes))
    net.concat(parts, axis)


def splitting(net: Network, draw: Draw) -> None:
    parts, each = draw.integer(2, 8), draw.integer(1, 96)
    shape = [net.batch, *draw.shape(draw.real(4, 2e6 / (parts * each)), draw.choice((1, 2, 3)))]
    axis = draw.choice(range(1, len(shape) + 1))
    shape.insert(axis, parts * each)
    net.split(net.input(*shape), [each] * parts, axis)


def slicing(net: Network, draw: Draw) -> None:
    x = some(net, draw)
    for _ in range(draw.choice((1, 1, 2))):
        axis = draw.choice(range(1, len(x.shape)))
        size = x.shape[axis]
        start = draw.integer(1, size) - 1
        x = net.slice(x, axis, start, draw.integer(start + 1, size), draw.choice((1, 1, 1, 2)))


def transposition(net: Network, draw: Draw) -> None:
    x = some(net, draw, ranks=(3, 3, 4, 4, 5, 6))
    order = list(range(len(x.shape)))
    while order == sorted(order):
        order = draw.shuffled(order) if draw.chance(0.6) else [0, *draw.shuffled(order[1:])]
    net.transpose(x, *order)


def gathering(net: Network, draw: Draw) -> None:
    """Rows of a table by a sequence of indices, with what embeddings add; or some rows of a computed tensor."""
    if draw.chance(0.6):
        width, length = draw.channels(4, 1024), draw.integer(1, 1024)
        table = net.weight(draw.integer(2, min(50_000, 16_000_000 // width)), width)
        rows = net.node("Gather", [table, net.input(net.batch, length, dtype="int64")], *(net.batch, length, width))
        if draw.chance(0.5):
            net.same("Add", rows, net.weight(length, width))
        return
    x = some(net, draw, 1e6)
    axis = draw.choice(range(1, len(x.shape)))
    chosen = [draw.integer(1, x.shape[axis]) - 1 for _ in range(draw.integer(1, 200))]
    indices = net.constant(chosen, "int64")
    net.node("Gather", [x, indices], *x.shape[:axis], len(chosen), *x.shape[axis + 1 :], axis=axis)


def resizing(net: Network, draw: Draw) -> None:
    scale, channels = draw.choice((2.0, 2.0, 4.0, 0.5, 0.25, 1.5, 0.77)), draw.channels(1, 512)
    x = image(net, draw, channels, draw.real(16, 1e6) / (channels * max(scale, 1) ** 2))
    resize(net, x, scale, draw.choice(("nearest", "linear")))


def padding(net: Network, draw: Draw) -> None:
    channels = draw.channels(1, 256)
    x = image(net, draw, channels, draw.real(500, 2e6) / channels)
    before, after = ([draw.integer(1, 5) - 1 for _ in range(2)] for _ in range(2))
    mode = draw.choice(("constant", "constant", "reflect", "edge"))
    if mode == "reflect":
        before, after = (
            [min(p, size - 1) for p, size in zip(pads, x.shape[2:], strict=True)] for pads in (before, after)
        )
    size = [b + s + a for b, s, a in zip(before, x.shape[2:], after, strict=True)]
    if size == list(x.shape[2:]):
        after, size = [after[0] + 1, after[1]], [size[0] + 1, size[1]]
        mode = "constant"
    net.node("Pad", [x, net.integers(0, 0, *before, 0, 0, *after)], *x.shape[:2], *size, mode=mode)


def repetition(net: Network, draw: Draw) -> None:
    """Expand an axis of 1, or tile."""
    shape = [net.batch, *draw.shape(draw.real(100, 1e5), draw.choice((2, 3)))]
    axis, times = draw.choice(range(1, len(shape))), draw.integer(2, 32)
    if draw.chance(0.6):
        shape[axis] = 1
        target = [*shape[:axis], times, *shape[axis + 1 :]]
        net.node("Expand", [net.input(*shape), net.integers(*target)], *target)
        return
    repeats = [times if k == axis else 1 for k in range(len(shape))]
    target = [size * times for size, times in zip(shape, repeats, strict=True)]
    net.node("Tile", [net.input(*shape), net.integers(*repeats)], *target)


def reduction(net: Network, draw: Draw) -> None:
    x = some(net, draw)
    rank = len(x.shape)
    axes = sorted(draw.shuffled(range(1, rank))[: draw.integer(1, rank - 1)])
    ops = ("ReduceMean", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceProd")
    net.reduce(draw.choice(ops), x, axes, keep=draw.chance(0.5))


def searching(net: Network, draw: Draw) -> None:
    """The largest of an axis, the k largest, or running sums."""
    x = some(net, draw, 1e6)
    axis = draw.choice(range(1, len(x.shape)))
    rest = (x.shape[:axis], x.shape[axis + 1 :])
    way = draw.choice(("ArgMax", "ArgMin", "TopK", "TopK", "CumSum"))
    if way == "TopK":
        most = draw.integer(1, min(x.shape[axis], 300))
        net.top(x, most, axis)
    elif way == "CumSum":
        net.same("CumSum", x, net.constant(axis, "int64"))
    else:
        net.node(way, [x], *rest[0], *rest[1], dtype="int64", axis=axis, keepdims=0)


def scattering(net: Network, draw: Draw) -> None:
    """Slots of a cache written, or entries read, at given places."""
    rows, width = draw.integer(8, 4096), draw.channels(1, 512)
    count = draw.integer(1, min(rows, 256))
    places = net.constant([[int(place)] for place in np.linspace(0, rows - 1, count)], "int64")
    x = net.input(rows, width)
    if draw.chance(0.5):
        net.node("GatherND", [x, places], count, width)
    else:
        net.same("ScatterND", x, places, net.input(count, width))


def comparison(net: Network, draw: Draw) -> None:
    """Compare, then choose or cast."""
    x = some(net, draw)
    test = net.binary(draw.choice(("Greater", "Less", "GreaterOrEqual", "Equal")), x, net.input(*x.shape), "bool")
    way = draw.choice(("where", "where", "cast", "not"))
    if way == "where":
        net.node("Where", [test, x, net.constant(draw.real(0.1, 2.0))], *x.shape, dtype="float32")
    elif way == "not":
        net.same("Not", test)
    else:
        net.same("Cast", test, dtype="float32", to=1)


def blocks_to_space(net: Network, draw: Draw) -> None:
    """Depth to space and back."""
    block, channels = draw.choice((2, 2, 3, 4)), draw.channels(1, 64)
    side = max(round((draw.real(500, 2e6) / (channels * block**2)) ** 0.5), 1)
    if draw.chance(0.6):
        x = net.input(net.batch, channels * block**2, side, side)
        net.node("DepthToSpace", [x], net.batch, channels, block * side, block * side, blocksize=block, mode="CRD")
    else:
        x = net.input(net.batch, channels, block * side, block * side)
        net.node("SpaceToDepth", [x], net.batch, channels * block**2, side, side, blocksize=block)


def shuffling(net: Network, draw: Draw) -> None:
    """Channels of groups interleaved, or windows cut out: a transpose between two reshapes."""
    if draw.chance(0.5):
        groups = draw.choice((2, 3, 4, 8))
        x = image(net, draw, groups * draw.integer(1, 64), draw.real(4, 1e4))
        batch, channels, height, width = x.shape
        apart = net.reshape(x, batch, groups, channels // groups, height, width)
        net.reshape(net.transpose(apart, 0, 2, 1, 3, 4), *x.shape)
        return
    window, rows, columns, width = draw.choice((4, 7, 8)), draw.integer(1, 8), draw.integer(1, 8), draw.channels(8, 256)
    x = net.input(net.batch, rows * window, columns * window, width)
    apart = net.transpose(net.reshape(x, net.batch, rows, window, columns, window, width), 0, 1, 3, 2, 4, 5)
    net.reshape(apart, net.batch * rows * columns, window**2, width)


def suppression(net: Network, draw: Draw) -> None:
    """Boxes that overlap a better one are dropped."""
    boxes, classes = draw.integer(10, 4000), draw.integer(1, 20)
    scalars = [net.constant([draw.integer(5, 100)], "int64"), net.constant([0.5]), net.constant([draw.real(0.05, 0.9)])]
    corner, extent = net.input(1, boxes, 2), net.input(1, boxes, 2)
    box = net.concat([corner, net.same("Add", corner, net.same("Abs", extent))], 2)
    net.node("NonMaxSuppression", [box, net.input(1, classes, boxes), *scalars], UNKNOWN, 3, dtype="int64")


def trees(net: Network, draw: Draw) -> None:
    """A sum of complete binary trees."""
    features, depth, count = draw.integer(2, 200), draw.choice((2, 3, 4, 5, 6, 8)), draw.integer(1, 200)
    count = max(min(count, 40_000 >> depth), 1)
    inner, each = 2**depth - 1, 2 ** (depth + 1) - 1
    ids = [k for _ in range(count) for k in range(each)]
    inside = [k < inner for k in ids]
    leaves = [(tree, k) for tree in range(count) for k in range(inner, each)]
    rows = net.batch * draw.choice((1, 1, 1, 10, 100))
    net.require(3, "ai.onnx.ml")
    net.nodes(
        "TreeEnsembleRegressor",
        [net.input(rows, features)],
        [(rows, 1)],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=[tree for tree in range(count) for _ in range(each)],
        nodes_nodeids=ids,
        nodes_modes=["BRANCH_LEQ" if branch else "LEAF" for branch in inside],
        nodes_featureids=[draw.integer(1, features) - 1 if branch else 0 for branch in inside],
        nodes_values=[draw.real(0.1, 1.0) - 0.4 if branch else 0.0 for branch in inside],
        nodes_truenodeids=[2 * k + 1 if branch else 0 for k, branch in zip(ids, inside, strict=True)],
        nodes_falsenodeids=[2 * k + 2 if branch else 0 for k, branch in zip(ids, inside, strict=True)],
        target_treeids=[tree for tree, _ in leaves],
        target_nodeids=[k for _, k in leaves],
        target_ids=[0] * len(leaves),
        target_weights=[draw.real(0.1, 1.0) for _ in leaves],
    )


KINDS: Mapping[str, Kind] = {
    "activation": one_operand,
    "arithmetic": two_operands,
    "concat": concatenation,
    "split": splitting,
    "slice": slicing,
    "transpose": transposition,
    "gather": gathering,
    "resize": resizing,
    "pad": padding,
    "expand and tile": repetition,
    "reduction": reduction,
    "search": searching,
    "scatter": scattering,
    "comparison": comparison,
    "depth to space": blocks_to_space,
    "shuffle": shuffling,
    "non-maximum suppression": suppression,
    "trees": trees,
}
