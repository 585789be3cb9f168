"""Means and maxima over all positions of an image, however they are written, and reductions in one form.

Requires: convolution.py, and the patterns of normalisations, which are made of means, must have run before. Ensures: a
mean or maximum over all spatial axes is GlobalAveragePool or GlobalMaxPool, whose output keeps those axes; any other
reduction has its axes as an attribute, counted from the front, and keeps them; a convolution over a single position is
a Gemm; a function of single elements has the shape of what it reads; every convolution and Gemm has a bias; numbers
that scale and shift channels behind no convolution are a BatchNormalization.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from narformer.frontends.canonical.convolution import one_by_channel
from narformer.frontends.canonical.draft import Draft
from narformer.frontends.canonical.linear import pointwise
from narformer.frontends.canonical.rule import Rule
from narformer.graph import Attribute, Node, Operand, Shape, Tensor

_GLOBAL = {
    "ReduceMean": "GlobalAveragePool",
    "AveragePool": "GlobalAveragePool",
    "ReduceMax": "GlobalMaxPool",
    "MaxPool": "GlobalMaxPool",
}
REDUCTIONS = (
    *("ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceProd", "ReduceL1", "ReduceL2"),
    *("ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"),
)


def axes_of(node: Node) -> Shape | None:
    """Axes of a reduction, counted from the front, in order; None where they cannot be told."""
    shape = node.operands[0].tensor.shape
    given: object = node.attributes.get("axes")
    if len(node.operands) > 1 and node.operands[1].source is not None:
        return None
    if given is None and len(node.operands) > 1:
        given = node.operands[1].value
        if given is None:  # not known: those that shapes tell
            return _told(shape, node.output_shape)
    if not given:
        return tuple(range(len(shape)))
    assert isinstance(given, tuple)
    return tuple(sorted({int(axis) % len(shape) for axis in given}))


def _told(shape: Shape, out: Shape) -> Shape | None:
    if len(shape) != len(out):
        return None
    return tuple([k for k, (before, after) in enumerate(zip(shape, out, strict=True)) if before != after])


def reduction(draft: Draft, index: int, node: Node) -> bool:
    """A reduction with its axes as an attribute, kept as 1."""
    data, axes = node.operands[0], axes_of(node)
    if axes is None:
        return False
    shape = data.tensor.shape
    kept = tuple([1 if k in axes else size for k, size in enumerate(shape)])
    out = Tensor(kept, node.outputs[0].dtype)
    if out.elements != node.outputs[0].elements:
        return False
    spatial = len(shape) > 3 and axes == tuple(range(2, len(shape))) and node.op in _GLOBAL
    op, attributes = (_GLOBAL[node.op], {}) if spatial else (node.op, {"axes": axes})
    if (op, attributes, (out,), 1) == (node.op, node.attributes, node.outputs, len(node.operands)):
        return False
    draft.put(index, node._replace(op=op, operands=(data,), outputs=(out,), attributes=attributes, left_out=()))
    return True


def window(draft: Draft, index: int, node: Node) -> bool:
    """A pool whose window is all there is."""
    data, kernel = node.operands[0], node.attributes.get("kernel_shape")
    if len(node.outputs) > 1 or kernel != data.tensor.shape[2:] or any(size != 1 for size in node.output_shape[2:]):
        return False
    pads = node.attributes.get("pads", ())
    if (isinstance(pads, tuple) and any(pads)) or set(node.attributes.get("dilations", (1,))) != {1}:  # type: ignore[arg-type]
        return False
    draft.put(index, node._replace(op=_GLOBAL[node.op], attributes={}))
    return True


_DEFAULTS: Mapping[str, Mapping[str, float]] = {
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "LeakyRelu": {"alpha": 0.01},
    "Elu": {"alpha": 1.0},
    "Celu": {"alpha": 1.0},
    "ThresholdedRelu": {"alpha": 1.0},
}


def parameters(draft: Draft, index: int, node: Node) -> bool:
    """Numbers of an activation to four digits, as exporters differ in the last ones; none where ONNX assumes them."""
    attributes: dict[str, Attribute] = {}
    for name, value in node.attributes.items():
        rounded = float(f"{value:.4g}") if isinstance(value, float) else value
        if _DEFAULTS[node.op].get(name) != rounded:
            attributes[name] = rounded
    if attributes == node.attributes:
        return False
    draft.state(index, node._replace(attributes=attributes))
    return True


def shaped(draft: Draft, index: int, node: Node) -> bool:
    """A function of single elements reads and gives what its producer gives, in whatever shape others read it."""
    data = node.operands[0]
    producer = draft.node(data)
    if producer is None or not data.tensor.elements:
        return False
    shape = producer.outputs[data.output].shape
    if shape == data.tensor.shape or data.tensor.elements != node.outputs[0].elements:
        return False
    if any(operand.tensor.elements != 1 or operand.source is not None for operand in node.operands[1:]):
        return False
    read = data._replace(tensor=data.tensor._replace(shape=shape))
    outputs = tuple([out._replace(shape=shape) for out in node.outputs])
    draft.state(index, node._replace(operands=(read, *node.operands[1:]), outputs=outputs))
    return True


def in_images(draft: Draft, index: int, node: Node) -> bool:
    """A normalisation of groups of channels reads images as they were made, with their places along several axes."""
    data = node.operands[0]
    producer = draft.node(data)
    if producer is None or data.tensor.shape != node.output_shape:
        return False
    shape = producer.outputs[data.output].shape
    if shape == data.tensor.shape or shape[:2] != data.tensor.shape[:2]:
        return False
    read = data._replace(tensor=data.tensor._replace(shape=shape))
    outputs = (node.outputs[0]._replace(shape=shape),)
    draft.state(index, node._replace(operands=(read, *node.operands[1:]), outputs=outputs))
    return True


def by_channel(draft: Draft, index: int, node: Node) -> bool:
    """A convolution that multiplies each channel by a number of its own is a BatchNormalization."""
    channels = node.output_shape[1]
    given = node.attributes
    if (
        given.get("group") != channels
        or channels == 1
        or given.get("kernel_shape") != (1,) * len(node.output_shape[2:])
    ):
        return False
    if node.operands[0].tensor.shape != node.output_shape or node.operands[1].source is not None:
        return False
    _normalised(draft, index, node, node.operands[0])
    return True


def scaled_channels(draft: Draft, index: int, node: Node) -> bool:
    """A product with, then a sum of constants by channel."""
    for data, shift in (node.operands, node.operands[::-1]):
        product = draft.made_by(data, "Mul")
        if product is None or shift.source is not None or not one_by_channel(shift.tensor.shape, node.output_shape):
            continue
        for value, scale in (product.operands, product.operands[::-1]):
            fits = value.source is not None and value.tensor.shape == node.output_shape == data.tensor.shape
            if fits and scale.source is None and one_by_channel(scale.tensor.shape, node.output_shape):
                _normalised(draft, index, node, value)
                return True
    return False


def _normalised(draft: Draft, index: int, node: Node, data: Operand) -> None:
    vector = Tensor(node.output_shape[1:2], data.tensor.dtype)
    names = ("scale", "bias", "mean", "variance")
    constants = [Operand(vector, name=f"{node.name}.{name}") for name in names]
    put = Node(node.name, "BatchNormalization", (data, *constants), node.outputs[:1], {}, origin=node.origin)
    draft.put(index, put)


def biased(draft: Draft, index: int, node: Node) -> bool:
    """A bias costs a kernel nothing, and exporters leave out one that holds zeros, as in a network without training."""
    if len(node.operands) != 2 or node.left_out:
        return False
    made = node.outputs[0].shape
    dtype = "int32" if "int8" in node.operands[0].tensor.dtype else node.outputs[0].dtype
    bias = Operand(Tensor(made[-1:] if node.op == "Gemm" else made[1:2], dtype), name=f"{node.name}.bias")
    draft.state(index, node._replace(operands=(*node.operands, bias)))
    return True


BY_ELEMENT = (
    *("Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "Gelu", "Swish", "HardSwish", "HardSigmoid", "Mish", "Elu"),
    *("Selu", "Celu", "Softplus", "Softsign", "ThresholdedRelu", "Erf", "Exp", "Log", "Sqrt", "Neg", "Abs", "Cast"),
    *("Reciprocal", "Sin", "Cos", "Floor", "Ceil", "Round", "Not"),
)
GROUPED = ("GroupNormalization", "InstanceNormalization")
RULES: Mapping[str, Sequence[Rule]] = {
    **dict.fromkeys(REDUCTIONS, (reduction,)),
    **dict.fromkeys(("AveragePool", "MaxPool"), (window,)),
    **dict.fromkeys(BY_ELEMENT, (shaped,)),
    **dict.fromkeys(_DEFAULTS, (shaped, parameters)),
    **dict.fromkeys(GROUPED, (in_images,)),
    "Conv": (pointwise, by_channel, biased),
    "Add": (scaled_channels,),
    **dict.fromkeys(("ConvTranspose", "Gemm"), (biased,)),
}
# Asked where Transposes meet, too: no view may stand between them and such a function.
SHAPED: Mapping[str, Sequence[Rule]] = {
    **dict.fromkeys(BY_ELEMENT, (shaped,)),
    **dict.fromkeys(GROUPED, (in_images,)),
}
