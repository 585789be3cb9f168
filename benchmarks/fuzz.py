"""Hostile input: mutated models must give a Graph or one clear error; never a crash, a hang, a traceback, much memory.

python benchmarks/fuzz.py [--inputs 200000] [--seed 0] [--json]

A child process reads one mutated model after another, costs and tokenises what can be read; the parent watches it. An
input is a failure if the child dies on it, takes over five seconds of processor time, raises anything but a
NarformerError, or asks for more than 500 MB beyond what the process has (its address space is limited so while it
reads, not while the input is made).
Input k of a seed is always the same: --first K --inputs 1 repeats it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import mmap
import os
import random
import resource
import signal
import struct
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import onnx.parser
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.progress import Progress

from narformer.cost import graph_cost
from narformer.errors import NarformerError
from narformer.frontends.canonical import canonical
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph
from narformer.tokens.physical import tokenize

SECONDS, MEGABYTES = 5.0, 500
INTEGERS = (0, 1, 2, 3, -1, -2, 7, 64, 255, 1024, 65_535, 2**20, 2**31 - 1, -(2**31), 2**31, 2**40, 2**53, 2**63 - 1)
INTEGERS += (-(2**63), 10**9, 10**12)


def seeds() -> list[bytes]:
    """Small models to mutate: hand-made ones that reach every part of the front end, and the wheel's own."""
    models = [network(), arithmetic(), control(), nested(), functions(), sequences(), quantised(), external()]
    models += [images(), encoder(), integers()]
    root = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data")
    files = []
    for folder, _, names in sorted(os.walk(root)):
        files += [os.path.join(folder, name) for name in names if name.endswith(".onnx")]
    contents = [model.SerializeToString() for model in models] * 4
    for path in files:
        with open(path, "rb") as file:
            data = file.read()
        if len(data) < 20_000:
            contents.append(data)
    return contents


def _model(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], **more: object) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    graph = helper.make_graph(nodes, "g", [x], [helper.make_empty_tensor_value_info(nodes[-1].output[0])], tensors)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("mine", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **more)


def network() -> onnx.ModelProto:
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2], group=1),
        node("BatchNormalization", ["c", "b", "b", "b", "b"], ["n"]),
        node("MaxPool", ["n"], ["p"], kernel_shape=[2, 2], ceil_mode=1),
        node("ConvTranspose", ["p", "t"], ["u"], kernel_shape=[2, 2], strides=[2, 2], output_padding=[1, 1]),
        node("Resize", ["u", "", "", "s"], ["r"], mode="nearest"),
        node("GlobalAveragePool", ["r"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("Gemm", ["f", "k"], ["y"], transB=1),
    ]
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.random((4, 3, 3, 3)),
        "b": rng.random(4),
        "t": rng.random((4, 2, 2, 2)),
        "k": rng.random((5, 2)),
    }
    return _model(nodes, {**{k: v.astype(np.float32) for k, v in weights.items()}, "s": np.array([1, 2, 6, 6])})


def arithmetic() -> onnx.ModelProto:
    """Shapes computed from shapes, into operators that could be made to allocate."""
    node = helper.make_node
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "i"], ["h"], axis=0),
        node("Mul", ["h", "i"], ["m"]),
        node("Unsqueeze", ["m", "z"], ["u"]),
        node("Concat", ["u", "u"], ["c"], axis=0),
        node("ConstantOfShape", ["c"], ["o"]),
        node("Range", ["zero", "h", "one"], ["r"]),
        node("Tile", ["o", "c"], ["t"]),
        node("Expand", ["one", "c"], ["e"]),
        node("Slice", ["x", "z", "u", "z"], ["l"]),
        node("Pad", ["l", "p"], ["q"]),
        node("Reshape", ["q", "n"], ["f"]),
        node("Einsum", ["f", "f"], ["g"], equation="ij,kj->ik"),
        node("TopK", ["g", "u1"], ["k", "ki"]),
        node("OneHot", ["ki", "h", "v"], ["y"]),
    ]
    integers = {"i": 3, "zero": 0, "one": 1}
    weights = {k: np.array(v) for k, v in integers.items()}
    weights |= {"z": np.array([0]), "n": np.array([1, -1]), "u1": np.array([1]), "v": np.array([0.0, 1.0], np.float32)}
    weights["p"] = np.zeros(8, np.int64)
    return _model(nodes, weights)


