"""Convolutions and pools state all there is to state in one way, and take in what scales, shifts and pads around them.

Requires: views.py. Ensures: kernel_shape, strides, dilations, group and pads of a window are stated, no auto_pad; no
BatchNormalization behind a convolution or a Gemm, and no product with or sum of constants by channel behind a
convolution, that nothing else reads; no Pad by zeros before a convolution or an average that counts them, nor by less
than anything before a maximum.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from narformer.frontends.canonical.draft import Draft, number
from narformer.frontends.canonical.rule import Rule
from narformer.graph import Attribute, Node, Operand, Shape, Tensor

CONVOLUTIONS = ("Conv", "ConvTranspose")
POOLS = ("MaxPool", "AveragePool", "LpPool")
_POOL = {"kernel_shape", "strides", "dilations", "pads"}  # all that there is to state
_CONVOLUTION = {*_POOL, "group"}


def stated(draft: Draft, index: int, node: Node) -> bool:
    """Every attribute of a window, spelt out."""
    if node.attributes.keys() == (_CONVOLUTION if node.op in CONVOLUTIONS else _POOL):
        return False
    attributes = window(node)
    if attributes == node.attributes:
        return False
    draft.state(index, node._replace(attributes=attributes))
    return True


def window(node: Node) -> dict[str, Attribute]:
    """The attributes of a convolution or a pool in full; those that say what is so anyway are left out."""
    given = node.attributes
    spatial = node.operands[0].tensor.shape[2:]
    rank = len(spatial)
    convolution = node.op in CONVOLUTIONS
    kernel = node.operands[1].tensor.shape[2:] if convolution else _sizes(given, "kernel_shape", (1,) * rank)
    strides, dilations = _sizes(given, "strides", (1,) * rank), _sizes(given, "dilations", (1,) * rank)
    attributes: dict[str, Attribute] = {"kernel_shape": kernel, "strides": strides, "dilations": dilations}
    if convolution:
        attributes["group"] = given.get("group", 1)
    attributes["pads"] = _pads(node, spatial, kernel, strides, dilations)
    for name, value in given.items():
        if name not in attributes and name not in ("auto_pad", "output_shape", "storage_order", "ceil_mode"):
            nothing = not any(value) if isinstance(value, tuple) else value == 0
            if not nothing and (name != "count_include_pad" or any(attributes["pads"])):  # type: ignore[arg-type]
                attributes[name] = value
    return attributes


def _sizes(given: Mapping[str, Attribute], name: str, default: Shape) -> Shape:
    value = given.get(name)
    return tuple([int(v) for v in value]) if isinstance(value, tuple) and value else default


def _pads(node: Node, spatial: Shape, kernel: Shape, strides: Shape, dilations: Shape) -> Shape:
    """Elements added before and behind each axis: as stated, or as auto_pad, a stated size or rounding up imply."""
    given, out, rank = node.attributes, node.output_shape[2:], len(spatial)
    auto = str(given.get("auto_pad") or "NOTSET")
    grown = _sizes(given, "output_padding", (0,) * rank)
    total: list[int] = []
    for k in range(rank):
        width = (kernel[k] - 1) * dilations[k] + 1
        if node.op == "ConvTranspose":
            total.append(strides[k] * (spatial[k] - 1) + grown[k] + width - out[k])
        else:
            total.append(max((out[k] - 1) * strides[k] + width - spatial[k], 0))
    if auto == "NOTSET" and not given.get("output_shape"):
        pads = _sizes(given, "pads", (0,) * (2 * rank))
        if not given.get("ceil_mode"):
            return pads
        # A last window that reaches beyond the data is one that is padded there.
        return (*pads[:rank], *[max(pads[rank + k], total[k] - pads[k]) for k in range(rank)])
    if auto == "VALID":
        return (0,) * (2 * rank)
    fewer = [t // 2 for t in total]
    more = [t - f for t, f in zip(total, fewer, strict=True)]
    first = auto == "SAME_LOWER" if node.op != "ConvTranspose" else auto != "SAME_UPPER"
    return (*more, *fewer) if first else (*fewer, *more)


def _biased(draft: Draft, index: int, node: Node, producer: Node, dtype: str) -> None:
    """The producer in the node's place, with a bias if it has none."""
    operands = producer.operands
    if len(operands) == 2:
        bias = Tensor(producer.output_shape[1:2], dtype)
        operands = (*operands, Operand(bias, name=f"{producer.name}.bias"))
    _instead(draft, index, node, producer._replace(operands=operands))


def _instead(draft: Draft, index: int, node: Node, producer: Node) -> None:
    shape = producer.output_shape
    dtype = node.outputs[0].dtype
    draft.put(index, producer._replace(outputs=(Tensor(shape, dtype),)))


