"""What a runtime has fused or laid out already becomes the plain nodes again: convolutions, products, element-wise.

Requires: nothing. Ensures: of ONNX Runtime's own domains no FusedConv, blocked (nchwc) or channels-last (nhwc) node, no
FusedGemm, FusedMatMul or GemmFastGelu, no activation with a bias or by another name. Signatures: ONNX Runtime's
documentation of its contributed operators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from narformer.frontends.canonical.chain import Chain
from narformer.frontends.canonical.draft import Draft
from narformer.frontends.canonical.rule import Rule
from narformer.graph import Attribute, Node, Operand, Tensor

MICROSOFT = "com.microsoft"
BLOCKED = "com.microsoft.nchwc"
LAST = "com.ms.internal.nhwc"
_ACTIVATION = ("activation", "activation_params", "activation_alpha", "activation_beta", "activation_gamma")


def plain(draft: Draft, index: int, node: Node) -> bool:
    """An operator that ONNX has under the same name."""
    draft.put(index, node._replace(domain=""))
    return True


def _kept(node: Node, *without: str) -> dict[str, Attribute]:
    return {name: value for name, value in node.attributes.items() if name not in (*without, *_ACTIVATION)}


def convolution(draft: Draft, index: int, node: Node) -> bool:
    """A convolution with what is added to its result, and an activation."""
    chain = Chain(draft, index, node)
    data, weight = node.operands[:2]
    bias, other = node.operand(2), node.operand(3)
    operands = (data, weight) if bias is None else (data, weight, bias)
    out = chain.step("Conv", operands, node.outputs[0], _kept(node))
    if other is not None:
        out = chain.add(out, other)
    return chain.done(chain.activated(out))


def blocked_convolution(draft: Draft, index: int, node: Node) -> bool:
    """Filters for blocks of channels, of which the last may be padded: those that read padding are left out."""
    data, weight = node.operands[:2]
    group, channels, filters = node.attributes.get("group", 1), data.tensor.shape[1], weight.tensor.shape[0]
    attributes = dict(node.attributes)
    assert isinstance(group, int)
    if group > 1 and weight.tensor.shape[1] == 1 and group == filters:  # depthwise: a filter a channel
        group = filters = channels
    inputs = channels // group
    attributes["group"] = group
    weight = weight._replace(tensor=weight.tensor._replace(shape=(filters, inputs, *weight.tensor.shape[2:])))
    bias = node.operand(2)
    operands = [data, weight]
    if bias is not None:
        operands.append(bias._replace(tensor=bias.tensor._replace(shape=(filters,))))
    other = node.operand(3)
    left_out = (2,) if bias is None and other is not None else ()
    shape = node.output_shape
    out = node.outputs[0]._replace(shape=(shape[0], filters, *shape[2:]))
    if other is not None:
        operands.append(other)
    made = node._replace(operands=tuple(operands), outputs=(out,), attributes=attributes, left_out=left_out)
    return convolution(draft, index, made)


def blocked(draft: Draft, index: int, node: Node) -> bool:
    """A pool over blocks of channels: over as many as it reads."""
    shape, channels = node.output_shape, node.operands[0].tensor.shape[1]
    out = node.outputs[0]._replace(shape=(shape[0], channels, *shape[2:]))
    draft.put(index, node._replace(domain="", outputs=(out,)))
    return True


def upsampled(draft: Draft, index: int, node: Node) -> bool:
    """Upsample over blocks of channels, by whole numbers."""
    chain = Chain(draft, index, node)
    data = node.operands[0]
    sizes = Operand(Tensor((len(node.output_shape),), "int64"), name=f"{node.name}.sizes")
    shape = (*data.tensor.shape[:2], *node.output_shape[2:])
    sizes = sizes._replace(value=tuple([float(s) for s in shape]))
    out = node.outputs[0]._replace(shape=shape)
    return chain.done(chain.step("Resize", (data, sizes), out, _kept(node, "scales"), left_out=(1, 2)))


def into_blocks(draft: Draft, index: int, node: Node) -> bool:
    """Another order in memory, of the same elements."""
    data = node.operands[0]
    if node.attributes.get("channels_last"):
        chain = Chain(draft, index, node)
        return chain.done(chain.channels_first(data))
    draft.drop(index, data)
    return True


def out_of_blocks(draft: Draft, index: int, node: Node) -> bool:
    """Back from blocks of channels, without those that padded the last block."""
    chain = Chain(draft, index, node)
    data = node.operands[0]
    channels = node.attributes.get("channels", data.tensor.shape[1])
    if isinstance(channels, int) and channels < data.tensor.shape[1]:
        out = data.tensor._replace(shape=(data.tensor.shape[0], channels, *data.tensor.shape[2:]))
        attributes: dict[str, Attribute] = {"axes": (1,), "starts": (0,), "ends": (channels,), "steps": (1,)}
        data = chain.step("Slice", (data,), out, attributes)
    return chain.done(chain.channels_last(data) if node.attributes.get("channels_last") else data)


def channels_last(draft: Draft, index: int, node: Node) -> bool:
    """A convolution or pool whose channels are the last axis, between the Transposes that say so."""
    chain = Chain(draft, index, node)
    data, out = chain.channels_first(node.operands[0]), node.outputs[0]
    shape = out.shape
    first = out._replace(shape=(shape[0], shape[-1], *shape[1:-1]))
    operands = [data, *node.operands[1:3]]
    op = node.op.removeprefix("Nhwc").removeprefix("Fused")
    if op == "Conv":
        weight, kernel = node.operands[1], node.attributes.get("kernel_shape")
        held = weight.tensor.shape
        if kernel is not None and held[2:] != kernel and held[1:-1] == kernel:
            operands[1] = chain.channels_first(weight)
    made = chain.step(op, tuple(operands), first, _kept(node, "channels_last"))
    other = node.operand(3)
    result = chain.channels_last(made)
    if other is not None:
        result = chain.add(result, other)
    return chain.done(chain.activated(result))


def gemm(draft: Draft, index: int, node: Node) -> bool:
    """Gemm and an activation."""
    chain = Chain(draft, index, node)
    return chain.done(chain.activated(chain.step("Gemm", node.operands, node.outputs[0], _kept(node))))


def matmul(draft: Draft, index: int, node: Node) -> bool:
    """A product of matrices that may be read transposed, scaled, with an activation."""
    chain = Chain(draft, index, node)
    given = node.attributes
    operands = []
    for operand, side in zip(node.operands[:2], "AB", strict=True):
        rank = len(operand.tensor.shape)
        if rank > 2 and given.get(f"transBatch{side}"):
            operand = chain.transpose(operand, *range(1, rank - 1), 0, rank - 1)
        if rank > 1 and given.get(f"trans{side}"):
            operand = chain.transpose(operand, *range(rank - 2), rank - 1, rank - 2)
        operands.append(operand)
    out = chain.step("MatMul", tuple(operands), node.outputs[0])
    return chain.done(chain.activated(chain.scaled(out, "alpha")))


def gemm_gelu(draft: Draft, index: int, node: Node) -> bool:
    """A product, its bias, and Gelu by tanh."""
    chain = Chain(draft, index, node)
    out = chain.step("MatMul", node.operands[:2], node.outputs[0])
    if len(node.operands) > 2:
        out = chain.add(out, node.operands[2])
    return chain.done(chain.step("Gelu", (out,), out.tensor, {"approximate": "tanh"}))


def activation(op: str, attributes: Mapping[str, Attribute]) -> Rule:
    """An activation, perhaps of a sum with a bias."""

    def rule(draft: Draft, index: int, node: Node) -> bool:
        chain = Chain(draft, index, node)
        data = node.operands[0]
        if len(node.operands) > 1:
            data = chain.add(data, node.operands[1])
        return chain.done(chain.step(op, (data,), node.outputs[0], attributes))

    return rule


def quick_gelu(draft: Draft, index: int, node: Node) -> bool:
    """x · sigmoid(alpha · x)."""
    alpha = node.attributes.get("alpha", 1.702)
    attributes: dict[str, Attribute] = {} if alpha == 1 else {"alpha": alpha}
    draft.put(index, node._replace(op="Swish", domain="", attributes=attributes))
    return True


def split_gelu(draft: Draft, index: int, node: Node) -> bool:
    """The first half of the channels times Gelu of the second."""
    chain = Chain(draft, index, node)
    data, out = chain.add(node.operands[0], node.operands[1]), node.outputs[0]
    first = chain.step("Split", (data,), out, {"axis": len(out.shape) - 1, "num_outputs": 2}, more=(out,))
    gate = chain.step("Gelu", (first._replace(output=1),), out)
    return chain.done(chain.step("Mul", (first, gate), out))


def sums(draft: Draft, index: int, node: Node) -> bool:
    """A value, its bias, and what skips."""
    chain = Chain(draft, index, node)
    out = node.operands[0]
    for operand in node.operands[1:3]:
        if operand.tensor.elements > 1:  # of one element: BiasDropout's ratio
            out = chain.add(out, operand)
    return chain.done(out, *[Operand(mask, name=f"{node.name}.mask") for mask in node.outputs[1:]])


def biased_softmax(draft: Draft, index: int, node: Node) -> bool:
    """Softmax of a sum."""
    chain = Chain(draft, index, node)
    data = chain.add(node.operands[0], node.operands[1])
    return chain.done(chain.step("Softmax", (data,), node.outputs[0], {"axis": node.attributes.get("axis", -1)}))


_PLAIN = ("Gelu", "Trilu", "QuantizeLinear", "DequantizeLinear", "Range", "Pad", "Inverse", "GridSample", "Transpose")
_POOLS = ("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool")
RULES: Mapping[str, Sequence[Rule]] = {
    **dict.fromkeys([f"{MICROSOFT}.{op}" for op in _PLAIN], (plain,)),
    f"{MICROSOFT}.FusedConv": (convolution,),
    f"{BLOCKED}.Conv": (blocked_convolution,),
    **dict.fromkeys([f"{BLOCKED}.{op}" for op in _POOLS], (blocked,)),
    f"{BLOCKED}.Upsample": (upsampled,),
    f"{BLOCKED}.ReorderInput": (into_blocks,),
    f"{BLOCKED}.ReorderOutput": (out_of_blocks,),
    **dict.fromkeys([f"{MICROSOFT}.{op}" for op in ("NhwcFusedConv", "NhwcConv", "NhwcMaxPool")], (channels_last,)),
    **dict.fromkeys([f"{LAST}.{op}" for op in ("Conv", "ConvTranspose", *_POOLS)], (channels_last,)),
    f"{MICROSOFT}.FusedGemm": (gemm,),
    **dict.fromkeys(
        [f"{MICROSOFT}.{op}" for op in ("FusedMatMul", "TransposeMatMul", "FusedMatMulActivation")], (matmul,)
    ),
    f"{MICROSOFT}.GemmFastGelu": (gemm_gelu,),
    f"{MICROSOFT}.BiasGelu": (activation("Gelu", {}),),
    f"{MICROSOFT}.FastGelu": (activation("Gelu", {"approximate": "tanh"}),),
    f"{MICROSOFT}.QuickGelu": (quick_gelu,),
    f"{MICROSOFT}.BiasSplitGelu": (split_gelu,),
    **dict.fromkeys([f"{MICROSOFT}.{op}" for op in ("BiasAdd", "BiasDropout")], (sums,)),
    f"{MICROSOFT}.BiasSoftmax": (biased_softmax,),
}