def _branch(name: str, nodes: list[onnx.NodeProto], inputs: list[onnx.ValueInfoProto] | None = None) -> onnx.GraphProto:
    outputs = [helper.make_empty_tensor_value_info(o) for o in nodes[-1].output]
    return helper.make_graph(nodes, name, inputs or [], outputs)


def control() -> onnx.ModelProto:
    """If, Loop and Scan, with bodies that read the graph around them."""
    node, empty = helper.make_node, helper.make_empty_tensor_value_info
    body = helper.make_graph(
        [node("Identity", ["c"], ["c2"]), node("Relu", ["v"], ["v2"]), node("Add", ["v2", "x"], ["w2"])],
        "body",
        [empty("i"), empty("c"), empty("v")],
        [empty("c2"), empty("v2"), empty("w2")],
    )
    step = helper.make_graph(
        [node("Add", ["a", "b"], ["s"]), node("Neg", ["s"], ["o"])],
        "step",
        [empty("a"), empty("b")],
        [empty("s"), empty("o")],
    )
    nodes = [
        node("Loop", ["trips", "yes", "x"], ["v", "stack"], body=body),
        node("ReduceSum", ["stack"], ["sum"], keepdims=0),
        node("Cast", ["sum"], ["truth"], to=TensorProto.BOOL),
        node(
            "If",
            ["truth"],
            ["chosen"],
            then_branch=_branch("a", [node("Relu", ["v"], ["t"])]),
            else_branch=_branch("b", [node("Neg", ["x"], ["f"])]),
        ),
        node("Scan", ["zeros", "chosen"], ["state", "y"], body=step, num_scan_inputs=1, scan_input_axes=[2]),
    ]
    zeros = np.zeros((1, 3, 8), np.float32)
    return _model(nodes, {"trips": np.array(3), "yes": np.array(True), "zeros": zeros})


def nested(depth: int = 12) -> onnx.ModelProto:
    """A branch within a branch within a branch."""
    nodes = [helper.make_node("Relu", ["x"], ["v0"])]
    for level in range(1, depth):
        other = _branch("o", [helper.make_node("Neg", ["x"], [f"o{level}"])])
        inner = _branch("i", nodes)
        nodes = [helper.make_node("If", ["k"], [f"v{level}"], then_branch=inner, else_branch=other)]
    return _model([helper.make_node("Cast", ["x"], ["k"], to=9), *nodes], {})


def functions() -> onnx.ModelProto:
    """Functions that call functions, twice each."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    made = [helper.make_function("mine", "F0", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], opsets)]
    for level in range(1, 5):
        calls = [helper.make_node(f"F{level - 1}", [a], [b], domain="mine") for a, b in (("a", "m"), ("m", "b"))]
        made.append(helper.make_function("mine", f"F{level}", ["a"], ["b"], calls, opsets))
    return _model([helper.make_node("F4", ["x"], ["y"], domain="mine")], {}, functions=made)


def sequences() -> onnx.ModelProto:
    node = helper.make_node
    nodes = [
        node("SplitToSequence", ["x", "two"], ["s"], axis=2),
        node("SequenceAt", ["s", "zero"], ["a"]),
        node("SequenceInsert", ["s", "a"], ["t"]),
        node("SequenceErase", ["t", "zero"], ["u"]),
        node("SequenceLength", ["u"], ["n"]),
        node("ConcatFromSequence", ["u"], ["y"], axis=2, new_axis=0),
        node("Optional", ["y"], ["o"]),
        node("OptionalGetElement", ["o"], ["z"]),
    ]
    return _model(nodes, {"two": np.array(2), "zero": np.array(0)})


def quantised() -> onnx.ModelProto:
    """What ONNX Runtime's quantiser and optimiser write."""
    node, ms = helper.make_node, "com.microsoft"
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("QLinearConv", ["q", "s", "z", "w", "s", "z", "s", "z"], ["c"], kernel_shape=[1, 1]),
        node("QLinearAdd", ["c", "s", "z", "c", "s", "z", "s", "z"], ["a"], domain=ms),
        node("DequantizeLinear", ["a", "s", "z"], ["d"]),
        node("Reshape", ["d", "to"], ["r"]),
        node("Attention", ["r", "k", "b"], ["m"], domain=ms, num_heads=2),
        node("SkipLayerNormalization", ["m", "m", "g"], ["l"], domain=ms),
        node("FusedMatMul", ["l", "l"], ["p"], domain=ms, transB=1),
        node("LSTM", ["p", "lw", "lr"], ["y"], hidden_size=2),
    ]
    f = np.float32
    weights = {"s": np.array(0.1, f), "z": np.array(0, np.uint8), "w": np.zeros((4, 3, 1, 1), np.uint8)}
    weights |= {"to": np.array([1, 64, 4]), "k": np.zeros((4, 12), f), "b": np.zeros(12, f), "g": np.zeros(4, f)}
    return _model(nodes, {**weights, "lw": np.zeros((1, 8, 64), f), "lr": np.zeros((1, 8, 2), f)})


