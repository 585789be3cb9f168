"""What exporters write in several nodes is one node: normalisations, activations, softmax, attention."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from narformer.frontends.canonical import canonical
from narformer.graph import Graph, Node, Operand, Tensor

Read = Callable[[str], Graph]

CONSTANTS = {
    **{
        "half": 0.5,
        "one": 1.0,
        "two": 2.0,
        "three": 3.0,
        "six": 6.0,
        "sixth": 1 / 6,
        "zero": 0.0,
        "e": 1e-5,
        "n": -0.5,
    },
    **{"r2": 2**0.5, "c": 0.044715, "p": 0.7978845608, "q": 1.702, "a": 0.1, "i": 3.4028235e38, "e": 1e-5, "n": -0.5},
}
ACTIVATIONS = [
    ("Gelu", "d = Div(x, r2) f = Erf(d) g = Add(f, one) h = Mul(x, g) y = Mul(h, half)"),
    ("Gelu", "d = Div(x, r2) f = Erf(d) g = Add(one, f) h = Mul(half, g) y = Mul(x, h)"),
    ("Gelu", "d = Div(x, r2) f = Erf(d) g = Add(f, one) h = Mul(x, half) y = Mul(h, g)"),
    ("Gelu", "d = Div(x, r2) f = Erf(d) g = Mul(f, half) h = Add(g, half) y = Mul(x, h)"),
    (
        "Gelu",
        "b = Pow(x, three) d = Mul(b, c) f = Add(x, d) g = Mul(f, p) h = Tanh(g) k = Add(h, one) l = Mul(x, half) "
        "y = Mul(l, k)",
    ),
    (
        "Gelu",
        "b = Mul(x, x) d = Mul(b, x) f = Mul(c, d) g = Add(x, f) h = Mul(g, p) k = Tanh(h) l = Add(k, one) "
        "m = Mul(half, l) y = Mul(x, m)",
    ),
    ("Swish", "s = Sigmoid(x) y = Mul(x, s)"),
    ("Swish", "b = Mul(x, q) s = Sigmoid(b) y = Mul(s, x)"),
    ("HardSigmoid", "b = Add(x, three) d = Clip(b, zero, six) y = Div(d, six)"),
    ("HardSigmoid", "b = Add(x, three) d = Clip(b, zero, six) y = Mul(d, sixth)"),
    ("HardSwish", "b = Add(x, three) d = Clip(b, zero, six) f = Mul(x, d) y = Div(f, six)"),
    ("HardSwish", "b = Add(x, three) d = Clip(b, zero, six) f = Div(d, six) y = Mul(f, x)"),
    ("HardSwish", "b = HardSigmoid<alpha = 0.16666667, beta = 0.5>(x) y = Mul(x, b)"),
    ("Mish", "b = Softplus(x) d = Tanh(b) y = Mul(x, d)"),
    ("Mish", "b = Exp(x) d = Add(b, one) f = Log(d) g = Tanh(f) y = Mul(x, g)"),
    ("Softsign", "b = Abs(x) d = Add(one, b) y = Div(x, d)"),
    ("Sigmoid", "b = Neg(x) d = Exp(b) f = Add(d, one) y = Reciprocal(f)"),
    ("Relu", "y = Max(x, zero)"),
    ("Relu", "y = Clip(x, zero, i)"),
    ("Clip", "b = Relu(x) y = Min(b, six)"),
    ("LeakyRelu", "b = Mul(x, a) y = Max(x, b)"),
    ("LogSoftmax", "b = Softmax<axis = -1>(x) y = Log(b)"),
    ("Softmax", "b = ReduceMax(x, last) d = Sub(x, b) f = Exp(d) g = ReduceSum(f, last) y = Div(f, g)"),
    ("LogSoftmax", "b = Exp(x) d = ReduceSum(b, last) f = Log(d) y = Sub(x, f)"),
]
DEVIATION = "b = ReduceMean(x, last) d = Sub(x, b)"
NORMALISATIONS = [
    (
        "LayerNormalization",
        3,
        f"{DEVIATION} f = Pow(d, two) g = ReduceMean(f, last) h = Add(g, e) k = Sqrt(h) l = Div(d, k) m = Mul(l, w) "
        "y = Add(m, v)",
    ),
    (
        "LayerNormalization",
        3,
        f"{DEVIATION} b2 = Sub(x, b) f = Mul(b2, b2) g = ReduceMean(f, last) h = Add(e, g) k = Sqrt(h) "
        "j = Reciprocal(k) l = Mul(d, j) m = Mul(w, l) y = Add(v, m)",
    ),
    (
        "LayerNormalization",
        2,
        f"{DEVIATION} f = Mul(d, d) g = ReduceMean(f, last) h = Add(g, e) k = Pow(h, n) l = Mul(d, k) y = Mul(l, w)",
    ),
    (
        "RMSNormalization",
        2,
        "f = Pow(x, two) g = ReduceMean(f, last) h = Add(g, e) k = Sqrt(h) j = Reciprocal(k) l = Mul(x, j) "
        "y = Mul(w, l)",
    ),
    (
        "RMSNormalization",
        2,
        "u = Add(w, one) f = Mul(x, x) g = ReduceMean(f, last) h = Add(g, e) k = Sqrt(h) l = Div(x, k) y = Mul(l, u)",
    ),
    (
        "RMSNormalization",
        1,
        "f = Mul(x, x) g = ReduceMean(f, last) h = Add(g, e) k = Sqrt(h) y = Div(x, k)",
    ),
    (
        "GroupNormalization",
        3,
        "z1 = Reshape(x, groups) m = InstanceNormalization(z1, ones, zeros) z2 = Reshape(m, whole) s = Mul(z2, w1) "
        "y = Add(s, v1)",
    ),
    (
        "GroupNormalization",
        3,
        "z1 = Reshape(x, groups) b = ReduceMean(z1, last) d = Sub(z1, b) f = Mul(d, d) g = ReduceMean(f, last) "
        "h = Add(g, e) k = Sqrt(h) l = Div(d, k) z2 = Reshape(l, whole) s = Mul(z2, w1) y = Add(s, v1)",
    ),
    (
        "InstanceNormalization",
        3,
        "z1 = Reshape(x, alone) m = InstanceNormalization(z1, fw, fv) z2 = Reshape(m, whole) "
        "s = Mul(z2, w1) y = Add(s, v1)",
    ),
    ("InstanceNormalization", 3, "y = GroupNormalization<num_groups = 6>(x, fw, fv)"),
    (
        "InstanceNormalization",
        3,
        "b = ReduceMean(x, space) d = Sub(x, b) f = Mul(d, d) g = ReduceMean(f, space) h = Add(g, e) k = Sqrt(h) "
        "l = Div(d, k) s = Mul(l, w1) y = Add(s, v1)",
    ),
]


def of(read: Read, nodes: str, known: bool = True) -> Graph:
    """A network over x (2, 6, 4, 10); constants hold their numbers, or, in a weightless file, nothing is known."""
    text = "".join(f"{k} = Constant<value_float = {v!r}>() " for k, v in CONSTANTS.items() if known)
    weights = "float[10] w, float[10] v, float[6,1,1] w1, float[6,1,1] v1, float[2] ones, float[2] zeros, "
    weights += "float[6] fw, float[6] fv"
    weights += "" if known else "".join(f", float {name}" for name in CONSTANTS)
    text += "last = Constant<value_ints = [-1]>() space = Constant<value_ints = [2, 3]>() "
    text += "groups = Constant<value_ints = [0, 2, -1]>() whole = Constant<value_ints = [2, 6, 4, 10]>() "
    text += "alone = Constant<value_ints = [0, 6, -1]>() "
    return read(f"g (float[2,6,4,10] x) => (float[2,6,4,10] y) <{weights}> {{ {text} {nodes} }}")


@pytest.mark.parametrize(("op", "nodes"), ACTIVATIONS)
def test_an_activation_is_one_node_however_it_is_spelt(canon: Read, op: str, nodes: str) -> None:
    (node,) = of(canon, nodes).nodes
    assert node.op == op
    assert [operand.tensor.shape for operand in node.operands] == [(2, 6, 4, 10)]
    assert node.output_shape == (2, 6, 4, 10)
    assert len({node.name, *node.origin}) == nodes.count("=") - nodes.count("<alpha =") - nodes.count("beta =") - (
        nodes.count("<axis =")
    )


@pytest.mark.parametrize(("mean", "op"), [("axes = [1]", "LayerNormalization"), ("axes = [3]", "RMSNormalization")])
def test_what_is_centred_before_it_is_turned_is_a_layer_normalisation(canon: Read, mean: str, op: str) -> None:
    """ONNX Runtime's optimiser leaves a normalisation behind a Transpose so."""
    found = canon(
        """<ir_version: 8, opset_import: ["" : 11, "com.microsoft" : 1]>
        g (float[2,10,4,6] x) => (float[2,4,6,10] y) <float[10] w, float[10] v> {"""
        f" a = ReduceMean<{mean}>(x) d = Sub(x, a) t = Transpose<perm = [0, 2, 3, 1]>(d)"
        " n = SimplifiedLayerNormalization<axis = -1>(t, w) y = Add(n, v) }"
    )
    (node,) = [node for node in found.nodes if node.op.endswith("Normalization")]
    assert node.op == op
    assert ("Sub" in [node.op for node in found.nodes]) == (op == "RMSNormalization")


