"""MobileNetV2 variants: inverted residuals with relu6 (Sandler et al., 2018)."""

from __future__ import annotations

import random

import onnx

from narformer.families.builder import NetworkBuilder
from narformer.families.config import KERNELS, grid, join, parse, picks, scaled
from narformer.families.inverted import group_strides, inverted_residual, kept_channels

BLOCKS = (16, 24, 24, *[32] * 3, *[64] * 4, *[96] * 3, *[160] * 3, 320)
BASE = (32, *BLOCKS, 1280)
EXPANSIONS = (1, *[6] * 16)
STRIDES = group_strides((1, 2, 3, 4, 3, 3, 1), (1, 2, 2, 2, 1, 2, 1))
VERSIONS = ("",)


def build(config: str, version: str = "", batch_size: int = 1, input_size: int = 224) -> onnx.ModelProto:
    kernels, channels, expansions = parse("mobilenetv2", config, [(17, 18), (19,), (17, 18)])
    net = NetworkBuilder("mobilenetv2", (batch_size, 3, input_size, input_size))
    x = net.relu6(net.conv(net.input, channels[0], kernels[0], 2))
    for i, width in enumerate(kept_channels(channels[1:18], BLOCKS, STRIDES, previous=32)):
        expanded = x.channels * expansions[i]
        x = inverted_residual(net, x, kernels[i], width or x.channels, STRIDES[i], expanded, net.relu6)
    x = net.relu(net.conv(x, channels[18], 1))
    return net.finish(net.head(x))


def unscaled(version: str = "") -> str:
    return join([3] * 17, BASE, EXPANSIONS)


def draw(rng: random.Random, version: str = "") -> str:
    return join(picks(rng, KERNELS, 17), scaled(rng, BASE, grid(0.2, 1.8)), picks(rng, range(1, 9), 17))
