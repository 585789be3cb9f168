"""Reductions, in one form."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from narformer.graph import Graph

Read = Callable[[str], Graph]

MEANS = [
    "y = GlobalAveragePool(x)",
    "y = ReduceMean(x, a)",
    "m = ReduceMean<keepdims = 0>(x, a) y = Reshape(m, s)",
    "y = ReduceMean(x, n)",
    "y = AveragePool<kernel_shape = [5, 6]>(x)",
]


@pytest.mark.parametrize("nodes", MEANS)
@pytest.mark.parametrize("kind", ["mean", "maximum"])
def test_a_mean_over_all_positions_is_a_global_pool(canon: Read, nodes: str, kind: str) -> None:
    if kind == "maximum":
        nodes = nodes.replace("Average", "Max").replace("ReduceMean", "ReduceMax")
    (node,) = canon(
        "g (float[2,3,5,6] x) => (float[2,3,1,1] y) <int64[2] a = {3, 2}, int64[2] n = {-2, -1}, int64[2] s = {2, 3}>"
        f"{{ {nodes} }}"
    ).nodes
    assert node.op == ("GlobalAveragePool" if kind == "mean" else "GlobalMaxPool")
    assert (node.output_shape, dict(node.attributes), len(node.operands)) == ((2, 3, 1, 1), {}, 1)


def test_axes_of_a_reduction_are_an_attribute_in_every_opset(canon: Read) -> None:
    old = canon(
        '<ir_version: 8, opset_import: ["" : 11]> g (float[2,3,4] x) => (float[2,3] y)'
        "{ a = ReduceSum<axes = [-1], keepdims = 0>(x) y = Softmax(a) }"
    )
    new = canon(
        "g (float[2,3,4] x) => (float[2,3] y) <int64[1] a = {2}>{ b = ReduceSum<keepdims = 0>(x, a) y = Softmax(b) }"
    )
    assert old.nodes[0].attributes == {"axes": (2,)}
    assert old.nodes[0].output_shape == (2, 3, 1)
    assert old.hash == new.hash


def test_a_mean_over_features_is_no_global_pool(canon: Read) -> None:
    (node,) = canon("g (float[2,3,4] x) => (float[2,3,1] y) <int64[1] a = {-1}> { y = ReduceMean(x, a) }").nodes
    assert node.op == "ReduceMean"


NORMALISED = [
    "r = Relu(x) y = BatchNormalization(r, s, s, s, s)",
    "r = Relu(x) m = Mul(r, c) y = Add(m, c)",
    "r = Relu(x) m = Mul(c, r) y = Add(c, m)",
    "r = Relu(x) y = Conv<group = 3>(r, w, s)",
]


@pytest.mark.parametrize("nodes", NORMALISED)
def test_scales_and_shifts_of_channels_behind_no_convolution_are_a_normalization(canon: Read, nodes: str) -> None:
    weights = "<float[3] s, float[3,1,1] c, float[3,1,1,1] w>"
    found = canon(f"g (float[2,3,5,6] x) => (float[2,3,5,6] y) {weights} {{ {nodes} }}")
    assert [node.op for node in found.nodes] == ["Relu", "BatchNormalization"]
    assert len(found.nodes[1].operands) == 5


def test_every_convolution_has_a_bias(canon: Read) -> None:
    """Exporters leave out one that holds zeros, as in a network without training."""
    text = "g (float[1,3,8,8] x) => (float[1,4,6,6] y) <float[4,3,3,3] w, float[4] b> {{ y = Conv({}) }}"
    assert canon(text.format("x, w")).hash == canon(text.format("x, w, b")).hash


def test_many_parts_of_one_value_are_one_split(canon: Read) -> None:
    count = 600
    picks = "".join(f"i{k} = Constant<value_int = {k}>() p{k} = Gather(r, i{k}) " for k in range(count))
    joined = ", ".join(f"p{k}" for k in range(count))
    found = canon(f"g (float[{count},3] x) => (float[3] y) {{ r = Relu(x) {picks} y = Sum({joined}) }}")
    assert [node.op for node in found.nodes] == ["Relu", "Split", "Sum"]
    assert len(found.nodes[1].outputs) == count


def test_a_mean_over_axes_that_are_computed_stays_what_it_is(canon: Read) -> None:
    """Though it states some as an attribute as well, which no runtime takes."""
    nodes = "a = Relu(x) m = ReduceMean<axes = [2, 3], keepdims = 1>(a, a)"
    found = canon(f"g (float[1,4,8,8] x) => (float[1,4,1,1] y) {{ {nodes} y = Exp(m) }}")
    assert [node.op for node in found.nodes] == ["Relu", "ReduceMean", "Exp"]


def test_groups_of_channels_are_normalised_in_the_image_that_was_made(canon: Read) -> None:
    """ONNX Runtime writes the operator of opset 21 with all places along one axis."""
    header = (
        '<ir_version: 10, opset_import: ["" : 21]> g (float[2,4,5,6] x) => (float[2,4,5,6] y) <float[4] s, float[4] b>'
    )
    norm, rest = "GroupNormalization<num_groups = 2>", "y = Mul(e, x)"
    image = canon(f"{header} {{ r = Relu(x) n = {norm}(r, s, b) e = Sigmoid(n) {rest} }}")
    row = canon(
        f"{header} {{ flat = Constant<value_ints = [2, 4, 30]>() whole = Constant<value_ints = [2, 4, 5, 6]>()"
        f" r = Relu(x) f = Reshape(r, flat) n = {norm}(f, s, b) g = Sigmoid(n) e = Reshape(g, whole) {rest} }}"
    )
    assert [node.output_shape for node in row.nodes] == [(2, 4, 5, 6)] * 4
    assert row.hash == image.hash