def _parsed(text: str) -> onnx.ModelProto:
    """A model in ONNX's notation; what is declared beside the inputs and not computed is a weight of zeros."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]> {text}')
    computed = {name for node in model.graph.node for name in node.output}
    for info in [info for info in model.graph.value_info if info.name not in computed]:
        kind = info.type.tensor_type
        shape = [d.dim_value for d in kind.shape.dim]
        held = np.zeros(shape, helper.tensor_dtype_to_np_dtype(kind.elem_type))
        model.graph.initializer.append(numpy_helper.from_array(held, info.name))
    return model


def images() -> onnx.ModelProto:
    """Patterns of convolutional networks: channels last, normalisation, activations, squeeze-and-excite, folding."""
    return _parsed("""g (float[1,8,8,3] x) => (float[1,4] y)
        <float[4,3,3,3] w, float[4] b, float[4,2,1,1] d, float[4,4] k, float[1,4,1,1] half, float[2] e2> {
        one = Constant<value_float = 1.0>() two = Constant<value_float = 2.0>() three = Constant<value_float = 3.0>()
        six = Constant<value_float = 6.0>() zero = Constant<value_float = 0.0>() small = Constant<value_float = 1e-5>()
        ends = Constant<value_ints = [0, 0, 1, 1, 0, 0, 1, 1]>() flat = Constant<value_ints = [1, 2, -1]>()
        back = Constant<value_ints = [1, 4, 8, 8]>() rows = Constant<value_ints = [1, 4]>()
        first = Transpose<perm = [0, 3, 1, 2]>(x) padded = Pad(first, ends) c = Conv(padded, w) m = Mul(c, half)
        n = BatchNormalization(m, b, b, b, b) g = Conv<group = 2>(n, d) up = Add(g, three) low = Clip(up, zero, six)
        part = Div(low, six) swish = Mul(g, part) r = Reshape(swish, flat) i = InstanceNormalization(r, e2, e2)
        u = Reshape(i, back) scaled = Mul(u, half) mean = ReduceMean<axes = [2, 3], keepdims = 1>(scaled)
        flatter = Reshape(mean, rows) mm = MatMul(flatter, k) act = Sigmoid(mm) silu = Mul(mm, act)
        axes = Constant<value_ints = [2, 3]>() wide = Unsqueeze(silu, axes) gate = Mul(scaled, wide)
        turned = Transpose<perm = [0, 2, 3, 1]>(gate)
        p = ReduceMean<axes = [1, 2], keepdims = 0>(turned) e = Erf(p) q = Add(e, one) t = Mul(p, q) h = Div(t, two)
        l = Max(h, zero) y = Sub(l, small) }""")


def encoder() -> onnx.ModelProto:
    """Patterns of transformers: normalisations in several spellings, attention with mask, GELU, rotary positions."""
    return _parsed("""g (float[2,6,8] x, float[2,1,6,6] mask) => (float[2,6,8] y)
        <float[8] s, float[8,24] w, float[24] b, float[8,8] o, float[6,4] cosine, float[6,4] sine> {
        two = Constant<value_float = 2.0>() small = Constant<value_float = 1e-5>() half = Constant<value_float = 0.5>()
        one = Constant<value_float = 1.0>() root = Constant<value_float = 1.4142135>()
        minus = Constant<value_float = -9.0>()
        heads = Constant<value_ints = [0, 0, 2, 4]>() whole = Constant<value_ints = [0, 0, 8]>()
        thirds = Constant<value_ints = [8, 8, 8]>() halves = Constant<value_ints = [2, 2]>()
        mean = ReduceMean<axes = [-1]>(x) d = Sub(x, mean) sq = Pow(d, two) var = ReduceMean<axes = [-1]>(sq)
        e = Add(var, small) sd = Sqrt(e) n = Div(d, sd) scaled = Mul(n, s) shifted = Add(scaled, s)
        p = MatMul(shifted, w) pb = Add(p, b) q, k, v = Split<axis = 2>(pb, thirds)
        q1 = Reshape(q, heads) q2 = Transpose<perm = [0, 2, 1, 3]>(q1) k1 = Reshape(k, heads)
        k2 = Transpose<perm = [0, 2, 3, 1]>(k1) v1 = Reshape(v, heads) v2 = Transpose<perm = [0, 2, 1, 3]>(v1)
        a1, a2 = Split<axis = 3>(q2, halves) a3 = Neg(a2) turned = Concat<axis = 3>(a3, a1) qc = Mul(q2, cosine)
        qs = Mul(turned, sine) q3 = Add(qc, qs) z = MatMul(q3, k2) zs = Mul(z, half) inverse = Sub(one, mask)
        added = Mul(inverse, minus) zm = Add(zs, added) prob = Softmax<axis = -1>(zm) at = MatMul(prob, v2)
        at1 = Transpose<perm = [0, 2, 1, 3]>(at) at2 = Reshape(at1, whole) out = MatMul(at2, o) r = Add(out, x)
        rp = Pow(r, two) rm = ReduceMean<axes = [-1]>(rp) re = Add(rm, small) rs = Sqrt(re) ri = Reciprocal(rs)
        rn = Mul(r, ri) rw = Mul(rn, s) u = MatMul(rw, o) ur = Div(u, root) ue = Erf(ur) u1 = Add(ue, one)
        um = Mul(u, u1) ug = Mul(um, half)
        m, m1, m2, m3 = com.microsoft.SkipLayerNormalization(ug, r, s, s) y = Add(m, m3) }""")


def integers() -> onnx.ModelProto:
    """Quantised operators, in pairs around them and of their own, dynamically and by blocks."""
    return _parsed("""g (float[1,3,8,8] x) => (float[1,4,8,8] y)
        <int8[4,3,1,1] w, float[4] ws, int8[4] wz, int32[4] b, float bs, uint8 z, float s, uint8[4,6] k,
         uint8[4,1,16] n, float[4] ns> {
        q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) f = DequantizeLinear<axis = 0>(w, ws, wz)
        bd = DequantizeLinear(b, bs) c = Conv(d, f, bd) r = Relu(c) rq = QuantizeLinear(r, s, z)
        mp = MaxPool<kernel_shape = [1, 1]>(rq) rd = DequantizeLinear(mp, s, z) dq, ds, dz = DynamicQuantizeLinear(rd)
        shape = Constant<value_ints = [64, 4]>() flat = Reshape(dq, shape) i = MatMulInteger(flat, k, dz, z)
        f1 = Cast<to = 1>(i) both = Mul(ds, s) f2 = Mul(f1, both) back = Constant<value_ints = [64, 6]>()
        f3 = Reshape(f2, back) z0 = Constant<value_ints = [0]>() z4 = Constant<value_ints = [4]>()
        z1 = Constant<value_ints = [1]>() four = Slice(f3, z0, z4, z1)
        nb = com.microsoft.MatMulNBits<K = 4, N = 4, bits = 4, block_size = 32>(four, n, ns)
        im = Constant<value_ints = [1, 4, 8, 8]>() y = Reshape(nb, im) }""")


def external() -> onnx.ModelProto:
    """Weights that are said to lie outside the model's folder."""
    model = network()
    for tensor, place in zip(
        model.graph.initializer, ("../../etc/passwd", "/etc/passwd", "w.bin", "/dev/zero"), strict=False
    ):
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=place)
    return model


