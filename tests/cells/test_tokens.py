"""The NeRF code of cells, against a scalar loop in the same precision."""

from __future__ import annotations

import numpy as np

from narformer.cells.tokens import WIDTH, features, nerf_code


def test_the_code_interleaves_sine_and_cosine_of_linear_frequencies() -> None:
    code = nerf_code(3)
    step = (2.0**31 - 1) / 31
    for k in (0, 1, 31):
        angle = np.float32(3) * np.float32(np.pi) * np.float32(1 + k * step)
        assert angle.dtype == np.float32
        np.testing.assert_allclose(code[2 * k : 2 * k + 2], [np.sin(angle), np.cos(angle)], atol=1e-6)
    np.testing.assert_allclose(code[:2], [0, -1], atol=1e-5)


def test_zero_is_zero_and_one() -> None:
    assert nerf_code(0).tolist() == [0, 1] * 32


def test_a_token_is_operation_then_position() -> None:
    tokens = features([0, 2, 4], [0, 1, 2])
    assert tokens.shape == (3, WIDTH)
    np.testing.assert_array_equal(tokens[1, :64], nerf_code(2))
    np.testing.assert_array_equal(tokens[1, 64:], nerf_code(1))
