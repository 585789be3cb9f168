"""Which of the inputs that a file declares are inputs, and which are weights of a file that stores none.

A weight is what the file stores. Files without any, as NNLQP has them, may declare their weights as inputs. One is a
weight where all that read it are operators that expect a weight there (filters of a Conv, the second matrix of a
MatMul), and where something says that this file does so: a weight's name, or a place that is nothing else's, such as
the bias of a convolution. Without that it is an input: two matrices that are multiplied are just these.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import onnx

from narformer.frontends.onnx.scope import Step
from narformer.operators.lookup import find

# Where an operator has weights that are hardly ever data; where it has any the table of operators tells.
SURE_POSITIONS: Mapping[str, tuple[int, ...]] = {
    "Conv": (2,),
    "ConvTranspose": (2,),
    "Gemm": (2,),
    "BatchNormalization": (1, 2, 3, 4),
    "LayerNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LSTM": (1, 2, 3),
    "GRU": (1, 2, 3),
    "RNN": (1, 2, 3),
}
RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
# `conv1.weight`, `layer/kernel:0`, `attention.in_proj_weight`, `rnn.weight_ih_l0`; PyTorch's `p_conv1_weight`.
_NAME = re.compile(
    r"(.*[./]|p_)([^./]*_)?(weight|bias|kernel|gamma|beta|running_mean|running_var|moving_mean|moving_variance)"
    r"(_[^./]*)?(:0)?"
)


def weights_among(
    inputs: Sequence[onnx.ValueInfoProto], steps: Sequence[Step], given: Collection[str]
) -> list[onnx.ValueInfoProto]:
    """The declared inputs that are weights, of a file that stores none; none of those `given` a shape is one."""
    candidates = {i.name: len(i.type.tensor_type.shape.dim) for i in inputs if i.name not in given and _fixed(i)}
    sure_by_place: set[str] = set()
    as_data: set[str] = set()
    read: set[str] = set()
    for step in steps:
        positions = find(step.op, step.domain).weights
        for position, value in enumerate(step.reads):
            if value not in candidates:
                continue
            read.add(value)
            # The second operand of a MatMul may well be data (attention); a matrix of weights has two dimensions.
            if position not in positions or (step.op == "MatMul" and candidates[value] != 2):
                as_data.add(value)
            elif position in SURE_POSITIONS.get(step.op, ()) and (candidates[value] == 1 or step.op in RECURRENT):
                sure_by_place.add(value)
    possible = read - as_data
    named = {name for name in possible if _NAME.fullmatch(name)}
    if not named and not sure_by_place & possible:
        return []
    # Where every weight is told by its name, what has another name is none.
    found = named if sure_by_place & possible <= named and named else possible
    return [i for i in inputs if i.name in found] if len(found) < len(inputs) else []


def _fixed(info: onnx.ValueInfoProto) -> bool:
    return all(d.HasField("dim_value") and d.dim_value >= 0 for d in info.type.tensor_type.shape.dim)
