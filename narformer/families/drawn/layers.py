"""Layers as exporters write them, of any rank and any setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from narformer.families.drawn.network import Network, Value

Activation = Callable[[Network, Value], Value]


def conv(
    net: Network,
    x: Value,
    channels: int,
    kernel: int | Sequence[int],
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = True,
    padding: int | None = None,
) -> Value:
    """A convolution over all axes after the second, with half the (dilated) kernel as padding unless told."""
    rank = len(x.shape) - 2
    sides = (kernel,) * rank if isinstance(kernel, int) else tuple(kernel)
    pads = [dilation * (k - 1) // 2 if padding is None else padding for k in sides]
    size = [
        (length + 2 * pad - dilation * (k - 1) - 1) // stride + 1
        for length, pad, k in zip(x.shape[2:], pads, sides, strict=True)
    ]
    weights = [net.weight(channels, x.shape[1] // groups, *sides), *([net.weight(channels)] if bias else [])]
    return net.node(
        "Conv",
        [x, *weights],
        *(x.shape[0], channels, *size),
        kernel_shape=sides,
        strides=[stride] * rank,
        dilations=[dilation] * rank,
        pads=[*pads, *pads],
        group=groups,
    )


def depthwise(net: Network, x: Value, kernel: int, stride: int = 1, dilation: int = 1, bias: bool = True) -> Value:
    return conv(net, x, x.shape[1], kernel, stride, dilation, groups=x.shape[1], bias=bias)


def conv_transpose(net: Network, x: Value, channels: int, kernel: int, stride: int, groups: int = 1) -> Value:
    """Upsampling by the stride; the padding makes it exact where kernel - stride is even."""
    rank = len(x.shape) - 2
    pad = max(kernel - stride, 0) // 2
    size = [(length - 1) * stride + kernel - 2 * pad for length in x.shape[2:]]
    return net.node(
        "ConvTranspose",
        [x, net.weight(x.shape[1], channels // groups, *[kernel] * rank), net.weight(channels)],
        *(x.shape[0], channels, *size),
        kernel_shape=[kernel] * rank,
        strides=[stride] * rank,
        pads=[pad] * (2 * rank),
        group=groups,
    )


def pool(net: Network, x: Value, op: str, kernel: int, stride: int, padding: int = 0) -> Value:
    rank = len(x.shape) - 2
    size = [(length + 2 * padding - kernel) // stride + 1 for length in x.shape[2:]]
    return net.node(
        op,
        [x],
        *(*x.shape[:2], *size),
        kernel_shape=[kernel] * rank,
        strides=[stride] * rank,
        pads=[padding] * (2 * rank),
    )


def global_pool(net: Network, x: Value) -> Value:
    return net.node("GlobalAveragePool", [x], *x.shape[:2], *[1] * (len(x.shape) - 2))


def linear(net: Network, x: Value, features: int, bias: bool = True) -> Value:
    """x · W + b over the last axis: Gemm where x is a matrix, else MatMul and Add."""
    if len(x.shape) == 2:
        weights = [net.weight(features, x.shape[1]), *([net.weight(features)] if bias else [])]
        return net.node("Gemm", [x, *weights], x.shape[0], features, transB=1)
    y = net.node("MatMul", [x, net.weight(x.shape[-1], features)], *x.shape[:-1], features)
    return net.binary("Add", net.weight(features), y) if bias else y


def matmul(net: Network, x: Value, y: Value) -> Value:
    return net.node("MatMul", [x, y], *x.shape[:-1], y.shape[-1])


def layer_norm(net: Network, x: Value) -> Value:
    return net.same("LayerNormalization", x, *(net.weight(x.shape[-1]) for _ in range(2)), axis=-1, epsilon=1e-5)


def rms_norm(net: Network, x: Value) -> Value:
    """x / √(mean x² + ε) · weight, in six operators."""
    squared = net.same("Pow", x, net.constant(2.0))
    mean = net.reduce("ReduceMean", squared, [len(x.shape) - 1])
    root = net.same("Sqrt", net.same("Add", mean, net.constant(1e-6)))
    return net.same("Mul", net.same("Div", x, root), net.weight(x.shape[-1]))


def batch_norm(net: Network, x: Value) -> Value:
    return net.same("BatchNormalization", x, *(net.weight(x.shape[1]) for _ in range(4)))


def instance_norm(net: Network, x: Value) -> Value:
    return net.same("InstanceNormalization", x, *(net.weight(x.shape[1]) for _ in range(2)), epsilon=1e-5)


def group_norm(net: Network, x: Value, groups: int) -> Value:
    """As PyTorch exports it: an instance normalisation of the groups, then scale and shift of each channel."""
    batch, channels = x.shape[:2]
    grouped = net.reshape(x, batch, groups, x.elements // (batch * groups))
    weights = [net.constant([1.0] * groups), net.constant([0.0] * groups)]
    normal = net.reshape(net.same("InstanceNormalization", grouped, *weights, epsilon=1e-5), *x.shape)
    ones = [1] * (len(x.shape) - 2)
    return net.same("Add", net.same("Mul", normal, net.weight(channels, *ones)), net.weight(channels, *ones))


def gelu(net: Network, x: Value) -> Value:
    """x/2 · (1 + erf(x/√2))."""
    error = net.same("Erf", net.same("Div", x, net.constant(2**0.5)))
    scaled = net.same("Mul", x, net.same("Add", error, net.constant(1.0)))
    return net.same("Mul", scaled, net.constant(0.5))


def gelu_tanh(net: Network, x: Value) -> Value:
    """The approximation of GELU by tanh, in nine operators."""
    cube = net.same("Mul", net.same("Pow", x, net.constant(3.0)), net.constant(0.044715))
    inner = net.same("Mul", net.same("Add", x, cube), net.constant(0.7978845608))
    scaled = net.same("Mul", x, net.same("Add", net.same("Tanh", inner), net.constant(1.0)))
    return net.same("Mul", scaled, net.constant(0.5))


def swish(net: Network, x: Value) -> Value:
    return net.same("Mul", x, net.same("Sigmoid", x))


def mish(net: Network, x: Value) -> Value:
    return net.same("Mul", x, net.same("Tanh", net.same("Softplus", x)))


def relu6(net: Network, x: Value) -> Value:
    return net.same("Clip", x, net.constant(0.0), net.constant(6.0))


def prelu(net: Network, x: Value) -> Value:
    return net.same("PRelu", x, net.weight(x.shape[1], *[1] * (len(x.shape) - 2)))


def _standard(op: str, **attributes: float) -> Activation:
    return lambda net, x: net.same(op, x, **attributes)


def _power(exponent: float) -> Activation:
    return lambda net, x: net.same("Pow", x, net.constant(exponent))


ACTIVATIONS: Mapping[str, Activation] = {
    "relu": _standard("Relu"),
    "leaky relu": _standard("LeakyRelu", alpha=0.1),
    "prelu": prelu,
    "sigmoid": _standard("Sigmoid"),
    "tanh": _standard("Tanh"),
    "gelu": gelu,
    "gelu by tanh": gelu_tanh,
    "erf": _standard("Erf"),
    "hard swish": _standard("HardSwish"),
    "hard sigmoid": _standard("HardSigmoid", alpha=1 / 6, beta=0.5),
    "swish": swish,
    "mish": mish,
    "relu6": relu6,
    "elu": _standard("Elu"),
    "selu": _standard("Selu"),
    "softplus": _standard("Softplus"),
    "softsign": _standard("Softsign"),
    "exp": _standard("Exp"),
    "sqrt": _standard("Sqrt"),
    "log": _standard("Log"),
    "reciprocal": _standard("Reciprocal"),
    "abs": _standard("Abs"),
    "neg": _standard("Neg"),
    "floor": _standard("Floor"),
    "round": _standard("Round"),
    "sin": _standard("Sin"),
    "cos": _standard("Cos"),
    "square": _power(2.0),
    "cube": _power(3.0),
    "power 1.5": _power(1.5),
}
# Those that networks have between their layers.
USUAL = ("relu", "relu", "swish", "gelu", "hard swish", "relu6", "leaky relu", "prelu", "elu", "tanh", "mish")


def activation(net: Network, x: Value, name: str) -> Value:
    return ACTIVATIONS[name](net, x)


def squeeze_excite(net: Network, x: Value, squeezed: int, gate: str = "sigmoid") -> Value:
    """Channel weights from the global average (Hu et al., 2018)."""
    hidden = activation(net, conv(net, global_pool(net, x), squeezed, 1), "relu")
    return net.same("Mul", x, activation(net, conv(net, hidden, x.shape[1], 1), gate))


def heads_apart(net: Network, x: Value, heads: int) -> Value:
    """(N, L, D) -> (N, heads, L, D/heads)."""
    batch, length, width = x.shape
    return net.transpose(net.reshape(x, batch, length, heads, width // heads), 0, 2, 1, 3)


def heads_together(net: Network, x: Value) -> Value:
    """(N, heads, L, head) -> (N, L, heads · head)."""
    batch, heads, length, head = x.shape
    return net.reshape(net.transpose(x, 0, 2, 1, 3), batch, length, heads * head)


def attend(net: Network, query: Value, key: Value, value: Value, mask: Value | None = None) -> Value:
    """softmax(Q Kᵀ / √d + mask) V with (N, heads, L, head)."""
    scores = matmul(net, query, net.transpose(key, 0, 1, 3, 2))
    scores = net.same("Div", scores, net.constant(query.shape[-1] ** 0.5))
    if mask is not None:
        scores = net.same("Add", scores, mask)
    return matmul(net, net.same("Softmax", scores, axis=-1), value)


def recurrent(net: Network, x: Value, op: str, hidden: int, both_ways: bool = False) -> Value:
    """LSTM or GRU over (L, N, features) -> (L, N, hidden · directions)."""
    length, batch, features = x.shape
    gates, directions = {"LSTM": 4, "GRU": 3, "RNN": 1}[op], 1 + both_ways
    weights = [
        net.weight(directions, gates * hidden, features),
        net.weight(directions, gates * hidden, hidden),
        net.weight(directions, 2 * gates * hidden),
    ]
    settings: dict[str, Any] = {"linear_before_reset": 1} if op == "GRU" else {}
    direction = "bidirectional" if both_ways else "forward"
    y = net.node(
        op, [x, *weights], length, directions, batch, hidden, hidden_size=hidden, direction=direction, **settings
    )
    return net.reshape(net.transpose(y, 0, 2, 1, 3), length, batch, directions * hidden)


def resize(net: Network, x: Value, scale: float, mode: str = "nearest") -> Value:
    """Resize the spatial axes; linear as PyTorch's interpolate writes it."""
    size = [max(int(length * scale), 1) for length in x.shape[2:]]
    how: dict[str, str] = {"mode": mode, "coordinate_transformation_mode": "half_pixel"}
    if mode == "nearest":
        how = {"mode": mode, "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    whole = scale == int(scale)
    target = (
        [None, net.constant([1.0, 1.0, *[scale] * len(size)])]
        if whole
        else [None, None, net.integers(*x.shape[:2], *size)]
    )
    return net.node("Resize", [x, *target], *x.shape[:2], *size, **how)
