"""ResNet 18, 34 (basic blocks) and 50 (bottlenecks) variants (He et al., 2016)."""

from __future__ import annotations

import random

import onnx

from narformer.errors import DataError
from narformer.families.builder import NetworkBuilder, Value
from narformer.families.config import grid, join, parse, picks, scaled
from narformer.families.inverted import group_strides, kept_channels

STAGES = {"18": (2, 2, 2, 2), "34": (3, 4, 6, 3), "50": (3, 4, 6, 3)}
VERSIONS = tuple(STAGES)


def _base(version: str) -> list[int]:
    widths = (256, 512, 1024, 2048) if version == "50" else (64, 128, 256, 512)
    return [width for width, size in zip(widths, STAGES[version], strict=True) for _ in range(size)]


def build(config: str, version: str = "18", batch_size: int = 1, input_size: int = 224) -> onnx.ModelProto:
    if version not in STAGES:
        raise DataError(f"resnet has versions {', '.join(VERSIONS)}, not {version!r}")
    count = sum(STAGES[version])
    lengths = (count, count + 1)
    lists = parse(
        "resnet", config.removesuffix("-"), [lengths, lengths, lengths] if version == "50" else [lengths, lengths]
    )
    kernels, channels = lists[:2]
    strides = group_strides(STAGES[version], (1, 2, 2, 2))
    net = NetworkBuilder(f"resnet{version}", (batch_size, 3, input_size, input_size))
    x = net.max_pool(net.relu(net.conv(net.input, 64, 7, 2)), 3, 2)
    for i, width in enumerate(kept_channels(channels[:count], _base(version), strides, previous=64)):
        current = width or x.channels
        if version == "50":
            expansion = lists[2][i]
            middle = current // expansion
            y = net.relu(net.conv(x, middle, 1))
            y = net.relu(net.conv(y, middle, kernels[i], strides[i]))
            y = net.conv(y, middle * expansion, 1)
        else:
            y = net.relu(net.conv(x, current, kernels[i], strides[i]))
            y = net.conv(y, current, kernels[i])
        x = net.relu(net.add(y, _shortcut(net, x, y.channels, strides[i])))
    return net.finish(net.head(x))


def _shortcut(net: NetworkBuilder, x: Value, channels: int, stride: int) -> Value:
    return x if stride == 1 and x.channels == channels else net.conv(x, channels, 1, stride)


def unscaled(version: str = "18") -> str:
    base = _base(version)
    lists = [[3] * len(base), base]
    return join(*lists, [4] * len(base)) if version == "50" else join(*lists)


def draw(rng: random.Random, version: str = "18") -> str:
    base = _base(version)
    lists = [picks(rng, (3, 5, 7), len(base)), scaled(rng, base, grid(0.2, 1.2))]
    return join(*lists, [4 * k for k in picks(rng, (2, 4), len(base))]) if version == "50" else join(*lists)
