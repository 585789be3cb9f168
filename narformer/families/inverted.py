"""Inverted residual blocks and the keep rule, which MobileNetV2, MobileNetV3, MnasNet and ProxylessNAS share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from narformer.families.builder import NetworkBuilder, Value

Activation = Callable[[Value], Value]


def inverted_residual(
    net: NetworkBuilder,
    x: Value,
    kernel: int,
    channels: int,
    stride: int,
    expanded: int,
    activation: Activation,
    squeeze_excite: bool = False,
) -> Value:
    """Pointwise to `expanded`, depthwise, squeeze-and-excite if asked, pointwise to `channels`; residual if it fits."""
    y = activation(net.conv(x, expanded, 1))
    y = net.depthwise(y, kernel, stride)
    if squeeze_excite:
        y = net.squeeze_excite(y, expanded // 4)
    y = net.conv(activation(y), channels, 1)
    return net.add(x, y) if stride == 1 and x.channels == channels else y


def kept_channels(
    channels: Sequence[int], base: Sequence[int], strides: Sequence[int], previous: int | None
) -> Iterator[int | None]:
    """The width of each block: its own, or None (keep the current one) where stride is 1 and the base repeats."""
    for width, own, stride in zip(channels, base, strides, strict=True):
        yield None if stride == 1 and own == previous else width
        previous = own


def group_strides(sizes: Sequence[int], firsts: Sequence[int]) -> list[int]:
    """Strides of blocks in groups: the first block of a group has the group's stride, the others 1."""
    return [first if i == 0 else 1 for size, first in zip(sizes, firsts, strict=True) for i in range(size)]