def mutate_bytes(data: bytes, rng: random.Random, pool: list[bytes]) -> bytes:
    """Change, delete, repeat or splice a few stretches of bytes."""
    content = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        if not content:
            break
        place, size = rng.randrange(len(content)), rng.choice((1, 1, 2, 4, 16, 64))
        kind = rng.randrange(6)
        if kind == 0:
            content[place] = rng.randrange(256)
        elif kind == 1:
            content[place] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del content[place : place + size]
        elif kind == 3:
            content[place:place] = content[place : place + size]
        elif kind == 4:
            content[place : place + size] = rng.randbytes(size)
        else:
            other = rng.choice(pool)
            start = rng.randrange(len(other))
            content[place:place] = other[start : start + size]
    return bytes(content)


def mutate_model(data: bytes, rng: random.Random, pool: list[bytes]) -> bytes:
    """Change fields of the parsed model: sizes, attributes, names, operators, order, constants."""
    model = onnx.ModelProto()
    model.ParseFromString(data)
    for _ in range(rng.randint(1, 4)):
        graph = _some_graph(model.graph, rng)
        rng.choice(CHANGES)(graph, model, rng)
    return model.SerializeToString()


def _some_graph(graph: onnx.GraphProto, rng: random.Random) -> onnx.GraphProto:
    bodies = [a.g for n in graph.node for a in n.attribute if a.HasField("g")]
    return _some_graph(rng.choice(bodies), rng) if bodies and rng.random() < 0.3 else graph


