"""ONNX's operators that move numbers, as calls of PyTorch: reshape, slice, gather, pad, resize."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from narformer.measurement.runtimes.torch_call import Call, Function


def reshape(call: Call) -> Function:
    wanted = call.setting(1, "shape")
    if not call.get("allowzero", 0):
        wanted = [call.x.shape[k] if size == 0 else size for k, size in enumerate(wanted)]
    return lambda x: x.reshape(wanted)


def flatten(call: Call) -> Function:
    axis = call.get("axis", 1) % (call.x.dim() + 1)
    rows = math.prod(call.x.shape[:axis])
    return lambda x: x.reshape(rows, -1)


def transpose(call: Call) -> Function:
    order = call.get("perm", list(reversed(range(call.x.dim()))))
    return lambda x: x.permute(order)


def concat(call: Call) -> Function:
    axis = call.attributes["axis"]
    return lambda *parts: torch.cat(parts, axis)


def split(call: Call) -> Function:
    axis, sizes = call.get("axis", 0), call.setting(1, "split")
    if sizes is None:
        whole, parts = call.x.shape[axis], call.get("num_outputs", call.outputs)
        size = -(-whole // parts)
        sizes = [min(size, whole - k * size) for k in range(parts)]
    return lambda x: torch.split(x, sizes, axis)


def slice_(call: Call) -> Function:
    starts, ends = call.setting(1, "starts"), call.setting(2, "ends")
    axes = call.setting(3, "axes", list(range(len(starts))))
    steps = call.setting(4, default=[1] * len(starts))
    index: list[slice] = [slice(None)] * call.x.dim()
    backwards = []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = call.x.shape[axis]
        first, last, _ = slice(start, None if step < 0 and end < -size else end, step).indices(size)
        if step < 0:
            # PyTorch's slices go forwards: turn the dimension around, and count from the other end.
            backwards.append(axis)
            first, last, step = size - 1 - first, size - 1 - last, -step
        index[axis] = slice(first, last, step)
    chosen = tuple(index)
    return lambda x: (x.flip(backwards) if backwards else x)[chosen]


def squeeze(call: Call) -> Function:
    axes = call.setting(1, "axes") or [k for k, size in enumerate(call.x.shape) if size == 1]
    return lambda x: x.squeeze(tuple(axes))


def unsqueeze(call: Call) -> Function:
    axes = call.setting(1, "axes")
    rank = call.x.dim() + len(axes)
    ordered = sorted(axis % rank for axis in axes)

    def run(x: Tensor) -> Tensor:
        for axis in ordered:
            x = x.unsqueeze(axis)
        return x

    return run


def expand(call: Call) -> Function:
    shape = np.broadcast_shapes(tuple(call.x.shape), tuple(call.setting(1)))
    return lambda x: x.expand(shape)


def tile(call: Call) -> Function:
    repeats = call.setting(1)
    return lambda x: x.repeat(repeats)


def gather(call: Call) -> Function:
    axis = call.get("axis", 0) % call.x.dim()
    size, indices = call.x.shape[axis], call.operands[1]
    assert indices is not None
    if 1 in call.constant:
        # Counted from the end or not, a fixed index is known now.
        fixed = torch.where(indices < 0, indices + size, indices).long()
        call.settings.add(1)
        if fixed.dim() == 0:
            number = int(fixed)
            return lambda x: x.select(axis, number)
        return lambda x: _take(x, fixed.to(x.device), axis)
    return lambda x, i: _take(x, i, axis)


def _take(x: Tensor, indices: Tensor, axis: int) -> Tensor:
    if axis == 0 and x.dim() == 2:
        return F.embedding(indices, x)
    taken = x.index_select(axis, indices.reshape(-1))
    return taken.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


def gather_elements(call: Call) -> Function:
    axis = call.get("axis", 0) % call.x.dim()
    size = call.x.shape[axis]
    return lambda x, i: torch.gather(x, axis, torch.where(i < 0, i + size, i).long())


def gather_nd(call: Call) -> Function:
    batch = call.get("batch_dims", 0)

    def run(x: Tensor, indices: Tensor) -> Tensor:
        places = list(indices.long().unbind(-1))
        rank = indices.dim() - 1
        for axis in reversed(range(batch)):
            own = torch.arange(x.shape[axis], device=x.device)
            places.insert(0, own.reshape(-1, *(1,) * (rank - axis - 1)))
        return x[tuple(places)]

    return run


def pad(call: Call) -> Function:
    pads, value = call.setting(1, "pads"), call.setting(2, "value", 0.0)
    axes = call.setting(3) or list(range(call.x.dim()))
    both = [(0, 0)] * call.x.dim()
    for k, axis in enumerate(axes):
        both[axis] = (pads[k], pads[k + len(axes)])
    ordered = [p for pair in reversed(both) for p in pair]
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}[
        call.get("mode", "constant")
    ]
    if mode == "constant":
        return lambda x: F.pad(x, ordered, value=float(value))
    while ordered[-2:] == [0, 0]:
        ordered = ordered[:-2]  # PyTorch wants no more pairs than there are dimensions to pad
    return lambda x: F.pad(x, ordered, mode=mode)


def resize(call: Call) -> Function:
    upsample = len(call.operands) == 2
    scales = call.setting(1 if upsample else 2, "scales")
    sizes = None if upsample else call.setting(3)
    call.settings.update(range(1, len(call.operands)))
    shape = list(call.x.shape)
    size = sizes[2:] if sizes else [math.floor(s * f) for s, f in zip(shape[2:], scales[2:], strict=True)]
    linear = {3: "linear", 4: "bilinear", 5: "trilinear"}[len(shape)]
    mode = {"nearest": "nearest", "linear": linear, "cubic": "bicubic"}[call.get("mode", "nearest")]
    corners = None if mode == "nearest" else call.get("coordinate_transformation_mode") == "align_corners"
    return lambda x: F.interpolate(x, size, mode=mode, align_corners=corners)


def depth_to_space(call: Call) -> Function:
    block = call.attributes["blocksize"]
    n, c, height, width = call.x.shape
    if call.get("mode", "DCR") == "CRD":
        return lambda x: F.pixel_shuffle(x, block)

    def run(x: Tensor) -> Tensor:
        y = x.reshape(n, block, block, c // block**2, height, width).permute(0, 3, 4, 1, 5, 2)
        return y.reshape(n, c // block**2, height * block, width * block)

    return run


def space_to_depth(call: Call) -> Function:
    block = call.attributes["blocksize"]
    n, c, height, width = call.x.shape

    def run(x: Tensor) -> Tensor:
        y = x.reshape(n, c, height // block, block, width // block, block).permute(0, 3, 5, 1, 2, 4)
        return y.reshape(n, c * block**2, height // block, width // block)

    return run
