"""Convolutions and pools, and what they take in."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from narformer.graph import Graph

Read = Callable[[str], Graph]


def conv(read: Read, nodes: str, out: str = "float[1,4,8,8]") -> Graph:
    """A network over x of 8x8 positions with weights w, b and constants by channel s, t, m, v."""
    weights = "<float[4,3,3,3] w, float[4] b, float[4] s, float[4] t, float[4] m, float[4] v, float[4,1,1] c>"
    return read(f"g (float[1,3,8,8] x) => ({out} y) {weights} {{ {nodes} }}")


TAKEN_IN = [
    "a = Conv<pads = [1, 1, 1, 1]>(x, w) y = BatchNormalization(a, s, t, m, v)",
    "a = Conv<pads = [1, 1, 1, 1]>(x, w, b) y = BatchNormalization(a, s, t, m, v)",
    "a = Conv<pads = [1, 1, 1, 1]>(x, w) d = Mul(a, c) y = Add(d, c)",
    "a = Conv<pads = [1, 1, 1, 1]>(x, w) y = Add(c, a)",
    'a = Conv<auto_pad = "SAME_UPPER">(x, w, b) y = Identity(a)',
    "p = Constant<value_ints = [0, 0, 1, 1, 0, 0, 1, 1]>() a = Pad(x, p) y = Conv(a, w, b)",
]


@pytest.mark.parametrize("nodes", TAKEN_IN)
def test_scales_shifts_and_pads_become_part_of_a_convolution(canon: Read, nodes: str) -> None:
    (node,) = conv(canon, nodes).nodes
    assert node.op == "Conv"
    assert [operand.tensor.shape for operand in node.operands] == [(1, 3, 8, 8), (4, 3, 3, 3), (4,)]
    assert node.attributes == {
        "kernel_shape": (3, 3),
        "strides": (1, 1),
        "dilations": (1, 1),
        "group": 1,
        "pads": (1, 1, 1, 1),
    }
    assert node.output_shape == (1, 4, 8, 8)


def test_names_of_what_was_taken_in_are_told(canon: Read) -> None:
    (node,) = conv(
        canon, "[conv] a = Conv<pads = [1, 1, 1, 1]>(x, w) [norm] y = BatchNormalization(a, s, t, m, v)"
    ).nodes
    assert (node.name, node.origin) == ("conv", ("norm",))


def test_a_convolution_that_others_read_keeps_its_normalization_apart(canon: Read) -> None:
    found = conv(canon, "a = Conv<pads = [1, 1, 1, 1]>(x, w) n = BatchNormalization(a, s, t, m, v) y = Add(a, n)")
    assert [node.op for node in found.nodes] == ["Conv", "BatchNormalization", "Add"]


def test_a_number_for_all_channels_stays_with_what_follows(canon: Read) -> None:
    found = conv(canon, "k = Constant<value_float = 3.0>() a = Conv<pads = [1, 1, 1, 1]>(x, w) y = Add(a, k)")
    assert [node.op for node in found.nodes] == ["Conv", "Add"]


def test_zeros_before_a_maximum_are_not_what_it_skips(canon: Read) -> None:
    text = (
        "g (float[1,3,8,8] x) => (float[1,3,8,8] y) <int64[8] p = {0, 0, 1, 1, 0, 0, 1, 1}, float v = {VALUE}>"
        "{ a = Pad(x, p, v) y = MaxPool<kernel_shape = [3, 3]>(a) }"
    )
    assert [node.op for node in canon(text.replace("VALUE", "0.0")).nodes] == ["Pad", "MaxPool"]
    (pool,) = canon(text.replace("VALUE", "-100000.0")).nodes
    assert pool.attributes["pads"] == (1, 1, 1, 1)


def test_rounding_up_is_padding_behind(canon: Read) -> None:
    (pool,) = canon(
        "g (float[1,3,7,7] x) => (float[1,3,4,4] y)"
        "{ y = MaxPool<kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1>(x) }"
    ).nodes
    assert pool.attributes["pads"] == (0, 0, 1, 1)
    assert "ceil_mode" not in pool.attributes


def test_a_transposed_convolution_takes_in_its_normalization(canon: Read) -> None:
    (node,) = canon(
        "g (float[1,3,8,8] x) => (float[1,4,16,16] y) <float[3,4,4,4] w, float[4] s>"
        '{ a = ConvTranspose<strides = [2, 2], auto_pad = "SAME_UPPER">(x, w) y = BatchNormalization(a, s, s, s, s) }'
    ).nodes
    assert node.attributes["pads"] == (1, 1, 1, 1)
    assert node.operands[2].tensor.shape == (4,)