@pytest.mark.parametrize(("op", "operands", "nodes"), NORMALISATIONS)
@pytest.mark.parametrize("known", [True, False], ids=["values known", "values unknown"])
def test_a_normalisation_is_one_node_however_it_is_spelt(
    canon: Read, op: str, operands: int, nodes: str, known: bool
) -> None:
    (node,) = of(canon, nodes, known).nodes
    assert node.op == op
    assert node.operands[0].tensor.shape == (2, 6, 4, 10)
    channels = (10,) if op in ("LayerNormalization", "RMSNormalization") else (6,)
    assert [operand.tensor.shape for operand in node.operands[1:]] == [channels] * (operands - 1)
    assert node.output_shape == (2, 6, 4, 10)


CONTRADICTED = [
    "d = Div(x, r2) f = Erf(d) g = Add(f, two) h = Mul(x, g) y = Mul(h, half)",
    "d = Div(x, r2) f = Erf(d) g = Add(f, one) h = Mul(x, g) y = Mul(h, two)",
    "b = Add(x, two) d = Clip(b, zero, six) f = Mul(x, d) y = Div(f, six)",
    "b = Add(x, three) d = Clip(b, zero, six) f = Mul(x, d) y = Div(f, two)",
    "y0 = Max(x, one) y = Neg(y0)",
    "f = Pow(x, three) g = ReduceMean(f, last) h = Add(g, e) k = Sqrt(h) y = Div(x, k)",
    "b = ReduceMean(x, space) d = Sub(x, b) f = Mul(d, d) g = ReduceMean(f, last) h = Add(g, e) k = Sqrt(h) "
    "y = Div(d, k)",
]