def normalised(draft: Draft, index: int, node: Node) -> bool:
    """A BatchNormalization scales and shifts channels: what makes them does so with its own weights."""
    data = node.operands[0]
    producer = draft.made_by(data, *CONVOLUTIONS, "Gemm")
    if producer is None or node.attributes.get("training_mode") or node.attributes.get("spatial", 1) != 1:
        return False
    if any(operand.source is not None for operand in node.operands[1:]) or not by_channel(producer, data):
        return False
    _biased(draft, index, node, producer, node.outputs[0].dtype)
    return True


def by_channel(producer: Node, read: Operand) -> bool:
    """Whether the second axis of a value as it is read is that of the producer's channels, with weights of its own."""
    made, shape = producer.output_shape, read.tensor.shape
    if any(operand.source is not None for operand in producer.operands[1:]) or read.output:
        return False
    return len(made) >= 2 and made[:2] == shape[:2] and (producer.op != "Gemm" or math.prod(shape[2:]) == 1)


def scaled(draft: Draft, index: int, node: Node) -> bool:
    """A product with constants by channel goes into the weights before it, a sum into the bias."""
    for position, other in ((0, 1), (1, 0)):
        data, constant = node.operands[position], node.operands[other]
        if constant.source is not None or data.source is None or (position and node.op in ("Sub", "Div")):
            continue
        producer = draft.made_by(data, *CONVOLUTIONS)
        if producer is None or not by_channel(producer, data) or data.tensor.shape != node.output_shape:
            return False
        # One number for all channels belongs rather to what follows: a hard sigmoid, a scaled softmax.
        if not one_by_channel(constant.tensor.shape, data.tensor.shape) or constant.tensor.dtype != data.tensor.dtype:
            return False
        if node.op in ("Add", "Sub"):
            _biased(draft, index, node, producer, constant.tensor.dtype)
        else:
            _instead(draft, index, node, producer)
        return True
    return False


def one_by_channel(constant: Shape, data: Shape) -> bool:
    """Whether a constant has one number for each element of the data's second axis and is the same along the others."""
    aligned = (1,) * (len(data) - len(constant)) + constant
    return math.prod(constant) == data[1] and len(aligned) == len(data) and aligned[1] == data[1] > 1


def padded(draft: Draft, index: int, node: Node) -> bool:
    """What a Pad adds to spatial axes, the window behind it may skip."""
    data = node.operands[0]
    pad = draft.made_by(data, "Pad")
    if pad is None or pad.outputs[0].shape != data.tensor.shape or pad.attributes.get("mode", "constant") != "constant":
        return False
    before, after = pad.operands[0].tensor.shape, data.tensor.shape
    rank = len(after) - 2
    if before[:2] != after[:2] or not _filled_as(draft, node, pad):
        return False
    pads = pad.attributes.get("pads", pad.operands[1].value if len(pad.operands) > 1 else None)
    if isinstance(pads, tuple) and len(pads) == 2 * rank + 4:
        added = [int(p) for p in (*pads[2 : 2 + rank], *pads[4 + rank :])]
    else:  # not known, or for some axes only: as evenly as shapes allow
        grown = [a - b for a, b in zip(after[2:], before[2:], strict=True)]
        added = [g // 2 for g in grown] + [g - g // 2 for g in grown]
    if min(added) < 0:
        return False
    own = _sizes(node.attributes, "pads", (0,) * (2 * rank))
    attributes = {**node.attributes, "pads": tuple([p + a for p, a in zip(own, added, strict=True)])}
    if node.op == "AveragePool":
        if any(own) and not node.attributes.get("count_include_pad"):
            return False
        attributes["count_include_pad"] = 1
    draft.put(index, node._replace(operands=(pad.operands[0], *node.operands[1:]), attributes=attributes))
    return True


def _filled_as(draft: Draft, node: Node, pad: Node) -> bool:
    """Whether a Pad adds what the window would read beyond the edge: zeros, or, for a maximum, nothing larger."""
    value = pad.attributes.get("value", 0.0)
    filling = pad.operand(2)
    if filling is not None:
        held = number(filling)
        if held is None or (node.op != "MaxPool" and not filling.tensor.dtype.startswith("float")):
            return True  # integers pad by what stands for zero
        value = held
    if not isinstance(value, int | float):
        return False
    if node.op != "MaxPool" or value < -1e4:
        return node.op == "MaxPool" or value == 0
    return value == 0 and draft.made_by(pad.operands[0], "Relu", shared=True) is not None


TAKEN_IN: Mapping[str, Sequence[Rule]] = {
    **dict.fromkeys(("Conv", "MaxPool", "AveragePool"), (padded,)),
    "BatchNormalization": (normalised,),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), (scaled,)),
}
RULES: Mapping[str, Sequence[Rule]] = {
    **TAKEN_IN,
    **dict.fromkeys(("Conv", "MaxPool", "AveragePool"), (stated, padded)),
    **dict.fromkeys(("ConvTranspose", "LpPool"), (stated,)),
}