Change = Callable[[onnx.GraphProto, onnx.ModelProto, random.Random], None]


def _sizes(graph: onnx.GraphProto, model: onnx.ModelProto, rng: random.Random) -> None:
    infos = [*graph.input, *graph.output, *graph.value_info]
    dims = [d for i in infos for d in i.type.tensor_type.shape.dim]
    if dims:
        rng.choice(dims).dim_value = rng.choice(INTEGERS)


def _weights(graph: onnx.GraphProto, model: onnx.ModelProto, rng: random.Random) -> None:
    if graph.initializer:
        tensor = rng.choice(list(graph.initializer))
        if tensor.dims and rng.random() < 0.5:
            tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(INTEGERS)
        elif rng.random() < 0.5:
            tensor.data_type = rng.randrange(30)
        else:
            tensor.dims.append(rng.choice(INTEGERS))


def _constants(graph: onnx.GraphProto, model: onnx.ModelProto, rng: random.Random) -> None:
    whole = [t for t in graph.initializer if t.data_type == TensorProto.INT64]
    if whole:
        tensor = rng.choice(whole)
        values = [rng.choice(INTEGERS) for _ in range(rng.randint(0, 9))]
        if not tensor.dims:
            values = values[:1] or [0]
        tensor.CopyFrom(
            numpy_helper.from_array(np.array(values, np.int64).reshape(() if not tensor.dims else -1), tensor.name)
        )


def _attributes(graph: onnx.GraphProto, model: onnx.ModelProto, rng: random.Random) -> None:
    if not graph.node:
        return
    node = rng.choice(list(graph.node))
    if node.attribute and rng.random() < 0.8:
        attribute = rng.choice(list(node.attribute))
        if attribute.ints:
            if rng.random() < 0.3:
                attribute.ints.append(rng.choice(INTEGERS))
            else:
                attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(INTEGERS)
        elif attribute.type == onnx.AttributeProto.INT:
            attribute.i = rng.choice(INTEGERS)
        elif attribute.type == onnx.AttributeProto.STRING:
            attribute.s = rng.randbytes(rng.randint(0, 20))
        else:
            attribute.type = rng.randrange(15)
    else:
        name = rng.choice(("axis", "axes", "group", "num_heads", "keepdims", "perm", "to", "channels_last", "layout"))
        value = rng.choice(([], [0], [5, -7], 0, -3, 2**40, 1.5, "x"))
        with contextlib.suppress(ValueError, TypeError):
            node.attribute.append(
                helper.make_attribute(name, value, attr_type=onnx.AttributeProto.INTS if value == [] else None)
            )


