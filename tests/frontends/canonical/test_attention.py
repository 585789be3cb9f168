"""Scaled-dot-product attention is one node, however it is spelt; what only looks like it is left alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from narformer.graph import Graph

Read = Callable[[str], Graph]

# Queries of four heads of eight over five positions, keys and values over seven; one head of keys serves two in `kg`.
INPUTS = (
    "float[2,4,5,8] q, float[2,4,7,8] k, float[2,4,7,8] v, float[2,4,8,7] kt, float[2,2,7,8] kg, float[2,2,7,8] vg, "
    "float[2,1,1,7] m, bool[2,1,5,7] b, float[2,5,4,8] qs, float[2,7,4,8] ks, float[2,7,4,8] vs, "
    "float[2,4,3,8] pk, float[2,4,3,8] pv, float[2,4,4,8] nk, float[2,4,4,8] nv"
)
CONSTANTS = "float[5,7] causal, float[1,4,5,7] bias, float[4,1,1] temperature"
NUMBERS = (
    "s = Constant<value_float = 0.35355338>() r = Constant<value_float = 0.5946>() d = Constant<value_float = 2.828>() "
    "low = Constant<value_float = -1e9>() zero = Constant<value_float = 0.0>() cap = Constant<value_float = 50.0>() "
    "one = Constant<value_ints = [2]>() five = Constant<value_ints = [1, 1, 2, 1, 1]>() "
    "whole = Constant<value_ints = [2, 4, 7, 8]>() "
)
TURN = "Transpose<perm = [0, 1, 3, 2]>"


def of(read: Read, nodes: str, out: str = "2,4,5,8", kind: str = "float") -> Graph:
    return read(f"g ({INPUTS}) => ({kind}[{out}] y) <{CONSTANTS}> {{ {NUMBERS} {nodes} }}")


SPELLINGS = [
    f"t = {TURN}(k) a = MatMul(q, t) c = Softmax(a) y = MatMul(c, v)",
    f"t = {TURN}(k) a = MatMul(q, t) e = Mul(a, s) c = Softmax(e) y = MatMul(c, v)",
    f"t = {TURN}(k) a = MatMul(q, t) e = Div(a, d) c = Softmax<axis = 3>(e) y = MatMul(c, v)",
    f"t = {TURN}(k) e = Mul(q, s) a = MatMul(e, t) c = Softmax(a) y = MatMul(c, v)",
    f"t = {TURN}(k) e = Mul(q, r) f = Mul(t, r) a = MatMul(e, f) c = Softmax(a) y = MatMul(c, v)",
    f"e = Mul(k, s) t = {TURN}(e) a = MatMul(q, t) c = Softmax(a) y = MatMul(c, v)",
    "e = Mul(q, s) a = MatMul(e, kt) c = Softmax(a) y = MatMul(c, v)",
    f"t = {TURN}(k) a = MatMul(q, t) h = Cast<to = 10>(a) c = Softmax(h) f = Cast<to = 1>(c) y = MatMul(f, v)",
    f"t = {TURN}(k) a = MatMul(q, t) c = Softmax(a) n = IsNaN(c) f = Where(n, zero, c) y = MatMul(f, v)",
    f"t = {TURN}(k) a = MatMul(q, t) h = ReduceMax<keepdims = 1>(a, last) u = Sub(a, h) x = Exp(u) "
    "z = ReduceSum<keepdims = 1>(x, last) c = Div(x, z) y = MatMul(c, v)",
    "y = Attention(q, k, v)",
    "y = Attention<scale = 0.25>(q, k, v)",
]


@pytest.mark.parametrize("nodes", SPELLINGS)
def test_attention_is_one_node(canon: Read, nodes: str) -> None:
    text = f"last = Constant<value_ints = [-1]>() {nodes}"
    if "Attention" in nodes:
        text = f"g ({INPUTS}) => (float[2,4,5,8] y) {{ {nodes} }}"
        (node,) = canon(f'<ir_version: 11, opset_import: ["" : 23]> {text}').nodes
    else:
        (node,) = of(canon, text).nodes
    fused = "Attention" in nodes or "f = Mul(t, r)" in nodes
    assert (node.op, dict(node.attributes), node.domain) == ("Attention", {} if fused else {"unfused": 1}, "")
    assert [operand.tensor.shape for operand in node.operands] == [(2, 4, 5, 8), (2, 4, 7, 8), (2, 4, 7, 8)]
    assert node.output_shape == (2, 4, 5, 8)


MASKS = [
    ("e = Add(a, m)", [(2, 1, 1, 7)], {}),
    ("e = Add(m, a)", [(2, 1, 1, 7)], {}),
    ("e = Where(b, a, low)", [(2, 1, 5, 7)], {}),
    ("e = Where(b, low, a)", [(2, 1, 5, 7)], {}),
    ("e = Add(a, bias)", [(1, 4, 5, 7)], {}),
    ("e = Add(a, causal)", [], {"is_causal": 1}),
    ("f = Mul(a, s) g = Add(f, causal) e = Add(g, m)", [(2, 1, 1, 7)], {}),
    ("f = Div(a, cap) g = Tanh(f) e = Mul(g, cap)", [], {"softcap": 1.0}),
]


@pytest.mark.parametrize(("nodes", "masks", "attributes"), MASKS)
def test_masks_are_operands_and_constant_ones_for_all_heads_an_attribute(
    canon: Read, nodes: str, masks: list[tuple[int, ...]], attributes: dict[str, float]
) -> None:
    found = of(canon, f"t = {TURN}(k) a = MatMul(q, t) {nodes} c = Softmax(e) y = MatMul(c, v)")
    (node,) = found.nodes
    assert [operand.tensor.shape for operand in node.operands[3:]] == masks
    assert dict(node.attributes) == attributes | {"unfused": 1}


@pytest.mark.parametrize(
    ("nodes", "unfused"),
    [
        (f"e = Mul(q, r) t = {TURN}(k) f = Mul(t, r) a = MatMul(e, f) c = Softmax(a)", False),
        (f"e = Mul(q, r) f = Mul(k, r) t = {TURN}(f) a = MatMul(e, t) c = Softmax(a)", False),
        (f"e = Mul(q, r) t = {TURN}(k) f = Mul(t, r) a = MatMul(e, f) g = Add(a, bias) c = Softmax(g)", False),
        (f"e = Mul(q, s) t = {TURN}(k) a = MatMul(e, t) c = Softmax(a)", True),
        ("a = com.microsoft.FusedMatMul<alpha = 0.35355338, transB = 1>(q, k) c = Softmax(a)", False),
        ("a = com.microsoft.FusedMatMul<alpha = 0.35355338, transB = 1>(q, k) g = Add(a, bias) c = Softmax(g)", True),
        ("a = com.microsoft.FusedMatMul<alpha = 0.35355338, transB = 1>(q, k) g = Add(a, m) c = Softmax(g)", False),
        ("a = com.microsoft.FusedMatMul<transB = 1>(q, k) c = Softmax(a)", True),
    ],
)
def test_attention_that_was_spelt_out_is_told_and_does_not_count_in_the_hash(
    canon: Read, nodes: str, unfused: bool
) -> None:
    """PyTorch's own function is exported with a root of the scale on queries and on keys."""
    header = '<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]> '
    text = f"g ({INPUTS}) => (float[2,4,5,8] y) <{CONSTANTS}> {{ {NUMBERS} {nodes} y = MatMul(c, v) }}"
    form = canon(header + text)
    (node,) = form.nodes
    assert dict(node.attributes) == ({"unfused": 1} if unfused else {})
    turned = node._replace(attributes={} if unfused else {"unfused": 1})
    assert replace(form, nodes=(turned,)).hash == form.hash


