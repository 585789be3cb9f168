"""ProxylessNAS variants: twenty inverted residuals with relu6 (Cai et al., 2019)."""

from __future__ import annotations

import random

import onnx

from narformer.families.builder import NetworkBuilder
from narformer.families.config import grid, join, parse, picks, scaled
from narformer.families.inverted import group_strides, inverted_residual, kept_channels

BASE = (16, *[32] * 2, *[40] * 4, *[80] * 4, *[96] * 4, *[192] * 4, 320)
STRIDES = group_strides((1, 2, 4, 4, 4, 4, 1), (1, 2, 2, 2, 1, 2, 1))
KERNELS = (3, 5, 3, 7, 3, 5, 5, 7, *[5] * 7, *[7] * 5)
EXPANSIONS = (1, *[3] * 6, 6, 3, 3, 3, 6, 3, 3, 3, 6, 6, 3, 3, 6)
VERSIONS = ("",)


def build(config: str, version: str = "", batch_size: int = 1, input_size: int = 224) -> onnx.ModelProto:
    kernels, channels, expansions = parse("proxylessnas", config, [(20, 21), (20, 21), (20, 21)])
    net = NetworkBuilder("proxylessnas", (batch_size, 3, input_size, input_size))
    x = net.relu6(net.conv(net.input, 32, 3, 2))
    for i, width in enumerate(kept_channels(channels[:20], BASE, STRIDES, previous=None)):
        expanded = x.channels * expansions[i]
        x = inverted_residual(net, x, kernels[i], width or x.channels, STRIDES[i], expanded, net.relu6)
    x = net.relu(net.conv(x, 1280, 1))
    return net.finish(net.head(x))


def unscaled(version: str = "") -> str:
    return join(KERNELS, BASE, EXPANSIONS)


def draw(rng: random.Random, version: str = "") -> str:
    return join(picks(rng, (3, 5, 7), 20), scaled(rng, BASE, grid(0.2, 1.8)), picks(rng, (3, 6), 20))