@pytest.mark.parametrize("nodes", CONTRADICTED)
def test_what_known_numbers_contradict_is_no_pattern(canon: Read, nodes: str) -> None:
    assert len(of(canon, nodes).nodes) > 1


def test_what_something_else_reads_stays(canon: Read) -> None:
    found = of(canon, "s = Sigmoid(x) t = Mul(x, s) u = Neg(s) y = Add(t, u)")
    assert [node.op for node in found.nodes] == ["Sigmoid", "Mul", "Neg", "Add"]


CASTS = [
    "c = Cast<to = 1>(x) f = Mul(c, c) g = ReduceMean(f, last) h = Add(g, e) k = Sqrt(h) l = Div(c, k) "
    "m = Cast<to = 10>(l) y = Mul(m, w)",
    "a = ReduceMean(x, last) b = Sub(x, a) c = Cast<to = 1>(b) f = Mul(c, c) g = ReduceMean(f, last) h = Add(g, e) "
    "k = Sqrt(h) l = Div(c, k) m = Cast<to = 10>(l) y = Mul(m, w)",
]


@pytest.mark.parametrize("nodes", CASTS)
def test_a_normalisation_between_casts_reads_and_writes_the_narrow_type(canon: Read, nodes: str) -> None:
    last = "last = Constant<value_ints = [-1]>() e = Constant<value_float = 1e-6>()"
    (node,) = canon(f"g (float16[2,7,10] x) => (float16[2,7,10] y) <float16[10] w> {{ {last} {nodes} }}").nodes
    assert node.op == ("LayerNormalization" if "Sub" in nodes else "RMSNormalization")
    assert [operand.tensor.dtype for operand in node.operands] == ["float16", "float16"]
    assert node.outputs[0].dtype == "float16"


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_which_gelu_it_is_is_told(canon: Read, approximate: str) -> None:
    nodes = ACTIVATIONS[4 if approximate == "tanh" else 0][1]
    (node,) = of(canon, nodes).nodes
    assert node.attributes.get("approximate", "none") == approximate