def test_attention_of_five_axes_or_few_heads_of_keys_has_no_kernel(canon: Read) -> None:
    """As PyTorch has it, for the product of all of a scale's roots."""
    r = "r = Constant<value_float = 0.5946>() "
    wide = "e = Mul(q, r) t = Transpose<perm = [0, 1, 2, 4, 3]>(k) f = Mul(t, r) a = MatMul(e, f) c = Softmax(a)"
    inputs = ", ".join(f"float[2,3,4,5,8] {name}" for name in "qkv")
    (node,) = canon(f"g ({inputs}) => (float[2,3,4,5,8] y) {{ {r} {wide} y = MatMul(c, v) }}").nodes
    assert dict(node.attributes) == {"unfused": 1}
    few = f"e = Mul(q, r) t = {TURN}(k) f = Mul(t, r) a = MatMul(e, f) c = Softmax(a)"
    inputs = "float[2,4,5,8] q, float[2,1,7,8] k, float[2,1,7,8] v"
    (node,) = canon(f"g ({inputs}) => (float[2,4,5,8] y) {{ {r} {few} y = MatMul(c, v) }}").nodes
    assert dict(node.attributes) == {"unfused": 1}


def test_bias_and_mask_of_windows_are_one_constant(canon: Read) -> None:
    """Swin adds relative positions by head, and in a view of five axes what may not see each other by window."""
    text = (
        "t = Transpose<perm = [0, 1, 3, 2]>(k) a = MatMul(q, t) e = Add(a, bias) w1 = Reshape(e, five) "
        "f = Add(w1, mask) g = Reshape(f, four) c = Softmax(g) y = MatMul(c, v)"
    )
    shapes = "five = Constant<value_ints = [2, 3, 4, 7, 7]>() four = Constant<value_ints = [6, 4, 7, 7]>()"
    found = canon(
        "g (float[6,4,7,8] q, float[6,4,7,8] k, float[6,4,7,8] v) => (float[6,4,7,8] y) "
        f"<float[1,4,7,7] bias, float[1,3,1,7,7] mask> {{ {shapes} {text} }}"
    )
    (node,) = found.nodes
    assert [operand.tensor.shape for operand in node.operands[3:]] == [(3, 4, 7, 7)]


