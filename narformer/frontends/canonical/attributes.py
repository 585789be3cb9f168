"""What says nothing about a cost is not said: attributes that state a default or only change numbers.

Requires: all patterns found. Ensures: no attribute that ONNX assumes anyway, but for windows, which state all; no
epsilon, slope or rounding; Resize, Pad, Expand and Tile read their data alone (what they give says the rest); recurrent
nodes have all their outputs; constants come last in sums and products; a rectifier times itself is a square.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import onnx

from narformer.frontends.canonical.convolution import CONVOLUTIONS, POOLS
from narformer.frontends.canonical.draft import Draft
from narformer.frontends.canonical.rule import EVERY, Rules
from narformer.frontends.canonical.transposes import BINARY
from narformer.graph import Attribute, Node, Operand, Tensor

_NUMBERS = frozenset(
    {
        *("epsilon", "alpha", "beta", "gamma", "bias", "lambd", "momentum", "stash_type", "saturate", "allowzero"),
        *("noop_with_empty_axes", "cubic_coeff_a", "exclude_outside", "extrapolation_value", "nearest_mode"),
        *(
            "coordinate_transformation_mode",
            "antialias",
            "keep_aspect_ratio_policy",
            "axes_of_resize",
            "value",
            "scale",
        ),
    }
)
_KEPT = frozenset({*CONVOLUTIONS, *POOLS})
_DATA_ALONE = ("Resize", "Upsample", "Pad", "Expand", "Tile")
_COMMUTATIVE = frozenset({"Add", "Mul", "Max", "Min", "Equal", "And", "Or"})
_AXIS_FROM_FRONT = ("Concat", "Gather", "GatherElements", "ScatterElements", "ArgMax", "ArgMin", "TopK", "CumSum")


@functools.lru_cache(maxsize=1024)
def _defaults(op: str) -> Mapping[str, Attribute]:
    """The attributes that ONNX assumes for an operator."""
    try:
        schema = onnx.defs.get_schema(op)
    except onnx.defs.SchemaError:
        return {}
    found: dict[str, Attribute] = {}
    for name, attribute in schema.attributes.items():
        held = onnx.helper.get_attribute_value(attribute.default_value) if attribute.default_value.name else None
        if isinstance(held, bytes):
            held = held.decode()
        if isinstance(held, int | float | str):
            found[name] = held
    return found


def plain(draft: Draft, index: int, node: Node) -> bool:
    """Attributes without defaults and without numbers."""
    if not node.attributes or node.domain:
        return False
    defaults = _defaults(node.op)
    given = dict(node.attributes)
    axis = given.get("axis")
    if node.op in _AXIS_FROM_FRONT and isinstance(axis, int):
        rank = len(node.operands[0].tensor.shape)
        given["axis"] = axis + rank if -rank <= axis < 0 else axis
    kept = {
        name: value
        for name, value in given.items()
        if (name not in defaults or defaults[name] != value or node.op in _KEPT) and not _number(node, name)
    }
    if kept == node.attributes:
        return False
    draft.state(index, node._replace(attributes=kept))
    return True


def _number(node: Node, name: str) -> bool:
    """Whether an attribute is one that only changes numbers."""
    return name in _NUMBERS and node.op != "Gemm"


def alone(draft: Draft, index: int, node: Node) -> bool:
    """Only the data is read: sizes are those of the output."""
    filling = node.operand(2) if node.op == "Pad" else None
    if filling is not None and filling.value and any(filling.value):
        return False  # no window can pad so
    if node.op == "Pad" and node.operands[0].tensor.shape == node.output_shape:
        if len(node.operands) < 3 or node.operand(1) is None:
            return False  # it moves what it reads, which its shape does not tell
        draft.put(index, node._replace(operands=node.operands[:2], attributes={}, left_out=()))
        return True
    op = "Resize" if node.op == "Upsample" else node.op
    if (len(node.operands) == 1 and op == node.op) or any(o.source is not None for o in node.operands[1:]):
        return False
    kept = {name: value for name, value in node.attributes.items() if name == "mode"}
    draft.put(index, node._replace(op=op, operands=node.operands[:1], attributes=kept, left_out=()))
    return True


def stateless(draft: Draft, index: int, node: Node) -> bool:
    """Constant initial states are left out: they are zero, or cost no more."""
    states = [node.operand(position) for position in (5, 6, 7)]
    if not any(states) or any(state is not None and state.source is not None for state in states):
        return False
    if states[2] is not None:  # weights of peepholes
        return False
    kept = [operand for operand, place in zip(node.operands, node.positions, strict=True) if place < 5]
    left_out = tuple([place for place in node.left_out if place < len(kept)])
    draft.put(index, node._replace(operands=tuple(kept), left_out=left_out))
    return True


def recurrent(draft: Draft, index: int, node: Node) -> bool:
    """All the outputs that the operator has, whichever are asked for."""
    data, weight, inner = node.operands[:3]
    length, batch, _ = data.tensor.shape
    directions, hidden = weight.tensor.shape[0], inner.tensor.shape[-1]
    dtype = node.outputs[0].dtype
    last = Tensor((directions, batch, hidden), dtype)
    outputs = (Tensor((length, directions, batch, hidden), dtype), last) + ((last,) if node.op == "LSTM" else ())
    if len(node.outputs) == len(outputs) or node.attributes.get("layout"):
        return False
    made = draft.insert(index, node._replace(outputs=outputs))
    # Those that are not asked for are not listed: the first is the one of four axes.
    ahead = 0 if len(node.outputs[0].shape) == 4 else 1
    draft.drop_all(index, {k: Operand(tensor, made, k + ahead) for k, tensor in enumerate(node.outputs)})
    return True


def squared(draft: Draft, index: int, node: Node) -> bool:
    """A rectifier times itself is a square, as those who square it write it."""
    data, other = node.operands
    made = draft.node(data)
    if data != other or made is None or made.op != "Relu":
        return False
    two = Operand(Tensor((), data.tensor.dtype), value=(2.0,))
    draft.put(index, node._replace(op="Pow", operands=(data, two)))
    return True


def broadcast(draft: Draft, index: int, node: Node) -> bool:
    """A constant comes last where that is the same, without the axes in front that broadcasting adds."""
    if node.op in _COMMUTATIVE and len(node.operands) == 2:
        first, second = node.operands
        if first.source is None and second.source is not None:
            draft.state(index, node._replace(operands=(second, first)))
            return True
    for position, operand in enumerate(node.operands):
        shape = operand.tensor.shape
        if operand.source is None and shape and shape[0] == 1 and len(shape) > 1:
            while len(shape) > 1 and shape[0] == 1:
                shape = shape[1:]
            operands = list(node.operands)
            operands[position] = operand._replace(tensor=operand.tensor._replace(shape=shape))
            draft.state(index, node._replace(operands=tuple(operands)))
            return True
    return False


RULES: Rules = {
    EVERY: (plain,),
    **dict.fromkeys(_DATA_ALONE, (alone,)),
    **dict.fromkeys(BINARY, (broadcast,)),
    "Mul": (squared, broadcast),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), (stateless, recurrent)),
}
