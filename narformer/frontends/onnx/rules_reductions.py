"""Output shapes of operators that summarise or select: reductions, losses, top k, detection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from narformer.frontends.onnx.call import Call, Rule, UnknownShape, axes_of, axis_of
from narformer.frontends.tensors import DTYPES
from narformer.graph import Shape, Tensor

Tensors = Sequence[Tensor]


def reduced(call: Call) -> Tensors:
    x = call.tensor(0)
    none_given = call.has(1) and not call.tensor(1).elements
    axes = () if none_given else call.listed("axes", 1, "the axes to reduce")
    if not axes:
        if call.integer("noop_with_empty_axes", 0):
            return (x,)
        axes = tuple(range(len(x.shape)))
    return (Tensor(_without(x.shape, axes, call.integer("keepdims", 1)), x.dtype),)


def arg_extremum(call: Call) -> Tensors:
    shape = call.shape(0)
    return (Tensor(_without(shape, (call.integer("axis", 0),), call.integer("keepdims", 1)), "int64"),)


def _without(shape: Shape, axes: Sequence[int], keep: int) -> Shape:
    gone = set(axes_of(axes, len(shape)))
    if keep:
        return tuple(1 if k in gone else s for k, s in enumerate(shape))
    return tuple(s for k, s in enumerate(shape) if k not in gone)


def loss(call: Call) -> Tensors:
    """Negative log likelihood and cross entropy: a scalar, or one number for each target."""
    x = call.tensor(0)
    out = () if str(call.attributes.get("reduction", "mean")) != "none" else call.shape(1)
    return (Tensor(out, x.dtype), x)


def top_k(call: Call) -> Tensors:
    x = call.tensor(0)
    axis = axis_of(call.integer("axis", -1), len(x.shape))
    count = (call.integer("k", 1),) if "k" in call.attributes else call.known(1)
    size = x.shape[axis] if not count else count[0]  # all of them at most
    shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
    return (Tensor(shape, x.dtype), Tensor(shape, "int64"))


def multinomial(call: Call) -> Tensors:
    dtype = DTYPES.get(call.integer("dtype", 6), "int32")
    return (Tensor((call.shape(0)[0], call.integer("sample_size", 1)), dtype),)


def roi_align(call: Call) -> Tensors:
    sizes = (call.integer("output_height", 1), call.integer("output_width", 1))
    return (Tensor((call.shape(1)[0], call.shape(0)[1], *sizes), call.dtype(0)),)


def roi_pool(call: Call) -> Tensors:
    sizes = call.integers("pooled_shape")
    return (Tensor((call.shape(1)[0], call.shape(0)[1], *sizes), call.dtype(0)),)


def grid_sample(call: Call) -> Tensors:
    return (Tensor((*call.shape(0)[:2], *call.shape(1)[1:-1]), call.dtype(0)),)


def non_max_suppression(call: Call) -> Tensors:
    """The most boxes that can be kept: how many are is known only when it runs."""
    boxes, scores = call.shape(0), call.shape(1)
    if len(boxes) != 3 or len(scores) != 3:
        raise UnknownShape(f"boxes {list(boxes)} and scores {list(scores)}")
    limit = call.known(2) if call.has(2) else (0,)
    kept = boxes[1] if not limit else min(max(limit[0], 0), boxes[1])
    return (Tensor((scores[0] * scores[1] * kept, 3), "int64"),)


_REDUCTIONS = ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"]


RULES: Mapping[str, Rule] = {
    **dict.fromkeys((f"Reduce{kind}" for kind in _REDUCTIONS), reduced),
    **dict.fromkeys(("ArgMax", "ArgMin"), arg_extremum),
    **dict.fromkeys(("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"), loss),
    "TopK": top_k,
    "Multinomial": multinomial,
    "RoiAlign": roi_align,
    "MaxRoiPool": roi_pool,
    "GridSample": grid_sample,
    "NonMaxSuppression": non_max_suppression,
    "Det": lambda call: (Tensor(call.shape(0)[:-2], call.dtype(0)),),
}
