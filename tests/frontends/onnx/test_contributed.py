"""Operators of ONNX Runtime that its optimisers write for GPUs, or users by hand: shapes and MACs by hand."""

from __future__ import annotations

import onnx.parser
import pytest

from narformer.cost import graph_cost, without_cost_rule
from narformer.frontends.canonical import canonical
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph


def read(text: str) -> Graph:
    """What is declared beside the inputs and not computed is a weight."""
    header = '<ir_version: 9, opset_import: ["" : 17, "com.microsoft" : 1]>\n'
    model = onnx.parser.parse_model(header + text.replace("ms.", "com.microsoft."))
    computed = {name for node in model.graph.node for name in node.output}
    for info in [info for info in model.graph.value_info if info.name not in computed]:
        kind = info.type.tensor_type
        held = model.graph.initializer.add(name=info.name, data_type=kind.elem_type)
        held.dims.extend(d.dim_value for d in kind.shape.dim)
    for info in model.graph.output:
        info.type.tensor_type.ClearField("shape")
    return read_onnx(model)


# Inputs and weights, node, shapes of its outputs, MACs.
CASES = [
    (
        "g (float[12,16] x, int32[2,6] o, int32[3] c) => (float y) <float[16,48] w, float[48] b>",
        "y = ms.PackedAttention<num_heads = 4>(x, w, b, o, c)",
        [(12, 16)],
        12 * 16 * 48 + 2 * 12 * 6 * 16,
    ),
    (
        "g (float[12,16] q, float[12,16] k, float[12,24] v, int32[2,6] o, int32[3] c) => (float y)",
        "y = ms.PackedMultiHeadAttention<num_heads = 4>(q, k, v, , o, c)",
        [(12, 24)],
        12 * 6 * (16 + 24),
    ),
    (
        "g (float[12,4,3,4] q, int32[2,6] o, int32[3] c) => (float y)",
        "y = ms.PackedMultiHeadAttention<num_heads = 4>(q, , , , o, c)",
        [(12, 16)],
        2 * 12 * 6 * 16,
    ),
    (
        "g (float[2,6,16] x, int32[2] n) => (float y)",
        "y, o, c, l = ms.RemovePadding(x, n)",
        [(12, 16), (2, 6), (3,), (1,)],
        0,
    ),
    ("g (float[9,16] x, int32[2,6] o) => (float y)", "y = ms.RestorePadding(x, o)", [(2, 6, 16)], 0),
    (
        "g (float[2,1,16] x, float[2,2,4,10,4] p, int32[1] n) => (float y) <float[16,48] w, float[48] b>",
        "y, z = ms.DecoderMaskedSelfAttention<num_heads = 4, past_present_share_buffer = 1>(x, w, b, , p, , n)",
        [(2, 1, 16), (2, 2, 4, 10, 4)],
        None,
    ),
    (
        "g (float[1,4,16] q, float[1,4,8] k, float[1,4,8] v, float[1,2,32,4] pk, float[1,2,32,4] pv, int32[1,3] r,"
        " int32[1,5] c, int32[1] t, int32[1] l) => (float y)",
        "y, a, b = ms.SparseAttention<num_heads = 4, kv_num_heads = 2, sparse_block_size = 16>"
        "(q, k, v, pk, pv, r, c, t, l)",
        [(1, 4, 16), (1, 2, 32, 4), (1, 2, 32, 4)],
        None,
    ),
    ("g (float[1,8] x) => (float y)", "y = ms.Rfft<signal_ndim = 1, normalized = 0, onesided = 1>(x)", [(1, 5, 2)], 0),
    ("g (float[1,5,2] x) => (float y)", "y = ms.Irfft<signal_ndim = 1, normalized = 0, onesided = 1>(x)", [(1, 8)], 0),
    ("g (float[3,8] x, float[5,8] z) => (float y)", 'y = ms.CDist<metric = "euclidean">(x, z)', [(3, 5)], 3 * 5 * 8),
    ("g (int64[2,3] i) => (float y) <float[100,8] t>", "y = ms.TorchEmbedding(t, i)", [(2, 3, 8)], 0),
    ("g (float[2,3] x) => (float y)", "k = Constant<value_int = -1>() y = ms.ExpandDims(x, k)", [(2, 3, 1)], 0),
    (
        "g (float[2,6,16] q, float[1,4,6,6] p) => (float y) <float[16] b, float[4,8] w, float[8] v, float[1,4,1,1] e>",
        "y = ms.GatedRelativePositionBias<num_heads = 4>(q, b, p, w, v, e)",
        [(2, 4, 6, 6)],
        0,
    ),
    (
        "g (float[1,6] x) => (float y) <float[32,4] t>",
        "n = Constant<value_ints = [6]>() y0 = ms.RelativePositionBias<max_distance = 128>(t, n, n) y = Add(y0, x)",
        [(1, 4, 6, 6)],
        0,
    ),
]


