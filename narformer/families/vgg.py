"""VGG 11, 13, 16 and 19 variants: five stages of convolutions, global average pool, three fully connected layers."""

from __future__ import annotations

import random

import onnx

from narformer.families.builder import NetworkBuilder
from narformer.families.config import KERNELS, grid, join, parse, picks, scaled

STAGES = {"11": (1, 1, 2, 2, 2), "13": (2, 2, 2, 2, 2), "16": (2, 2, 3, 3, 3), "19": (2, 2, 4, 4, 4)}
WIDTHS = (64, 128, 256, 512, 512)
VERSIONS = tuple(STAGES)


def build(config: str, version: str = "16", batch_size: int = 1, input_size: int = 224) -> onnx.ModelProto:
    depth = sum(STAGES[version])
    kernels, channels = parse("vgg", config, [(depth, depth + 2), (depth + 2,)])
    net = NetworkBuilder(f"vgg{version}", (batch_size, 3, input_size, input_size))
    x, layer = net.input, 0
    for size in STAGES[version]:
        for _ in range(size):
            x = net.relu(net.conv(x, channels[layer], kernels[layer]))
            layer += 1
        x = net.max_pool(x, 2, 2, valid=True)
    x = net.flatten(net.global_average_pool(x))
    x = net.relu(net.fully_connected(x, channels[-2]))
    x = net.relu(net.fully_connected(x, channels[-1]))
    return net.finish(net.fully_connected(x, 1000))


def _base(version: str) -> list[int]:
    return [width for width, size in zip(WIDTHS, STAGES[version], strict=True) for _ in range(size)] + [4096, 4096]


def unscaled(version: str = "16") -> str:
    base = _base(version)
    return join([3] * len(base), base)


def draw(rng: random.Random, version: str = "16") -> str:
    base = _base(version)
    return join(picks(rng, KERNELS, len(base)), scaled(rng, base, grid(0.2, 1.8)))
