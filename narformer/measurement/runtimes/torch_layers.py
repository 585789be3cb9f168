"""ONNX's layers as calls of PyTorch: convolutions, matrix products, normalization, pooling, reduction."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from narformer.errors import ModelError
from narformer.measurement.runtimes.torch_call import Call, Function

# --- convolutions and matrix products


def _pads(call: Call, dimensions: int, kernel: Sequence[int]) -> list[int]:
    """Padding as F.pad wants it: of the last dimension first, before and after."""
    strides = call.get("strides", [1] * dimensions)
    dilations = call.get("dilations", [1] * dimensions)
    pads = call.get("pads", [0] * 2 * dimensions)
    mode = call.get("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        before, after = [], []
        for size, k, s, d in zip(call.x.shape[2:], kernel, strides, dilations, strict=True):
            total = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
            small, large = total // 2, total - total // 2
            before.append(small if mode == "SAME_UPPER" else large)
            after.append(large if mode == "SAME_UPPER" else small)
        pads = before + after
    elif mode == "VALID":
        pads = [0] * 2 * dimensions
    return [p for k in reversed(range(dimensions)) for p in (pads[k], pads[k + dimensions])]


def _symmetric(pads: Sequence[int]) -> list[int] | None:
    """One padding a dimension, first dimension first, where before and after are the same."""
    return list(pads[-2::-2]) if list(pads[::2]) == list(pads[1::2]) else None


def conv(call: Call) -> Function:
    weight = call.operands[1]
    assert weight is not None
    dimensions = weight.dim() - 2
    function = (F.conv1d, F.conv2d, F.conv3d)[dimensions - 1]
    stride, dilation = call.get("strides", [1] * dimensions), call.get("dilations", [1] * dimensions)
    groups, pads = call.get("group", 1), _pads(call, dimensions, weight.shape[2:])
    padding = _symmetric(pads)

    def run(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        if padding is None:
            return function(F.pad(x, pads), w, b, stride, 0, dilation, groups)
        return function(x, w, b, stride, padding, dilation, groups)

    return run


def conv_transpose(call: Call) -> Function:
    weight = call.operands[1]
    assert weight is not None
    dimensions = weight.dim() - 2
    function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[dimensions - 1]
    padding = _symmetric(_pads(call, dimensions, weight.shape[2:]))
    if padding is None or "output_shape" in call.attributes or call.get("auto_pad", "NOTSET") != "NOTSET":
        raise ModelError(f"{call.where}: only explicit padding that is the same on both sides can be run by PyTorch")
    stride, dilation = call.get("strides", [1] * dimensions), call.get("dilations", [1] * dimensions)
    extra, groups = call.get("output_padding", [0] * dimensions), call.get("group", 1)
    return lambda x, w, b=None: function(x, w, b, stride, padding, extra, groups, dilation)


def gemm(call: Call) -> Function:
    alpha, beta = call.get("alpha", 1.0), call.get("beta", 1.0)
    turn_a, turn_b = call.get("transA", 0), call.get("transB", 0)
    bias = call.operands[2] if len(call.operands) > 2 else None
    plain = alpha == beta == 1.0 and not turn_a and (bias is None or bias.dim() == 1)

    def run(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        if plain:
            return F.linear(a, b if turn_b else b.t(), c)
        product: Tensor = alpha * ((a.t() if turn_a else a) @ (b.t() if turn_b else b))
        return product if c is None else product + beta * c

    return run


# --- normalization and pooling


def batch_norm(call: Call) -> Function:
    epsilon = call.get("epsilon", 1e-5)
    return lambda x, scale, shift, mean, variance: F.batch_norm(x, mean, variance, scale, shift, False, 0.0, epsilon)


def layer_norm(call: Call) -> Function:
    axis = call.get("axis", -1) % call.x.dim()
    shape, epsilon = list(call.x.shape[axis:]), call.get("epsilon", 1e-5)
    return lambda x, scale, shift=None: F.layer_norm(x, shape, scale, shift, epsilon)


def instance_norm(call: Call) -> Function:
    epsilon = call.get("epsilon", 1e-5)
    return lambda x, scale, shift: F.instance_norm(x, weight=scale, bias=shift, eps=epsilon)


def group_norm(call: Call) -> Function:
    groups, epsilon = call.attributes["num_groups"], call.get("epsilon", 1e-5)
    channels = call.x.shape[1]

    def run(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        # Before opset 21 there is one scale a group.
        repeat = channels // scale.numel()
        if repeat > 1:
            scale, shift = scale.repeat_interleave(repeat), shift.repeat_interleave(repeat)
        return F.group_norm(x, groups, scale, shift, epsilon)

    return run


def max_pool(call: Call) -> Function:
    kernel = call.attributes["kernel_shape"]
    dimensions = len(kernel)
    function: Function = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[dimensions - 1]
    stride, dilation = call.get("strides", [1] * dimensions), call.get("dilations", [1] * dimensions)
    pads, ceil = _pads(call, dimensions, kernel), bool(call.get("ceil_mode", 0))
    padding = _symmetric(pads)
    # PyTorch pads itself by half a kernel at most.
    if padding is not None and all(2 * p <= k for p, k in zip(padding, kernel, strict=True)):
        return lambda x: function(x, kernel, stride, padding, dilation, ceil)
    return lambda x: function(F.pad(x, pads, value=-math.inf), kernel, stride, 0, dilation, ceil)


def average_pool(call: Call) -> Function:
    kernel = call.attributes["kernel_shape"]
    dimensions = len(kernel)
    function: Function = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[dimensions - 1]
    stride, ceil = call.get("strides", [1] * dimensions), bool(call.get("ceil_mode", 0))
    pads, whole = _pads(call, dimensions, kernel), bool(call.get("count_include_pad", 0))
    padding = _symmetric(pads)
    if padding is not None and all(2 * p <= k for p, k in zip(padding, kernel, strict=True)):
        return lambda x: function(x, kernel, stride, padding, ceil, whole)
    if whole:
        return lambda x: function(F.pad(x, pads), kernel, stride, 0, ceil)
    # The share of each window that is not padding; 1 inside.
    share = function(F.pad(torch.ones_like(call.x[:1, :1]), pads), kernel, stride, 0, ceil)
    return lambda x: function(F.pad(x, pads), kernel, stride, 0, ceil) / share.to(x.device)


def over_space(reduce: Function) -> Callable[[Call], Function]:
    def maker(call: Call) -> Function:
        axes = list(range(2, call.x.dim()))
        return lambda x: reduce(x, axes, True)

    return maker


def reduction(reduce: Function) -> Callable[[Call], Function]:
    def maker(call: Call) -> Function:
        axes = call.setting(1, "axes")
        if not axes:
            if call.get("noop_with_empty_axes", 0):
                return lambda x: x
            axes = list(range(call.x.dim()))
        keep = bool(call.get("keepdims", 1))
        return lambda x: reduce(x, axes, keep)

    return maker