def test_heads_of_keys_that_are_repeated_are_read_as_they_are(canon: Read) -> None:
    repeat = "axis = Constant<value_ints = [2]>() "
    for name in "kv":
        repeat += (
            f"{name}1 = Unsqueeze({name}g, axis) {name}2 = Expand({name}1, five) {name}3 = Reshape({name}2, whole) "
        )
    (node,) = of(canon, f"{repeat} t = {TURN}(k3) a = MatMul(q, t) c = Softmax(a) y = MatMul(c, v3)").nodes
    assert [operand.tensor.shape for operand in node.operands] == [(2, 4, 5, 8), (2, 2, 7, 8), (2, 2, 7, 8)]


def test_a_cache_is_an_operand_and_what_it_becomes_an_output(canon: Read) -> None:
    nodes = f"k0 = Concat<axis = 2>(pk, nk) v0 = Concat<axis = 2>(pv, nv) t = {TURN}(k0) a = MatMul(q, t) "
    (node,) = of(canon, f"{nodes} c = Softmax(a) y = MatMul(c, v0)").nodes
    shapes = [(2, 4, 5, 8), (2, 4, 4, 8), (2, 4, 4, 8), (2, 4, 3, 8), (2, 4, 3, 8)]
    assert [operand.tensor.shape for operand in node.operands] == shapes
    assert node.left_out == (3,)
    assert [out.shape for out in node.outputs] == [(2, 4, 5, 8), (2, 4, 7, 8), (2, 4, 7, 8)]


def test_heads_that_are_split_off_are_transposed_once(canon: Read) -> None:
    turn = "Transpose<perm = [0, 2, 1, 3]>"
    nodes = f"q1 = {turn}(qs) v1 = {turn}(vs) t = Transpose<perm = [0, 2, 3, 1]>(ks) a = MatMul(q1, t) c = Softmax(a) "
    found = of(canon, f"{nodes} e = MatMul(c, v1) y = {turn}(e)", "2,5,4,8")
    assert [node.op for node in found.nodes] == ["Transpose"] * 3 + ["Attention", "Transpose"]
    assert [operand.tensor.shape for operand in found.nodes[3].operands] == [(2, 4, 5, 8), (2, 4, 7, 8), (2, 4, 7, 8)]


