"""Quantised operators are the same operators on integers: their dtypes tell, not their names.

Requires: nothing. Ensures: no QLinear operator, QGemm, MatMulInteger with its scales, packed weights of a few bits,
QAttention or DynamicQuantizeLSTM; scales and zero points are no operands. What quantises while the network runs is a
DynamicQuantizeLinear of its own. Signatures: ONNX, and ONNX Runtime's documentation of its contributed operators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from narformer.frontends.canonical.chain import Chain
from narformer.frontends.canonical.draft import Draft
from narformer.frontends.canonical.fused import MICROSOFT
from narformer.frontends.canonical.fused_attention import projected
from narformer.frontends.canonical.rule import Rule
from narformer.graph import Attribute, Node, Operand, Tensor


def scaled(op: str, *positions: int) -> Rule:
    """An operator of which only these operands are data; the others are scales and zero points."""

    def rule(draft: Draft, index: int, node: Node) -> bool:
        operands = [node.operand(position) for position in positions]
        kept = tuple([operand for operand in operands if operand is not None])
        attributes = {name: value for name, value in node.attributes.items() if name not in ("channels_last", "opset")}
        if not node.attributes.get("channels_last"):
            draft.put(index, Node(node.name, op, kept, node.outputs, attributes, origin=node.origin))
            return True
        chain = Chain(draft, index, node)
        out = node.outputs[0]
        first = out._replace(shape=(out.shape[0], out.shape[-1], *out.shape[1:-1]))
        made = chain.step(op, (chain.channels_first(kept[0]), *kept[1:]), first, attributes)
        return chain.done(chain.channels_last(made))

    return rule


def concat(draft: Draft, index: int, node: Node) -> bool:
    """The result's scale and zero point come first, then each tensor with its own."""
    operands = [node.operand(k) for k in range(2, len(node.operands) + len(node.left_out), 3)]
    kept = tuple([operand for operand in operands if operand is not None])
    draft.put(index, node._replace(op="Concat", domain="", operands=kept, left_out=()))
    return True


def integers(op: str) -> Rule:
    """A product of integers, whose zero points are no operands; its result has 32 bits."""

    def rule(draft: Draft, index: int, node: Node) -> bool:
        draft.put(index, node._replace(op=op, operands=node.operands[:2], left_out=()))
        return True

    return rule


def to_float(draft: Draft, index: int, node: Node) -> bool:
    """A product of integers that gives floats, with a bias; the data may be quantised just before."""
    chain = Chain(draft, index, node)
    data, weight = node.operands[:2]
    bias = node.operand(4) if node.op == "DynamicQuantizeMatMul" else node.operand(6)
    if node.op == "DynamicQuantizeMatMul":
        data = quantised(chain, data)
    out = chain.step("MatMul", (data, weight), node.outputs[0])
    return chain.done(out if bias is None else chain.add(out, bias))


def quantised(chain: Chain, data: Operand) -> Operand:
    """A value, quantised while the network runs; its scale and zero point are outputs too."""
    out = data.tensor._replace(dtype="uint8")
    return chain.step("DynamicQuantizeLinear", (data,), out, more=(Tensor((), data.tensor.dtype), Tensor((), "uint8")))


def packed(draft: Draft, index: int, node: Node) -> bool:
    """A product with weights of a few bits each: their sizes are attributes."""
    chain = Chain(draft, index, node)
    data, weight = node.operands[:2]
    inputs, outputs, bits = node.attributes["K"], node.attributes["N"], node.attributes.get("bits", 4)
    assert isinstance(inputs, int)
    assert isinstance(outputs, int)
    dtype = f"int{bits}" if bits in (2, 4, 8) else "int4"
    matrix = Operand(Tensor((inputs, outputs), dtype), name=weight.name)
    bias = node.operand(5) if node.op == "MatMulNBits" else None
    out = chain.step("MatMul", (data, matrix), node.outputs[0])
    return chain.done(out if bias is None else chain.add(out, bias))


def packed_table(draft: Draft, index: int, node: Node) -> bool:
    """Rows of a table whose numbers have a few bits each."""
    if node.operands[0].source is not None:
        return False
    axis: dict[str, Attribute] = {"axis": node.attributes.get("gather_axis", 0)}
    draft.put(index, node._replace(op="Gather", domain="", operands=node.operands[:2], attributes=axis, left_out=()))
    return True


def attention(draft: Draft, index: int, node: Node) -> bool:
    """Attention whose projections are of integers."""
    positions = (0, 1, 2, 5, 8)  # data, weight, bias; then the mask and the past behind scales and zero points
    operands = [node.operand(position) for position in positions]
    left_out = tuple([k for k, operand in enumerate(operands) if operand is None])
    kept = tuple([operand for operand in operands if operand is not None])
    return projected(draft, index, node._replace(op="Attention", operands=kept, left_out=left_out))


def lstm(draft: Draft, index: int, node: Node) -> bool:
    """An LSTM whose weights are integers, stored transposed: (directions, in, 4 · hidden)."""
    operands: list[Operand] = []
    left_out: list[int] = []
    for position in range(8):
        operand = node.operand(position)
        if operand is None:
            left_out.append(position)
            continue
        if position in (1, 2):
            directions, inputs, gates = operand.tensor.shape
            operand = operand._replace(tensor=operand.tensor._replace(shape=(directions, gates, inputs)))
        operands.append(operand)
    last = max((k for k in range(8) if k not in left_out), default=0)
    gaps = tuple([k for k in left_out if k < last])
    draft.put(index, node._replace(op="LSTM", domain="", operands=tuple(operands), left_out=gaps))
    return True


RULES: Mapping[str, Sequence[Rule]] = {
    "QLinearConv": (scaled("Conv", 0, 3, 8),),
    f"{MICROSOFT}.QLinearConv": (scaled("Conv", 0, 3, 8),),
    "QLinearMatMul": (scaled("MatMul", 0, 3),),
    f"{MICROSOFT}.QLinearMatMul": (scaled("MatMul", 0, 3),),
    f"{MICROSOFT}.QGemm": (scaled("Gemm", 0, 3, 6),),
    f"{MICROSOFT}.QLinearAdd": (scaled("Add", 0, 3),),
    f"{MICROSOFT}.QLinearMul": (scaled("Mul", 0, 3),),
    f"{MICROSOFT}.QLinearWhere": (scaled("Where", 0, 1, 4),),
    f"{MICROSOFT}.QLinearConcat": (concat,),
    **{
        f"{MICROSOFT}.QLinear{op}": (scaled(op, 0),)
        for op in ("AveragePool", "GlobalAveragePool", "Sigmoid", "LeakyRelu", "Softmax", "ReduceMean")
    },
    "ConvInteger": (integers("Conv"),),
    "MatMulInteger": (integers("MatMul"),),
    f"{MICROSOFT}.MatMulIntegerToFloat": (to_float,),
    f"{MICROSOFT}.DynamicQuantizeMatMul": (to_float,),
    **dict.fromkeys([f"{MICROSOFT}.{op}" for op in ("MatMulNBits", "MatMulBnb4", "MatMulFpQ4")], (packed,)),
    f"{MICROSOFT}.GatherBlockQuantized": (packed_table,),
    f"{MICROSOFT}.QAttention": (attention,),
    f"{MICROSOFT}.DynamicQuantizeLSTM": (lstm,),
}
