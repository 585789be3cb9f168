"""How a kernel walks through memory: in how many contiguous pieces, and how often its window lies on padding.

Moving a tensor whole and moving it number by number are the same bytes and up to forty times apart in time; so are
taking a softmax over a thousand numbers and five hundred over two.
"""

from __future__ import annotations

import math
from itertools import zip_longest

from narformer.graph import Node, Operand, Shape

TILE = 16  # numbers of a tile, where a matrix is transposed
# How many numbers these move in the time in which a transposition number by number moves one.
BLOCKED = {"DepthToSpace": 2, "SpaceToDepth": 10}


def pieces(node: Node, kind: str, computed: list[Operand]) -> int:
    """Contiguous pieces that a kernel moves, groups of numbers that it takes together, or products that it makes.

    kind: of the kernel. computed: the operands that are no constants.
    """
    shape = node.output_shape
    elements = math.prod(shape)
    if not elements or not computed:
        return 0
    data = computed[0].tensor.shape
    if kind == "transpose":
        return _transposed(node, data)
    if kind == "concatenate":
        axis = _axis(node, len(shape), 1)
        return sum(math.prod(o.tensor.shape[:axis]) for o in computed)
    if kind == "split":
        axis = _axis(node, len(data), 0)
        return sum(math.prod(t.shape[:axis]) for t in node.outputs)
    if kind == "gather":
        return _gathered(node, data, elements)
    if kind == "move":
        return _moved(data, shape)
    if kind in ("softmax", "normalization", "reduction"):
        return _grouped(node, kind, data, elements)
    if kind in ("add", "multiply", "other", "smooth activation", "rectifier", "clip"):
        return elements // max(_together([o.tensor.shape for o in node.operands], shape), 1)
    return 0


def planes(node: Node) -> int:
    """Of an image that is interpolated linearly, channels of the batch; 0 for all else.

    PyTorch's kernel for GPUs takes them one after another, each place of the result in a thread of its own.
    """
    linear = node.op == "Resize" and node.attributes.get("mode") == "linear" and len(node.output_shape) == 4
    return math.prod(node.output_shape[:2]) if linear else 0


def copies(node: Node) -> float:
    """Rows of numbers that a convolution copies where it is made a product of matrices, or adds up where transposed.

    One for each tap of the window, channel and row of the result (of the data, where transposed).
    """
    data, weight = (o.tensor.shape for o in node.operands[:2])
    if len(data) < 3 or len(weight) != len(data):
        return 0.0
    rows, channels = (data, node.output_shape[1]) if node.op == "ConvTranspose" else (node.output_shape, data[1])
    return float(data[0] * channels * math.prod(weight[2:]) * math.prod(rows[2:-1]))


