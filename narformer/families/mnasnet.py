"""MnasNet variants: inverted residuals with relu, some with squeeze-and-excite (Tan et al., 2019)."""

from __future__ import annotations

import random

import onnx

from narformer.families.builder import NetworkBuilder
from narformer.families.config import grid, join, parse, picks, scaled
from narformer.families.inverted import inverted_residual, kept_channels

BASE = (24, 24, 40, 40, 80, 80, 80, 80, 112, 112, 160, 160, 160, 320)
STRIDES = (2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1)
SQUEEZE_EXCITE = (2, 3, 4, 9, 10, 11, 12, 13)
VERSIONS = ("",)


def build(config: str, version: str = "", batch_size: int = 1, input_size: int = 224) -> onnx.ModelProto:
    kernels, channels, expansions = parse("mnasnet", config, [(14, 15), (14,), (14, 15)])
    net = NetworkBuilder("mnasnet", (batch_size, 3, input_size, input_size))
    x = net.relu(net.conv(net.input, 32, 3, 2))
    x = net.conv(net.relu(net.depthwise(x, 3)), 16, 1)
    for i, width in enumerate(kept_channels(channels, BASE, STRIDES, previous=16)):
        expanded = x.channels * expansions[i]
        stride, squeeze_excite = STRIDES[i], i in SQUEEZE_EXCITE
        x = inverted_residual(net, x, kernels[i], width or x.channels, stride, expanded, net.relu, squeeze_excite)
    x = net.relu(net.conv(x, 1280, 1))
    return net.finish(net.head(x))


def unscaled(version: str = "") -> str:
    return join((3, 3, 5, 5, 5, 3, 3, 3, 3, 3, 3, 5, 5, 5), BASE, (6, 6, 3, 3, 3, 6, 6, 6, 6, 6, 6, 6, 6, 6))


def draw(rng: random.Random, version: str = "") -> str:
    return join(picks(rng, (3, 5, 7), 14), scaled(rng, BASE, grid(0.2, 1.8)), picks(rng, (3, 4, 6), 14))
