"""NNLP's tokens, number by number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph, Node, Operand, Tensor
from narformer.tokens.nnlp import tokenize

X = Tensor((2, 4, 6, 5))


def test_a_convolution_token_is_scaled_by_the_published_table() -> None:
    weights = (Operand(Tensor((8, 2, 3, 3)), name="w"), Operand(Tensor((8,)), name="b"))
    attributes = {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1), "group": 2}
    node = Node("c", "Conv", (Operand(X, ~0), *weights), (Tensor((2, 8, 3, 3)),), attributes)
    token = tokenize(Graph((node,), (X,))).features[1]
    assert token[:32].tolist() == [1.0] + [0.0] * 31
    expected = [(3 - 2.53) / 56, (2 - 1.16) / 56, (1 - 0.75) / 6, 0, (2 - 15.08) / 6144, 1 - 0.77, 0, 0]
    np.testing.assert_allclose(token[32:40], expected, rtol=1e-6)
    shape = [(2 - 12.25) / 1024, (8 - 286.96) / 2496, (3 - 32.62) / 256, (3 - 31.80) / 256]
    np.testing.assert_allclose(token[40:], shape, rtol=1e-6)


def test_a_permutation_fills_all_slots_and_missing_dims_are_scaled_zeros() -> None:
    node = Node("t", "Transpose", (Operand(Tensor((3, 2)), ~0),), (Tensor((2, 3)),), {"perm": (1, 0)})
    token = tokenize(Graph((node,), (Tensor((3, 2)),))).features[1]
    np.testing.assert_allclose(token[32:40], (np.array([1, 0, 0, 0, 0, 0, 0, 0]) - 1.78) / 4, rtol=1e-6)
    np.testing.assert_allclose(token[42:], [-32.62 / 256, -31.80 / 256], rtol=1e-6)


def test_static_features_of_resnet18(resnet18: Path) -> None:
    tokens = tokenize(read_onnx(resnet18))
    assert tokens.features.shape == (70, 44)
    assert tokens.static.tolist() == pytest.approx([1, 3.636354048, 0.011699112, 0.01993])
