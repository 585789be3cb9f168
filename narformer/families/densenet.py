"""DenseNet-121 variants: every layer reads all layers before it (Huang et al., 2017)."""

from __future__ import annotations

import random

import onnx

from narformer.families.builder import NetworkBuilder
from narformer.families.config import grid, join, parse, picks, scaled

BLOCKS = (6, 12, 24, 16)
GROWTH = 32
VERSIONS = ("",)


def build(config: str, version: str = "", batch_size: int = 1, input_size: int = 224) -> onnx.ModelProto:
    layers = sum(BLOCKS)
    kernels, channels = parse("densenet", config, [(layers,), (layers,)])
    net = NetworkBuilder("densenet", (batch_size, 3, input_size, input_size))
    x = net.max_pool(net.relu(net.conv(net.input, 64, 7, 2)), 3, 2)
    layer = 0
    for size in BLOCKS:
        for _ in range(size):
            y = net.relu(net.batch_norm(x))
            y = net.relu(net.conv(y, 4 * channels[layer], 1))
            y = net.conv(y, channels[layer], kernels[layer])
            x = net.concat([x, y])
            layer += 1
        x = net.relu(net.batch_norm(x))
        x = net.average_pool(net.conv(x, x.channels // 2, 1), 2, 2)
    return net.finish(net.head(x))


def unscaled(version: str = "") -> str:
    return join([3] * sum(BLOCKS), [GROWTH] * sum(BLOCKS))


def draw(rng: random.Random, version: str = "") -> str:
    layers = sum(BLOCKS)
    return join(picks(rng, (1, 3, 5), layers), scaled(rng, [GROWTH] * layers, grid(0.2, 1.2)))