def test_values_before_weights_give_a_transposed_result(canon: Read) -> None:
    """As networks of images write it, whose positions are the last axis."""
    text = f"a = Transpose<perm = [0, 1, 3, 2]>(q) c = MatMul(a, k) e = Softmax(c) t = {TURN}(e) y = MatMul(v, t)"
    found = canon(f"g (float[1,4,8,9] q, float[1,4,8,9] k, float[1,4,16,9] v) => (float[1,4,16,9] y) {{ {text} }}")
    assert [node.op for node in found.nodes] == ["Attention", "Transpose"]
    assert [operand.tensor.shape for operand in found.nodes[0].operands] == [(1, 4, 9, 8), (1, 4, 9, 8), (1, 4, 9, 16)]
    assert found.nodes[1].output_shape == (1, 4, 16, 9)


def test_queries_and_keys_are_read_turned_also_by_the_operator_of_that_name(canon: Read) -> None:
    spelt = of(canon, "e = Relu(kt) a = MatMul(q, e) c = Softmax(a) y = MatMul(c, v)")
    named = of(canon, f"e = Relu(kt) t = {TURN}(e) y = Attention(q, t, v)")
    assert [node.op for node in named.nodes] == ["Relu", "Attention"]
    assert named.hash == spelt.hash


def test_queries_may_be_learned(canon: Read) -> None:
    text = "g (float[2,4,7,8] k, float[2,4,7,8] v) => (float[2,4,1,8] y) <float[1,4,1,8] q> {{ {} }}"
    nodes = f"t = {TURN}(k) qq = Expand(q, to) a = MatMul(qq, t) c = Softmax(a) y = MatMul(c, v)"
    found = canon(text.format("to = Constant<value_ints = [2, 4, 1, 8]>() " + nodes))
    assert [node.op for node in found.nodes] == ["Attention"]
    assert found.nodes[0].operands[0].source is None
    assert found.nodes[0].operands[0].tensor.shape == (2, 4, 1, 8)


def test_a_mask_that_was_added_in_a_view_of_both_sides_has_the_shape_of_the_scores(canon: Read) -> None:
    """Relative positions by height and width, as MViT adds them to scores of 2 x 2 places."""
    found = canon(
        """g (float[1,3,4,8] q, float[1,3,4,8] k, float[1,3,4,8] v, float[1,3,2,2,2,1] down, float[1,3,2,2,1,2] across)
        => (float[1,3,4,8] y) { t = Transpose<perm = [0, 1, 3, 2]>(k) a = MatMul(q, t)
        six = Constant<value_ints = [1, 3, 2, 2, 2, 2]>() four = Constant<value_ints = [1, 3, 4, 4]>()
        w = Reshape(a, six) e = Add(w, down) f = Add(e, across) z = Reshape(f, four) c = Softmax(z)
        y = MatMul(c, v) }"""
    )
    assert [node.op for node in found.nodes] == ["Add", "Attention"]
    assert found.nodes[1].operands[3].tensor.shape == (1, 3, 4, 4)


def test_three_axes_are_heads_of_one_batch(canon: Read) -> None:
    text = "t = Transpose<perm = [0, 2, 1]>(k) a = MatMul(q, t) c = Softmax(a) y = MatMul(c, v)"
    (node,) = canon(f"g (float[6,5,8] q, float[6,7,8] k, float[6,7,8] v) => (float[6,5,8] y) {{ {text} }}").nodes
    assert [operand.tensor.shape for operand in node.operands] == [(1, 6, 5, 8), (1, 6, 7, 8), (1, 6, 7, 8)]


def test_heads_within_the_last_axis_are_turned_before_and_after(canon: Read) -> None:
    text = "g (float[2,5,32] q, float[2,7,16] k, float[2,7,16] v) => (float[2,5,32] y)"
    attention = "{ y = Attention<q_num_heads = 4, kv_num_heads = 2, is_causal = 1>(q, k, v) }"
    found = canon(f'<ir_version: 11, opset_import: ["" : 23]> {text} {attention}')
    assert [node.op for node in found.nodes] == ["Transpose"] * 3 + ["Attention", "Transpose"]
    assert [operand.tensor.shape for operand in found.nodes[3].operands] == [(2, 4, 5, 8), (2, 2, 7, 8), (2, 2, 7, 8)]
    assert dict(found.nodes[3].attributes) == {"is_causal": 1}