@pytest.mark.parametrize(
    ("opset", "attribute", "shape", "axis"),
    [
        (11, "", (2, 3, 4, 5), (2, 60, -1)),
        (11, "<axis = 2>", (2, 3, 4, 5), (6, 20, -1)),
        (11, "<axis = 3>", (2, 3, 4, 5), (2, 3, 4, 5, -1)),
        (11, "<axis = -1>", (2, 3, 4, 5), (2, 3, 4, 5, -1)),
        (11, "", (2, 7), (2, 7, -1)),
        (11, "", (2, 7, 1, 1), (2, 7, 1, 1, -3)),
        (13, "", (2, 3, 4, 5), (2, 3, 4, 5, -1)),
        (13, "<axis = 1>", (2, 3, 4, 5), (2, 3, 4, 5, -3)),
    ],
)
def test_a_softmax_runs_over_the_axes_that_its_opset_says(
    canon: Read, opset: int, attribute: str, shape: tuple[int, ...], axis: tuple[int, ...]
) -> None:
    kind = f"float[{','.join(map(str, shape))}]"
    header = f'<ir_version: 7, opset_import: ["" : {opset}]>'
    (node,) = canon(f"{header} g ({kind} x) => ({kind} y) {{ y = Softmax{attribute}(x) }}").nodes
    assert (*node.operands[0].tensor.shape, node.attributes.get("axis", -1)) == axis
    assert node.output_shape == axis[:-1]


def test_a_normalisation_over_an_axis_that_there_is_not_stays_what_it_is() -> None:
    x = Tensor((2, 6))
    node = Node("n", "LayerNormalization", (Operand(x, ~0), Operand(Tensor((6,)), name="s")), (x,), {"axis": 1008})
    assert canonical(Graph((node,), (x,))).nodes[0].attributes == {"axis": 1008}


def test_a_softplus_with_a_guard_against_large_values_is_one_node(canon: Read) -> None:
    text = (
        "g (float[2,8] x) => (float[2,8] y) { r = Tanh(x) k = Constant<value_float = LIMIT>() c = Greater(r, k)"
        " s = Softplus(r) y = Where(c, r, s) }"
    )
    assert [node.op for node in canon(text.replace("LIMIT", "20.0")).nodes] == ["Tanh", "Softplus"]
    assert len(canon(text.replace("LIMIT", "0.0")).nodes) == 4
    other = text.replace("Where(c, r, s)", "Where(c, s, r)").replace("LIMIT", "20.0")
    assert len(canon(other).nodes) == 4
