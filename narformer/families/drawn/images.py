"""Random whole networks over images: bodies of convolutions, detectors, U-Nets, super-resolution."""

from __future__ import annotations

from collections.abc import Mapping

from narformer.families.drawn.convolutions import Kind
from narformer.families.drawn.draw import Draw
from narformer.families.drawn.layers import (
    USUAL,
    activation,
    batch_norm,
    conv,
    conv_transpose,
    depthwise,
    global_pool,
    group_norm,
    layer_norm,
    linear,
    pool,
    resize,
    squeeze_excite,
)
from narformer.families.drawn.network import UNKNOWN, Network, Value


def _picture(net: Network, draw: Draw, low: int, high: int, step: int = 16) -> Value:
    """An image, square three times in four, its sides multiples of `step`."""
    height = step * draw.integer(max(low // step, 1), high // step)
    width = height if draw.chance(0.75) else step * draw.integer(max(low // step, 1), high // step)
    return net.input(net.batch, draw.choice((3, 3, 3, 1)), height, width)


def _classes(net: Network, draw: Draw, x: Value) -> Value:
    pooled = global_pool(net, x)
    return linear(net, net.node("Flatten", [pooled], *x.shape[:2]), draw.integer(2, 1000))


def plain(net: Network, draw: Draw) -> None:
    """Convolutions and pools one after another, fully connected layers at the end."""
    x, name = _picture(net, draw, 16, 224), draw.choice(USUAL)
    channels = draw.channels(8, 64)
    for _ in range(draw.integer(2, 4)):
        for _ in range(draw.integer(1, 3)):
            x = conv(net, x, channels, draw.choice((3, 3, 3, 5)), bias=draw.chance(0.7))
            x = activation(net, batch_norm(net, x) if draw.chance(0.5) else x, name)
        x = pool(net, x, "MaxPool", 2, 2)
        channels = min(round(channels * draw.real(1, 2.2)), 512)
    flat = net.node("Flatten", [x], x.shape[0], x.elements // x.shape[0])
    if flat.shape[1] < 20_000 and draw.chance(0.5):
        linear(net, activation(net, linear(net, flat, draw.channels(16, 512)), "relu"), draw.integer(2, 1000))
    else:
        _classes(net, draw, x)


def residual(net: Network, draw: Draw) -> None:
    """Stages of residual blocks, plain or with a bottleneck, groups and squeeze-and-excite by chance."""
    x, name = _picture(net, draw, 32, 256, 32), draw.choice(USUAL)
    width = draw.channels(8, 64)
    x = activation(net, conv(net, x, width, draw.choice((3, 5, 7)), 2), name)
    bottleneck, excite, groups = draw.chance(0.5), draw.chance(0.3), draw.choice((1, 1, 1, 2, 4))
    for stage in range(draw.integer(2, 4)):
        inner = groups * max(round(width * (0.25 if bottleneck else 1.0) * draw.real(0.5, 1.5)) // groups, 1)
        for block in range(draw.integer(1, 4)):
            stride = 2 if block == 0 and stage else 1
            y = activation(net, conv(net, x, inner, 1 if bottleneck else 3, 1 if bottleneck else stride), name)
            if bottleneck:
                y = activation(net, conv(net, y, inner, 3, stride, groups=groups), name)
            y = conv(net, y, width, 1 if bottleneck else 3)
            if excite:
                y = squeeze_excite(net, y, max(width // 8, 2))
            if x.shape != y.shape:
                x = conv(net, x, width, 1, stride)
            x = activation(net, net.same("Add", y, x), name)
        width = min(round(width * draw.real(1.2, 2.2)), 640)
    _classes(net, draw, x)


def inverted(net: Network, draw: Draw) -> None:
    """Inverted bottlenecks: expand, depthwise, squeeze-and-excite by chance, project."""
    x, name = _picture(net, draw, 32, 288, 32), draw.choice(("relu6", "hard swish", "swish", "relu", "gelu"))
    width = draw.channels(8, 40)
    x = activation(net, conv(net, x, width, 3, 2), name)
    gate = draw.choice(("hard sigmoid", "sigmoid"))
    for _ in range(draw.integer(2, 5)):
        excite, kernel, expansion = draw.chance(0.4), draw.choice((3, 3, 5, 7)), draw.real(1.0, 8.0)
        for block in range(draw.integer(1, 4)):
            y = activation(net, conv(net, x, max(round(x.shape[1] * expansion), 4), 1), name)
            y = activation(net, depthwise(net, y, kernel, 2 if block == 0 and min(x.shape[2:]) > 3 else 1), name)
            if excite:
                y = squeeze_excite(net, y, max(x.shape[1] // 4, 2), gate)
            y = conv(net, y, width, 1)
            x = net.same("Add", x, y) if x.shape == y.shape else y
        width = min(max(round(width * draw.real(1.1, 2.0)), 4), 320)
    _classes(net, draw, activation(net, conv(net, x, draw.channels(64, 1280), 1), name))


def dense(net: Network, draw: Draw) -> None:
    """Blocks whose layers read all before them, and stages that split channels and join them again."""
    x = activation(net, conv(net, _picture(net, draw, 32, 192), draw.channels(8, 48), 3, 2), "relu")
    for _ in range(draw.integer(1, 3)):
        growth, parts = draw.channels(4, 48), [x]
        for _ in range(draw.integer(2, 8)):
            read = net.concat(parts, 1) if len(parts) > 1 else x
            if draw.chance(0.5):
                read = activation(net, batch_norm(net, read), "relu")
            parts.append(activation(net, conv(net, read, growth, draw.choice((1, 3, 3))), "relu"))
        x = conv(net, net.concat(parts, 1), draw.channels(16, 256), 1)
        x = pool(net, x, draw.choice(("AveragePool", "MaxPool")), 2, 2)
    _classes(net, draw, x)


def shuffled(net: Network, draw: Draw) -> None:
    """Half of the channels pass, the other half is computed, both are interleaved."""
    half = draw.integer(4, 128)
    x = conv(net, _picture(net, draw, 32, 224, 32), 2 * half, 3, 2)
    for _ in range(draw.integer(2, 12)):
        passed, y = net.split(x, (half, half), 1)
        y = activation(net, conv(net, y, half, 1), "relu")
        y = activation(net, conv(net, depthwise(net, y, draw.choice((3, 5))), half, 1), "relu")
        joined = net.concat([passed, y], 1)
        apart = net.reshape(joined, joined.shape[0], 2, half, *joined.shape[2:])
        x = net.reshape(net.transpose(apart, 0, 2, 1, 3, 4), *joined.shape)
        if draw.chance(0.25) and min(x.shape[2:]) > 4:
            x = pool(net, x, "MaxPool", 3, 2, 1)
    _classes(net, draw, x)


def channels_last(net: Network, draw: Draw) -> None:
    """Depthwise convolutions over (N, C, H, W), normalisation and linear layers over (N, H, W, C)."""
    width, name = draw.channels(16, 160), draw.choice(("gelu", "gelu", "relu", "swish"))
    x = conv(net, _picture(net, draw, 32, 224, 32), width, draw.choice((2, 4)), draw.choice((2, 4)), padding=0)
    for _ in range(draw.integer(1, 3)):
        kernel, expansion = draw.choice((3, 5, 7, 7)), draw.choice((2, 3, 4))
        for _ in range(draw.integer(1, 4)):
            y = layer_norm(net, net.transpose(depthwise(net, x, kernel), 0, 2, 3, 1))
            y = linear(net, activation(net, linear(net, y, expansion * width), name), width)
            y = net.same("Mul", y, net.weight(width)) if draw.chance(0.5) else y
            x = net.same("Add", x, net.transpose(y, 0, 3, 1, 2))
        if min(x.shape[2:]) >= 4:
            width = min(round(width * draw.real(1.2, 2)), 512)
            x = conv(net, x, width, 2, 2, padding=0)
    _classes(net, draw, x)


def u_net(net: Network, draw: Draw) -> None:
    """Down and up again, what was on the way down joined on the way up."""
    depth, width, name = draw.integer(2, 4), draw.channels(4, 32), draw.choice(USUAL)
    groups = draw.choice((0, 0, 2, 4))
    x, kept = _picture(net, draw, 32, 160), []

    def block(x: Value, channels: int) -> Value:
        for _ in range(draw.integer(1, 2)):
            x = conv(net, x, channels, 3)
            x = activation(net, group_norm(net, x, groups) if groups else x, name)
        return x

    for level in range(depth):
        x = block(x, 4 * max(width // 4, 1) << level)
        kept.append(x)
        x = pool(net, x, "MaxPool", 2, 2)
    x = block(x, x.shape[1])
    way = draw.choice(("nearest", "linear", "transposed"))
    for skip in reversed(kept):
        x = conv_transpose(net, x, skip.shape[1], 2, 2) if way == "transposed" else resize(net, x, 2.0, way)
        x = block(net.concat([x, skip], 1), skip.shape[1])
    net.same("Sigmoid", conv(net, x, draw.integer(1, 21), 1))


def super_resolution(net: Network, draw: Draw) -> None:
    """Convolutions at one size, then channels become pixels or the map is resized."""
    factor, width, name = draw.choice((2, 3, 4)), draw.channels(4, 64), draw.choice(("relu", "prelu", "leaky relu"))
    first = conv(net, _picture(net, draw, 24, 128, 8), width, draw.choice((3, 5)))
    x = first
    for _ in range(draw.integer(1, 8)):
        y = conv(net, activation(net, conv(net, x, width, 3), name), width, 3)
        x = net.same("Add", x, y)
    if draw.chance(0.7):
        batch, _, height, width = x.shape
        x = conv(net, x, 3 * factor**2, 3)
        net.node("DepthToSpace", [x], batch, 3, factor * height, factor * width, blocksize=factor, mode="CRD")
    else:
        conv(net, resize(net, x, float(factor)), 3, 3)


def detector(net: Network, draw: Draw) -> None:
    """A body, a pyramid, heads at several scales, boxes decoded; the best kept by TopK or by suppression."""
    x, name = _picture(net, draw, 64, 320, 32), draw.choice(("swish", "relu", "leaky relu"))
    width, classes, levels = draw.channels(8, 32), draw.integer(1, 80), []
    x = activation(net, conv(net, x, width, 3, 2), name)
    for stage in range(4):
        width = min(round(width * draw.real(1.2, 2.2)), 320)
        x = activation(net, conv(net, x, width, 3, 2), name)
        for _ in range(draw.integer(1, 2)):
            y = activation(net, conv(net, activation(net, conv(net, x, max(width // 2, 1), 1), name), width, 3), name)
            x = net.same("Add", x, y)
        if stage:
            levels.append(x)
    neck = draw.channels(16, 96)
    found = [conv(net, level, neck, 1) for level in levels]
    for k in (1, 0):
        found[k] = net.same("Add", found[k], resize(net, found[k + 1], 2.0))
    outputs = []
    for level in found:
        y = activation(net, depthwise(net, level, 3) if draw.chance(0.3) else conv(net, level, neck, 3), name)
        y = conv(net, y, 4 + classes, 1)
        outputs.append(net.reshape(y, net.batch, 4 + classes, y.shape[2] * y.shape[3]))
    joined = net.concat(outputs, 2)
    raw, scores = net.split(joined, (4, classes), 1)
    scores = net.same("Sigmoid", scores)
    centre, extent = net.split(raw, (2, 2), 1)
    centre = net.same("Add", net.same("Mul", centre, net.constant(2.0)), net.weight(1, 2, raw.shape[2]))
    half = net.same("Mul", net.same("Exp", extent), net.constant(0.5))
    boxes = net.concat([net.same("Sub", centre, half), net.same("Add", centre, half)], 1)
    if draw.chance(0.5):
        ends = [net.constant([20], "int64"), net.constant([0.5]), net.constant([0.7])]
        turned = net.transpose(boxes, 0, 2, 1)
        net.node("NonMaxSuppression", [turned, scores, *ends], UNKNOWN, 3, dtype="int64")
    else:
        best = net.reduce("ReduceMax", scores, (1,), keep=False)
        count = min(100, best.shape[1])
        net.top(best, count, 1)


KINDS: Mapping[str, Kind] = {
    "plain convolutional network": plain,
    "residual network": residual,
    "inverted bottlenecks": inverted,
    "dense blocks": dense,
    "channel shuffles": shuffled,
    "channels last": channels_last,
    "U-Net": u_net,
    "super-resolution": super_resolution,
    "detector": detector,
}
