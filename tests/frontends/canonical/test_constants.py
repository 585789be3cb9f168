"""What a runtime computes when it loads a network."""

from __future__ import annotations

from collections.abc import Callable

from narformer.graph import Graph

Read = Callable[[str], Graph]


def test_what_reads_constants_alone_is_a_constant(canon: Read) -> None:
    found = canon(
        "g (float[2,8] x) => (float[2,4] y) <int8[4,8] w, float s>"
        "{ a = Cast<to = 1>(w) b = Mul(a, s) c = Transpose(b) y = MatMul(x, c) }"
    )
    (node,) = found.nodes
    weight = node.operands[1]
    assert (weight.is_weight, weight.tensor.shape, weight.tensor.dtype) == (True, (8, 4), "float32")


def test_what_depends_on_shapes_alone_is_a_constant(canon: Read) -> None:
    found = canon(
        "g (float[2,3,4] x) => (float[2,3,4] y){ s = Shape(x) one = ConstantOfShape(s) f = Exp(one) y = Add(x, f) }"
    )
    (node,) = found.nodes
    assert node.op == "Add"
    assert node.operands[1].tensor.shape == (2, 3, 4)


def test_small_constants_are_computed(canon: Read) -> None:
    found = canon(
        "g (float[2,3] x) => (float[2,3] y)"
        "{ s = Shape<start = 1>(x) f = Cast<to = 1>(s) r = Sqrt(f) one = Constant<value_float = 1.0>() d = Div(one, r)"
        " y = Mul(x, d) }"
    )
    (node,) = found.nodes
    assert node.operands[1].value is not None
    assert abs(node.operands[1].value[0] - 3**-0.5) < 1e-6


def test_what_a_constant_of_a_shape_holds_is_not_guessed(canon: Read) -> None:
    found = canon(
        "g (float[2,3] x) => (float[2,3] y) <int64[1] s = {1}>"
        "{ c = ConstantOfShape<value = float[1] {5.0}>(s) y = Add(x, c) }"
    )
    assert found.nodes[0].operands[1].value is None


def test_pads_that_are_computed_from_constants_are_known(canon: Read) -> None:
    """As PyTorch's older exporter writes them: the shape stays what it is, and yet everything moves."""
    found = canon(
        "g (float[1,6,4] x) => (float[1,6,4] y) <int64[4] told = {0, 0, 1, -1}, int64[1] two = {2}>"
        "{ rest = ConstantOfShape<value = int64[1] {0}>(two) all = Concat<axis = 0>(told, rest)"
        " rows = Constant<value_ints = [-1, 2]>() r = Reshape(all, rows) first = Constant<value_ints = [0]>()"
        " from = Constant<value_ints = [-1]>() to = Constant<value_ints = [-9]>() s = Slice(r, from, to, first, from)"
        " t = Transpose<perm = [1, 0]>(s) flat = Constant<value_ints = [-1]>() p = Reshape(t, flat) y = Pad(x, p) }"
    )
    (node,) = found.nodes
    assert (node.op, node.operands[1].value) == ("Pad", (0, 1, 0, 0, -1, 0))


def test_random_numbers_are_drawn_anew_in_every_run(canon: Read) -> None:
    found = canon("g (float[2,3] x) => (float[2,3] y) { r = RandomNormal<shape = [2, 3]>() y = Add(x, r) }")
    assert [node.op for node in found.nodes] == ["RandomNormal", "Add"]
