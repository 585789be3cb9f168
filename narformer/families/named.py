"""Named architectures beyond the thirteen families: what people deploy, with operators that no family has.

Each is rebuilt from its paper; config is the input size (pixels of a side, or tokens of a text).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import onnx
from onnx import TensorProto

from narformer.errors import DataError
from narformer.families.builder import NetworkBuilder, Value
from narformer.families.transformer import (
    OPSET,
    encoder_layer,
    gelu,
    layer_norm,
    linear,
    mean_of_tokens,
    positions_added,
    transpose,
)

Maker = Callable[[int, int], onnx.ModelProto]


def _image(name: str, batch: int, size: int) -> NetworkBuilder:
    return NetworkBuilder(name, (batch, 3, size, size), OPSET)


def _swish(net: NetworkBuilder, x: Value) -> Value:
    return net.multiply(x, net.node("Sigmoid", [x.name], x.shape))


def _classifier(net: NetworkBuilder, x: Value) -> onnx.ModelProto:
    pooled = net.flatten(net.global_average_pool(x))
    return net.finish(net.fully_connected(pooled, 1000, bias=True))


def _efficientnet(width: float, depth: float, batch: int, size: int) -> onnx.ModelProto:
    """EfficientNet (Tan and Le, 2019): MobileNetV2's blocks with swish and squeeze-and-excite, scaled."""

    def channels(base: float) -> int:
        near = max(8, int(base * width + 4) // 8 * 8)
        return near + 8 if near < 0.9 * base * width else near

    net = _image("efficientnet", batch, size)
    x = _swish(net, net.conv(net.input, channels(32), 3, 2))
    for expansion, base, repeats, stride, kernel in (
        (1, 16, 1, 1, 3),
        (6, 24, 2, 2, 3),
        (6, 40, 2, 2, 5),
        (6, 80, 3, 2, 3),
        (6, 112, 3, 1, 5),
        (6, 192, 4, 2, 5),
        (6, 320, 1, 1, 3),
    ):
        for repeat in range(math.ceil(repeats * depth)):
            step = stride if repeat == 0 else 1
            y = x if expansion == 1 else _swish(net, net.conv(x, x.channels * expansion, 1))
            y = _swish(net, net.depthwise(y, kernel, step))
            gate = _swish(net, net.conv(net.global_average_pool(y), max(1, x.channels // 4), 1))
            gate = net.conv(gate, y.channels, 1)
            y = net.multiply(y, net.node("Sigmoid", [gate.name], gate.shape))
            y = net.conv(y, channels(base), 1)
            x = net.add(x, y) if y.shape == x.shape else y
    return _classifier(net, _swish(net, net.conv(x, channels(1280), 1)))


def _resnet(sizes: tuple[int, ...], groups: int, width: int, batch: int, size: int) -> onnx.ModelProto:
    """Bottleneck ResNets, grouped (ResNeXt: Xie et al., 2017) or wide (Zagoruyko and Komodakis, 2016)."""
    net = _image("resnet", batch, size)
    x = net.max_pool(net.relu(net.conv(net.input, 64, 7, 2, padding=3)), 3, 2, padding=1)
    for stage, repeats in enumerate(sizes):
        for repeat in range(repeats):
            stride = 2 if stage and not repeat else 1
            middle, out = groups * width * 2**stage, 256 * 2**stage
            y = net.relu(net.conv(x, middle, 1))
            y = net.relu(net.conv(y, middle, 3, stride, groups=groups, padding=1))
            y = net.conv(y, out, 1)
            shortcut = net.conv(x, out, 1, stride) if repeat == 0 else x
            x = net.relu(net.add(y, shortcut))
    return _classifier(net, x)


def _regnet(
    widths: tuple[int, ...], depths: tuple[int, ...], group: int, se: bool, batch: int, size: int
) -> onnx.ModelProto:
    """RegNetX, and with squeeze-and-excite RegNetY (Radosavovic et al., 2020)."""
    net = _image("regnet", batch, size)
    x = net.relu(net.conv(net.input, 32, 3, 2, padding=1))
    for width, depth in zip(widths, depths, strict=True):
        for repeat in range(depth):
            stride, entering = (1, x.channels) if repeat else (2, x.channels)
            y = net.relu(net.conv(x, width, 1))
            y = net.relu(net.conv(y, width, 3, stride, groups=width // group, padding=1))
            if se:
                gate = net.conv(net.relu(net.conv(net.global_average_pool(y), entering // 4, 1)), width, 1)
                y = net.multiply(y, net.node("Sigmoid", [gate.name], gate.shape))
            y = net.conv(y, width, 1)
            x = net.relu(net.add(y, x if repeat else net.conv(x, width, 1, stride)))
    return _classifier(net, x)


def _convnext(depths: tuple[int, ...], width: int, batch: int, size: int) -> onnx.ModelProto:
    """ConvNeXt (Liu et al., 2022): depthwise 7×7, then LayerNorm and a GELU MLP with channels last."""

    def norm_first(x: Value) -> Value:
        return transpose(net, layer_norm(net, transpose(net, x, (0, 2, 3, 1))), (0, 3, 1, 2))

    net = _image("convnext", batch, size)
    x = norm_first(net.conv(net.input, width, 4, 4, valid=True))
    for stage, depth in enumerate(depths):
        if stage:
            x = net.conv(norm_first(x), 2 * x.channels, 2, 2, valid=True)
        for _ in range(depth):
            y = layer_norm(net, transpose(net, net.depthwise(x, 7), (0, 2, 3, 1)))
            y = linear(net, gelu(net, linear(net, y, 4 * x.channels)), x.channels)
            y = net.node("Mul", [y.name, net.weight((x.channels,))], y.shape)
            x = net.add(x, transpose(net, y, (0, 3, 1, 2)))
    pooled = net.flatten(net.global_average_pool(x))
    return net.finish(linear(net, layer_norm(net, pooled), 1000))


def _vit(width: int, layers: int, heads: int, patch: int, batch: int, size: int) -> onnx.ModelProto:
    """Vision transformer (Dosovitskiy et al., 2021), its tokens averaged at the end."""
    net = _image("vit", batch, size)
    x = net.conv(net.input, width, patch, patch, valid=True)
    x = transpose(net, net.reshape(x, (batch, width, x.shape[2] * x.shape[3])), (0, 2, 1))
    x = positions_added(net, x)
    for _ in range(layers):
        x = encoder_layer(net, x, heads)
    return net.finish(linear(net, mean_of_tokens(net, layer_norm(net, x)), 1000))


def _mixer(width: int, layers: int, patch: int, batch: int, size: int) -> onnx.ModelProto:
    """MLP-Mixer (Tolstikhin et al., 2021): MLPs over tokens and over channels in turn."""
    net = _image("mixer", batch, size)
    x = net.conv(net.input, width, patch, patch, valid=True)
    tokens = x.shape[2] * x.shape[3]
    x = transpose(net, net.reshape(x, (batch, width, tokens)), (0, 2, 1))
    for _ in range(layers):
        y = transpose(net, layer_norm(net, x), (0, 2, 1))
        y = linear(net, gelu(net, linear(net, y, width // 2)), tokens)
        x = net.add(x, transpose(net, y, (0, 2, 1)))
        x = net.add(x, linear(net, gelu(net, linear(net, layer_norm(net, x), 4 * width)), width))
    return net.finish(linear(net, mean_of_tokens(net, layer_norm(net, x)), 1000))


def _swin(width: int, depths: tuple[int, ...], window: int, batch: int, size: int) -> onnx.ModelProto:
    """Swin (Liu et al., 2021): attention inside windows, merged patches between stages; windows are not shifted."""
    net = _image("swin", batch, size)
    x = net.conv(net.input, width, 4, 4, valid=True)
    side = x.shape[2]
    x = layer_norm(net, transpose(net, net.reshape(x, (batch, width, side * side)), (0, 2, 1)))
    for stage, depth in enumerate(depths):
        if stage:
            x = net.reshape(x, (batch, side // 2, 2, side // 2, 2 * width))
            side, width = side // 2, 2 * width
            x = net.reshape(transpose(net, x, (0, 1, 3, 2, 4)), (batch, side * side, 2 * width))
            x = net.node("MatMul", [layer_norm(net, x).name, net.weight((2 * width, width))], (*x.shape[:2], width))
        count = side // window
        for _ in range(depth):
            y = net.reshape(x, (batch, count, window, count, window * width))
            y = net.reshape(
                transpose(net, net.reshape(y, (batch, count, window, count, window, width)), (0, 1, 3, 2, 4, 5)),
                (batch * count * count, window * window, width),
            )
            y = encoder_layer(net, y, width // 32)
            y = net.reshape(y, (batch, count, count, window, window, width))
            x = net.reshape(transpose(net, y, (0, 1, 3, 2, 4, 5)), (batch, side * side, width))
    return net.finish(linear(net, mean_of_tokens(net, layer_norm(net, x)), 1000))


def _text_encoder(width: int, layers: int, vocabulary: int, batch: int, size: int) -> onnx.ModelProto:
    """BERT's encoder (Devlin et al., 2019): an embedding of token ids, then layers of width/64 heads."""
    net = NetworkBuilder("bert", (batch, size), OPSET, TensorProto.INT64)
    embedded = net.node("Gather", [net.weight((vocabulary, width)), "input"], (batch, size, width), axis=0)
    x = layer_norm(net, positions_added(net, embedded))
    for _ in range(layers):
        x = encoder_layer(net, x, width // 64)
    return net.finish(linear(net, mean_of_tokens(net, x), width))


def _unet(width: int, depth: int, batch: int, size: int) -> onnx.ModelProto:
    """U-Net (Ronneberger et al., 2015), padded, with transposed convolutions on the way up."""

    def twice(x: Value, channels: int) -> Value:
        return net.relu(net.conv(net.relu(net.conv(x, channels, 3)), channels, 3))

    net = _image("unet", batch, size)
    x, skips = net.input, []
    for level in range(depth):
        x = twice(x, width * 2**level)
        skips.append(x)
        x = net.max_pool(x, 2, 2)
    x = twice(x, width * 2**depth)
    for level in reversed(range(depth)):
        channels = width * 2**level
        weights = [net.weight((x.channels, channels, 2, 2)), net.weight((channels,))]
        shape = (batch, channels, 2 * x.shape[2], 2 * x.shape[3])
        up = net.node("ConvTranspose", [x.name, *weights], shape, kernel_shape=(2, 2), strides=(2, 2))
        x = twice(net.concat([skips[level], up]), channels)
    return net.finish(net.conv(x, 2, 1))


def _detector(width: int, batch: int, size: int) -> onnx.ModelProto:
    """A one-stage detector in the manner of YOLOv3-tiny (Redmon and Farhadi, 2018): Darknet, two scales, upsampling."""

    def leaky(x: Value) -> Value:
        return net.node("LeakyRelu", [x.name], x.shape, alpha=0.1)

    net = _image("detector", batch, size)
    x = leaky(net.conv(net.input, width, 3))
    levels = []
    for level in range(1, 6):
        x = leaky(net.conv(net.max_pool(x, 2, 2), width * 2**level, 3))
        levels.append(x)
    low = leaky(net.conv(leaky(net.conv(x, width * 64, 3)), width * 16, 1))
    large = net.conv(leaky(net.conv(low, width * 32, 3)), 255, 1)
    y = leaky(net.conv(low, width * 8, 1))
    shape = (batch, y.channels, 2 * y.shape[2], 2 * y.shape[3])
    scales = net.constant(np.array([1, 1, 2, 2], dtype=np.float32))
    y = net.node("Resize", [y.name, "", scales], shape, mode="nearest")
    small = net.conv(leaky(net.conv(net.concat([y, levels[3]]), width * 16, 3)), 255, 1)
    flat = [net.reshape(v, (batch, 255, v.shape[2] * v.shape[3])) for v in (large, small)]
    total = net.node("Concat", [v.name for v in flat], (batch, 255, sum(v.shape[2] for v in flat)), axis=2)
    return net.finish(net.node("Sigmoid", [total.name], total.shape))


def _super_resolution(width: int, batch: int, size: int) -> onnx.ModelProto:
    """Sub-pixel convolution to four times the pixels (Shi et al., 2016), eight residual blocks before it."""
    net = _image("super_resolution", batch, size)
    x = net.conv(net.input, width, 3)
    for _ in range(8):
        x = net.add(x, net.conv(net.relu(net.conv(x, width, 3)), width, 3))
    x = net.conv(x, 12, 3)
    return net.finish(net.node("DepthToSpace", [x.name], (batch, 3, 2 * size, 2 * size), blocksize=2))


_MAKERS: Mapping[str, tuple[Maker, tuple[int, ...]]] = {
    "efficientnet_b0": (partial(_efficientnet, 1.0, 1.0), (224, 160, 128, 192)),
    "efficientnet_b1": (partial(_efficientnet, 1.0, 1.1), (240, 160, 128)),
    "efficientnet_b2": (partial(_efficientnet, 1.1, 1.2), (260, 192, 128)),
    "efficientnet_b3": (partial(_efficientnet, 1.2, 1.4), (300, 192, 128)),
    "resnet101": (partial(_resnet, (3, 4, 23, 3), 1, 64), (224, 160, 128)),
    "resnet152": (partial(_resnet, (3, 8, 36, 3), 1, 64), (224, 128)),
    "resnext50_32x4d": (partial(_resnet, (3, 4, 6, 3), 32, 4), (224, 160, 128)),
    "resnext101_32x8d": (partial(_resnet, (3, 4, 23, 3), 32, 8), (224, 128)),
    "wide_resnet50_2": (partial(_resnet, (3, 4, 6, 3), 1, 128), (224, 160, 128)),
    "regnet_x_400mf": (partial(_regnet, (32, 64, 160, 400), (1, 2, 7, 12), 16, False), (224, 160, 128)),
    "regnet_y_400mf": (partial(_regnet, (48, 104, 208, 440), (1, 3, 6, 6), 8, True), (224, 160, 128)),
    "regnet_y_1.6gf": (partial(_regnet, (48, 120, 336, 888), (2, 6, 17, 2), 24, True), (224, 160)),
    "convnext_atto": (partial(_convnext, (2, 2, 6, 2), 40), (224, 160, 128)),
    "convnext_pico": (partial(_convnext, (2, 2, 6, 2), 64), (224, 160, 128)),
    "convnext_tiny": (partial(_convnext, (3, 3, 9, 3), 96), (224, 160, 128)),
    "vit_tiny_patch16": (partial(_vit, 192, 12, 3, 16), (224, 160, 256)),
    "vit_small_patch16": (partial(_vit, 384, 12, 6, 16), (224, 160, 256)),
    "vit_base_patch16": (partial(_vit, 768, 12, 12, 16), (224, 128)),
    "vit_small_patch32": (partial(_vit, 384, 12, 6, 32), (224, 384)),
    "mixer_s16": (partial(_mixer, 512, 8, 16), (224, 160)),
    "mixer_b16": (partial(_mixer, 768, 12, 16), (224, 160)),
    "swin_nano": (partial(_swin, 64, (2, 2, 2, 2), 7), (224, 448)),
    "swin_tiny": (partial(_swin, 96, (2, 2, 6, 2), 7), (224,)),
    "bert_tiny": (partial(_text_encoder, 128, 2, 30522), (128, 32, 64, 256, 512)),
    "bert_mini": (partial(_text_encoder, 256, 4, 30522), (128, 32, 64, 256, 512)),
    "bert_small": (partial(_text_encoder, 512, 4, 30522), (128, 32, 64, 256, 512)),
    "bert_medium": (partial(_text_encoder, 512, 8, 30522), (128, 32, 64, 256)),
    "bert_base": (partial(_text_encoder, 768, 12, 30522), (128, 32, 64, 256)),
    "unet_16": (partial(_unet, 16, 4), (256, 128, 192)),
    "unet_32": (partial(_unet, 32, 4), (256, 128, 192)),
    "unet_64": (partial(_unet, 64, 3), (128, 96)),
    "detector_8": (partial(_detector, 8), (416, 320, 224)),
    "detector_16": (partial(_detector, 16), (416, 320, 224)),
    "super_resolution_32": (partial(_super_resolution, 32), (128, 64, 96)),
    "super_resolution_64": (partial(_super_resolution, 64), (128, 64, 96)),
}
VERSIONS = tuple(_MAKERS)


def build(config: str, version: str, batch_size: int = 1, input_size: int | None = None) -> onnx.ModelProto:
    """The architecture `version` at the input size `config` (or `input_size`). Raises DataError for an unknown one."""
    if version not in _MAKERS:
        raise DataError(f"no architecture named {version!r}; known are {', '.join(VERSIONS)}")
    if not config.isdigit() or int(config) < 1:
        raise DataError(f"{version}: the config of a named architecture is its input size, not {config!r}")
    model = _MAKERS[version][0](batch_size, input_size or int(config))
    model.graph.name = version
    return model


def sizes(version: str) -> tuple[int, ...]:
    """Input sizes at which the architecture was measured, its own first."""
    return _MAKERS[version][1]


def unscaled(version: str) -> str:
    return str(sizes(version)[0])


def draw(rng: random.Random, version: str) -> str:
    return str(rng.choice(sizes(version)))
