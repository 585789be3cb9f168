"""Products, in the many ways in which they are written."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from narformer.graph import Graph

Read = Callable[[str], Graph]

WEIGHTS = "<float[8,4] w, float[4,8] v, float[4] b, float s = {2.0}, float[1] one = {3.0}, int64[2] two = {6, 8}>"
ONE = [
    "a = MatMul(x, w) y = Add(a, b)",
    "a = MatMul(x, w) y = Add(b, a)",
    "r = Reshape(x, two) a = Gemm(r, w, b) y = Identity(a)",
    "r = Reshape(x, two) y = Gemm<transB = 1, alpha = 0.5, beta = 1.0>(r, v, b)",
    "t = Transpose(v) a = MatMul(x, t) y = Add(a, b)",
    'a = Einsum<equation = "bti,io->bto">(x, w) y = Add(a, b)',
    'a = Einsum<equation = "bti,oi->bto">(x, v) y = Add(a, b)',
    "a = MatMul(x, w) c = Mul(a, s) y = Add(c, b)",
    "c = Div(x, s) a = MatMul(c, w) y = Add(a, b)",
    "a = MatMul(x, w) c = Add(a, b) y = Sub(c, b)",
]


@pytest.mark.parametrize("nodes", ONE)
def test_a_product_with_a_constant_matrix_is_a_gemm(canon: Read, nodes: str) -> None:
    if "c = Mul" in nodes:
        nodes = nodes.replace("y = Add(c, b)", "y = Relu(c)")
    found = canon(f"g (float[2,3,8] x) => (float[2,3,4] y) {WEIGHTS} {{ {nodes} }}")
    node = found.nodes[0]
    assert (node.op, dict(node.attributes), node.left_out) == ("Gemm", {}, ())
    assert [operand.tensor.shape for operand in node.operands][:2] == [(6, 8), (8, 4)]
    assert node.output_shape == (6, 4)
    if "Relu" not in nodes:
        assert len(found.nodes) == 1
        assert node.operands[2].tensor.shape == (4,)


def test_a_bias_may_be_added_by_head(canon: Read) -> None:
    heads = "s = Constant<value_ints = [2, 3, 2, 2]>() a = MatMul(x, w) h = Reshape(a, s)"
    weights = "<float[8,4] w, float[2,2] b, float[2] c>"
    found = canon(f"g (float[2,3,8] x) => (float[2,3,2,2] y) {weights} {{ {heads} y = Add(h, b) }}")
    assert [node.op for node in found.nodes] == ["Gemm"]
    assert found.nodes[0].operands[2].tensor.shape == (4,)
    other = canon(f"g (float[2,3,8] x) => (float[2,3,2,2] y) {weights} {{ {heads} y = Add(h, c) }}")
    assert [node.op for node in other.nodes] == ["Gemm", "Add"]


def test_what_a_gemm_adds_that_is_computed_is_added_for_itself(canon: Read) -> None:
    found = canon(
        "g (float[2,8] x, float[2,4] c) => (float[2,4] y) <float[8,4] w> { r = Relu(c) y = Gemm<beta = 0.5>(x, w, r) }"
    )
    assert [node.op for node in found.nodes] == ["Relu", "Mul", "Gemm", "Add"]
    assert [operand.source for operand in found.nodes[3].operands] == [2, 1]
    assert found.nodes[2].operands[0].tensor.shape == (2, 8)


def test_a_gemm_of_two_computed_matrices_is_a_matmul(canon: Read) -> None:
    node = canon("g (float[2,8] x, float[4,8] c) => (float[2,4] y) { r = Relu(c) y = Gemm<transB = 1>(x, r) }").nodes[
        -1
    ]
    assert node.op == "MatMul"
    assert [operand.tensor.shape for operand in node.operands] == [(2, 8), (8, 4)]
    assert node.attributes == {}


def test_a_transposed_matrix_is_read_so(canon: Read) -> None:
    (node,) = canon(
        "g (float[2,3,5,8] q, float[2,3,7,8] k) => (float[2,3,5,7] y)"
        "{ t = Transpose<perm = [0, 1, 3, 2]>(k) y = MatMul(q, t) }"
    ).nodes
    assert [operand.source for operand in node.operands] == [-1, -2]
    assert node.operands[1].tensor.shape == (2, 3, 8, 7)


EINSUMS = [
    ("bhqd,bhkd->bhqk", "2,3,5,8", "2,3,7,8", ["MatMul"]),
    ("bqhd,bkhd->bhqk", "2,5,3,8", "2,7,3,8", ["Transpose", "Transpose", "MatMul"]),
    ("bhqk,bhkd->bhqd", "2,3,5,7", "2,3,7,8", ["MatMul"]),
    ("bhqk,bhkd->bqhd", "2,3,5,7", "2,3,7,8", ["MatMul", "Transpose"]),
    ("bhii,bhid->bhd", "2,3,5,5", "2,3,5,8", ["Einsum"]),
    ("ab,cd->ab", "2,3", "4,5", ["Einsum"]),
]


@pytest.mark.parametrize(("equation", "first", "second", "ops"), EINSUMS)
def test_einsums_of_two_are_products(canon: Read, equation: str, first: str, second: str, ops: list[str]) -> None:
    out = equation.split(">")[1]
    found = canon(
        f"g (float[{first}] p, float[{second}] q) => (float[{','.join(out)}] y)"
        f'{{ y = Einsum<equation = "{equation}">(p, q) }}'
    )
    assert [node.op for node in found.nodes] == ops


EXCITED = [
    "m = GlobalAveragePool(x) a = Conv(m, w, b) r = Relu(a) c = Conv(r, v, d) s = Sigmoid(c) y = Mul(x, s)",
    "m = ReduceMean(x, last) a = Conv(m, w, b) r = Relu(a) c = Conv(r, v, d) s = Sigmoid(c) y = Mul(x, s)",
    "m = ReduceMean<keepdims = 0>(x, back) a = Gemm<transB = 1>(m, wg, b) r = Relu(a) c = Gemm<transB = 1>(r, vg, d)"
    " s = Sigmoid(c) e = Reshape(s, four) y = Mul(x, e)",
    "p = AveragePool<kernel_shape = [6, 6]>(x) m = Flatten(p) a = MatMul(m, wm) f = Add(a, b) r = Relu(f)"
    " c = MatMul(r, vm) g = Add(c, d) e = Unsqueeze(g, last) s = Sigmoid(e) y = Mul(x, s)",
]


def test_squeeze_and_excite_is_the_same_in_all_its_forms(canon: Read) -> None:
    weights = (
        "<float[2,8,1,1] w, float[8,2,1,1] v, float[2,8] wg, float[8,2] vg, float[8,2] wm, float[2,8] vm, float[2] b,"
        "float[8] d, int64[2] last = {2, 3}, int64[2] back = {-1, -2}, int64[4] four = {1, 8, 1, 1}>"
    )
    forms = [canon(f"g (float[1,8,6,6] x) => (float[1,8,6,6] y) {weights} {{ {nodes} }}") for nodes in EXCITED]
    ops = ["GlobalAveragePool", "Gemm", "Relu", "Gemm", "Sigmoid", "Mul"]
    assert [[node.op for node in form.nodes] for form in forms] == [ops] * 4
    assert len({form.hash for form in forms}) == 1


def test_a_transpose_of_two_operands_is_no_way_to_read_a_matrix(canon: Read) -> None:
    found = canon(
        "g (float[5,10] x) => (float[5,8] y) <float[8,10] w> { t = Transpose<perm = [1, 0]>(w, x) y = MatMul(x, t) }"
    )
    assert [node.op for node in found.nodes] == ["Transpose", "MatMul"]