def _wires(graph: onnx.GraphProto, model: onnx.ModelProto, rng: random.Random) -> None:
    nodes = list(graph.node)
    names = [name for n in nodes for name in (*n.input, *n.output)] + [t.name for t in graph.initializer] + [""]
    if not nodes:
        return
    node = rng.choice(nodes)
    kind = rng.randrange(4)
    if kind == 0 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)
    elif kind == 1:
        node.input.append(rng.choice(names))
    elif kind == 2 and node.output:
        node.output[rng.randrange(len(node.output))] = rng.choice(names)
    elif node.input:
        del node.input[rng.randrange(len(node.input))]


def _operators(graph: onnx.GraphProto, model: onnx.ModelProto, rng: random.Random) -> None:
    if graph.node:
        node = rng.choice(list(graph.node))
        node.op_type = rng.choice(ALL_OPERATORS)
        node.domain = rng.choice(("", "", "", "com.microsoft", "ai.onnx.ml"))


def _order(graph: onnx.GraphProto, model: onnx.ModelProto, rng: random.Random) -> None:
    nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in graph.node]
    rng.shuffle(nodes)
    del graph.node[:]
    graph.node.extend(nodes if rng.random() < 0.5 else nodes[1:])


def _opset(graph: onnx.GraphProto, model: onnx.ModelProto, rng: random.Random) -> None:
    if model.opset_import:
        rng.choice(list(model.opset_import)).version = rng.choice((1, 5, 7, 9, 11, 13, 18, 21, 24, 99, -1))


def _grow(graph: onnx.GraphProto, model: onnx.ModelProto, rng: random.Random) -> None:
    """Many copies of one node, each reading the one before."""
    nodes = [n for n in graph.node if n.input and n.output]
    if nodes:
        node = rng.choice(nodes)
        previous = node.output[0]
        for k in range(rng.choice((3, 30, 300))):
            copy = graph.node.add()
            copy.CopyFrom(node)
            copy.input[0] = previous
            del copy.output[:]
            previous = f"{previous}.{k}"[-60:]
            copy.output.append(previous)
        for info in list(graph.output)[:1]:
            info.name = previous


CHANGES: tuple[Change, ...] = (
    *(_sizes, _weights, _constants, _constants, _attributes, _attributes, _attributes),
    *(_wires, _wires, _operators, _operators, _order, _opset, _grow),
)
ALL_OPERATORS = [
    *sorted({s.name for s in onnx.defs.get_all_schemas()}),
    *("FusedConv", "FusedMatMul", "QAttention", "MultiHeadAttention", "GroupQueryAttention", "MatMulNBits", "Nothing"),
    *("SkipLayerNormalization", "EmbedLayerNormalization", "QLinearConcat", "QGemm", "DynamicQuantizeLSTM"),
    *("PackedAttention", "PackedMultiHeadAttention", "DecoderMaskedMultiHeadAttention", "SkipGroupNorm", "MoE", "QMoE"),
    *("FusedConv", "NhwcFusedConv", "BiasSplitGelu", "GatherBlockQuantized", "RelativePositionBias", "SparseAttention"),
]


def mutated(index: int, seed: int, pool: list[bytes]) -> tuple[bytes, int | None]:
    """Input number `index`, and the batch size to read it with."""
    rng = random.Random(f"{seed}/{index}")
    data = rng.choice(pool)
    batch = rng.choice((None, None, None, 1, 2, 7, 2**40))
    if rng.random() < 0.4:
        return mutate_bytes(data, rng, pool), batch
    return mutate_model(data, rng, pool), batch


def outcome(data: bytes, batch: int | None) -> str:
    """ "read" or "refused"; raises what would be a traceback."""
    try:
        graph = read_onnx(data, batch_size=batch)
        graph_cost(graph)
        tokenize(graph)
        found = canonical(graph)
        graph_cost(found)
        if canonical(Graph(found.nodes, found.inputs, found.input_names, found.name)) != found:
            raise RuntimeError("a canonical form that is not its own")
    except NarformerError as error:
        if "\n" in str(error) or not str(error):
            raise RuntimeError(f"a message that is not one line: {error!r}") from error
        return "refused"
    return "read"


