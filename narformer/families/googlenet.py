"""GoogLeNet variants: inception modules with fixed kernels (Szegedy et al., 2015)."""

from __future__ import annotations

import random

import onnx

from narformer.families.builder import NetworkBuilder, Value
from narformer.families.config import grid, join, parse, scaled

# Widths of the nine modules: 1x1; reduction and 3x3; reduction and 5x5; after the pool.
BASE = (
    (64, 128, 192, 160, 128, 112, 256, 256, 384),
    (96, 128, 96, 112, 128, 144, 160, 160, 192),
    (128, 192, 208, 224, 256, 288, 320, 320, 384),
    (16, 32, 16, 24, 24, 32, 32, 32, 48),
    (32, 96, 48, 64, 64, 64, 128, 128, 128),
    (32, 64, 64, 64, 64, 64, 128, 128, 128),
)
POOLED = (0, 2, 7)  # modules that a max pool precedes
VERSIONS = ("",)


def build(config: str, version: str = "", batch_size: int = 1, input_size: int = 224) -> onnx.ModelProto:
    lists = parse("googlenet", config, [(9,)] * 6)
    net = NetworkBuilder("googlenet", (batch_size, 3, input_size, input_size))

    def conv(x: Value, channels: int, kernel: int) -> Value:
        return net.relu(net.conv(x, channels, kernel))

    x = net.max_pool(net.relu(net.conv(net.input, 64, 7, 2)), 3, 2)
    x = conv(conv(x, 64, 1), 192, 3)
    for i, (a, b, c, d, e, f) in enumerate(zip(*lists, strict=True)):
        if i in POOLED:
            x = net.max_pool(x, 3, 2)
        branches = [
            conv(x, a, 1),
            conv(conv(x, b, 1), c, 3),
            conv(conv(x, d, 1), e, 5),
            conv(net.max_pool(x, 3, 1), f, 1),
        ]
        x = net.concat(branches)
    return net.finish(net.head(x))


def unscaled(version: str = "") -> str:
    return join(*BASE)


def draw(rng: random.Random, version: str = "") -> str:
    return join(*(scaled(rng, base, grid(0.2, 1.8)) for base in BASE))
