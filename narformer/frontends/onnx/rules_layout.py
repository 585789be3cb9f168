"""Output shapes of operators that move data: reshaping, slicing, joining, padding, resizing, indexing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from narformer.frontends.onnx.call import Call, Misfit, Rule, UnknownShape, axes_of, axis_of, broadcast
from narformer.graph import Shape, Tensor

Tensors = Sequence[Tensor]


def reshape(call: Call) -> Tensors:
    x = call.tensor(0)
    target = call.listed("shape", 1, "a shape")
    if target is None:
        raise UnknownShape("it has no target shape")
    return (Tensor(resolved(x.shape, target, bool(call.integer("allowzero", 0))), x.dtype),)


def resolved(before: Shape, target: Shape, zero_is_zero: bool = False) -> Shape:
    """Reshape's target with 0 (keep the size) and -1 (what is left) filled in; sizes that do not fit stay."""
    sizes = [before[k] if s == 0 and not zero_is_zero and k < len(before) else s for k, s in enumerate(target)]
    if sizes.count(-1) > 1 or any(s < -1 for s in sizes):
        raise UnknownShape(f"a target shape {list(target)}")
    if -1 in sizes:
        rest = math.prod(s for s in sizes if s != -1)
        sizes[sizes.index(-1)] = math.prod(before) // rest if rest else 0
    return tuple(sizes)


def flatten(call: Call) -> Tensors:
    x = call.tensor(0)
    axis = call.integer("axis", 1)
    axis = axis if axis == len(x.shape) else axis_of(axis, len(x.shape))
    return (Tensor((math.prod(x.shape[:axis]), math.prod(x.shape[axis:])), x.dtype),)


def transpose(call: Call) -> Tensors:
    x = call.tensor(0)
    order = call.integers("perm", tuple(reversed(range(len(x.shape)))))
    if sorted(order) != list(range(len(x.shape))):
        raise UnknownShape(f"a permutation {list(order)} of {len(x.shape)} axes")
    return (Tensor(tuple(x.shape[k] for k in order), x.dtype),)


def squeeze(call: Call) -> Tensors:
    x = call.tensor(0)
    axes = call.listed("axes", 1, "the axes to squeeze")
    if axes is None:
        return (Tensor(tuple(s for s in x.shape if s != 1), x.dtype),)
    gone = set(axes_of(axes, len(x.shape)))
    if any(x.shape[k] != 1 for k in gone):
        raise UnknownShape(f"axes {sorted(gone)} of {list(x.shape)} are not all 1")
    return (Tensor(tuple(s for k, s in enumerate(x.shape) if k not in gone), x.dtype),)


def unsqueeze(call: Call) -> Tensors:
    x = call.tensor(0)
    axes = call.listed("axes", 1, "the axes to insert") or ()
    rank = len(x.shape) + len(axes)
    new, rest = set(axes_of(axes, rank)), iter(x.shape)
    if len(new) != len(axes):
        raise UnknownShape(f"axes {list(axes)} repeat")
    return (Tensor(tuple(1 if k in new else next(rest) for k in range(rank)), x.dtype),)


def concat(call: Call) -> Tensors:
    present = [t for t in call.operands if t is not None]
    if not present:
        raise UnknownShape("it reads nothing")
    first = present[0]
    axis = axis_of(call.integer("axis", 1), len(first.shape))
    for other in present[1:]:
        if len(other.shape) != len(first.shape) or any(
            a != b for k, (a, b) in enumerate(zip(first.shape, other.shape, strict=True)) if k != axis
        ):
            raise Misfit(f"shapes {list(first.shape)} and {list(other.shape)} cannot be joined on axis {axis}")
    total = sum(t.shape[axis] for t in present)
    return (Tensor((*first.shape[:axis], total, *first.shape[axis + 1 :]), first.dtype),)


