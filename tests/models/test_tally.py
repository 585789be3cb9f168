"""Tally and its tokens: known answers, and sums."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from narformer.frontends.onnx import read_onnx
from narformer.models.tally import Tally, TallyConfig
from narformer.tokens import physical
from narformer.tokens.packing import pack
from narformer.training.batching import to_tensors


def test_the_configuration_is_that_of_the_tokens() -> None:
    config = TallyConfig()
    assert (config.token_width, config.static_width) == (physical.WIDTH, physical.STATIC_WIDTH)
    assert (config.numbers, config.classes, config.groups) == (
        physical.NUMBERS,
        len(physical.CLASSES),
        physical.COMMON,
    )


def test_tokens_of_the_first_convolution_of_resnet18(resnet18: Path) -> None:
    tokens = physical.tokenize(read_onnx(resnet18))
    row = tokens.features[1]  # after the input: 7×7, 3 -> 64 channels, stride 2, 224 -> 112
    macs, parameters = 112 * 112 * 64 * 3 * 49, 64 * 3 * 49
    traffic = 4 * (3 * 224 * 224 + 64 * 112 * 112 + parameters)
    np.testing.assert_allclose(np.expm1(20 * row[:2].astype(float)), [macs, traffic], rtol=2e-2)
    groups = list(physical.GROUPS)
    first = physical.NUMBERS
    assert row[first : first + 6].tolist() == [0, 1, 0, 0, 0, 0]
    one_hot = row[first + 6 : first + 6 + physical.COMMON]
    assert np.flatnonzero(one_hot).tolist() == [groups.index("convolution")]
    assert row[-5:].tolist() == [0, 0, 0, 1, 0]  # kernel 1, 3, 5, 7, other


def test_an_untrained_tally_is_a_roofline_and_its_parts_sum(resnet18: Path) -> None:
    tokens = physical.tokenize(read_onnx(resnet18))
    model = Tally(TallyConfig(outputs=2)).eval()
    features, edges, graph, static = to_tensors(pack([tokens, tokens]), torch.device("cpu"))
    with torch.no_grad():
        latency = model(features, edges, graph, static)
        _, each = model.parts(features, edges, graph, static)
    work = np.expm1(20 * tokens.features[:, :2].astype(float))
    expected = (work[:, 0] * 1e-7 + work[:, 1] * 2e-7 + 1e-3).sum()
    np.testing.assert_allclose(latency[:2].numpy(), expected, rtol=1e-3)
    np.testing.assert_allclose(each[: len(tokens.features)].sum(0).numpy(), latency[0].numpy(), rtol=1e-5)


def test_an_operator_never_seen_has_a_class_and_no_group() -> None:
    assert set(physical._CLASS_OF) == set(physical.GROUPS)
    assert physical._GROUP["HardSwish"] >= physical.COMMON
    assert physical._CLASS[physical._OTHER] == physical.CLASSES.index("element-wise")