@pytest.mark.parametrize(("values", "node", "shapes", "macs"), CASES)
def test_shapes_and_products_are_those_that_the_operator_computes(
    values: str, node: str, shapes: list[tuple[int, ...]], macs: int | None
) -> None:
    graph = read(f"{values} {{ {node} }}")
    last = graph.nodes[-1] if "Add(" not in node else graph.nodes[-2]
    assert [tensor.shape for tensor in last.outputs] == shapes
    assert not without_cost_rule(graph)
    if macs is not None:
        assert graph_cost(graph).macs == macs


WEIGHTS = "<float[16,48] w, float[48] b, float[16,16] o>"
PLAIN = f"""g (float[2,6,16] x, int32[2] n) => (float y) {WEIGHTS} {{
    a = ms.Attention<num_heads = 4>(x, w, b) y = MatMul(a, o) }}"""
PACKED = f"""g (float[2,6,16] x, int32[2] n) => (float y) {WEIGHTS} {{ p, places, ends, most = ms.RemovePadding(x, n)
    a = ms.PackedAttention<num_heads = 4>(p, w, b, places, ends) m = MatMul(a, o) y = ms.RestorePadding(m, places) }}"""


def test_a_transformer_without_padding_is_the_transformer() -> None:
    """Which is what nobody who reads a file can rule out: lengths are data."""
    plain, packed = read(PLAIN), read(PACKED)
    assert canonical(packed).hash == canonical(plain).hash
    assert graph_cost(packed).macs == graph_cost(canonical(packed)).macs == 2 * 6 * 16 * 64 + 2 * 2 * 6 * 6 * 16


def test_packed_heads_are_those_of_multi_head_attention() -> None:
    values = "g (float[12,16] q, float[12,16] k, float[12,16] v, int32[2,6] o, int32[3] c) => (float y)"
    whole = "g (float[2,6,16] q, float[2,6,16] k, float[2,6,16] v) => (float y)"
    packed = canonical(read(f"{values} {{ y = ms.PackedMultiHeadAttention<num_heads = 4>(q, k, v, , o, c) }}"))
    plain = canonical(read(f"{whole} {{ y = ms.MultiHeadAttention<num_heads = 4>(q, k, v) }}"))
    told = [
        [(n.op, n.outputs, [o.tensor for o in n.operands]) for n in g.nodes if n.op == "Attention"]
        for g in (packed, plain)
    ]
    assert told[0] == told[1]
    assert len(told[0]) == 1


def test_tokens_fewer_than_places_stay_packed() -> None:
    values = "g (float[9,16] x, int32[2,6] o, int32[3] c) => (float y) <float[16,48] w, float[48] b>"
    graph = read(f"{values} {{ y = ms.PackedAttention<num_heads = 4>(x, w, b, o, c) }}")
    assert [node.op for node in canonical(graph).nodes] == ["PackedAttention"]
    assert graph_cost(canonical(graph)).macs == 9 * 16 * 48 + 2 * 9 * 6 * 16
