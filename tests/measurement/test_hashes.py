"""Hashes that networks have in stores: who changes them has to bring stores along."""

from __future__ import annotations

import hashlib
from importlib import import_module
from pathlib import Path

import onnx.parser
import pytest

pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy: pip install 'narformer[measure]'")

from narformer.frontends.canonical import network_hash
from narformer.frontends.onnx import read_onnx
from narformer.measurement import schema

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGES = """g (float[1,3,16,16] x) => (float[1,10] y)
    <float[8,3,3,3] w, float[8] b, float[8,1,3,3] d, float[8,8,1,1] p, float[8,4] down, float[4,8] up, float[8,10] k> {
    pads = Constant<value_ints = [0, 0, 1, 1, 0, 0, 1, 1]>() flat = Constant<value_ints = [1, 8]>()
    wide = Constant<value_ints = [1, 8, 1, 1]>() pad = Pad(x, pads) c = Conv<strides = [2, 2]>(pad, w)
    n = BatchNormalization(c, b, b, b, b) r = Relu(n) e = Conv<group = 8, pads = [1, 1, 1, 1]>(r, d, b) s = HardSwish(e)
    m = ReduceMean<axes = [2, 3]>(s) v = Reshape(m, flat) a = MatMul(v, down) o = Relu(a) u = MatMul(o, up)
    i = Sigmoid(u) gate = Reshape(i, wide) q = Mul(s, gate) z = Conv(q, p, b) j = Add(r, z)
    pool = GlobalAveragePool(j) f = Flatten(pool) y = MatMul(f, k) }"""
WORDS = """g (int64[2,6] ids, float[2,1,6,6] mask) => (float[2,6,8] y)
    <float[100,8] table, float[8] s, float[8] t, float[8,24] w, float[24] b, float[8,8] o,
     float[8,32] up, float[32,8] down> {
    root = Constant<value_float = 1.4142135>() one = Constant<value_float = 1.0>() half = Constant<value_float = 0.5>()
    heads = Constant<value_ints = [0, 0, 2, 4]>() whole = Constant<value_ints = [0, 0, 8]>()
    thirds = Constant<value_ints = [8, 8, 8]>() x = Gather(table, ids) n = LayerNormalization<axis = -1>(x, s, t)
    p = MatMul(n, w) pb = Add(p, b) q, k, v = Split<axis = 2>(pb, thirds) q1 = Reshape(q, heads)
    q2 = Transpose<perm = [0, 2, 1, 3]>(q1) k1 = Reshape(k, heads) k2 = Transpose<perm = [0, 2, 3, 1]>(k1)
    v1 = Reshape(v, heads) v2 = Transpose<perm = [0, 2, 1, 3]>(v1) z = MatMul(q2, k2) zs = Mul(z, half)
    zm = Add(zs, mask) prob = Softmax<axis = -1>(zm) at = MatMul(prob, v2) a1 = Transpose<perm = [0, 2, 1, 3]>(at)
    a2 = Reshape(a1, whole) out = MatMul(a2, o) r = Add(x, out) m = LayerNormalization<axis = -1>(r, s, t)
    u = MatMul(m, up) d = Div(u, root) e = Erf(d) f = Add(e, one) g1 = Mul(u, f) g2 = Mul(g1, half)
    h = MatMul(g2, down) y = Add(r, h) }"""
STEPS = """g (float[12,2,8] x) => (float[12,2,32] y) <float[2,64,8] w, float[2,64,16] r, float[2,128] b> {
    a, h, c = LSTM<hidden_size = 16, direction = "bidirectional">(x, w, r, b)
    turned = Transpose<perm = [0, 2, 1, 3]>(a) to = Constant<value_ints = [12, 2, 32]>() y = Reshape(turned, to) }"""
INTEGERS = """g (float[1,3,8,8] x) => (float[1,4,8,8] y)
    <int8[4,3,3,3] w, float[4] ws, int8[4] wz, int32[4] b, float s, uint8 z> {
    q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) f = DequantizeLinear<axis = 0>(w, ws, wz)
    e = DequantizeLinear(b, s) c = Conv<pads = [1, 1, 1, 1]>(d, f, e) r = Relu(c) p = QuantizeLinear(r, s, z)
    y = DequantizeLinear(p, s, z) }"""

# One query that was learned, keys as they are read for a product, groups of one channel, a table that is shared.
OTHERS = """g (int64[1,6] ids) => (float[1,1,20] y)
    <float[20,8] table, float[1,2,1,4] q, float[3] s, float[3] b, float[8,3] narrow, float[3,8] wide> {
    x = Gather(table, ids) m = MatMul(x, narrow) turned = Transpose<perm = [0, 2, 1]>(m)
    n = GroupNormalization<num_groups = 3>(turned, s, b) back = Transpose<perm = [0, 2, 1]>(n) w = MatMul(back, wide)
    heads = Constant<value_ints = [1, 6, 2, 4]>() flat = Constant<value_ints = [1, 1, 8]>() h = Reshape(w, heads)
    k = Transpose<perm = [0, 2, 3, 1]>(h) v = Transpose<perm = [0, 2, 1, 3]>(h) z = MatMul(q, k) p = Softmax(z)
    a = MatMul(p, v) f = Reshape(a, flat) t = Transpose<perm = [1, 0]>(table) y = MatMul(f, t) }"""

