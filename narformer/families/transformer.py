"""Layers of transformers, operator by operator, as PyTorch's exporter writes them."""

from __future__ import annotations

from narformer.families.builder import NetworkBuilder, Value

OPSET = 17  # the first with LayerNormalization


def linear(net: NetworkBuilder, x: Value, features: int) -> Value:
    """x · W + b on the last dimension, as MatMul and Add."""
    y = net.node("MatMul", [x.name, net.weight((x.shape[-1], features))], (*x.shape[:-1], features))
    return net.node("Add", [y.name, net.weight((features,))], y.shape)


def layer_norm(net: NetworkBuilder, x: Value) -> Value:
    weights = [net.weight((x.shape[-1],)) for _ in range(2)]
    return net.node("LayerNormalization", [x.name, *weights], x.shape, axis=-1, epsilon=1e-5)


def gelu(net: NetworkBuilder, x: Value) -> Value:
    """x/2 · (1 + erf(x/√2)) (Hendrycks and Gimpel, 2016)."""
    error = net.node("Erf", [net.node("Div", [x.name, net.scalar(2**0.5)], x.shape).name], x.shape)
    half = net.node("Mul", [x.name, net.node("Add", [error.name, net.scalar(1.0)], x.shape).name], x.shape)
    return net.node("Mul", [half.name, net.scalar(0.5)], x.shape)


def transpose(net: NetworkBuilder, x: Value, order: tuple[int, ...]) -> Value:
    return net.node("Transpose", [x.name], tuple(x.shape[axis] for axis in order), perm=order)


def attention(net: NetworkBuilder, x: Value, heads: int) -> Value:
    """Multi-head self-attention (Vaswani et al., 2017): (N, L, D) -> (N, L, D)."""
    batch, length, width = x.shape
    query, key, value = (
        transpose(net, net.reshape(linear(net, x, width), (batch, length, heads, width // heads)), (0, 2, 1, 3))
        for _ in range(3)
    )
    square = (batch, heads, length, length)
    scores = net.node("MatMul", [query.name, transpose(net, key, (0, 1, 3, 2)).name], square)
    scaled = net.node("Div", [scores.name, net.scalar((width // heads) ** 0.5)], square)
    weights = net.node("Softmax", [scaled.name], square, axis=-1)
    mixed = net.node("MatMul", [weights.name, value.name], value.shape)
    return linear(net, net.reshape(transpose(net, mixed, (0, 2, 1, 3)), x.shape), width)


def encoder_layer(net: NetworkBuilder, x: Value, heads: int, expansion: int = 4) -> Value:
    """Pre-norm: attention, then a GELU MLP, each added to what it reads."""
    x = net.add(x, attention(net, layer_norm(net, x), heads))
    hidden = gelu(net, linear(net, layer_norm(net, x), expansion * x.shape[-1]))
    return net.add(x, linear(net, hidden, x.shape[-1]))


def mean_of_tokens(net: NetworkBuilder, x: Value) -> Value:
    """(N, L, D) -> (N, D)."""
    return net.node("ReduceMean", [x.name], (x.shape[0], x.shape[2]), axes=(1,), keepdims=0)


def positions_added(net: NetworkBuilder, x: Value) -> Value:
    return net.node("Add", [x.name, net.weight((1, *x.shape[1:]))], x.shape)
