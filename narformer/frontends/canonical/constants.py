"""What depends on constants alone is a constant: a runtime computes it once, when it loads the network.

Requires: nothing. Ensures: no node but a random one reads constants alone; Shape and Size, which are known once shapes
are, and what depends on them alone, are constants too. What small constants hold is computed where it can be. A
DequantizeLinear of a constant is left to quantised.py, which knows whether its reader works in integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from narformer.frontends.canonical.draft import Draft
from narformer.frontends.canonical.rule import EVERY, Rule
from narformer.frontends.onnx.arithmetic import SHAPE_ALONE, computed
from narformer.frontends.onnx.call import Call, Value
from narformer.graph import VALUE_ELEMENTS, Node, Operand

RANDOM = frozenset(
    ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial")
)
OPSET = 18


def constant(draft: Draft, index: int, node: Node) -> bool:
    """A node that reads constants alone is a constant."""
    op = node.op
    if op not in SHAPE_ALONE or node.domain:
        for operand in node.operands:
            if operand.source is not None:
                return False
        if op in RANDOM or op == "DequantizeLinear":
            return False
    draft.fold(index, values_of(node))
    return True


def values_of(node: Node) -> Sequence[tuple[float, ...] | None]:
    """What the outputs of a node hold that reads constants; nothing where that is not known."""
    if node.domain or any(t.elements > VALUE_ELEMENTS for t in node.outputs):
        return ()
    if node.op == "ConstantOfShape":
        # Zeros, of which exporters make pads. Of other numbers they make indices; what reads equal ones is computed
        # again by runtimes, which do not compare what constants hold.
        zeros = node.attributes.get("value") == 0
        return [(0,) * node.outputs[0].elements] if zeros else ()

    def value(position: int) -> Value | None:
        operand = node.operand(position)
        return None if operand is None else _array(operand)

    message = onnx.NodeProto(op_type=node.op)
    there = [node.operand(k) for k in range(len(node.operands) + len(node.left_out))]
    tensors = [None if operand is None else operand.tensor for operand in there]
    results = computed(Call(message, OPSET, node.attributes, tensors, value, len(node.outputs)), node.outputs)
    return [None if v is None or v.dtype.kind not in "iufb" else tuple(v.reshape(-1).tolist()) for v in results or ()]


def _array(operand: Operand) -> Value | None:
    """What a small constant holds, in the type that it has, or float32 for a type that NumPy lacks."""
    tensor, value = operand.tensor, operand.value
    if value is None or len(value) != tensor.elements:
        return None
    dtype = tensor.dtype if tensor.dtype in _NUMPY else "float32"
    try:
        with np.errstate(all="ignore"):
            return np.array(value).astype(dtype).reshape(tensor.shape)
    except (OverflowError, ValueError):
        return None


_NUMPY = frozenset(
    ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool")
)
RULES: Mapping[str, Sequence[Rule]] = {EVERY: (constant,)}
