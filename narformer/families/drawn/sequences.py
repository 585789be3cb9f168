"""Random whole networks over sequences and vectors: encoders, decoders with caches, audio, mixers, small ones."""

from __future__ import annotations

from collections.abc import Mapping

from narformer.families.drawn.convolutions import Kind
from narformer.families.drawn.draw import Draw
from narformer.families.drawn.layers import (
    USUAL,
    activation,
    attend,
    conv,
    depthwise,
    heads_apart,
    heads_together,
    layer_norm,
    linear,
    pool,
    recurrent,
    rms_norm,
)
from narformer.families.drawn.network import Network, Value


def _block(net: Network, draw: Draw, x: Value, heads: int, other: Value | None, expansion: float, name: str) -> Value:
    """Attention over itself or another sequence, then two linear layers, each added to what it reads."""
    width = x.shape[-1]
    normal = layer_norm(net, x)
    read = normal if other is None else other
    query = heads_apart(net, linear(net, normal, width), heads)
    key, value = (heads_apart(net, linear(net, read, width), heads) for _ in range(2))
    x = net.same("Add", x, linear(net, heads_together(net, attend(net, query, key, value)), width))
    hidden = activation(net, linear(net, layer_norm(net, x), max(round(expansion * width), 4)), name)
    return net.same("Add", x, linear(net, hidden, width))


