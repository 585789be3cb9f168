"""Output shapes of products of matrices: Gemm, MatMul, Einsum, and what is made of them: recurrence, attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from narformer.frontends.onnx.call import Call, Misfit, Rule, UnknownShape, broadcast
from narformer.graph import Shape, Tensor
from narformer.operators.macs import GATES

Tensors = Sequence[Tensor]


def gemm(a: int = 0, b: int = 1, dtype: str = "") -> Rule:
    def rule(call: Call) -> Tensors:
        first, second = call.shape(a), call.shape(b)
        if len(first) != 2 or len(second) != 2:
            raise UnknownShape(f"matrices {list(first)} and {list(second)}")
        rows, inner = first[::-1] if call.integer("transA", 0) else first
        inner_b, columns = second[::-1] if call.integer("transB", 0) else second
        if inner != inner_b:
            raise Misfit(f"matrices {list(first)} and {list(second)} do not fit together")
        added = call.shape(2) if (a, b) == (0, 1) and call.has(2) else ()
        if broadcast((rows, columns), added) != (rows, columns):
            raise Misfit(f"what is added is {list(added)}, for a product {[rows, columns]}")
        return (Tensor((rows, columns), dtype or call.dtype(a)),)

    return rule


def multiplied(first: Shape, second: Shape) -> Shape:
    """The shape of NumPy's matmul."""
    if not first or not second:
        raise UnknownShape("a product with a scalar")
    a = (1, *first) if len(first) == 1 else first
    b = (*second, 1) if len(second) == 1 else second
    if a[-1] != b[-2]:
        raise UnknownShape(f"matrices {list(first)} and {list(second)} do not fit together")
    out = (*broadcast(a[:-2], b[:-2]), a[-2], b[-1])
    if len(second) == 1:
        out = out[:-1]
    return out[: -1 - (len(second) > 1)] + out[len(out) - (len(second) > 1) :] if len(first) == 1 else out


def matmul(a: int = 0, b: int = 1, dtype: str = "") -> Rule:
    def rule(call: Call) -> Tensors:
        first, second = call.shape(a), call.shape(b)
        if len(first) > 1 and call.integer("transA", 0):
            first = (*first[:-2], first[-1], first[-2])
        if len(second) > 1 and call.integer("transB", 0):
            second = (*second[:-2], second[-1], second[-2])
        return (Tensor(multiplied(first, second), dtype or call.dtype(a)),)

    return rule


def einsum(call: Call) -> Tensors:
    left, arrow, right = str(call.attributes.get("equation", "")).replace(" ", "").partition("->")
    sizes: dict[str, int] = {}
    extra: Shape = ()
    for position, term in enumerate(left.split(",")):
        shape = call.shape(position)
        before, dots, after = term.partition("...")
        spare = len(shape) - len(before) - len(after)
        if spare < 0 or (spare and not dots):
            raise UnknownShape(f"term {term!r} for a tensor of shape {list(shape)}")
        extra = broadcast(extra, shape[len(before) : len(before) + spare])
        for letter, size in [
            *zip(before, shape, strict=False),
            *zip(after, shape[len(before) + spare :], strict=True),
        ]:
            if sizes.setdefault(letter, size) == 1:
                sizes[letter] = size
    if not arrow:
        letters = left.replace(".", "").replace(",", "")
        right = ("..." if "..." in left else "") + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    before, dots, after = right.partition("...")
    if not all(letter in sizes for letter in before + after):
        raise UnknownShape(f"equation {left}->{right}")
    out = tuple(sizes[c] for c in before) + (extra if dots else ()) + tuple(sizes[c] for c in after)
    return (Tensor(out, call.dtype(0)),)


def recurrent(call: Call) -> Tensors:
    """Y (steps, directions, N, hidden), then the last hidden and cell state (directions, N, hidden)."""
    x, weight = call.tensor(0), call.shape(2)  # R: (directions, gates * hidden, hidden)
    if len(x.shape) != 3 or len(weight) != 3:
        raise UnknownShape(f"a sequence {list(x.shape)} and recurrent weights {list(weight)}")
    directions, hidden = weight[0], call.integer("hidden_size", weight[2])
    gates = GATES[call.node.op_type]
    if call.shape(1)[1:] != (gates * weight[2], x.shape[2]) or weight[1] != gates * weight[2]:
        raise UnknownShape(
            f"weights {list(call.shape(1))} and {list(weight)} for data {list(x.shape)}; ONNX has no cell with a "
            "projection (proj_size): put a Linear behind it instead"
        )
    first = bool(call.integer("layout", 0))
    for position, fitting in ((3, (directions, 2 * gates * weight[2])), (5, (directions, weight[2]))):
        # Of states that an exporter wrote down, the batch may be an old one.
        shape = call.shape(position) if call.has(position) else fitting
        without_batch = (shape[1:] if first else shape[:1] + shape[2:]) if position > 3 and len(shape) == 3 else shape
        if without_batch != fitting:
            raise UnknownShape(f"its operand {position} is {list(shape)} for {directions} x {weight[2]} hidden values")
    if first:
        batch, steps = x.shape[:2]
        shapes: list[Shape] = [(batch, steps, directions, hidden), *[(batch, directions, hidden)] * 2]
    else:
        steps, batch = x.shape[:2]
        shapes = [(steps, directions, batch, hidden), *[(directions, batch, hidden)] * 2]
    return [Tensor(s, x.dtype) for s in shapes]


def attention(call: Call) -> Tensors:
    """Y like Q with V's width; present keys and values with the past in front; the scores of every head."""
    q, k, v = call.shape(0), call.shape(1), call.shape(2)
    dtype = call.dtype(0)
    past = call.shape(4)[2] if call.has(4) else 0
    if len(q) == 4:
        heads, kv_heads, queries = q[1], k[1], q[2]
        out: Shape = (*q[:3], v[3])
        key, value = (k[0], kv_heads, past + k[2], k[3]), (v[0], kv_heads, past + v[2], v[3])
    else:
        heads, kv_heads, queries = call.integer("q_num_heads", 1), call.integer("kv_num_heads", 1), q[1]
        if not heads or not kv_heads or len(k) != 3 or len(v) != 3:
            raise UnknownShape("its numbers of heads are missing")
        out = (*q[:2], heads * v[2] // kv_heads)
        key = (k[0], kv_heads, past + k[1], k[2] // kv_heads)
        value = (v[0], kv_heads, past + v[1], v[2] // kv_heads)
    scores = (q[0], heads, queries, key[2])
    return [Tensor(s, dtype) for s in (out, key, value, scores)]


RULES: Mapping[str, Rule] = {
    "Gemm": gemm(),
    "MatMul": matmul(),
    "MatMulInteger": matmul(dtype="int32"),
    "QLinearMatMul": matmul(0, 3),
    "Einsum": einsum,
    **dict.fromkeys(("GRU", "LSTM", "RNN"), recurrent),
    "Attention": attention,
}
