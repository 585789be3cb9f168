"""SqueezeNet variants: fire modules (Iandola et al., 2016)."""

from __future__ import annotations

import random

import onnx

from narformer.errors import DataError
from narformer.families.builder import NetworkBuilder
from narformer.families.config import KERNELS, grid, join, parse, picks, scaled

BASE = (64, 64, 128, 128, 192, 192, 256, 256)
POOLED = (0, 3, 7)  # fire modules that a max pool precedes
VERSIONS = ("",)


def squeezed(channels: int, base: int, config: str) -> int:
    """Width of a fire module's squeeze: int(base/4 · m) with the multiplier m that made `channels` = int(base · m)."""
    if channels == base:
        return base // 4
    for m in grid(0.2, 1.8):
        if int(base * m) == channels:
            return int(base / 4 * m)
    raise DataError(f"squeezenet config {config!r}: {channels} is not {base} times a multiplier from 0.2 to 1.8")


def build(config: str, version: str = "", batch_size: int = 1, input_size: int = 224) -> onnx.ModelProto:
    kernels, channels = parse("squeezenet", config, [(8,), (8,)])
    net = NetworkBuilder("squeezenet", (batch_size, 3, input_size, input_size))
    x = net.relu(net.conv(net.input, 96, 7, 2))
    for i, (kernel, width) in enumerate(zip(kernels, channels, strict=True)):
        if i in POOLED:
            x = net.max_pool(x, 3, 2)
        q = net.relu(net.conv(x, squeezed(width, BASE[i], config), 1))
        x = net.concat([net.relu(net.conv(q, width, 1)), net.relu(net.conv(q, width, kernel))])
    x = net.relu(net.conv(x, 512, 1))
    return net.finish(net.head(x))


def unscaled(version: str = "") -> str:
    return join([3] * 8, BASE)


def draw(rng: random.Random, version: str = "") -> str:
    return join(picks(rng, KERNELS, 8), scaled(rng, BASE, grid(0.2, 1.8)))
