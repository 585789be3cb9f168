"""Nanoseconds that an x86 core takes for numbers that a runtime computes or fetches one by one.

Most operators work on vectors of numbers, and their prices are learned. Some do not, for lack of an instruction or of
numbers that lie together, and are ten to a thousand times slower: what they take was measured with ONNX Runtime, one
operator at a time (`benchmarks/operators.py`). A model learns a factor on these numbers, not each of them.
"""

from __future__ import annotations

import math

from narformer.graph import Node, Shape
from narformer.operators import operator_of, trees

CUBIC_NS = 110.0  # an interpolated number, of a Resize
# A sampled place, whatever its channels, and a number there: linear samples are found once a place.
LINEAR_PLACE_NS, LINEAR_NS = 14.0, 1.0
SAMPLE_NS = {"nearest": 8.0, "cubic": 38.0, "bicubic": 38.0}
# A number of a softmax over an axis that is not the last. It is exchanged with the last: one axis in between moves in
# tiles, several move number by number, there and back; each way is a call with memory of its own.
EXCHANGED_NS, SCATTERED_NS, EXCHANGES_NS = 1.0, 10.0, 400.0
FETCHED_NS = 3.0  # a number that a gather fetches alone
STEPPED_NS = 1.0  # one of every second, third ... number of a slice's last axis
SUMMED_NS = 3.5  # a running sum along the last axis; along others vectors are added
# A number that is read for a reduction over axes of which others lie behind, or of which no vectors are made.
REDUCED_NS = 0.4
# A comparison of a tree whose outcome a processor does not foresee, and how many it remembers from the run before.
MISSED_NS, FORESEEN = 7.0, 25_000
VECTORS = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin")
POWERS = ((2,), (3,), (0.5,))  # exponents that are products, or a root


def one_by_one(node: Node) -> float:
    """Nanoseconds of all numbers of a node that are not computed in vectors; 0 for most nodes."""
    shape = node.output_shape
    elements = math.prod(shape)
    plain = elements * operator_of(node).one_by_one
    if node.op == "Pow" and len(node.operands) > 1 and node.operands[1].value in POWERS:
        return 0.0
    if node.op == "GridSample":
        return _sampled(str(node.attributes.get("mode", "linear")), shape)
    if node.op == "Resize" and node.attributes.get("mode") == "cubic":
        return CUBIC_NS * elements
    if node.op in ("Softmax", "LogSoftmax", "Hardmax") and node.operands:
        each = _exchanged(node.operands[0].tensor.shape, node.attributes.get("axis", -1))
        return EXCHANGES_NS + each * elements if each else 0.0
    if node.op in ("CumSum", "CumProd"):
        axis = node.operands[1].value if len(node.operands) > 1 else None
        last = axis is not None and len(axis) == 1 and axis[0] in (-1, len(shape) - 1)
        return SUMMED_NS * elements if last else 0.0
    if node.op == "Gather" and node.operands and _alone(node.operands[0].tensor.shape, node.attributes.get("axis", 0)):
        return FETCHED_NS * elements
    if node.op.startswith("TreeEnsemble"):
        return MISSED_NS * max(trees.comparisons(node) * trees.distinct_share(node) - FORESEEN, 0.0)
    if node.op.startswith("Reduce") and node.operands:
        data = node.operands[0].tensor
        behind = node.op in VECTORS and _last(data.shape, node.attributes.get("axes"))
        return 0.0 if behind else REDUCED_NS * data.elements
    if node.op == "Slice" and _stepped(node):
        return STEPPED_NS * elements
    return plain


def _sampled(mode: str, shape: Shape) -> float:
    elements = math.prod(shape)
    if mode in SAMPLE_NS:
        return SAMPLE_NS[mode] * elements
    channels = shape[1] if len(shape) > 2 else 1
    return LINEAR_NS * elements + LINEAR_PLACE_NS * elements / max(channels, 1)


def _exchanged(shape: Shape, axis: object) -> float:
    """What a number of a softmax takes beside the softmax itself."""
    if not isinstance(axis, int) or not -len(shape) <= axis < len(shape):
        return 0.0
    behind = sum(size > 1 for size in shape[axis % len(shape) + 1 :])
    return (0.0, EXCHANGED_NS, SCATTERED_NS)[min(behind, 2)]


def _last(shape: Shape, axes: object) -> bool:
    """Whether these are the last axes of a shape, but for axes of one number; so are all of them."""
    if not isinstance(axes, tuple) or not axes:
        return True
    asked = {int(axis) % max(len(shape), 1) for axis in axes}
    places = [place for place, size in enumerate(shape) if size > 1]
    first = next((k for k, place in enumerate(places) if place in asked), len(places))
    return all(place in asked for place in places[first:])


def _alone(shape: Shape, axis: object) -> bool:
    """Whether what lies behind the gathered axis is one number."""
    return isinstance(axis, int) and -len(shape) <= axis < len(shape) and math.prod(shape[axis % len(shape) + 1 :]) == 1


def _stepped(node: Node) -> bool:
    """Whether a slice takes numbers of the last axis that do not lie together, as far as is known."""
    if len(node.operands) < 5 or not node.operands[0].tensor.shape:
        return False
    rank = len(node.operands[0].tensor.shape)
    axes, steps = node.operands[3].value, node.operands[4].value
    if axes is None or steps is None:
        return False
    return any(axis in (-1, rank - 1) and step not in (1, -1) for axis, step in zip(axes, steps, strict=False))
