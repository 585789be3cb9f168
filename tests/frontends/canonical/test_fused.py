"""What ONNX Runtime fuses is the same network as before: each pair has one canonical form."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from narformer.graph import Graph

Read = Callable[[str], Graph]

IMAGE = (
    "<float[8,8,3,3] w, float[8] b, float[8,8,1,1] p, float[24,8,3,3] wide, float[24] wb, float[8,24,1,1] narrow,"
    "float[8,1,3,3] d, float low = {0.0}, float high = {6.0}>"
)
IMAGES = [
    (
        "a = Conv<pads = [1, 1, 1, 1]>(x, w, b) y = Relu(a)",
        'y = com.microsoft.FusedConv<pads = [1, 1, 1, 1], activation = "Relu">(x, w, b)',
    ),
    (
        "a = Conv<pads = [1, 1, 1, 1]>(x, w, b) y = Clip(a, low, high)",
        'y = com.microsoft.FusedConv<activation = "Clip", activation_params = [0.0, 6.0], pads = [1, 1, 1, 1]>'
        "(x, w, b)",
    ),
    (
        "a = Conv<pads = [1, 1, 1, 1]>(x, w, b) c = Add(a, x) y = Relu(c)",
        'y = com.microsoft.FusedConv<pads = [1, 1, 1, 1], activation = "Relu">(x, w, b, x)',
    ),
    (
        "a = Conv<pads = [1, 1, 1, 1]>(x, w, b) r = Relu(a)"
        " c = Conv<pads = [1, 1, 1, 1], group = 8>(r, d, b) y = Relu(c)",
        "i = com.microsoft.nchwc.ReorderInput(x)"
        ' a = com.microsoft.nchwc.Conv<pads = [1, 1, 1, 1], activation = "Relu">(i, w, b)'
        ' c = com.microsoft.nchwc.Conv<pads = [1, 1, 1, 1], group = 8, activation = "Relu">(a, d, b)'
        " y = com.microsoft.nchwc.ReorderOutput<channels = 8>(c)",
    ),
    ("s = Sigmoid(x) y = Mul(x, s)", "y = com.microsoft.QuickGelu<alpha = 1.0>(x)"),
    ("y = Gelu(x)", "y = com.microsoft.Gelu(x)"),
]


@pytest.mark.parametrize(("plain", "fused"), IMAGES)
def test_fused_convolutions_are_convolutions(canon: Read, plain: str, fused: str) -> None:
    forms = [canon(f"g (float[1,8,6,6] x) => (float[1,8,6,6] y) {IMAGE} {{ {nodes} }}") for nodes in (plain, fused)]
    assert not any(node.domain for form in forms for node in form.nodes)
    assert forms[0].hash == forms[1].hash


SEQUENCE = (
    "<float[16,64] w, float[64] b, float[64,16] down, float[16] s, float[16] t, float[16] u, float root = {1.4142135},"
    "float one = {1.0}, float half = {0.5}, float quarter = {0.25}, float[16,48] qkv, float[48] qkvb,"
    "float[16,16] wq, float[16,16] wk, float[16,16] wv, float[16] bq, float[16] bk, float[16] bv,"
    "int64[4] heads = {2, 5, 4, 4}, int64[3] flat = {2, 5, 16}, int64[1] row = {1}>"
)
PROJECTED = (
    "q0 = MatMul(x, wq) q1 = Add(q0, bq) q2 = Reshape(q1, heads) q = Transpose<perm = [0, 2, 1, 3]>(q2)"
    " k0 = MatMul(x, wk) k1 = Add(k0, bk) k2 = Reshape(k1, heads) k = Transpose<perm = [0, 2, 3, 1]>(k2)"
    " v0 = MatMul(x, wv) v1 = Add(v0, bv) v2 = Reshape(v1, heads) v = Transpose<perm = [0, 2, 1, 3]>(v2)"
)
ATTENDED = (
    " a0 = MatMul(q, k) a1 = Mul(a0, half) a2 = Softmax<axis = -1>(a1) a3 = MatMul(a2, v)"
    " a4 = Transpose<perm = [0, 2, 1, 3]>(a3) y = Reshape(a4, flat)"
)
SEQUENCES = [
    (
        "a = MatMul(x, w) c = Add(a, b) h = Relu(c) y = MatMul(h, down)",
        "a = MatMul(x, w) h = com.microsoft.BiasGelu(a, b) y = MatMul(h, down)",
    ),
    (
        "c = Add(x, u) d = Add(c, z) y = LayerNormalization(d, s, t)",
        "y = com.microsoft.SkipLayerNormalization(x, z, s, t, u)",
    ),
    ("c = Add(x, z) y = LayerNormalization(c, s, t)", "y = com.microsoft.SkipLayerNormalization(x, z, s, t)"),
    (PROJECTED + ATTENDED, "y = com.microsoft.Attention<num_heads = 4>(x, qkv, qkvb)"),
    (
        "q = MatMul(x, wq) k = MatMul(x, wk) v = MatMul(x, wv) a = Add(q, bq) c = Add(k, bk) d = Add(v, bv)"
        " y = com.microsoft.MultiHeadAttention<num_heads = 4>(a, c, d)",
        PROJECTED + ATTENDED,
    ),
    (
        "y = com.microsoft.MultiHeadAttention<num_heads = 4>(x, z, z)",
        "a = Reshape(x, heads) q = Transpose<perm = [0, 2, 1, 3]>(a) c = Reshape(z, heads)"
        " k = Transpose<perm = [0, 2, 1, 3]>(c) v = Transpose<perm = [0, 2, 1, 3]>(c) o = Attention(q, k, v)"
        " r = Transpose<perm = [0, 2, 1, 3]>(o) y = Reshape(r, flat)",
    ),
]


@pytest.mark.parametrize(("plain", "fused"), SEQUENCES)
def test_fused_transformers_are_transformers(canon: Read, plain: str, fused: str) -> None:
    if "BiasGelu" in fused:
        plain = plain.replace("Relu(c)", "Gelu(c)")
    header = '<ir_version: 10, opset_import: ["" : 23, "com.microsoft" : 1]> '
    forms = [
        canon(f"{header} g (float[2,5,16] x, float[2,5,16] z) => (float[2,5,16] y) {SEQUENCE} {{ {nodes} }}")
        for nodes in (plain, fused)
    ]
    assert not any(node.domain for form in forms for node in form.nodes)
    assert sorted(node.op for node in forms[0].nodes) == sorted(node.op for node in forms[1].nodes)
    assert forms[0].hash == forms[1].hash


def test_the_sum_before_a_normalization_may_be_read_too(canon: Read) -> None:
    found = canon(
        f"g (float[2,5,16] x, float[2,5,16] z) => (float[2,5,16] y) {SEQUENCE}"
        "{ n, m, i, c = com.microsoft.SkipLayerNormalization(x, z, s, t) r = Relu(n) y = Add(r, c) }"
    )
    assert [node.op for node in found.nodes] == ["Add", "LayerNormalization", "Relu", "Add"]
    assert [operand.source for operand in found.nodes[3].operands] == [2, 0]


def test_grouped_heads_with_a_cache_are_attention_with_a_past(canon: Read) -> None:
    found = canon(
        "g (float[1,1,32] q, float[1,1,16] k, float[1,1,16] v, float[1,2,7,8] pk, float[1,2,7,8] pv,"
        " int32[1] n, int32 t)"
        " => (float[1,1,32] y, float[1,2,8,8] a, float[1,2,8,8] c)"
        "{ y, a, c = com.microsoft.GroupQueryAttention<num_heads = 4, kv_num_heads = 2>(q, k, v, pk, pv, n, t) }"
    )
    attention = next(node for node in found.nodes if node.op == "Attention")
    shapes = [operand.tensor.shape for operand in attention.operands]
    assert shapes == [(1, 4, 1, 8), (1, 2, 1, 8), (1, 2, 1, 8), (1, 2, 7, 8), (1, 2, 7, 8)]
    assert attention.left_out == (3,)
    assert {node.op for node in found.nodes} <= {"Attention", "Transpose"}


def test_attention_with_both_pasts_in_one_reads_each(canon: Read) -> None:
    found = canon(
        f"g (float[2,5,16] x, float[2,2,4,7,4] past) => (float[2,5,16] y, float[2,2,4,12,4] present) {SEQUENCE}"
        '{ y, present = com.microsoft.Attention<num_heads = 4, unidirectional = 1>(x, qkv, qkvb, "", past) }'
    )
    attention = next(node for node in found.nodes if node.op == "Attention")
    shapes = [operand.tensor.shape for operand in attention.operands]
    assert shapes == [(2, 4, 5, 4)] * 3 + [(2, 4, 7, 4)] * 2
    assert [tensor.shape for tensor in attention.outputs] == [(2, 4, 5, 4), (2, 4, 12, 4), (2, 4, 12, 4)]
    assert attention.attributes == {"is_causal": 1}


def test_a_product_that_a_runtime_scales_and_transposes_is_a_product(canon: Read) -> None:
    found = canon(
        "g (float[2,4,5,8] q, float[2,4,7,8] k) => (float[2,4,5,7] y)"
        "{ a = com.microsoft.FusedMatMul<transB = 1, alpha = 0.125>(q, k) y = Relu(a) }"
    )
    assert [node.op for node in found.nodes] == ["MatMul", "Mul", "Relu"]
    assert found.nodes[0].operands[1].tensor.shape == (2, 4, 8, 7)
