"""AlexNet variants: five convolutions, global average pool, three fully connected layers; no BatchNorm."""

from __future__ import annotations

import random

import onnx

from narformer.families.builder import NetworkBuilder
from narformer.families.config import KERNELS, grid, join, parse, picks, scaled

BASE = (64, 192, 384, 256, 256, 4096, 4096)
VERSIONS = ("",)


def build(config: str, version: str = "", batch_size: int = 1, input_size: int = 224) -> onnx.ModelProto:
    kernels, channels = parse("alexnet", config, [(5,), (7,)])
    net = NetworkBuilder("alexnet", (batch_size, 3, input_size, input_size))
    x = net.relu(net.conv(net.input, channels[0], kernels[0], 4, valid=True))
    x = net.max_pool(x, 3, 2)
    x = net.relu(net.conv(x, channels[1], kernels[1]))
    x = net.max_pool(x, 3, 2, valid=True)
    for i in (2, 3, 4):
        x = net.relu(net.conv(x, channels[i], kernels[i]))
    x = net.flatten(net.global_average_pool(net.max_pool(x, 3, 2, valid=True)))
    x = net.relu(net.fully_connected(x, channels[5]))
    x = net.relu(net.fully_connected(x, channels[6]))
    return net.finish(net.fully_connected(x, 1000))


def unscaled(version: str = "") -> str:
    return join((11, 5, 3, 3, 3), BASE)


def draw(rng: random.Random, version: str = "") -> str:
    return join(picks(rng, KERNELS, 5), scaled(rng, BASE, grid(0.2, 1.8)))
