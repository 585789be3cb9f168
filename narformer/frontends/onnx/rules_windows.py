"""Output shapes of operators that slide a window over data: convolutions of every kind, and pooling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from narformer.frontends.onnx.call import Call, Rule, UnknownShape
from narformer.graph import Shape, Tensor

Tensors = Sequence[Tensor]


def windows(
    call: Call, spatial: Shape, kernel: Shape, *, ceil: bool = False, strides: Shape = (), transposed: bool = False
) -> Shape:
    """Output sizes of a window that slides over `spatial`, or, transposed, of what such windows would have read."""
    rank = len(spatial)
    if len(kernel) != rank:
        raise UnknownShape(f"a kernel {list(kernel)} over {rank} spatial axes")
    strides = strides or call.integers("strides") or (1,) * rank
    dilations = call.integers("dilations") or (1,) * rank
    pads = call.integers("pads") or (0,) * (2 * rank)
    if len(strides) != rank or len(dilations) != rank or len(pads) != 2 * rank or min((*strides, *dilations)) < 1:
        raise UnknownShape("strides, dilations or pads do not fit its kernel")
    auto = str(call.attributes.get("auto_pad", "NOTSET"))
    sizes = []
    for k, size in enumerate(spatial):
        window = (kernel[k] - 1) * dilations[k] + 1
        padding = pads[k] + pads[k + rank] if auto == "NOTSET" else 0
        if transposed:
            grown = call.integers("output_padding") or (0,) * rank
            if auto.startswith("SAME"):
                # As much padding as brings it to size * stride, and none where the window is too short for that.
                full = strides[k] * (size - 1) + grown[k] + window
                sizes.append(min(full, size * strides[k]))
            else:
                sizes.append(strides[k] * (size - 1) + grown[k] + window - padding)
        elif auto.startswith("SAME"):
            sizes.append(-(-size // strides[k]))
        else:
            steps = size + padding - window
            count = (-(-steps // strides[k]) if ceil else steps // strides[k]) + 1
            # A last window that would start in the padding behind the data is left out.
            if ceil and count > 1 and (count - 1) * strides[k] >= size + pads[k]:
                count -= 1
            sizes.append(count)
    if any(s < 0 for s in sizes):
        raise UnknownShape(f"a window larger than what it slides over: {list(spatial)}")
    return tuple(sizes)


def convolution(x: int = 0, w: int = 1, dtype: str = "") -> Rule:
    """Data at operand x, filters at operand w."""

    def rule(call: Call) -> Tensors:
        data, filters = call.shape(x), call.shape(w)
        if len(data) < 3 or len(filters) != len(data):
            raise UnknownShape(f"data {list(data)} and filters {list(filters)}")
        if data[1] != filters[1] * call.integer("group", 1):
            raise UnknownShape(f"{data[1]} channels into filters {list(filters)}")
        sizes = windows(call, data[2:], call.integers("kernel_shape") or filters[2:])
        return (Tensor((data[0], filters[0], *sizes), dtype or call.dtype(x)),)

    return rule


def qlinear_conv(call: Call) -> Tensors:
    """As a convolution; ONNX Runtime's own form may have the channels last."""
    x, w = call.shape(0), call.shape(3)
    if call.integer("channels_last", 0) and len(x) > 2:
        sizes = windows(call, x[1:-1], call.integers("kernel_shape") or w[2:])
        return (Tensor((x[0], *sizes, w[0]), call.dtype(0)),)
    return convolution(0, 3)(call)


def convolution_transposed(call: Call) -> Tensors:
    data, filters = call.shape(0), call.shape(1)
    if len(data) < 3 or len(filters) != len(data):
        raise UnknownShape(f"data {list(data)} and filters {list(filters)}")
    channels = filters[1] * call.integer("group", 1)
    sizes = call.integers("output_shape")
    if sizes and len(sizes) == len(data):
        sizes = sizes[2:]
    sizes = sizes or windows(call, data[2:], call.integers("kernel_shape") or filters[2:], transposed=True)
    return (Tensor((data[0], channels, *sizes), call.dtype(0)),)


def deformable_convolution(call: Call) -> Tensors:
    return convolution()(call)


def pool(call: Call) -> Tensors:
    x = call.tensor(0)
    if len(x.shape) < 3:
        raise UnknownShape(f"pooling over {list(x.shape)}")
    ceil = bool(call.integer("ceil_mode", 0))
    out = Tensor((*x.shape[:2], *windows(call, x.shape[2:], call.integers("kernel_shape"), ceil=ceil)), x.dtype)
    return (out, Tensor(out.shape, "int64"))


def pool_channels_last(call: Call) -> Tensors:
    """ONNX Runtime's quantised pooling: channels last if it says so."""
    x = call.tensor(0)
    if not call.integer("channels_last", int(call.node.op_type.startswith("Nhwc"))):
        return pool(call)[:1]
    sizes = windows(call, x.shape[1:-1], call.integers("kernel_shape"), ceil=bool(call.integer("ceil_mode", 0)))
    return (Tensor((x.shape[0], *sizes, x.shape[-1]), x.dtype),)


def global_pool(call: Call) -> Tensors:
    x = call.tensor(0)
    if call.integer("channels_last", 0):
        return (Tensor((x.shape[0], *(1,) * (len(x.shape) - 2), x.shape[-1]), x.dtype),)
    return (Tensor(x.shape[:2] + (1,) * (len(x.shape) - 2), x.dtype),)


def max_unpool(call: Call) -> Tensors:
    x = call.tensor(0)
    if call.has(2):
        return (Tensor(call.needed(2, "an output shape"), x.dtype),)
    sizes = windows(call, x.shape[2:], call.integers("kernel_shape"), transposed=True)
    return (Tensor((*x.shape[:2], *sizes), x.dtype),)


RULES: Mapping[str, Rule] = {
    "Conv": convolution(),
    "ConvInteger": convolution(dtype="int32"),
    "QLinearConv": qlinear_conv,
    "DeformConv": deformable_convolution,
    "ConvTranspose": convolution_transposed,
    **dict.fromkeys(("AveragePool", "LpPool", "MaxPool"), pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool"), global_pool),
    "MaxUnpool": max_unpool,
}
