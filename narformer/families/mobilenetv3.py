"""MobileNetV3 variants, large and small: inverted residuals, some with squeeze-and-excite (Howard et al., 2019)."""

from __future__ import annotations

import random

import onnx

from narformer.errors import DataError
from narformer.families.builder import NetworkBuilder
from narformer.families.config import KERNELS, grid, join, parse, picks, scaled
from narformer.families.inverted import inverted_residual, kept_channels

# Base channels, squeeze-and-excite, hard-swish (else relu), stride; then the original's kernels and expanded widths.
LARGE = (
    (16, False, False, 1),
    (24, False, False, 2),
    (24, False, False, 1),
    (40, True, False, 2),
    (40, True, False, 1),
    (40, True, False, 1),
    (80, False, True, 2),
    *[(80, False, True, 1)] * 3,
    *[(112, True, True, 1)] * 2,
    (160, True, True, 2),
    *[(160, True, True, 1)] * 2,
)
SMALL = (
    (16, True, False, 2),
    (24, False, False, 2),
    (24, False, False, 1),
    (40, True, True, 2),
    *[(40, True, True, 1)] * 2,
    *[(48, True, True, 1)] * 2,
    (96, True, True, 2),
    *[(96, True, True, 1)] * 2,
)
BLOCKS = {"large": LARGE, "small": SMALL}
LAST = {"large": 1280, "small": 1024}
KERNELS_OF = {"large": (3, 3, 3, 5, 5, 5, 3, 3, 3, 3, 3, 3, 5, 5, 5), "small": (3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 5)}
EXPANDED = {
    "large": (16, 64, 72, 72, 120, 120, 240, 200, 184, 184, 480, 672, 672, 960, 960),
    "small": (16, 72, 88, 96, 240, 240, 120, 144, 288, 576, 576),
}
VERSIONS = tuple(BLOCKS)


def build(config: str, version: str = "large", batch_size: int = 1, input_size: int = 224) -> onnx.ModelProto:
    if version not in BLOCKS:
        raise DataError(f"mobilenetv3 has versions {', '.join(VERSIONS)}, not {version!r}")
    blocks = BLOCKS[version]
    count = len(blocks)
    lengths = (count, count + 1, count + 2)
    kernels, channels, expanded = parse("mobilenetv3", config, [lengths, lengths, lengths])
    net = NetworkBuilder(f"mobilenetv3_{version}", (batch_size, 3, input_size, input_size))
    x = net.hard_swish(net.conv(net.input, 16, 3, 2))
    base, strides = [b[0] for b in blocks], [b[3] for b in blocks]
    for i, width in enumerate(kept_channels(channels[:count], base, strides, previous=16)):
        _, squeeze_excite, hard_swish, stride = blocks[i]
        activation = net.hard_swish if hard_swish else net.relu
        x = inverted_residual(net, x, kernels[i], width or x.channels, stride, expanded[i], activation, squeeze_excite)
    x = net.hard_swish(net.conv(x, LAST[version], 1))
    return net.finish(net.head(x))


def unscaled(version: str = "large") -> str:
    return join(KERNELS_OF[version], [b[0] for b in BLOCKS[version]], EXPANDED[version])


def draw(rng: random.Random, version: str = "large") -> str:
    base = [b[0] for b in BLOCKS[version]]
    widths = scaled(rng, base, grid(0.2, 1.8))
    return join(picks(rng, KERNELS, len(base)), widths, scaled(rng, EXPANDED[version], grid(0.8, 1.8)))