def padding_share(node: Node) -> float:
    """Of a convolution's multiplications, the share that falls on padding: 0 to 1."""
    if node.op != "Conv" or len(node.operands) < 2:
        return 0.0
    sizes, window = node.operands[0].tensor.shape[2:], node.operands[1].tensor.shape[2:]
    pads, strides, dilations = (_numbers(node, name) for name in ("pads", "strides", "dilations"))
    inside = 1.0
    for axis, (size, taps, out) in enumerate(zip(sizes, window, node.output_shape[2:], strict=False)):
        if taps == 1 or not out:
            continue
        stride = strides[axis] if axis < len(strides) else 1
        dilation = dilations[axis] if axis < len(dilations) else 1
        begin = pads[axis] if axis < len(pads) else _same(node, size, taps, out, stride, dilation)
        seen = 0
        for tap in range(taps):
            # Places of the window where this tap reads a number: 0 <= place * stride + tap * dilation - begin < size.
            shift = begin - tap * dilation
            first, last = max(0, -(-shift // stride)), min(out - 1, (size - 1 + shift) // stride)
            seen += max(0, last - first + 1)
        inside *= seen / (taps * out)
    return 1.0 - inside


def _same(node: Node, size: int, taps: int, out: int, stride: int, dilation: int) -> int:
    """What `auto_pad` puts before an axis."""
    if node.attributes.get("auto_pad") not in ("SAME_UPPER", "SAME_LOWER"):
        return 0
    total = max(0, (out - 1) * stride + (taps - 1) * dilation + 1 - size)
    return total // 2 if node.attributes["auto_pad"] == "SAME_UPPER" else total - total // 2


def _transposed(node: Node, data: Shape) -> int:
    if node.op in BLOCKED:
        return math.prod(data) // BLOCKED[node.op]
    order = _numbers(node, "perm") or tuple(range(len(data)))[::-1]
    if node.op != "Transpose" or sorted(order) != list(range(len(data))):  # a file may state a shape and no permutation
        return math.prod(data)
    kept = [axis for axis in order if data[axis] != 1]
    for axis in kept:  # runtimes move one axis in tiles, and several number by number
        rest = [other for other in kept if other != axis]
        if rest == sorted(rest):
            return -(-math.prod(data) // TILE)
    run = 1
    for axis, expected in zip(reversed(kept), sorted(kept, reverse=True), strict=True):
        if axis != expected:
            break
        run *= data[axis]
    return math.prod(data) // max(run, 1)


def _gathered(node: Node, data: Shape, elements: int) -> int:
    indices = node.operands[1].tensor.shape if len(node.operands) > 1 else ()
    if node.op == "Gather":
        return elements // max(math.prod(data[_axis(node, len(data), 0) + 1 :]), 1)
    # Of places that have several indices, too, each index is looked at: 1.3 ns each, whatever is moved.
    return math.prod(indices) if node.op.startswith(("Scatter", "GatherElements", "GatherND")) else elements


def _moved(before: Shape, after: Shape) -> int:
    """Pieces of a slice, a pad, a repetition: what lies behind the last axis that changes is in one."""
    last = -1
    for back, (a, b) in enumerate(zip_longest(reversed(before), reversed(after), fillvalue=1)):
        if a != b:
            last = len(after) - 1 - back
            break
    if last < 0:
        return after[0] if after else 1
    longer = len(before) < len(after) or math.prod(after) > math.prod(before)
    return max(1, math.prod(after[: last + 1] if longer else after[:last]))


def _grouped(node: Node, kind: str, data: Shape, elements: int) -> int:
    if kind == "reduction":
        return elements
    if node.op in ("Softmax", "LogSoftmax", "Hardmax"):
        axis = _axis(node, len(data), -1)
        return math.prod(data) // max(data[axis], 1) if data else 1
    if node.op in ("LayerNormalization", "RMSNormalization"):
        return math.prod(data[: _axis(node, len(data), -1)])
    return math.prod(data[:2])


def _together(operands: list[Shape], shape: Shape) -> int:
    """How many neighbours of an element-wise result have operands that are neighbours, or one and the same."""
    run = 1
    held: list[bool | None] = [None] * len(operands)  # whether an operand stays the same along the run
    for back, size in enumerate(reversed(shape[1:] or shape)):  # each of a batch is a piece of its own
        if size == 1:
            continue
        now = [1 if back >= len(operand) else operand[-1 - back] for operand in operands]
        stays = [here == 1 for here in now]
        if any(before is not None and before != here for before, here in zip(held, stays, strict=True)):
            break
        held = list(stays)
        run *= size
    return run


def _axis(node: Node, rank: int, default: int) -> int:
    axis = node.attributes.get("axis", default)
    axis = axis if isinstance(axis, int) else default
    return min(max(axis + rank if axis < 0 else axis, 0), max(rank - 1, 0))


def _numbers(node: Node, name: str) -> tuple[int, ...]:
    value = node.attributes.get(name, ())
    return tuple(int(v) for v in value) if isinstance(value, tuple) else ()
