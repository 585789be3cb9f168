"""ShuffleNetV2 variants: split, depthwise, concatenate, shuffle (Ma et al., 2018)."""

from __future__ import annotations

import random

import onnx

from narformer.errors import DataError
from narformer.families.builder import NetworkBuilder
from narformer.families.config import grid, join, parse, picks, scaled

GROUPS = (4, 8, 4)
UNITS = sum(GROUPS)
BASE = (24, *[116] * 4, *[232] * 8, *[464] * 4, 1024)
VERSIONS = ("",)


def build(config: str, version: str = "", batch_size: int = 1, input_size: int = 224) -> onnx.ModelProto:
    sizes, _, scales_text = config.rpartition("-")
    kernels, channels = parse("shufflenetv2", sizes, [(UNITS, UNITS + 1, UNITS + 2), (UNITS + 2,)])
    try:
        scales = [float(number) for number in scales_text.split("_")]
    except ValueError as error:
        raise DataError(f"shufflenetv2 config {config!r}: the third list holds numbers joined by `_`") from error
    if len(scales) < UNITS:
        raise DataError(f"shufflenetv2 config {config!r}: the third list needs at least {UNITS} scales")
    net = NetworkBuilder("shufflenetv2", (batch_size, 3, input_size, input_size))
    x = net.max_pool(net.relu(net.conv(net.input, channels[0], kernels[0], 2)), 3, 2)
    unit = 0
    for size in GROUPS:
        for place in range(size):
            first = place == 0
            kernel = kernels[unit]
            width = channels[unit + 1] if first else x.channels
            half = width // 2
            middle = int(half * scales[unit])
            if first:
                left = net.relu(net.conv(net.depthwise(x, kernel, 2), half, 1))
                right = x
            else:
                right, left = net.split_halves(x)
            right = net.relu(net.conv(right, middle, 1))
            right = net.depthwise(right, kernel, 2 if first else 1)
            right = net.relu(net.conv(right, half, 1))
            x = net.channel_shuffle(net.concat([left, right] if first else [right, left]), 2)
            unit += 1
    x = net.relu(net.conv(x, channels[UNITS + 1], 1))
    return net.finish(net.head(x))


def unscaled(version: str = "") -> str:
    return join([3] * UNITS, BASE, [1] * UNITS)


def draw(rng: random.Random, version: str = "") -> str:
    scales = [rng.choice(grid(0.2, 1.8)) for _ in range(UNITS)]
    return join(picks(rng, (3, 5, 7, 9), UNITS), scaled(rng, BASE, grid(1.0, 1.8)), scales)
