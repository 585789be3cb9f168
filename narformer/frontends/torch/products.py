"""ATen operators that multiply and add up: convolutions, linear layers, matrix products, attention, embeddings."""

from __future__ import annotations

import math
from collections.abc import Mapping

from narformer.frontends.torch.call import Call, Handler, Value
from narformer.frontends.torch.layout import broadcast_to
from narformer.graph import Operand, Tensor


def linear(call: Call) -> Value:
    """A product with a weight that is stored as (out, in); read as (in, out), which is what Gemm's operand says."""
    data, weight = call.operand("input"), call.operand("weight")
    bias = call.operand("bias") if call.has("bias") else None
    return product(call, data, turned(call, weight), bias)


def turned(call: Call, weight: Operand) -> Operand:
    """A matrix with rows and columns exchanged: a stored one is read so, another is transposed."""
    if len(weight.tensor.shape) < 2:
        return weight
    if weight.source is None:
        rows, columns = weight.tensor.shape
        return weight._replace(tensor=Tensor((columns, rows), weight.tensor.dtype))
    return call.transposed(weight, (1, 0))


def product(call: Call, data: Operand, matrix: Operand, bias: Operand | None = None) -> Operand:
    """data · matrix + bias: Gemm where two matrices are multiplied, else MatMul and Add, as files have it."""
    matrices = len(matrix.tensor.shape) == 2 == len(data.tensor.shape) and matrix.source is None
    if matrices and (bias is None or (bias.source is None and len(bias.tensor.shape) == 1)):
        return call.emit("Gemm", data, matrix, *([] if bias is None else [bias]))
    found = call.emit("MatMul", data, matrix)
    return found if bias is None else call.emit("Add", found, bias)


def matmul(call: Call) -> Value:
    names = list(call.arguments)
    return product(call, call.operand(names[0]), call.operand(names[1]))


def add_product(call: Call) -> Value:
    """addmm, baddbmm: beta · x + alpha · a · b."""
    names = list(call.arguments)
    bias, first, second = (call.operand(name) for name in names[:3])
    if call.arguments.get("beta", 1) == 1 and call.arguments.get("alpha", 1) == 1:
        return product(call, first, second, bias)
    found = product(call, first, second)
    if call.number("alpha") != 1:
        found = call.emit("Mul", found, call.operand("alpha"))
    if call.number("beta") == 0:
        return found
    if call.number("beta") != 1:
        bias = call.emit("Mul", bias, call.operand("beta"), output=bias.tensor)
    return call.emit("Add", found, bias)


def convolution(call: Call) -> Value:
    data, weight = call.operand("input"), call.operand("weight")
    bias = [call.operand("bias")] if call.has("bias") else []
    rank = len(weight.tensor.shape) - 2
    single = len(data.tensor.shape) == rank + 1  # without a batch
    if single:
        data = call.reshaped(data, (1, *data.tensor.shape))
    strides, dilations = call.pair("stride", rank), call.pair("dilation", rank)
    shape = (1, *call.output.shape) if single else call.output.shape
    common = {"kernel_shape": weight.tensor.shape[2:], "strides": strides, "dilations": dilations}
    if "transpose" in call.step.operator or call.flag("transposed"):
        padding = call.pair("padding", rank)
        extra = call.pair("output_padding", rank)
        found = call.emit(
            "ConvTranspose",
            data,
            weight,
            *bias,
            output=call.output._replace(shape=shape),
            group=call.integer("groups"),
            pads=padding * 2,
            output_padding=extra if any(extra) else None,
            **common,
        )
        return call.reshaped(found, call.output.shape)
    spelt = call.arguments.get("padding")
    if spelt == "same":
        whole = [d * (k - 1) for d, k in zip(dilations, weight.tensor.shape[2:], strict=True)]
        pads = [*[total // 2 for total in whole], *[total - total // 2 for total in whole]]
    elif spelt == "valid":
        pads = [0] * (2 * rank)
    else:
        pads = [*call.pair("padding", rank)] * 2
    found = call.emit(
        "Conv",
        data,
        weight,
        *bias,
        output=call.output._replace(shape=shape),
        group=call.integer("groups"),
        pads=pads,
        **common,
    )
    return call.reshaped(found, call.output.shape)


def einsum(call: Call) -> Value:
    return call.emit("Einsum", *call.operands("tensors"), equation=call.text("equation"))


def embedding(call: Call) -> Value:
    return call.emit("Gather", call.operand("weight"), call.operand("indices"))


def attention(call: Call) -> Value:
    """softmax(Q Kᵀ · scale + mask) V with Q (..., heads, L, head): axes before the heads are the batch."""
    query, key, value = (call.operand(name) for name in ("query", "key", "value"))
    mask = [call.operand("attn_mask")] if call.has("attn_mask") else []
    rank = len(query.tensor.shape)
    batch = query.tensor.shape[:-3]
    if rank != 4:
        query, key, value = (_four_axes(call, o, batch) for o in (query, key, value))
    shape = (*query.tensor.shape[:3], value.tensor.shape[3])
    # PyTorch's kernels take four axes, and as many heads of keys as of queries unless they are told of groups.
    heads_fit = call.flag("enable_gqa") or key.tensor.shape[1] == query.tensor.shape[1]
    found = call.emit(
        "Attention",
        query,
        key,
        value,
        *mask,
        output=call.output._replace(shape=shape),
        is_causal=1 if call.flag("is_causal") else None,
        scale=call.number("scale") if call.has("scale") else None,
        unfused=None if rank <= 4 and heads_fit else 1,
    )
    return call.reshaped(found, call.output.shape)


def attention_kernel(call: Call) -> Value:
    """The operators that scaled_dot_product_attention becomes; what they return beside is for training."""
    return (attention(call),)


def _four_axes(call: Call, operand: Operand, batch: tuple[int, ...]) -> Operand:
    shape = operand.tensor.shape
    if shape[:-3] != batch:
        operand = broadcast_to(call, operand, (*batch, *shape[-3:]))
    heads = shape[-3] if len(shape) > 2 else 1
    return call.reshaped(operand, (math.prod(batch), heads, *shape[-2:]))


def bilinear(call: Call) -> Value:
    first, second, weight = (call.operand(name) for name in ("input1", "input2", "weight"))
    found = call.emit("Einsum", first, weight, second, equation="...i,oij,...j->...o")
    return call.emit("Add", found, call.operand("bias")) if call.has("bias") else found


OPERATORS: Mapping[str, Handler] = {
    "aten.linear": linear,
    **{f"aten.{name}": matmul for name in ("matmul", "mm", "bmm", "mv", "dot", "linalg_matmul", "inner_product")},
    **{f"aten.{name}": add_product for name in ("addmm", "baddbmm", "addmv")},
    **{f"aten.conv{rank}d": convolution for rank in (1, 2, 3)},
    **{f"aten.conv_transpose{rank}d": convolution for rank in (1, 2, 3)},
    "aten.convolution": convolution,
    "aten._convolution": convolution,
    "aten.einsum": einsum,
    "aten.embedding": embedding,
    "aten.bilinear": bilinear,
    "aten.scaled_dot_product_attention": attention,
    "aten._scaled_dot_product_flash_attention_for_cpu": attention_kernel,
    "aten._scaled_dot_product_flash_attention": attention_kernel,
    "aten._scaled_dot_product_efficient_attention": attention_kernel,
}
