"""One thing in the spellings of several exporters: TensorFlow, Keras, PyTorch's two, and by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from narformer.graph import Graph

Read = Callable[[str], Graph]
HEADER = '<ir_version: 10, opset_import: ["" : 17, "com.microsoft" : 1]>\n'
NUMBERS = " ".join(
    f"{name} = Constant<value_float = {value}>()"
    for name, value in {
        **{"one": "1.0", "two": "2.0", "eps": "1e-5", "half": "0.5", "zero": "0.0", "low": "-1e9", "less": "-0.5"},
        **{"scale": "0.35355339", "root": "2.8284271", "part": "0.59460356", "width": "16.0", "cap": "50.0"},
    }.items()
)
ROWS = (
    f"g (float[2,6,16] x) => (float[2,6,16] y) <float[16] s, float[16] b, int64[1] last = {{-1}}>{{ {NUMBERS} NODES }}"
)
MOMENTS = (
    "m = ReduceMean<axes = [-1]>(x) d = Sub(x, m) v = Mul(d, d) w = ReduceMean<axes = [-1]>(v)"
    " e = Add(w, eps) r = Sqrt(e)"
)
SQUARES = "p = Pow(x, two) m = ReduceMean<axes = [-1]>(p) e = Add(m, eps) r = Sqrt(e)"
LAYER = [
    "y = LayerNormalization<axis = -1>(x, s, b)",
    f"{MOMENTS} n = Div(d, r) k = Mul(n, s) y = Add(b, k)",
    f"{MOMENTS} i = Reciprocal(r) k = Mul(i, s) xk = Mul(x, k) mk = Mul(m, k) bk = Sub(b, mk) y = Add(xk, bk)",
    f"{MOMENTS} i = Reciprocal(r) k = Mul(s, i) xk = Mul(k, x) mk = Mul(k, m) bk = Sub(b, mk) y = Add(bk, xk)",
    f"{MOMENTS} i = Reciprocal(r) k = Mul(i, s) xk = Mul(x, k) o = Neg(m) mk = Mul(o, k) bk = Add(mk, b)"
    " y = Add(xk, bk)",
]
ROOT = [
    f"{SQUARES} n = Div(x, r) y = Mul(n, s)",
    f"{SQUARES} i = Reciprocal(r) n = Mul(x, i) y = Mul(s, n)",
    "p = Mul(x, x) m = ReduceMean<axes = [-1]>(p) e = Add(eps, m) i = Pow(e, less) n = Mul(x, i) y = Mul(n, s)",
    "p = Mul(x, x) t = ReduceSum(p, last) m = Div(t, width) e = Add(m, eps) r = Sqrt(e) n = Div(x, r) y = Mul(n, s)",
]


@pytest.mark.parametrize(("op", "spellings"), [("LayerNormalization", LAYER), ("RMSNormalization", ROOT)])
def test_normalisations_are_one_node(canon: Read, op: str, spellings: list[str]) -> None:
    forms = [canon(HEADER + ROWS.replace("NODES", nodes)) for nodes in spellings]
    assert [[node.op for node in form.nodes] for form in forms] == [[op]] * len(spellings)
    assert len({form.hash for form in forms}) == 1


def test_what_is_added_twice_its_mean_is_no_normalisation(canon: Read) -> None:
    nodes = f"{MOMENTS} i = Reciprocal(r) k = Mul(i, s) xk = Mul(x, k) mk = Mul(m, k) bk = Add(mk, b) y = Add(xk, bk)"
    assert "LayerNormalization" not in [node.op for node in canon(HEADER + ROWS.replace("NODES", nodes)).nodes]


def test_a_sum_that_is_divided_by_another_number_is_no_mean(canon: Read) -> None:
    found = canon(HEADER + ROWS.replace("NODES", "t = ReduceSum(x, last) m = Div(t, two) y = Mul(x, m)"))
    assert [node.op for node in found.nodes] == ["ReduceSum", "Div", "Mul"]


HEADS = (
    "g (float[2,4,6,8] q, float[2,4,6,8] k, float[2,4,6,8] v, bool[2,1,6,6] keep, float[2,1,6,6] add)"
    f" => (float[2,4,6,8] y) {{ {NUMBERS} t = Transpose<perm = [0, 1, 3, 2]>(k) NODES y = MatMul(p, v) }}"
)
PLAIN = "z = MatMul(q, t) s = Mul(z, scale)"
ATTENTION = {
    "scale": [
        f"{PLAIN} p = Softmax<axis = -1>(s)",
        "z = MatMul(q, t) s = Div(z, root) p = Softmax<axis = -1>(s)",
        "a = Mul(q, scale) s = MatMul(a, t) p = Softmax<axis = -1>(s)",
        "a = Mul(q, part) c = Mul(t, part) s = MatMul(a, c) p = Softmax<axis = -1>(s)",
    ],
    "condition": [
        f"{PLAIN} m = Where(keep, zero, low) f = Add(s, m) p = Softmax<axis = -1>(f)",
        f"{PLAIN} f = Where(keep, s, low) p = Softmax<axis = -1>(f)",
        f"{PLAIN} n = Not(keep) f = Where(n, low, s) p = Softmax<axis = -1>(f)",
    ],
    "numbers": [
        f"{PLAIN} f = Add(s, add) p = Softmax<axis = -1>(f)",
        f"{PLAIN} f = Add(add, s) w = Softmax<axis = -1>(f) n = IsNaN(w) p = Where(n, zero, w)",
    ],
}


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_is_one_node(canon: Read, name: str) -> None:
    forms = [canon(HEADER + HEADS.replace("NODES", nodes)) for nodes in ATTENTION[name]]
    assert [[node.op for node in form.nodes] for form in forms] == [["Attention"]] * len(forms)
    assert len({form.hash for form in forms}) == 1


TURNED = [
    "vt = Transpose<perm = [0, 2, 1, 3]>(v) y = MatMul(p, vt)",
    "w = Reshape(v, rows) vt = Transpose<perm = [0, 2, 1]>(w) vh = Reshape(vt, last)"
    " y = com.microsoft.FusedMatMul<transB = 1>(p, vh)",
]


def test_values_that_are_read_transposed_twice_are_turned_once(canon: Read) -> None:
    text = (
        "g (float[2,4,6,8] q, float[2,4,6,8] k, float[2,6,4,8] v) => (float[2,4,6,8] y)"
        f" <int64[3] rows = {{2, 6, 32}}, int64[4] last = {{2, 4, 8, 6}}> {{ {NUMBERS}"
        " t = Transpose<perm = [0, 1, 3, 2]>(k) z = MatMul(q, t) s = Mul(z, scale) p = Softmax<axis = -1>(s) NODES }"
    )
    forms = [canon(HEADER + text.replace("NODES", nodes)) for nodes in TURNED]
    assert [[node.op for node in form.nodes] for form in forms] == [["Transpose", "Attention"]] * 2
    assert len({form.hash for form in forms}) == 1


FEW = (
    "g (float[2,4,6,8] q, float[2,2,6,8] k, float[2,2,6,8] v) => (float[2,4,6,8] y) <int64[1] two_ = {2},"
    " int64[5] wide = {2, 2, 2, 6, 8}, int64[5] times = {1, 1, 2, 1, 1}, int64[4] whole = {2, 4, 6, 8},"
    " int64[4] each = {0, 0, 1, 1}, int64[4] turns = {0, 1, 0, 1}>"
    f"{{ {NUMBERS} NODES t = Transpose<perm = [0, 1, 3, 2]>(kr) z = MatMul(q, t) s = Mul(z, scale)"
    " p = Softmax<axis = -1>(s) y = MatMul(p, vr) }"
)
REPEATED = [
    "ku = Unsqueeze(k, two_) ke = Expand(ku, wide) kr = Reshape(ke, whole)"
    " vu = Unsqueeze(v, two_) ve = Expand(vu, wide) vr = Reshape(ve, whole)",
    "ku = Unsqueeze(k, two_) ke = Tile(ku, times) kr = Reshape(ke, whole)"
    " vu = Unsqueeze(v, two_) ve = Concat<axis = 2>(vu, vu) vr = Reshape(ve, whole)",
    "kr = Gather<axis = 1>(k, each) vr = Gather<axis = 1>(v, each)",
]


def test_heads_that_several_queries_share_are_read_once(canon: Read) -> None:
    forms = [canon(HEADER + FEW.replace("NODES", nodes)) for nodes in REPEATED]
    assert [[node.op for node in form.nodes] for form in forms] == [["Attention"]] * len(forms)
    assert [form.nodes[0].operands[1].tensor.shape for form in forms] == [(2, 2, 6, 8)] * len(forms)
    assert len({form.hash for form in forms}) == 1


def test_heads_in_turns_are_not_heads_in_a_row(canon: Read) -> None:
    found = canon(HEADER + FEW.replace("NODES", "kr = Gather<axis = 1>(k, turns) vr = Gather<axis = 1>(v, turns)"))
    assert [node.op for node in found.nodes] == ["Gather", "Gather", "Attention"]


def test_a_rectifier_times_itself_is_a_square(canon: Read) -> None:
    power, product = (
        canon(HEADER + ROWS.replace("NODES", f"r = Relu(x) {nodes}")) for nodes in ("y = Pow(r, two)", "y = Mul(r, r)")
    )
    assert [node.op for node in power.nodes] == ["Relu", "Pow"]
    assert power.hash == product.hash


def test_a_pad_that_moves_is_told_by_what_it_reads_and_by_how_much(canon: Read) -> None:
    """Exporters state the zero that it fills with, or leave it out."""
    pads = "p = Constant<value_ints = [0, 1, 0, 0, -1, 0]>()"
    told, untold = (
        canon(f"g (float[2,6,4] x) => (float[2,6,4] y) {{ {pads} {nodes} }}")
        for nodes in ("z = Constant<value_float = 0.0>() y = Pad(x, p, z)", "y = Pad(x, p)")
    )
    assert [len(node.operands) for node in told.nodes] == [2]
    assert told.hash == untold.hash


def test_a_vector_divided_by_its_length_is_one_thing_before_and_behind_a_transpose(canon: Read) -> None:
    """ONNX Runtime computes lengths ahead of the Transpose that PyTorch computes them behind."""
    text = (
        HEADER + "g (float[2,6,4,8] x) => (float[2,4,6,8] y) <float eps = {1e-12}>"
        " { size = Constant<value_ints = [2, 4, 6, 8]>() r = Relu(x) t = Transpose<perm = [0, 2, 1, 3]>(r) NODES"
        " y = Div(t, e) }"
    )
    behind = canon(text.replace("NODES", "l = ReduceL2<axes = [-1]>(t) c = Clip(l, eps) e = Expand(c, size)"))
    ahead = canon(
        text.replace(
            "NODES",
            "l = ReduceL2<axes = [-1]>(r) c = Clip(l, eps) u = Transpose<perm = [0, 2, 1, 3]>(c) e = Expand(u, size)",
        )
    )
    assert [node.op for node in behind.nodes] == ["Relu", "ReduceL2", "Clip", "Expand", "Div", "Transpose"]
    assert ahead.hash == behind.hash