def child(first: int, last: int, seed: int, board: mmap.mmap) -> None:
    """Read inputs first … last; the board holds the index at work and how many were read and refused."""
    warnings.filterwarnings("ignore")
    pool = seeds()
    outcome(pool[0], None)
    usual, most = resource.getrlimit(resource.RLIMIT_AS)
    for index in range(first, last):
        board[:8] = struct.pack("q", index)
        resource.setrlimit(resource.RLIMIT_AS, (usual, most))
        data, batch = mutated(index, seed, pool)
        with open("/proc/self/statm") as statm:
            size = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MEGABYTES * 2**20, most))
        started = time.process_time()
        try:
            kind = outcome(data, batch)
        except BaseException as error:
            frames = traceback.extract_tb(error.__traceback__)
            where = " < ".join(f"{os.path.basename(f.filename)}:{f.lineno}" for f in frames[::-1][:3])
            print(f"input {index}: {type(error).__name__}: {str(error)[:150]} at {where}", file=sys.stderr, flush=True)
            kind = "traceback"
        slowest = struct.unpack("d", board[32:40])[0]
        board[32:40] = struct.pack("d", max(slowest, time.process_time() - started))
        place = {"read": 8, "refused": 16, "traceback": 24}[kind]
        board[place : place + 8] = struct.pack("q", struct.unpack("q", board[place : place + 8])[0] + 1)
    board[:8] = struct.pack("q", last)


def run(first: int, inputs: int, seed: int) -> dict[str, float]:
    """Fuzz; how many inputs were read, refused, and failed in each way, and the peak memory in MB."""
    board = mmap.mmap(-1, 64)
    counts: Counter[str] = Counter()
    started = time.perf_counter()
    at, last, peak = first, first + inputs, 0.0
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("fuzzing", total=inputs)
        while at < last:
            board[:8] = struct.pack("q", at)
            process = os.fork()
            if process == 0:
                child(at, last, seed, board)
                os._exit(0)
            seen, since = at, 0.0
            while True:
                done, status, usage = os.wait4(process, os.WNOHANG)
                index = struct.unpack("q", board[:8])[0]
                if done:
                    break
                spent = _processor_seconds(process)
                if index != seen:
                    seen, since = index, spent
                elif spent - since > SECONDS + 20 * (index == at):  # the first waits for the imports and the seeds
                    counts["hang"] += 1
                    print(f"input {index}: more than {SECONDS} s", file=sys.stderr, flush=True)
                    os.kill(process, signal.SIGKILL)
                    since = spent + 60
                progress.update(task, completed=index - first)
                time.sleep(0.1)
            peak = max(peak, usage.ru_maxrss / 1024)
            if status and not os.WIFSIGNALED(status):
                raise SystemExit("the child could not start")
            if status and os.WTERMSIG(status) != signal.SIGKILL:
                counts["crash"] += 1
                print(f"input {index}: the process died of signal {os.WTERMSIG(status)}", file=sys.stderr, flush=True)
            at = index + 1 if status else last
    read, refused, tracebacks = struct.unpack("qqq", board[8:32])
    return {
        "inputs": inputs,
        "seed": seed,
        "seconds": round(time.perf_counter() - started, 1),
        "read": read,
        "refused": refused,
        "tracebacks": tracebacks,
        "crashes": counts["crash"],
        "hangs": counts["hang"],
        "slowest_seconds": round(struct.unpack("d", board[32:40])[0], 3),
        "peak_megabytes": round(peak),
    }


def _processor_seconds(process: int) -> float:
    """Processor time of the child: a busy machine makes no hang."""
    with open(f"/proc/{process}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = run(options.first, options.inputs, options.seed)
    print(json.dumps(result) if options.json else "\n".join(f"{key:16s} {value}" for key, value in result.items()))
    raise SystemExit(int(bool(result["tracebacks"] or result["crashes"] or result["hangs"])))


if __name__ == "__main__":
    main()
