"""Single convolutions, some with what follows them in a network: one kind each way in which runtimes compute them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from narformer.families.drawn.draw import Draw
from narformer.families.drawn.layers import USUAL, activation, batch_norm, conv, conv_transpose, global_pool, pool
from narformer.families.drawn.network import Network, Value

Kind = Callable[[Network, Draw], None]
SIDES = (1, 256)


def image(net: Network, draw: Draw, channels: int, positions: float) -> Value:
    """An input of about so many positions, square two times in three."""
    side = math.sqrt(max(positions, 1.0))
    ratio = 1.0 if draw.chance(0.66) else draw.real(0.3, 3.0)
    height, width = (min(max(round(s), SIDES[0]), SIDES[1]) for s in (side * ratio, side / ratio))
    return net.input(net.batch, channels, height, width)


def then(net: Network, draw: Draw, x: Value) -> None:
    """Nothing, or what usually follows: an activation, a normalisation that folds, an addition of an input."""
    if draw.chance(0.4):
        return
    if draw.chance(0.25):
        x = batch_norm(net, x)
    if draw.chance(0.25):
        x = net.same("Add", x, net.input(*x.shape))
    activation(net, x, draw.choice(USUAL))


def _dense(sides: tuple[int, ...], strides: tuple[int, ...] = (1,), dilations: tuple[int, ...] = (1,)) -> Kind:
    """Convolutions in which every output channel reads every input channel."""

    def kind(net: Network, draw: Draw) -> None:
        macs, kernel = draw.real(1e5, 8e8), draw.choice(sides)
        stride, dilation = draw.choice(strides), draw.choice(dilations)
        read = 3 if draw.chance(0.1) else draw.channels(1, 768)
        made = draw.channels(1, 768)
        positions = min(max(macs / (read * made * kernel**2), 1.0), 200.0**2)
        x = image(net, draw, read, positions * stride**2)
        then(net, draw, conv(net, x, made, kernel, stride, dilation, bias=draw.chance(0.8)))

    return kind


def depthwise(net: Network, draw: Draw) -> None:
    macs, kernel, stride = draw.real(1e4, 1e8), draw.choice((3, 3, 3, 5, 5, 7, 9)), draw.choice((1, 1, 1, 2))
    channels = draw.channels(4, 1536)
    x = image(net, draw, channels, stride**2 * macs / (channels * kernel**2))
    then(net, draw, conv(net, x, channels, kernel, stride, draw.choice((1, 1, 1, 2)), groups=channels))


def grouped(net: Network, draw: Draw) -> None:
    macs, kernel, groups = draw.real(1e4, 4e8), draw.choice((1, 3, 3, 5)), draw.integer(2, 64)
    read, made = groups * draw.integer(1, 48), groups * draw.integer(1, 48)
    x = image(net, draw, read, macs * groups / (read * made * kernel**2))
    then(net, draw, conv(net, x, made, kernel, draw.choice((1, 1, 2)), groups=groups))


def one_dimension(net: Network, draw: Draw) -> None:
    macs, kernel, stride = draw.real(1e4, 4e8), draw.choice((1, 3, 3, 5, 7, 9, 15, 31)), draw.choice((1, 1, 2, 4))
    alone = draw.chance(0.25)
    read = draw.channels(1, 512)
    made = read if alone else draw.channels(1, 512)
    length = stride * macs * (read if alone else 1) / (read * made * kernel)
    x = net.input(net.batch, read, min(max(round(length), kernel), 20_000))
    dilation = draw.choice((1, 1, 2, 4)) if kernel > 1 else 1
    then(net, draw, conv(net, x, made, kernel, stride, dilation, groups=read if alone else 1))


def three_dimensions(net: Network, draw: Draw) -> None:
    macs, kernel = draw.real(1e5, 4e8), draw.choice((1, 3, 3, 5))
    read, made = draw.channels(1, 128), draw.channels(4, 128)
    side = min(max(round((macs / (read * made * kernel**3)) ** (1 / 3)), 1), 64)
    x = net.input(net.batch, read, max(side // 2, 1), side, side)
    then(net, draw, conv(net, x, made, kernel, draw.choice((1, 1, 2))))


def oblong(net: Network, draw: Draw) -> None:
    """Kernels that are not square: 1 × k, k × 1."""
    macs, kernel = draw.real(1e4, 4e8), draw.choice(((1, 3), (3, 1), (1, 7), (7, 1), (1, 15), (5, 3)))
    read, made = draw.channels(4, 512), draw.channels(4, 512)
    x = image(net, draw, read, macs / (read * made * math.prod(kernel)))
    then(net, draw, conv(net, x, made, kernel))


def transposed(net: Network, draw: Draw) -> None:
    macs, (kernel, stride) = draw.real(1e4, 4e8), draw.choice(((2, 2), (4, 2), (3, 1), (8, 4), (4, 4), (6, 2)))
    read, made = draw.channels(4, 512), draw.channels(1, 256)
    positions = min(macs / (read * made * kernel**2), 128.0**2)
    flat = draw.chance(0.2)
    x = net.input(net.batch, read, max(round(positions), 1)) if flat else image(net, draw, read, positions)
    then(net, draw, conv_transpose(net, x, made, kernel, stride))


def pooling(net: Network, draw: Draw) -> None:
    channels, kernel = draw.channels(1, 1024), draw.choice((2, 2, 3, 3, 5, 7))
    x = image(net, draw, channels, draw.real(2e3, 4e6) / channels)
    stride = min(draw.choice((1, 2, kernel)), min(x.shape[2:]))
    padding = kernel // 2 if min(x.shape[2:]) < kernel or draw.chance(0.6) else 0
    pool(net, x, draw.choice(("MaxPool", "MaxPool", "AveragePool")), kernel, stride, padding)


def global_pooling(net: Network, draw: Draw) -> None:
    channels = draw.channels(1, 2048)
    x = image(net, draw, channels, draw.real(2e3, 4e6) / channels)
    if draw.chance(0.4):
        net.reduce(draw.choice(("ReduceMean", "ReduceMax")), x, (2, 3), keep=draw.chance(0.5))
    elif draw.chance(0.2):
        net.node("GlobalMaxPool", [x], *x.shape[:2], 1, 1)
    else:
        global_pool(net, x)


KINDS: Mapping[str, Kind] = {
    "convolution 1x1": _dense((1,)),
    "convolution 3x3": _dense((3,)),
    "convolution 5x5 to 11x11": _dense((5, 5, 7, 7, 9, 11)),
    "convolution with strides": _dense((1, 2, 3, 3, 4, 7, 16), strides=(2, 2, 4)),
    "convolution with dilation": _dense((3, 3, 5), dilations=(2, 3, 4, 8)),
    "convolution not square": oblong,
    "convolution depthwise": depthwise,
    "convolution in groups": grouped,
    "convolution 1-D": one_dimension,
    "convolution 3-D": three_dimensions,
    "convolution transposed": transposed,
    "pooling": pooling,
    "global pooling": global_pooling,
}
