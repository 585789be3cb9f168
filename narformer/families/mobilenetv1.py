"""MobileNetV1 variants: depthwise and pointwise convolutions in turn (Howard et al., 2017)."""

from __future__ import annotations

import random

import onnx

from narformer.families.builder import NetworkBuilder
from narformer.families.config import KERNELS, grid, join, parse, picks, scaled
from narformer.families.inverted import group_strides

BASE = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
STRIDES = group_strides((1, 2, 2, 6, 2), (1, 2, 2, 2, 2))
VERSIONS = ("",)


def build(config: str, version: str = "", batch_size: int = 1, input_size: int = 224) -> onnx.ModelProto:
    kernels, channels = parse("mobilenetv1", config, [(13, 14), (14,)])
    net = NetworkBuilder("mobilenetv1", (batch_size, 3, input_size, input_size))
    x = net.relu(net.conv(net.input, channels[0], kernels[0], 2))
    for i, stride in enumerate(STRIDES):
        x = net.relu(net.depthwise(x, kernels[i], stride))
        x = net.relu(net.conv(x, channels[i + 1], 1))
    return net.finish(net.head(x))


def unscaled(version: str = "") -> str:
    return join([3] * 13, BASE)


def draw(rng: random.Random, version: str = "") -> str:
    return join(picks(rng, KERNELS, 13), scaled(rng, BASE, grid(0.2, 1.8)))
