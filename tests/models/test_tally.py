"""Tally: a roofline whose prices are tied, a correction, and sums."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from narformer.families.builder import NetworkBuilder
from narformer.frontends.onnx import read_onnx
from narformer.models.tally import Roofline, Tally, TallyConfig
from narformer.tokens import kernels
from narformer.tokens.packing import pack
from narformer.training.batching import to_tensors


def test_the_configuration_is_that_of_the_tokens() -> None:
    config = TallyConfig()
    assert (config.token_width, config.static_width) == (kernels.WIDTH, kernels.STATIC_WIDTH)
    assert (config.numbers, config.class_of) == (kernels.NUMBERS, tuple(kernels.CLASS_OF.values()))
    named = [kernels.KINDS[k] for k in (*config.unmoved, config.streamed, config.multiply)]
    assert named == ["input", "view", "fully connected", "multiply"]


def test_an_untrained_tally_is_a_roofline_and_its_parts_sum(resnet18: Path) -> None:
    tokens = kernels.tokenize(read_onnx(resnet18))
    model = Tally(TallyConfig(outputs=2)).eval()
    features, edges, graph, static = to_tensors(pack([tokens, tokens]), torch.device("cpu"))
    with torch.no_grad():
        latency = model(features, edges, graph, static)
        _, each = model.parts(features, edges, graph, static)
    work = np.expm1(20 * tokens.features[:, :3].astype(float))
    kinds = tokens.features[:, kernels.NUMBERS : kernels.NUMBERS + len(kernels.KINDS)]
    moves = 1 - kinds[:, [kernels.KINDS.index("input"), kernels.KINDS.index("view")]].sum(axis=1)
    work[:, 1] *= 1 - 0.7 * kinds[:, kernels.KINDS.index("fully connected")]  # a stream
    expected = ((work @ np.exp([-17.3, -15.4, -15.4])) * moves).sum() + np.exp(-4.6) * kinds.sum()
    np.testing.assert_allclose(latency[:2].numpy(), expected, rtol=1e-3)
    np.testing.assert_allclose(each[: len(tokens.features)].sum(0).numpy(), latency[0].numpy(), rtol=1e-5)


def test_a_node_within_anothers_kernel_takes_no_time_of_its_own(resnet18: Path) -> None:
    graph = read_onnx(resnet18)
    tokens = kernels.tokenize(graph)
    model = Tally(TallyConfig()).eval()
    with torch.no_grad():
        model.correction.bias.fill_(0.5)
        _, each = model.parts(*to_tensors(pack([tokens]), torch.device("cpu")))
    rectifiers = [k + 1 for k, node in enumerate(graph.nodes) if node.op == "Relu"]
    convolutions = [k + 1 for k, node in enumerate(graph.nodes) if node.op == "Conv"]
    assert (each[rectifiers] == 0).all()
    assert (each[convolutions] > 0).all()


def test_a_kind_never_seen_has_the_prices_of_its_class() -> None:
    roofline = Roofline(TallyConfig())
    add, other = kernels.KINDS.index("add"), kernels.KINDS.index("other")
    with torch.no_grad():
        roofline.by_class[:, kernels.ELEMENT_WISE] += 0.1
        roofline.by_kind[1, add] += 0.05
    price = roofline.prices()[..., 0]
    assert price[1, add] > price[1, other]
    torch.testing.assert_close(price[[0, 2, 3], add], price[[0, 2, 3], other])


def test_prices_that_differ_cost_and_the_constant_of_a_network_is_free() -> None:
    roofline = Roofline(TallyConfig())
    assert roofline.penalty(1000).item() < 1e-9
    with torch.no_grad():
        roofline.by_kind[3, kernels.KINDS.index("input")] = 1.0
    assert roofline.penalty(1000).item() < 1e-9
    with torch.no_grad():
        roofline.by_kind[1, kernels.KINDS.index("add")] = 1 / 20  # a factor e
    assert 1.5e-3 < roofline.penalty(1000).item() < 2e-3


def test_a_streamed_byte_costs_no_more_than_one_of_its_class() -> None:
    roofline = Roofline(TallyConfig())
    connected, dense = kernels.KINDS.index("fully connected"), kernels.KINDS.index("convolution")
    prices = roofline.prices()[1, :, 0]
    assert prices[connected].item() == pytest.approx(0.3 * prices[dense].item())
    with torch.no_grad():
        roofline.by_kind[1, connected] = 0.2
    prices = roofline.prices()[1, :, 0]
    assert prices[connected].item() == pytest.approx(prices[dense].item())


def test_training_leaves_empty_tokens_out_without_changing_the_answer(resnet18: Path) -> None:
    torch.manual_seed(0)
    batch = to_tensors(pack([kernels.tokenize(read_onnx(resnet18))]), torch.device("cpu"))
    model = Tally(TallyConfig(outputs=2, kind_dropout=0.0))
    with torch.no_grad():
        for parameter in (model.correction.weight, model.correction.bias):
            parameter.normal_(std=0.3)
        learning = model.train()(*batch)[:1]
        torch.testing.assert_close(model.eval()(*batch)[:1], learning)


def test_tiles_tell_windows_heights_and_sixteenths_of_octaves_apart() -> None:
    net = NetworkBuilder("tiny", (1, 3, 56, 56))
    value = net.conv(net.conv(net.conv(net.conv(net.input, 64, 3), 66, 3), 67, 5), 128, 3, stride=2)
    features = torch.from_numpy(kernels.tokenize(read_onnx(net.finish(value))).features)[1:]
    read, written = Roofline(TallyConfig()).tiles(features)
    three, five = (1 * 8 + 6) * 256, (2 * 8 + 6) * 256  # windows 3 and 5, height 56: nearest to 2⁶
    stride = (1 * 8 + 5) * 256
    assert read.tolist() == [three + 26, three + 96, five + 97, stride + 98]  # 3, 64, 66, 67 channels
    other = 6 * 8 * 256
    assert (written - other).tolist() == [three + 96, three + 97, five + 98, stride + 112]  # 64, 66, 67, 128


def test_a_factor_of_a_tile_is_of_its_convolutions_alone_and_costs(resnet18: Path) -> None:
    features = torch.from_numpy(kernels.tokenize(read_onnx(resnet18)).features)
    roofline = Roofline(TallyConfig())
    before = roofline(features)
    read, _ = roofline.tiles(features)
    with torch.no_grad():
        roofline.by_tile[read[1]] = math.log(2) / 4  # of the first convolution
    ratio = (roofline(features) / before.clamp_min(1e-12)).squeeze(1)
    assert ratio[1].item() == pytest.approx(2)
    assert ((ratio - 1).abs() < 1e-6).sum() == len(features) - 1 - (before == 0).sum()
    alone = roofline.penalty(1000).item()
    assert 9e-4 < alone < 1.2e-3  # (0.1 for the factor, 0.8 for a step up and one down) · ln 2, less the rounding at 0
    with torch.no_grad():
        roofline.by_tile[read[1] + 1] = math.log(2) / 4
    assert roofline.penalty(1000).item() - alone == pytest.approx(alone * 0.1 / 1.7, rel=1e-3)  # as high: no step more


def test_products_element_by_element_have_tiles_of_their_own_and_other_operators_have_none() -> None:
    net = NetworkBuilder("excited", (1, 96, 14, 14))
    value = net.add(net.squeeze_excite(net.input, 24), net.input)
    features = torch.from_numpy(kernels.tokenize(read_onnx(net.finish(value))).features)
    product, added = (features[:, kernels.NUMBERS + kernels.KINDS.index(k)].nonzero()[-1] for k in ("multiply", "add"))
    roofline = Roofline(TallyConfig())
    before = roofline(features)
    read, written = roofline.tiles(features)
    group = 5 * 8 + 4  # after five windows; height 14: nearest to 2⁴
    assert read[product].item() == group * 256 + 106  # 96 channels
    assert written[product].item() == (6 * 8 + group) * 256 + 106
    with torch.no_grad():
        roofline.by_tile[written[product]] = math.log(3) / 4
        roofline.by_tile[written[added]] = math.log(5) / 4
    ratio = (roofline(features) / before.clamp_min(1e-12)).squeeze(1)
    assert ratio[product].item() == pytest.approx(3)
    assert ratio[added].item() == pytest.approx(1)


def test_corrections_cost() -> None:
    model = Tally(TallyConfig())
    features = torch.zeros(3, model.config.token_width)
    features[:2, model.config.numbers + 1] = 1  # two convolutions, and a token without a kernel
    batch = (features, torch.zeros(2, 0, dtype=torch.long), torch.zeros(3, dtype=torch.long), torch.zeros(1, 4))
    model.train()(*batch)
    free = model.penalty(1000).item()
    with torch.no_grad():
        model.correction.bias.fill_(0.1)
    model(*batch)
    np.testing.assert_allclose(model.penalty(1000).item() - free, 0.1 * 0.1**2, rtol=1e-2)


def test_kernels_of_odd_widths_have_a_factor_of_their_own_by_kind() -> None:
    roofline = Roofline(TallyConfig())
    depthwise = kernels.KINDS.index("depthwise")
    with torch.no_grad():
        roofline.by_oddity[depthwise] = math.log(4) / 20
    count = len(kernels.KINDS)
    features = torch.zeros(count, kernels.WIDTH)
    features[:, :3] = 0.5
    features[:, kernels.NUMBERS : kernels.NUMBERS + count] = torch.eye(count)
    even = roofline(features)
    features[:, kernels.NUMBERS - 1] = 1
    odd = roofline(features)
    factors = torch.ones(count, 1)
    factors[depthwise] = 4
    torch.testing.assert_close(odd, even * factors)
    assert 1e-3 < roofline.penalty(1000).item() < 1.4e-3  # ln 4, less the rounding at 0