ALIKE = [
    f"t = {TURN}(k) a = MatMul(q, t) c = Softmax<axis = 2>(a) y = MatMul(c, v)",
    f"t = {TURN}(k) a = MatMul(q, t) c = Softmax(a) e = MatMul(c, v) f = ReduceSum<keepdims = 0>(c) y = Add(e, f)",
    f"t = {TURN}(k) a = MatMul(q, t) e = Mul(a, temperature) c = Softmax(e) y = MatMul(c, v)",
    f"t = {TURN}(k) a = MatMul(q, t) c = Sigmoid(a) y = MatMul(c, v)",
]


@pytest.mark.parametrize("nodes", ALIKE)
def test_what_only_looks_like_attention_stays(canon: Read, nodes: str) -> None:
    found = of(canon, nodes)
    assert "Attention" not in {node.op for node in found.nodes}
    assert [node.op for node in found.nodes].count("MatMul") == 2


def test_rotary_positions_are_one_node(canon: Read) -> None:
    text = "a = Slice(x, k0, k4, k3) b = Slice(x, k4, k8, k3) n = Neg(b) r = Concat<axis = 3>(n, a) "
    text += "c = Mul(x, cos) d = Mul(r, sin) y = Add(c, d)"
    numbers = " ".join(f"k{n} = Constant<value_ints = [{n}]>()" for n in (0, 3, 4, 8))
    inputs = "float[2,4,5,8] x, float[1,1,5,8] cos, float[1,1,5,8] sin"
    (node,) = canon(f"g ({inputs}) => (float[2,4,5,8] y) {{ {numbers} {text} }}").nodes
    assert node.op == "RotaryEmbedding"
    assert [operand.source for operand in node.operands] == [-1, -2, -3]


def test_heads_that_are_repeated_for_the_operator_itself_are_read_once(canon: Read) -> None:
    text = (
        '<ir_version: 11, opset_import: ["" : 23]> g (float[1,4,6,8] q, float[1,2,6,8] k, float[1,2,6,8] v)'
        " => (float[1,4,6,8] y) <int64[1] two = {2}, int64[5] wide = {1, 2, 2, 6, 8}, int64[4] heads = {1, 4, 6, 8}>"
        " { ku = Unsqueeze(k, two) ke = Expand(ku, wide) kr = Reshape(ke, heads) vu = Unsqueeze(v, two)"
        " ve = Expand(vu, wide) vr = Reshape(ve, heads) y = Attention(q, kr, vr) }"
    )
    (node,) = canon(text).nodes
    assert (node.op, [o.tensor.shape for o in node.operands]) == (
        "Attention",
        [(1, 4, 6, 8), (1, 2, 6, 8), (1, 2, 6, 8)],
    )


def test_a_mask_that_is_known_beforehand_is_told_and_does_not_count_in_the_hash(canon: Read) -> None:
    """Exporters write one that lets everything through, and others none; in weightless files nobody can tell."""
    scores = [
        of(canon, f"t = {TURN}(k) a = MatMul(q, t) {nodes} c = Softmax(e) y = MatMul(c, v)")
        for nodes in ("e = Identity(a)", "e = Add(a, causal)", "e = Add(a, m)")
    ]
    spelt = {"unfused": 1}
    assert [dict(form.nodes[0].attributes) for form in scores] == [spelt, {"is_causal": 1} | spelt, spelt]
    assert scores[0].hash == scores[1].hash != scores[2].hash


def test_onnx_own_operator_takes_its_cache_in_as_others_do(canon: Read) -> None:
    joined = "ka = Concat<axis = 2>(pk, nk) va = Concat<axis = -2>(pv, nv)"
    spelt = of(canon, f"{joined} t = {TURN}(ka) a = MatMul(q, t) e = Mul(a, s) c = Softmax(e) y = MatMul(c, va)")
    header = '<ir_version: 10, opset_import: ["" : 23]> '
    own = canon(f"{header} g ({INPUTS}) => (float[2,4,5,8] y) {{ {joined} y = Attention(q, ka, va) }}")
    (node,) = own.nodes
    assert (node.op, len(node.operands), len(node.outputs), node.left_out) == ("Attention", 5, 3, (3,))
    assert own.hash == spelt.hash