def _sizes(draw: Draw, most: int = 512) -> tuple[int, int]:
    """Heads and width."""
    heads = draw.choice((1, 2, 3, 4, 4, 6, 8, 8, 12))
    return heads, heads * max(min(draw.choice((16, 24, 32, 32, 48, 64, 64)), most // heads), 4)


def text_encoder(net: Network, draw: Draw) -> None:
    """An embedding, layers of attention, and the mean or first token classified."""
    heads, width = _sizes(draw)
    length = draw.integer(1, min(384, 120_000 // width))
    table = net.weight(draw.integer(100, 20_000), width)
    x = net.node("Gather", [table, net.input(net.batch, length, dtype="int64")], net.batch, length, width)
    x = layer_norm(net, net.same("Add", x, net.weight(1, length, width)))
    expansion, name = draw.real(1, 5), draw.choice(("gelu", "gelu", "relu", "gelu by tanh"))
    for _ in range(draw.integer(1, 5)):
        x = _block(net, draw, x, heads, None, expansion, name)
    linear(net, net.reduce("ReduceMean", x, (1,), keep=False), draw.integer(2, 1000))


def vision_encoder(net: Network, draw: Draw) -> None:
    """Patches of an image as a sequence."""
    heads, width = _sizes(draw, 384)
    patch, side = draw.choice((4, 8, 14, 16)), draw.integer(3, 18)
    x = conv(net, net.input(net.batch, 3, patch * side, patch * side), width, patch, patch, padding=0)
    x = net.transpose(net.reshape(x, net.batch, width, side**2), 0, 2, 1)
    x = net.same("Add", x, net.weight(1, side**2, width))
    expansion = draw.real(1.5, 4.5)
    for _ in range(draw.integer(1, 6)):
        x = _block(net, draw, x, heads, None, expansion, "gelu")
    linear(net, net.reduce("ReduceMean", layer_norm(net, x), (1,), keep=False), draw.integer(2, 1000))


def cross_attention(net: Network, draw: Draw) -> None:
    """Queries that read another sequence: a decoder of sets, or one of text without a cache."""
    heads, width = _sizes(draw, 384)
    x = net.input(net.batch, draw.integer(4, 128), width)
    memory = net.input(net.batch, draw.integer(8, 512), width)
    expansion = draw.real(1, 4)
    for _ in range(draw.integer(1, 4)):
        x = _block(net, draw, x, heads, None, 1, "relu") if draw.chance(0.5) else x
        x = _block(net, draw, x, heads, memory, expansion, draw.choice(("relu", "gelu")))
    linear(net, layer_norm(net, x), draw.integer(4, 300))


def decoder(net: Network, draw: Draw) -> None:
    """A step of a language model, or a few: keys and values of the past come in, longer ones go out."""
    heads, width = _sizes(draw)
    steps, past, head = draw.choice((1, 1, 1, 4, 16)), draw.integer(1, 1024), width // heads
    x = net.input(net.batch, steps, width)
    modern = draw.chance(0.5)
    norm = rms_norm if modern else layer_norm
    expansion = draw.real(2, 4)
    for _ in range(draw.integer(1, 4)):
        normal = norm(net, x)
        query, key, value = (heads_apart(net, linear(net, normal, width, not modern), heads) for _ in range(3))
        key = net.concat([net.input(net.batch, heads, past, head), key], 2)
        value = net.concat([net.input(net.batch, heads, past, head), value], 2)
        x = net.same("Add", x, linear(net, heads_together(net, attend(net, query, key, value)), width, not modern))
        inner, normal = max(round(expansion * width), 4), norm(net, x)
        if modern:
            gate = activation(net, linear(net, normal, inner, bias=False), "swish")
            hidden = net.same("Mul", gate, linear(net, normal, inner, bias=False))
        else:
            hidden = activation(net, linear(net, normal, inner), draw.choice(("gelu", "gelu by tanh", "relu")))
        x = net.same("Add", x, linear(net, hidden, width, not modern))
    if draw.chance(0.4):
        linear(net, norm(net, x), draw.integer(100, 8000), bias=False)


def mixer(net: Network, draw: Draw) -> None:
    """Linear layers over positions and over channels in turns."""
    length, width, name = draw.integer(12, 256), draw.channels(32, 512), draw.choice(("gelu", "relu", "swish"))
    x = net.input(net.batch, length, width)
    expansion = draw.real(0.5, 4)
    for _ in range(draw.integer(1, 6)):
        turned = net.transpose(layer_norm(net, x), 0, 2, 1)
        turned = linear(net, activation(net, linear(net, turned, max(round(expansion * length), 2)), name), length)
        x = net.same("Add", x, net.transpose(turned, 0, 2, 1))
        hidden = activation(net, linear(net, layer_norm(net, x), max(round(expansion * width), 2)), name)
        x = net.same("Add", x, linear(net, hidden, width))
    linear(net, net.reduce("ReduceMean", x, (1,), keep=False), draw.integer(2, 1000))


def perceptron(net: Network, draw: Draw) -> None:
    """Fully connected layers of any widths, with normalisation or skips by chance."""
    x, name = net.input(net.batch * draw.choice((1, 1, 1, 8, 64)), draw.channels(2, 1024)), draw.choice(USUAL)
    for _ in range(draw.integer(1, 8)):
        y = activation(net, linear(net, x, draw.channels(4, 1024)), "relu" if name == "prelu" else name)
        y = layer_norm(net, y) if draw.chance(0.2) else y
        x = net.same("Add", x, y) if x.shape == y.shape else y
    net.same(draw.choice(("Softmax", "Sigmoid", "Tanh")), linear(net, x, draw.integer(1, 100)))


def tiny(net: Network, draw: Draw) -> None:
    """Below a tenth of a millisecond: what calling operators costs is the time."""
    x = net.input(net.batch, draw.integer(1, 16), draw.integer(4, 32))
    for _ in range(draw.integer(1, 20)):
        way = draw.choice(("linear", "activation", "add", "norm", "conv", "turn", "part", "reduce"))
        if way == "linear":
            x = linear(net, x, draw.integer(1, 48))
        elif way == "activation":
            x = activation(net, x, draw.choice(("relu", "sigmoid", "tanh", "swish", "gelu", "exp", "abs")))
        elif way == "add":
            x = net.same(draw.choice(("Add", "Mul", "Sub")), x, net.weight(x.shape[-1]))
        elif way == "norm":
            x = layer_norm(net, x) if draw.chance(0.7) else net.same("Softmax", x, axis=-1)
        elif way == "conv":
            x = conv(net, x, draw.integer(1, 32), draw.choice((1, 3)))
        elif way == "turn":
            x = net.transpose(x, 0, 2, 1)
        elif way == "part" and x.shape[1] > 1:
            x = net.slice(x, 1, 0, draw.integer(1, x.shape[1] - 1))
        elif way == "reduce":
            x = net.binary("Sub", x, net.reduce("ReduceMean", x, (2,)))
    net.same("Relu", x)


def audio(net: Network, draw: Draw) -> None:
    """A spectrogram, convolutions over it, recurrent layers over time, a linear layer a step."""
    frames, bands, op = draw.integer(4, 200), draw.choice((40, 64, 80, 81, 128)), draw.choice(("GRU", "LSTM"))
    x, channels = net.input(net.batch, 1, frames, bands), draw.channels(4, 48)
    for _ in range(draw.integer(1, 3)):
        x = activation(net, conv(net, x, channels, 3), draw.choice(("relu", "swish", "elu")))
        x = net.node("MaxPool", [x], *x.shape[:3], x.shape[3] // 2, kernel_shape=[1, 2], strides=[1, 2])
    x = net.transpose(x, 2, 0, 1, 3)
    x = net.reshape(x, frames, net.batch, x.shape[2] * x.shape[3])
    hidden, both_ways = draw.channels(8, 256), draw.chance(0.5)
    for _ in range(draw.integer(1, 3)):
        x = recurrent(net, x, op, hidden, both_ways)
    net.same(draw.choice(("Sigmoid", "Softmax")), linear(net, x, draw.integer(2, 80)))


def waveform(net: Network, draw: Draw) -> None:
    """Samples, strided convolutions over them, then recurrent layers or dilated convolutions."""
    x = net.input(net.batch, 1, draw.integer(400, 16_000))
    channels = draw.channels(8, 128)
    for kernel, stride in ((10, 5), (8, 4), (4, 2))[: draw.integer(2, 3)]:
        x = activation(net, conv(net, x, channels, kernel, stride, padding=kernel // 2), "gelu")
    if draw.chance(0.5):
        y = net.transpose(x, 2, 0, 1)
        y = recurrent(net, y, draw.choice(("LSTM", "GRU")), min(channels, 96), draw.chance(0.3))
        linear(net, y, draw.integer(2, 64))
    else:
        _dilated(net, draw, x)


def _dilated(net: Network, draw: Draw, x: Value) -> Value:
    """Residual blocks of convolutions whose dilation doubles; depthwise or dense; gated or not."""
    channels, kernel, alone, gated = x.shape[1], draw.choice((3, 3, 5, 7)), draw.chance(0.4), draw.chance(0.3)
    for block in range(draw.integer(2, 8)):
        dilation = 1 << (block % 6)
        if alone:
            y = conv(net, depthwise(net, x, kernel, dilation=dilation), channels * (2 if gated else 1), 1)
        else:
            y = conv(net, x, channels * (2 if gated else 1), kernel, dilation=dilation)
        if gated:
            signal, gate = net.split(y, (channels, channels), 1)
            y = net.same("Mul", net.same("Tanh", signal), net.same("Sigmoid", gate))
        else:
            y = activation(net, y, "relu")
        x = net.same("Add", x, conv(net, y, channels, 1))
    return x


def temporal(net: Network, draw: Draw) -> None:
    """A temporal convolutional network over features, with a pool or a linear layer a step at the end."""
    x = net.input(net.batch, draw.channels(1, 128), draw.integer(8, 1500))
    x = _dilated(net, draw, conv(net, x, draw.channels(8, 192), 1))
    if draw.chance(0.3) and x.shape[2] > 4:
        x = pool(net, x, "AveragePool", 2, 2)
    conv(net, x, draw.integer(1, 100), 1)


def recurrent_text(net: Network, draw: Draw) -> None:
    """An embedding, recurrent layers, the last step classified."""
    length, width, hidden = draw.integer(1, 200), draw.channels(8, 300), draw.channels(8, 320)
    rows = net.weight(draw.integer(50, 20_000), width)
    x = net.node("Gather", [rows, net.input(length, net.batch, dtype="int64")], length, net.batch, width)
    op, both_ways = draw.choice(("LSTM", "GRU")), draw.chance(0.4)
    for _ in range(draw.integer(1, 3)):
        x = recurrent(net, x, op, hidden, both_ways)
    last = net.node("Gather", [x, net.constant(length - 1, "int64")], *x.shape[1:], axis=0)
    linear(net, last, draw.integer(2, 200))


def recommender(net: Network, draw: Draw) -> None:
    """Several embeddings and numbers, joined, and fully connected layers."""
    width = draw.channels(4, 64)
    parts = [linear(net, net.input(net.batch, draw.integer(1, 64)), width)]
    for _ in range(draw.integer(2, 20)):
        rows = net.weight(draw.integer(10, 20_000), width)
        parts.append(net.node("Gather", [rows, net.input(net.batch, dtype="int64")], net.batch, width))
    x = net.concat(parts, 1)
    if draw.chance(0.5):
        stacked = net.reshape(x, net.batch, len(parts), width)
        scores = net.node("MatMul", [stacked, net.transpose(stacked, 0, 2, 1)], net.batch, len(parts), len(parts))
        x = net.concat([x, net.reshape(scores, net.batch, len(parts) ** 2)], 1)
    for _ in range(draw.integer(1, 4)):
        x = activation(net, linear(net, x, draw.channels(8, 512)), "relu")
    net.same("Sigmoid", linear(net, x, 1))


KINDS: Mapping[str, Kind] = {
    "text encoder": text_encoder,
    "vision encoder": vision_encoder,
    "cross-attention": cross_attention,
    "decoder with a cache": decoder,
    "mixer": mixer,
    "perceptron": perceptron,
    "tiny network": tiny,
    "audio network": audio,
    "waveform network": waveform,
    "temporal convolutions": temporal,
    "recurrent text network": recurrent_text,
    "recommender": recommender,
}
