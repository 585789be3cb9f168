"""ATen operators over windows of neighbours: pools, resizing, padding, pixels to channels and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from narformer.frontends.torch.call import Call, Handler, Value, constant
from narformer.graph import Operand, Tensor


def _batched(call: Call, rank: int) -> tuple[Operand, Callable[[Tensor], Tensor]]:
    """The data with a batch axis, and how an output gets one."""
    data = call.first
    if len(data.tensor.shape) == rank + 1:
        return call.reshaped(data, (1, *data.tensor.shape)), lambda tensor: tensor._replace(shape=(1, *tensor.shape))
    return data, lambda tensor: tensor


def pool(op: str, rank: int) -> Handler:
    """max_pool and avg_pool over `rank` axes; the former also with the positions of what it found."""

    def handler(call: Call) -> Value:
        data, batched = _batched(call, rank)
        kernel = call.pair("kernel_size", rank)
        strides = call.pair("stride", rank) if call.integers("stride") else kernel
        attributes: dict[str, Any] = {
            "kernel_shape": kernel,
            "strides": strides,
            "pads": call.pair("padding", rank) * 2,
            "ceil_mode": int(call.flag("ceil_mode")),
        }
        if op == "MaxPool":
            attributes["dilations"] = call.pair("dilation", rank)
        else:
            attributes["count_include_pad"] = int(call.flag("count_include_pad"))
        found = call.emit_several(op, [data], [batched(t) for t in call.outputs], **attributes)
        results = tuple([call.reshaped(o, t.shape) for o, t in zip(found, call.outputs, strict=True)])
        return results if call.step.several else results[0]

    return handler


def adaptive_pool(op: str, rank: int) -> Handler:
    """A pool whose output has a given size: over everything, or in windows as even as the sizes allow."""

    def handler(call: Call) -> Value:
        data, batched = _batched(call, rank)
        output = batched(call.output)
        sizes, wanted = data.tensor.shape[-rank:], output.shape[-rank:]
        if sizes == wanted:
            found = data
        elif all(size == 1 for size in wanted):
            found = call.emit("GlobalAveragePool" if op == "AveragePool" else "GlobalMaxPool", data, output=output)
        else:
            strides = tuple([max(size // want, 1) for size, want in zip(sizes, wanted, strict=True)])
            kernel = tuple(
                [
                    size - (want - 1) * step if size % want == 0 else math.ceil(size / want)
                    for size, want, step in zip(sizes, wanted, strides, strict=True)
                ]
            )
            found = call.emit(op, data, output=output, kernel_shape=kernel, strides=strides, pads=(0,) * (2 * rank))
        result = call.reshaped(found, call.output.shape)
        return (result, *list([result] * (len(call.outputs) - 1))) if call.step.several else result

    return handler


def resize(mode: str, antialias: bool = False) -> Handler:
    def handler(call: Call) -> Value:
        data, output = call.first, call.output
        if data.tensor.shape == output.shape:
            return data
        aligned = call.flag("align_corners")
        coordinates = "asymmetric" if mode == "nearest" else "align_corners" if aligned else "half_pixel"
        scales = call.arguments.get("scale_factors")
        gap: tuple[int, ...] = (1, 2)  # a region of interest, and scales where sizes are given
        if scales:
            where, left_out = constant((1.0, 1.0, *scales), "float32"), gap[:1]
        else:
            where, left_out = constant(output.shape), gap
        return call.emit(
            "Resize",
            data,
            where,
            left_out=left_out,
            mode=mode,
            coordinate_transformation_mode=coordinates,
            nearest_mode="floor",
            cubic_coeff_a=None if mode == "nearest" else -0.75,
            antialias=1 if antialias else None,
        )

    return handler


def pad(call: Call) -> Value:
    """Pads are given from the last axis forward: before and behind each."""
    mode = call.text("mode") or next((m for m in ("reflect", "replicat") if m in call.step.operator), "constant")
    name = "padding" if "padding" in call.arguments else "pad"
    return padded(call, call.first, call.integers(name), mode)


def padded(call: Call, data: Operand, amounts: Sequence[int], mode: str = "constant") -> Operand:
    rank = len(data.tensor.shape)
    before, behind = [0] * rank, [0] * rank
    for position in range(len(amounts) // 2):
        axis = rank - 1 - position
        before[axis], behind[axis] = amounts[2 * position], amounts[2 * position + 1]
    both = mode == "constant" and min(*before, *behind) < 0 < max(*before, *behind)  # a move, in one kernel
    for axis in range(rank):  # a negative pad cuts off
        if (before[axis] < 0 or behind[axis] < 0) and not both:
            size = data.tensor.shape[axis]
            data = call.sliced(data, axis, max(-before[axis], 0), size + min(behind[axis], 0))
            before[axis], behind[axis] = max(before[axis], 0), max(behind[axis], 0)
    if not any(before) and not any(behind):
        return data
    shape = tuple([b + size + e for b, size, e in zip(before, data.tensor.shape, behind, strict=True)])
    spelt = {"replicate": "edge", "replicat": "edge", "circular": "wrap"}.get(mode, mode)
    value = []
    if spelt == "constant":
        number = call.arguments.get("value") or 0.0
        value = [constant(number if isinstance(number, int | float) else 0.0, data.tensor.dtype)]
    output = data.tensor._replace(shape=shape)
    return call.emit("Pad", data, constant((*before, *behind)), *value, output=output, mode=spelt)


def pixel_shuffle(call: Call) -> Value:
    return call.emit("DepthToSpace", call.first, blocksize=call.integer("upscale_factor"), mode="CRD")


def pixel_unshuffle(call: Call) -> Value:
    factor, (n, c, h, w) = call.integer("downscale_factor"), call.first.tensor.shape
    data = call.reshaped(call.first, (n, c, h // factor, factor, w // factor, factor))
    return call.reshaped(call.transposed(data, (0, 1, 3, 5, 2, 4)), call.output.shape)


def channel_shuffle(call: Call) -> Value:
    groups, (n, c, *sizes) = call.integer("groups"), call.first.tensor.shape
    data = call.reshaped(call.first, (n, groups, c // groups, *sizes))
    order = [0, 2, 1, *range(3, len(sizes) + 3)]
    return call.reshaped(call.transposed(data, order), call.output.shape)


def im2col(call: Call) -> Value:
    """Windows of an image side by side: (N, C, H, W) → (N, C · kernel, windows)."""
    kernel, dilation, padding, stride = (
        call.pair(name, 2) for name in ("kernel_size", "dilation", "padding", "stride")
    )
    data = padded(call, call.first, (padding[1], padding[1], padding[0], padding[0]))
    sizes = data.tensor.shape[2:]
    counts = [(sizes[k] - dilation[k] * (kernel[k] - 1) - 1) // stride[k] + 1 for k in (0, 1)]
    for k, axis in ((0, 2), (1, 4)):
        places = [tap * dilation[k] + at * stride[k] for tap in range(kernel[k]) for at in range(counts[k])]
        where = constant(places, shape=(kernel[k], counts[k]))
        shape = data.tensor.shape
        output = data.tensor._replace(shape=(*shape[:axis], kernel[k], counts[k], *shape[axis + 1 :]))
        data = call.emit("Gather", data, where, output=output, axis=axis)
    data = call.transposed(data, (0, 1, 2, 4, 3, 5))
    return call.reshaped(data, call.output.shape)


def col2im(call: Call) -> Value:
    kernel, dilation, padding, stride = (
        call.pair(name, 2) for name in ("kernel_size", "dilation", "padding", "stride")
    )
    sizes = [constant(call.integers("output_size")), constant(kernel)]
    return call.emit("Col2Im", call.first, *sizes, dilations=dilation, pads=padding * 2, strides=stride)


def grid_sample(call: Call) -> Value:
    return call.emit(
        "GridSample",
        call.first,
        call.operand("grid"),
        mode=("linear", "nearest", "cubic")[call.integer("interpolation_mode")],
        padding_mode=("zeros", "border", "reflection")[call.integer("padding_mode")],
        align_corners=int(call.flag("align_corners")),
    )


OPERATORS: Mapping[str, Handler] = {
    **{f"aten.max_pool{rank}d": pool("MaxPool", rank) for rank in (1, 2, 3)},
    **{f"aten.max_pool{rank}d_with_indices": pool("MaxPool", rank) for rank in (2, 3)},
    "aten.max_pool1d_with_indices": pool("MaxPool", 1),
    **{f"aten.avg_pool{rank}d": pool("AveragePool", rank) for rank in (1, 2, 3)},
    **{f"aten.adaptive_avg_pool{rank}d": adaptive_pool("AveragePool", rank) for rank in (1, 2, 3)},
    **{f"aten._adaptive_avg_pool{rank}d": adaptive_pool("AveragePool", rank) for rank in (2, 3)},
    **{f"aten.adaptive_max_pool{rank}d": adaptive_pool("MaxPool", rank) for rank in (1, 2, 3)},
    **{f"aten.upsample_nearest{rank}d": resize("nearest") for rank in (1, 2, 3)},
    **{f"aten._upsample_nearest_exact{rank}d": resize("nearest") for rank in (1, 2, 3)},
    **{f"aten.upsample_{name}": resize("linear") for name in ("linear1d", "bilinear2d", "trilinear3d")},
    "aten.upsample_bicubic2d": resize("cubic"),
    "aten._upsample_bilinear2d_aa": resize("linear", antialias=True),
    "aten._upsample_bicubic2d_aa": resize("cubic", antialias=True),
    **{f"aten.{name}": pad for name in ("pad", "constant_pad_nd")},
    **{f"aten.{mode}_pad{rank}d": pad for mode in ("reflection", "replication") for rank in (1, 2, 3)},
    "aten.pixel_shuffle": pixel_shuffle,
    "aten.pixel_unshuffle": pixel_unshuffle,
    "aten.channel_shuffle": channel_shuffle,
    "aten.native_channel_shuffle": channel_shuffle,
    "aten.im2col": im2col,
    "aten.col2im": col2im,
    "aten.grid_sampler": grid_sample,
    "aten.grid_sampler_2d": grid_sample,
}