# A matrix that two layers share, and the ones of a layer that is not trained yet.
SHARED = """g (float[2,4] x) => (float[2,4] y) <float[4,4] w> {
    ones = Constant<value_floats = [1.0, 1.0, 1.0, 1.0]>() a = MatMul(x, w) s = Mul(a, ones) r = Relu(s)
    y = MatMul(r, w) }"""

# Attention and a normalisation as Keras writes them and tf2onnx exports them.
KERAS = """g (float[1,6,8] x) => (float[1,6,8] y)
    <float[8,8] w, float[2,4] b, float[8,8] u, float[2,4] c, float[8,8] o, float[8] s, float[8] t> {
    heads = Constant<value_ints = [1, 6, 2, 4]>() rows = Constant<value_ints = [1, 6, 8]>()
    last = Constant<value_ints = [1, 2, 4, 6]>() eps = Constant<value_float = 1e-5>() k = MatMul(x, w)
    kh = Reshape(k, heads) kb = Add(kh, b) kt = Transpose<perm = [0, 2, 3, 1]>(kb) v = MatMul(x, u)
    vh = Reshape(v, heads) vb = Add(vh, c) vr = Reshape(vb, rows) vt = Transpose<perm = [0, 2, 1]>(vr)
    vl = Reshape(vt, last) vm = Transpose<perm = [0, 1, 3, 2]>(vl) q = Transpose<perm = [0, 2, 1, 3]>(kb)
    z = MatMul(q, kt) p = Softmax(z) a = MatMul(p, vm) at = Transpose<perm = [0, 2, 1, 3]>(a) ar = Reshape(at, rows)
    e = MatMul(ar, o) m = ReduceMean<axes = [-1]>(e) d = Sub(e, m) dd = Mul(d, d) n = ReduceMean<axes = [-1]>(dd)
    f = Add(n, eps) r = Sqrt(f) i = Reciprocal(r) g = Mul(i, s) eg = Mul(e, g) l = Neg(m) lg = Mul(l, g)
    h = Add(lg, t) y = Add(eg, h) }"""

# A mask that is the same for all heads, which does not count, and positions that are counted between Casts.
MASKED = """g (int64[1,6] ids, float[1,2,6,4] q) => (float[1,2,6,4] y)
    <float[6,6] causal, float[20,4] table, int64 axis = {1}> {
    zero = Constant<value_int = 0>() empty = Equal(ids, zero) there = Not(empty) m = Cast<to = 6>(there)
    w = Cast<to = 7>(m) s = CumSum(w, axis) n = Cast<to = 6>(s) at = Cast<to = 7>(n) x = Gather(table, at)
    t = Transpose<perm = [0, 1, 3, 2]>(q) z = MatMul(q, t) e = Add(z, causal) p = Softmax<axis = -1>(e)
    v = Add(q, x) y = MatMul(p, v) }"""

# Words that are shifted by one.
SHIFTED = """g (int64[1,8] x, int64[1,7] less) => (int64[1,8] y) <int64[1,8] zeros, int64[1,7,2] rest> {
    a = ScatterND(zeros, rest, less) y = Add(a, x) }"""

# What moves by one place, with pads that are computed, and squares.
MOVED = """g (float[1,6,4] x) => (float[1,6,4] y) <int64[5] told = {0, 1, 0, 0, -1}, int64[1] one = {1}> {
    rest = ConstantOfShape<value = int64[1] {0}>(one) p = Concat<axis = 0>(told, rest) m = Pad(x, p) r = Relu(m)
    square = Constant<value_float = 2.0>() y = Pow(r, square) }"""

# Vectors divided by their lengths, behind a Transpose.
LENGTHS = """g (float[2,6,4,8] x) => (float[2,4,6,8] y) {
    size = Constant<value_ints = [2, 4, 6, 8]>() r = Relu(x) t = Transpose<perm = [0, 2, 1, 3]>(r)
    l = ReduceL2<axes = [-1]>(t) e = Expand(l, size) y = Div(t, e) }"""


def _hash(text: str) -> str:
    opset = 21 if "GroupNormalization" in text else 17
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {text}')
    computed = {name for node in model.graph.node for name in node.output}
    for info in [info for info in model.graph.value_info if info.name not in computed]:
        kind = info.type.tensor_type
        held = model.graph.initializer.add(name=info.name, data_type=kind.elem_type)
        held.dims.extend(d.dim_value for d in kind.shape.dim)
    return network_hash(read_onnx(model))


def test_who_changes_hashes_writes_a_revision_that_brings_stores_along() -> None:
    names = [f"narformer.measurement.migrations.versions.revision_{revision}" for revision in schema.REVISIONS]
    told = [module.HASHES for module in map(import_module, names) if hasattr(module, "HASHES")]
    texts = (IMAGES, WORDS, STEPS, INTEGERS, OTHERS, SHARED, KERAS, MASKED, SHIFTED, MOVED, LENGTHS)
    found = [_hash(text) for text in texts]
    found.append(network_hash(read_onnx(REPOSITORY / "examples" / "resnet18.onnx")))
    digest = hashlib.sha256(" ".join(found).encode()).hexdigest()[:16]
    following = f"{int(schema.REVISIONS[-1]) + 1:04d}"
    assert digest == told[-1], (
        "Networks have other hashes than the last revision of stores says: a rule of the canonical form was changed, "
        "or narformer/hashing.py. If that is meant, add "
        f"narformer/measurement/migrations/versions/revision_{following}.py "
        f'that calls rehash, as revision_0004.py does, with HASHES = "{digest}", and "{following}" to '
        "narformer.measurement.schema.REVISIONS. A revision that was there before is never changed."
    )
