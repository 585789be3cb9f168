"""Networks with channels last, as tf2onnx writes them: the Transposes around each convolution meet and cancel."""

from __future__ import annotations

from collections.abc import Callable

from narformer.graph import Graph

Read = Callable[[str], Graph]

WEIGHTS = (
    "<float[8,3,3,3] w, float[8,1,3,3] d, float[16,8,1,1] p, float[8] s, float[16] t, float[8] b,"
    "float[2,8,1,1] w1, float[8,2,1,1] w2, float[2] b1, int64[8] pads = {0, 0, 0, 0, 0, 1, 1, 0},"
    "float zero = {0.0}, float six = {6.0}, int64[2] inner = {1, 2}, float three = {3.0}>"
)
IN = "Transpose<perm = [0, 3, 1, 2]>"
OUT = "Transpose<perm = [0, 2, 3, 1]>"


def test_a_block_between_transposes_keeps_one(canon: Read) -> None:
    last = canon(
        f"g (float[1,9,9,3] x) => (float[1,1,1,16] y) {WEIGHTS} {{"
        f'x1 = {IN}(x) a = Conv<strides = [2, 2], auto_pad = "SAME_UPPER">(x1, w) a1 = {OUT}(a) m = Mul(a1, s)'
        f" n = Add(m, b) r = Clip(n, zero, six) q = Pad(r, pads) r1 = {IN}(q)"
        f" e = Conv<group = 8>(r1, d) e1 = {OUT}(e) f = Mul(e1, s) h = Add(f, b) j = Clip(h, zero, six) j1 = {IN}(j)"
        f" k = Conv(j1, p) k1 = {OUT}(k) l = Add(k1, t) y = ReduceMean(l, inner) }}"
    )
    first = canon(
        f"g (float[1,9,9,3] x) => (float[1,16,1,1] y) {WEIGHTS} {{"
        f"x1 = {IN}(x) a = Conv<strides = [2, 2], pads = [1, 1, 1, 1]>(x1, w, b) r = Clip(a, zero, six)"
        " e = Conv<group = 8, pads = [0, 0, 1, 1]>(r, d, b) j = Clip(e, zero, six) k = Conv(j, p, t)"
        " y = GlobalAveragePool(k) }"
    )
    assert [node.op for node in last.nodes] == [
        "Transpose",
        "Conv",
        "Clip",
        "Conv",
        "Clip",
        "Conv",
        "GlobalAveragePool",
    ]
    assert last.hash == first.hash


def test_squeeze_and_excite_with_channels_last_is_that_with_channels_first(canon: Read) -> None:
    last = canon(
        f"g (float[1,3,9,9] x) => (float[1,16,7,7] y) {WEIGHTS} {{"
        f"a = Conv(x, w, b) a1 = {OUT}(a) m = ReduceMean(a1, inner) m1 = {IN}(m) c = Conv(m1, w1, b1) c1 = {OUT}(c)"
        f" r = Relu(c1) r1 = {IN}(r) e = Conv(r1, w2, b) e1 = {OUT}(e) g = Sigmoid(e1) z = Mul(a1, g) z1 = {IN}(z)"
        " y = Conv(z1, p, t) }"
    )
    first = canon(
        f"g (float[1,3,9,9] x) => (float[1,16,7,7] y) {WEIGHTS} {{"
        "a = Conv(x, w, b) m = GlobalAveragePool(a) c = Conv(m, w1, b1) r = Relu(c) e = Conv(r, w2, b) g = Sigmoid(e)"
        " z = Mul(a, g) y = Conv(z, p, t) }"
    )
    assert [node.op for node in last.nodes] == [node.op for node in first.nodes]
    assert last.hash == first.hash
