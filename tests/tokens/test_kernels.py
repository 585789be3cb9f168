"""Tokens of kernels: which nodes run together, and known answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from narformer.families.builder import NetworkBuilder, Value
from narformer.families.registry import build
from narformer.frontends.folding import fold_batch_norm
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph
from narformer.tokens import kernels, physical
from narformer.tokens.packing import Tokens
from narformer.tokens.raw import RawNodes, raw_nodes

Layers = Callable[[NetworkBuilder, Value], Value]


def _graph(layers: Layers) -> Graph:
    net = NetworkBuilder("tiny", (1, 8, 16, 16))
    return read_onnx(net.finish(layers(net, net.input)))


def _kinds(tokens: Tokens) -> list[str]:
    """The kind of each token, "" where it has none."""
    kind = tokens.features[:, kernels.NUMBERS : kernels.NUMBERS + len(kernels.KINDS)]
    return [kernels.KINDS[row.argmax()] if row.any() else "" for row in kind]


def _edges(tokens: Tokens) -> list[tuple[int, int]]:
    return sorted(map(tuple, tokens.edges.T.tolist()))


def test_a_hard_swish_is_one_kernel_of_its_own() -> None:
    graph = _graph(lambda net, x: net.conv(net.hard_swish(net.conv(x, 8, 3)), 8, 1))
    assert [n.op for n in graph.nodes] == ["Conv", "Add", "Clip", "Div", "Mul", "Conv"]
    tokens = kernels.tokenize(graph)
    assert _kinds(tokens) == ["input", "convolution", "", "", "", "smooth activation", "pointwise"]
    assert _edges(tokens) == [(0, 1), (1, 5), (5, 6)]
    assert not tokens.features[2:5].any()
    moved = np.expm1(20 * float(tokens.features[5, 1]))
    assert moved == pytest.approx(2 * 4 * 8 * 16 * 16, rel=1e-4)  # read once, written once


def test_a_rectifier_runs_within_what_it_alone_reads_and_leaves_a_mark() -> None:
    graph = _graph(lambda net, x: net.relu6(net.conv(net.relu(net.conv(x, 8, 3)), 8, 3)))
    tokens = kernels.tokenize(graph)
    assert _kinds(tokens) == ["input", "convolution", "", "convolution", ""]
    assert _edges(tokens) == [(0, 1), (1, 3)]
    assert tokens.features[[1, 3], -2:].tolist() == [[1, 0], [0, 1]]


def test_a_rectifier_of_what_others_read_too_is_alone() -> None:
    def layers(net: NetworkBuilder, x: Value) -> Value:
        y = net.conv(x, 8, 3)
        return net.add(net.relu(y), y)

    tokens = kernels.tokenize(_graph(layers))
    assert _kinds(tokens) == ["input", "convolution", "rectifier", "add"]
    assert _edges(tokens) == [(0, 1), (1, 2), (1, 3), (2, 3)]


def test_normalization_before_a_rectifier_is_no_smooth_activation() -> None:
    tokens = kernels.tokenize(_graph(lambda net, x: net.relu(net.batch_norm(x))))
    assert _kinds(tokens) == ["input", "normalization", ""]


def test_squeeze_and_excite_keeps_its_product() -> None:
    tokens = kernels.tokenize(_graph(lambda net, x: net.squeeze_excite(net.conv(x, 8, 1), 2)))
    told = [kind for kind in _kinds(tokens) if kind]
    gate = ["global pool", "fully connected", "fully connected", "smooth activation", "multiply"]
    assert told == ["input", "pointwise", *gate]


def test_weights_that_serve_one_position_count_as_bytes_moved() -> None:
    tokens = kernels.tokenize(_graph(lambda net, x: net.head(x, 10)))
    row = tokens.features[-1]
    assert _kinds(tokens)[-1] == "fully connected"
    np.testing.assert_allclose(np.expm1(20 * row[:3].astype(float)), [80, 4 * (8 + 10 + 80), 0], rtol=1e-4)


def test_tokens_of_the_first_convolution_of_resnet18(resnet18: Path) -> None:
    row = kernels.tokenize(fold_batch_norm(read_onnx(resnet18))).features[1]  # 7×7, 3 -> 64, stride 2, 224 -> 112
    parameters = 64 * 3 * 49
    work = [112 * 112 * parameters, 4 * (3 * 224 * 224 + 64 * 112 * 112), 4 * (parameters + 64)]
    np.testing.assert_allclose(np.expm1(20 * row[:3].astype(float)), work, rtol=1e-4)
    assert row[-7:].tolist() == [0, 0, 0, 1, 0, 1, 0]  # window 1, 3, 5, 7, other; rectifier and clip within


@pytest.mark.parametrize(("channels", "odd"), [(12, 0), (14, 1), (3, 0), (64, 0)])
def test_an_odd_number_of_channels_read_is_the_last_number(channels: int, odd: int) -> None:
    tokens = kernels.tokenize(_graph(lambda net, x: net.depthwise(net.conv(x, channels, 1), 3)))
    assert tokens.features[:, kernels.NUMBERS - 1].tolist() == [0, 0, odd]  # the input has eight


def test_a_batch_has_the_tokens_of_its_networks() -> None:
    graphs = [read_onnx(build(f, _unscaled(f), v)) for f, v in (("mobilenetv3", "small"), ("squeezenet", ""))]
    raws = [raw_nodes(g) for g in graphs]
    size = len(raws[0])
    joint = kernels.fused(
        RawNodes(
            *(np.concatenate([getattr(r, name) for r in raws]) for name in ("operation", "attributes", "shapes")),
            np.concatenate([raws[0].edges, raws[1].edges + size], axis=1),
            np.concatenate([physical.node_work(g) for g in graphs]),
        )
    )
    first, second = (kernels.tokenize(g) for g in graphs)
    assert np.array_equal(kernels.features(joint), np.concatenate([first.features, second.features]))
    assert np.array_equal(joint.edges, np.concatenate([first.edges, second.edges + size], axis=1))


def _unscaled(family: str) -> str:
    from narformer.families import mobilenetv3, squeezenet

    return mobilenetv3.unscaled("small") if family == "mobilenetv3" else squeezenet.unscaled()


def test_every_group_of_operators_has_a_kind_and_raw_numbers_need_work() -> None:
    assert len(kernels._KIND_OF_GROUP) == len(physical.GROUPS)
    graph = _graph(lambda net, x: net.relu(x))
    with pytest.raises(ValueError, match="work"):
        kernels.fused(raw_nodes(graph))
