"""Quantised networks: their dtypes tell, not the names of their operators."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from narformer.graph import Graph

Read = Callable[[str], Graph]

WEIGHTS = (
    "<int8[4,3,3,3] w, int32[4] b, int8[8,4] m, int32[4] c, float s, uint8 z, int8 i, float[1] t, float[4] f,"
    "int64[2] rows = {6, 8}>"
)
CONVOLUTIONS = [
    "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) dw = DequantizeLinear(w, s, i)"
    " db = DequantizeLinear(b, s) a = Conv(d, dw, db) r = Relu(a) e = QuantizeLinear(r, s, z)"
    " y = DequantizeLinear(e, s, z)",
    "q = QuantizeLinear(x, s, z) e = QLinearConv(q, s, z, w, s, i, s, z, b) y = DequantizeLinear(e, s, z)",
]


def test_the_two_ways_to_write_a_quantised_convolution_are_one(canon: Read) -> None:
    forms = [canon(f"g (float[1,3,8,8] x) => (float[1,4,6,6] y) {WEIGHTS} {{ {nodes} }}") for nodes in CONVOLUTIONS]
    assert [node.op for node in forms[0].nodes] == ["QuantizeLinear", "Conv", "DequantizeLinear"]
    conv = forms[0].nodes[1]
    assert [operand.tensor.dtype for operand in conv.operands] == ["uint8", "int8", "int32"]
    assert conv.outputs[0].dtype == "uint8"
    assert forms[0].hash == forms[1].hash


PRODUCTS = [
    "q, qs, qz = DynamicQuantizeLinear(x) a = MatMulInteger(q, m, qz, i) k = Cast<to = 1>(a) n = Mul(qs, t)"
    " o = Mul(k, n) y = Add(o, f)",
    "y = com.microsoft.DynamicQuantizeMatMul(x, m, t, i, f)",
    "q, qs, qz = DynamicQuantizeLinear(x) y = com.microsoft.MatMulIntegerToFloat(q, m, qs, t, qz, i, f)",
]


def test_the_ways_to_write_a_dynamically_quantised_product_are_one(canon: Read) -> None:
    forms = [canon(f"g (float[2,3,8] x) => (float[2,3,4] y) {WEIGHTS} {{ {nodes} }}") for nodes in PRODUCTS]
    assert [node.op for node in forms[0].nodes] == ["DynamicQuantizeLinear", "Gemm"]
    product = forms[0].nodes[1]
    assert [operand.tensor.dtype for operand in product.operands] == ["uint8", "int8", "float32"]
    assert product.outputs[0].dtype == "float32"
    assert len({form.hash for form in forms}) == 1


def test_a_weight_of_integers_that_floats_multiply_is_one_of_floats(canon: Read) -> None:
    (node,) = canon(
        f"g (float[2,3,8] x) => (float[2,3,4] y) {WEIGHTS} {{ d = DequantizeLinear(m, s, i) y = MatMul(x, d) }}"
    ).nodes
    assert node.op == "Gemm"
    assert node.operands[1].tensor.dtype == "float32"


PACKED = [
    "y = com.microsoft.MatMulNBits<K = 64, N = 32, bits = 4, block_size = 32>(x, p, ps)",
    "d = DequantizeLinear<axis = 0, block_size = 32>(u, us) y = MatMul(x, d)",
    "d = DequantizeLinear<axis = 1, block_size = 32>(v, vs) t = Transpose(d) y = MatMul(x, t)",
]


@pytest.mark.parametrize("nodes", PACKED)
def test_packed_weights_have_four_bits(canon: Read, nodes: str) -> None:
    weights = "<uint8[32,2,16] p, float[64] ps, int4[64,32] u, float[2,32] us, int4[32,64] v, float[32,2] vs>"
    (node,) = canon(
        '<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]>'
        f"g (float[2,3,64] x) => (float[2,3,32] y) {weights} {{ {nodes} }}"
    ).nodes
    assert node.op == "Gemm"
    assert (node.operands[1].tensor.shape, node.operands[1].tensor.dtype) == ((64, 32), "int4")
    assert node.operands[1].tensor.bytes == 64 * 32 // 2


def test_what_only_moves_elements_moves_integers(canon: Read) -> None:
    found = canon(
        f"g (float[1,3,8,8] x) => (float[1,8,8,3] y) {WEIGHTS} {{ q = QuantizeLinear(x, s, z)"
        " d = DequantizeLinear(q, s, z) a = Transpose<perm = [0, 2, 3, 1]>(d) e = QuantizeLinear(a, s, z)"
        " y = DequantizeLinear(e, s, z) }"
    )
    assert [node.op for node in found.nodes] == ["QuantizeLinear", "Transpose", "DequantizeLinear"]
    assert found.nodes[1].outputs[0].dtype == "uint8"


def test_an_operator_that_reads_floats_as_well_works_on_floats(canon: Read) -> None:
    found = canon(
        f"g (float[1,3,8,8] x) => (float[1,3,8,8] y) {WEIGHTS} {{ q = QuantizeLinear(x, s, z)"
        " d = DequantizeLinear(q, s, z) r = Relu(x) a = Add(d, r) y = QuantizeLinear(a, s, z) }"
    )
    assert [node.op for node in found.nodes] == ["QuantizeLinear", "DequantizeLinear", "Relu", "Add", "QuantizeLinear"]
    assert found.nodes[3].outputs[0].dtype == "float32"


def test_a_recurrent_layer_keeps_integer_weights(canon: Read) -> None:
    node = canon(
        "g (float[7,2,16] x) => (float[7,1,2,8] y) <int8[1,16,32] w, int8[1,8,32] r, float[1,64] b,"
        " float[1] s, int8[1] z>"
        '{ y = com.microsoft.DynamicQuantizeLSTM<hidden_size = 8>(x, w, r, b, "", "", "", "", s, z, s, z) }'
    ).nodes[0]
    assert node.op == "LSTM"
    assert [operand.tensor.shape for operand in node.operands] == [(7, 2, 16), (1, 32, 16), (1, 32, 8), (1, 64)]
    assert node.operands[1].tensor.dtype == "int8"


def test_a_scale_that_is_itself_stored_as_integers_is_no_data(canon: Read) -> None:
    nodes = "k = DequantizeLinear(i, s) q = QuantizeLinear(x, k, z) y = DequantizeLinear(q, k, z)"
    found = canon(f"g (float[1,3,8,8] x) => (float[1,3,8,8] y) {WEIGHTS} {{ {nodes} }}")
    assert [(node.op, len(node.operands)) for node in found.nodes] == [("QuantizeLinear", 1), ("DequantizeLinear", 1)]


def test_a_product_of_eight_bit_floats_is_one(canon: Read) -> None:
    weights = "<float8e4m3fn[8,4] w, float s, float8e4m3fn z>"
    nodes = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) v = DequantizeLinear(w, s, z) m = MatMul(d, v)"
    nodes += " o = QuantizeLinear(m, s, z) y = DequantizeLinear(o, s, z)"
    found = canon(f"g (float[2,8] x) => (float[2,4] y) {weights} {{ {nodes} }}")
    assert [node.op for node in found.nodes] == ["QuantizeLinear", "Gemm", "DequantizeLinear"]
    assert [operand.tensor.dtype for operand in found.nodes[1].operands] == ["float8"] * 3  # and a bias


def test_floats_that_are_dequantised_all_the_same_stay_where_they_are(canon: Read) -> None:
    nodes = "a = Relu(x) d = DequantizeLinear(a, s, z) y = Transpose<perm = [0, 2, 3, 1]>(d)"
    found = canon(f"g (float[1,3,8,8] x) => (float[1,8,8,3] y) {WEIGHTS} {{ {nodes} }}")
    assert [node.op for node in found.nodes] == ["Relu", "DequantizeLinear", "Transpose"]


def test_what_is_computed_from_dequantised_constants_is_a_constant(canon: Read) -> None:
    nodes = "a = DequantizeLinear(m, s) b = DequantizeLinear(c, s) k = Mul(a, b) y = MatMul(x, k)"
    found = canon(f"g (float[2,8] x) => (float[2,4] y) {WEIGHTS} {{ {nodes} }}")
    assert [node.op for node in found.nodes] == ["Gemm"]


def test_what_makes_integers_of_integers_runs_and_is_not_taken_in(canon: Read) -> None:
    """A contradiction, as ONNX quantises floats alone: the form says the same each time it is asked."""
    found = canon(
        f"g (float[1,3,8,8] x) => (uint8[1,4,6,6] y) {WEIGHTS} {{ q = QuantizeLinear(x, s, z)"
        " d = DequantizeLinear(q, s, z) dw = DequantizeLinear(w, s, i) a = Conv(d, dw) e = QuantizeLinear(a, s, z)"
        " y = QuantizeLinear(e, s, z) }"
    )
    assert [node.op for node in found.nodes] == ["QuantizeLinear", "Conv", "QuantizeLinear"]


def test_a_weight_that_is_dequantised_from_what_no_operator_computes_with_is_one_of_floats(canon: Read) -> None:
    found = canon(
        f"g (float[1,3,8,8] x) => (uint8[1,4,6,6] y) {WEIGHTS[:-1]},"
        " double[4,3,3,3] odd> { q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)"
        " dw = DequantizeLinear(odd, s) a = Conv(d, dw) y = QuantizeLinear(a, s, z) }"
    )
    assert [node.op for node in found.nodes] == ["QuantizeLinear", "Conv"]
    assert [operand.tensor.dtype for operand in found.nodes[1].operands[:2]] == ["uint8", "float32"]