def split(call: Call) -> Tensors:
    x = call.tensor(0)
    axis = axis_of(call.integer("axis", 0), len(x.shape))
    sizes = call.listed("split", 1, "the sizes of the parts") or parts(x.shape[axis], call.outputs)
    if len(sizes) != call.outputs:
        raise UnknownShape(f"{len(sizes)} parts for {call.outputs} outputs")
    if sum(sizes) != x.shape[axis]:
        raise Misfit(f"parts of {list(sizes)} of {x.shape[axis]} in all")
    return [Tensor((*x.shape[:axis], s, *x.shape[axis + 1 :]), x.dtype) for s in sizes]


def parts(size: int, count: int) -> Shape:
    """A size in equal parts, the last one smaller where it must be."""
    each = -(-size // count)
    return tuple(max(0, min(each, size - k * each)) for k in range(count))


def slice_(call: Call) -> Tensors:
    x = call.tensor(0)
    starts = call.listed("starts", 1, "where to start")
    ends = call.listed("ends", 2, "where to end")
    if starts is None or ends is None or len(starts) != len(ends):
        raise UnknownShape("it has no matching starts and ends")
    axes = call.listed("axes", 3, "the axes to slice") or tuple(range(len(starts)))
    steps = call.listed("steps", 4, "its steps") or (1,) * len(starts)
    if len(axes) != len(starts) or len(steps) != len(starts) or 0 in steps:
        raise UnknownShape(f"{len(starts)} starts, axes {list(axes)}, steps {list(steps)}")
    shape = list(x.shape)
    for axis, start, end, step in zip(axes_of(axes, len(shape)), starts, ends, steps, strict=True):
        shape[axis] = len(range(*slice(start, end, step).indices(shape[axis])))
    return (Tensor(tuple(shape), x.dtype),)


def gather(call: Call) -> Tensors:
    x, indices = call.tensor(0), call.shape(1)
    axis = axis_of(call.integer("axis", 0), len(x.shape))
    return (Tensor(x.shape[:axis] + indices + x.shape[axis + 1 :], x.dtype),)


def gather_elements(call: Call) -> Tensors:
    return (Tensor(call.shape(1), call.dtype(0)),)


def gather_nd(call: Call) -> Tensors:
    x, indices = call.tensor(0), call.shape(1)
    batch = call.integer("batch_dims", 0)
    if not indices or not 0 <= batch <= min(len(x.shape), len(indices) - 1):
        raise UnknownShape(f"indices {list(indices)} into {list(x.shape)}")
    return (Tensor(indices[:-1] + x.shape[batch + indices[-1] :], x.dtype),)


def compress(call: Call) -> Tensors:
    """What a mask keeps; everything, where the mask is known only when it runs."""
    x = call.tensor(0)
    mask = call.known(1)
    kept = call.shape(1)[0] if mask is None and call.shape(1) else sum(map(bool, mask or ()))
    if "axis" not in call.attributes:
        return (Tensor((kept,), x.dtype),)
    axis = axis_of(call.integer("axis", 0), len(x.shape))
    return (Tensor((*x.shape[:axis], min(kept, x.shape[axis]), *x.shape[axis + 1 :]), x.dtype),)


def expand(call: Call) -> Tensors:
    return (Tensor(broadcast(call.shape(0), call.needed(1, "a shape")), call.dtype(0)),)


def tile(call: Call) -> Tensors:
    x, repeats = call.tensor(0), call.needed(1, "how often to repeat")
    if len(repeats) != len(x.shape):
        raise UnknownShape(f"{len(repeats)} repeats for {len(x.shape)} axes")
    return (Tensor(tuple(s * r for s, r in zip(x.shape, repeats, strict=True)), x.dtype),)


def pad(call: Call) -> Tensors:
    x = call.tensor(0)
    pads = call.integers("paddings") or call.listed("pads", 1, "how much to pad")
    axes = axes_of(call.needed(3, "the axes to pad"), len(x.shape)) if call.has(3) else tuple(range(len(x.shape)))
    if pads is None or len(pads) != 2 * len(axes):
        raise UnknownShape(f"pads for {len(axes)} axes are missing")
    shape = list(x.shape)
    for k, axis in enumerate(axes):
        shape[axis] += pads[k] + pads[k + len(axes)]
    return (Tensor(tuple(shape), x.dtype),)


def resize(call: Call) -> Tensors:
    """Sizes as given, or rounded down from scales; Upsample, and Resize before opset 11, have scales alone."""
    x = call.tensor(0)
    rank = len(x.shape)
    short = call.node.op_type == "Upsample" or call.opset < 11
    axes = axes_of(call.integers("axes"), rank) if "axes" in call.attributes else tuple(range(rank))
    if not short and call.has(3) and call.tensor(3).elements:
        sizes = call.needed(3, "the sizes to resize to")
        if len(sizes) != len(axes):
            raise UnknownShape(f"{len(sizes)} sizes for {len(axes)} axes")
        return (Tensor(_resized(x.shape, axes, sizes, str(call.attributes.get("keep_aspect_ratio_policy"))), x.dtype),)
    scales: Sequence[float] | None = None
    listed = call.attributes.get("scales")
    if isinstance(listed, tuple):
        scales = [float(s) for s in listed]
    elif "height_scale" in call.attributes:
        scales = [1.0, 1.0, float(str(call.attributes["height_scale"])), float(str(call.attributes["width_scale"]))]
    else:
        held = call.values(1 if short else 2)
        if held is None:
            raise UnknownShape("it depends on scales that are not in the file, or computed while the network runs")
        scales = [float(s) for s in held.reshape(-1)]
    if len(scales) != len(axes) or not all(0 < s < 1e6 for s in scales):
        raise UnknownShape(f"scales {scales} for {len(axes)} axes")
    shape = list(x.shape)
    for axis, scale in zip(axes, scales, strict=True):
        shape[axis] = math.floor(shape[axis] * scale)
    return (Tensor(tuple(shape), x.dtype),)


def _resized(shape: Shape, axes: Shape, sizes: Shape, policy: str) -> Shape:
    out = list(shape)
    fits = {"not_larger": min, "not_smaller": max}.get(policy)
    ratios = [s / shape[a] for a, s in zip(axes, sizes, strict=True) if shape[a]]
    for axis, size in zip(axes, sizes, strict=True):
        out[axis] = math.floor(shape[axis] * fits(ratios) + 0.5) if fits and ratios else size
    return tuple(out)


def depth_to_space(call: Call) -> Tensors:
    n, c, h, w = _image(call)
    block = max(call.integer("blocksize", 1), 1)
    return (Tensor((n, c // block**2, h * block, w * block), call.dtype(0)),)


def space_to_depth(call: Call) -> Tensors:
    n, c, h, w = _image(call)
    block = max(call.integer("blocksize", 1), 1)
    return (Tensor((n, c * block**2, h // block, w // block), call.dtype(0)),)


def _image(call: Call) -> Shape:
    shape = call.shape(0)
    if len(shape) != 4:
        raise UnknownShape(f"an image of shape {list(shape)}")
    return shape


def center_crop_pad(call: Call) -> Tensors:
    x = call.tensor(0)
    axes = axes_of(call.integers("axes"), len(x.shape)) if "axes" in call.attributes else range(len(x.shape))
    shape = list(x.shape)
    for axis, size in zip(axes, call.needed(1, "a shape"), strict=False):
        shape[axis] = size
    return (Tensor(tuple(shape), x.dtype),)


def column_to_image(call: Call) -> Tensors:
    x, image, block = call.tensor(0), call.needed(1, "the image's size"), call.needed(2, "the block's size")
    if len(x.shape) != 3 or not math.prod(block):
        raise UnknownShape(f"columns {list(x.shape)} of blocks {list(block)}")
    return (Tensor((x.shape[0], x.shape[1] // math.prod(block), *image), x.dtype),)


RULES: Mapping[str, Rule] = {
    "Reshape": reshape,
    "Flatten": flatten,
    "Transpose": transpose,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Concat": concat,
    "Split": split,
    "Slice": slice_,
    "DynamicSlice": slice_,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "Compress": compress,
    "Expand": expand,
    "Tile": tile,
    "Pad": pad,
    "Resize": resize,
    "Upsample": resize,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    "CenterCropPad": center_crop_pad,
    "Col2Im": column_to_image,
}
