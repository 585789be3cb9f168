"""Single products of matrices, attention, recurrent layers, normalisations, softmax."""

from __future__ import annotations

from collections.abc import Mapping

from narformer.families.drawn.convolutions import Kind, image
from narformer.families.drawn.draw import Draw
from narformer.families.drawn.layers import (
    USUAL,
    activation,
    attend,
    batch_norm,
    group_norm,
    heads_apart,
    heads_together,
    instance_norm,
    layer_norm,
    linear,
    matmul,
    recurrent,
    rms_norm,
)
from narformer.families.drawn.network import Network

_EINSUMS = ("bhid,bhjd->bhij", "bhij,bhjd->bhid", "bid,bjd->bij", "bci,bcj->bij", "bhwc,hkc->bhwk", "bij,bj->bi")


def fully_connected(net: Network, draw: Draw) -> None:
    """Few rows: weights are read once, and reading them is the time."""
    inputs = draw.channels(4, 4096)
    x = net.input(net.batch * draw.choice((1, 1, 1, 2, 5)), inputs)
    y = linear(net, x, draw.channels(1, min(4096, 12_000_000 // inputs)), bias=draw.chance(0.8))
    if draw.chance(0.4):
        activation(net, y, draw.choice(("relu", "gelu", "tanh", "sigmoid")))


def linear_layer(net: Network, draw: Draw) -> None:
    """A linear layer over a sequence."""
    inputs, length = draw.channels(8, 2048), draw.integer(2, 2048)
    outputs = max(min(int(draw.real(1e4, 8e8) / (inputs * length)), 4096), 4)
    y = linear(net, net.input(net.batch, length, inputs), outputs, bias=draw.chance(0.8))
    if draw.chance(0.4):
        activation(net, y, draw.choice(("relu", "gelu", "gelu", "swish")))


def matrix_product(net: Network, draw: Draw) -> None:
    """Two computed matrices for each of several heads."""
    heads, rows, inner = draw.integer(1, 32), draw.integer(1, 1024), draw.integer(4, 256)
    columns = max(min(int(draw.real(1e4, 4e8) / (heads * rows * inner)), 1024), 1)
    first = net.input(net.batch, heads, rows, inner)
    if draw.chance(0.5):
        second = net.transpose(net.input(net.batch, heads, columns, inner), 0, 1, 3, 2)
    else:
        second = net.input(net.batch, heads, inner, columns)
    matmul(net, first, second)


def attention(net: Network, draw: Draw) -> None:
    """Heads apart, attention, heads together; lengths of queries and keys alike or not."""
    heads, head = draw.integer(1, 16), draw.choice((8, 16, 24, 32, 48, 64, 64, 80, 128))
    length = draw.integer(2, 1024)
    keys = length if draw.chance(0.7) else draw.integer(1, 1024)
    query = heads_apart(net, net.input(net.batch, length, heads * head), heads)
    key, value = (heads_apart(net, net.input(net.batch, keys, heads * head), heads) for _ in range(2))
    mask = net.input(net.batch, 1, 1, keys) if draw.chance(0.3) else None
    heads_together(net, attend(net, query, key, value, mask))


def einsum(net: Network, draw: Draw) -> None:
    equation = draw.choice(_EINSUMS)
    sides = {letter: draw.integer(4, 128) for letter in "hijdcwk"} | {"b": net.batch}
    operands, _, result = equation.partition("->")
    inputs = [net.input(*(sides[letter] for letter in operand)) for operand in operands.split(",")]
    net.node("Einsum", inputs, *(sides[letter] for letter in result), equation=equation)


def softmax(net: Network, draw: Draw) -> None:
    elements, length = draw.real(1e3, 4e6), draw.integer(2, 4096)
    shape = [net.batch, *draw.shape(max(elements / length, 1), draw.choice((1, 2)))]
    if draw.chance(0.75):
        x, axis = net.input(*shape, length), -1
    else:
        x, axis = net.input(*shape[:-1], length, shape[-1]), len(shape) - 1
    net.same("LogSoftmax" if draw.chance(0.15) else "Softmax", x, axis=axis)


def layer_normalization(net: Network, draw: Draw) -> None:
    width = draw.channels(4, 2048)
    x = net.input(net.batch, max(round(draw.real(2, 2e6 / width)), 1), width)
    layer_norm(net, net.same("Add", x, net.input(*x.shape)) if draw.chance(0.3) else x)


def rms_normalization(net: Network, draw: Draw) -> None:
    width = draw.channels(4, 2048)
    rms_norm(net, net.input(net.batch, max(round(draw.real(2, 1e6 / width)), 1), width))


def instance_normalization(net: Network, draw: Draw) -> None:
    channels = draw.channels(1, 512)
    instance_norm(net, image(net, draw, channels, draw.real(100, 2e6 / channels)))


def group_normalization(net: Network, draw: Draw) -> None:
    groups = draw.choice((1, 2, 4, 8, 16, 32))
    channels = groups * draw.integer(1, 32)
    group_norm(net, image(net, draw, channels, draw.real(4, max(2e6 / channels, 5))), groups)


def batch_normalization(net: Network, draw: Draw) -> None:
    """Alone: with no convolution before it, it cannot be folded."""
    channels = draw.channels(1, 1024)
    y = batch_norm(net, image(net, draw, channels, draw.real(9, 2e6 / channels)))
    if draw.chance(0.4):
        activation(net, y, draw.choice(USUAL))


def _recurrent(op: str) -> Kind:
    def kind(net: Network, draw: Draw) -> None:
        hidden, length, layers = draw.channels(4, 512), draw.integer(1, 200), draw.choice((1, 1, 1, 2, 3))
        length = max(min(length, int(4e8 / (layers * 8 * hidden**2))), 1)
        x = net.input(length, net.batch, draw.channels(1, 512))
        both_ways = draw.chance(0.35)
        for _ in range(layers):
            x = recurrent(net, x, op, hidden, both_ways)

    return kind


KINDS: Mapping[str, Kind] = {
    "fully connected": fully_connected,
    "linear over a sequence": linear_layer,
    "matrix product": matrix_product,
    "attention": attention,
    "einsum": einsum,
    "softmax": softmax,
    "layer normalization": layer_normalization,
    "RMS normalization": rms_normalization,
    "instance normalization": instance_normalization,
    "group normalization": group_normalization,
    "batch normalization": batch_normalization,
    "LSTM": _recurrent("LSTM"),
    "GRU": _recurrent("GRU"),
}
