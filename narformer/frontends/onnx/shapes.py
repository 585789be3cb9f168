"""Shapes that the file states, and shapes that onnx infers; what no tensor can be."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping

import numpy as np
import onnx
import onnx.shape_inference
from onnx import helper, numpy_helper

from narformer.errors import ModelError
from narformer.frontends.onnx.call import Call, UnknownOperator, UnknownShape
from narformer.frontends.tensors import DTYPES, ONNX_TYPES
from narformer.graph import Tensor

MOST_AXES = 64  # NumPy's limit too; no network comes near
MOST_ELEMENTS = 2**53  # what a float64 counts exactly


def checked(tensor: Tensor, value: str, label: str) -> Tensor:
    """The tensor, if it can exist. Raises ModelError for a negative size, too many elements or too many axes."""
    shape = tensor.shape
    if len(shape) > MOST_AXES:
        raise ModelError(f"{label}: {value!r} has {len(shape)} dimensions; no network has more than {MOST_AXES}")
    if shape and min(shape) < 0:
        raise ModelError(f"{label}: {value!r} has a negative size in its shape {list(shape)}")
    if math.prod(shape) >= MOST_ELEMENTS or (shape and max(shape) >= MOST_ELEMENTS):
        raise ModelError(f"{label}: {value!r} has the shape {list(shape)}, more elements than can be counted")
    return tensor


def is_sequence(kind: onnx.TypeProto) -> bool:
    """Whether a value is a sequence, or an optional one."""
    held = kind.optional_type.elem_type if kind.HasField("optional_type") else kind
    return bool(held.HasField("sequence_type"))


def stated_shapes(graph: onnx.GraphProto) -> dict[str, Tensor]:
    """Values whose whole shape the file states."""
    stated: dict[str, Tensor] = {}
    for infos in (graph.value_info, graph.output):
        for info in infos[:]:
            tensor = _held_in(info.type.SerializeToString())
            if tensor is not None:
                stated[info.name] = tensor
    return stated


@functools.lru_cache(maxsize=4096)
def _held_in(kind: bytes) -> Tensor | None:
    """The tensor of a type, from its bytes: most values share their type with others, in this file and the next."""
    return _stated(onnx.TypeProto.FromString(kind))


def _stated(kind: onnx.TypeProto) -> Tensor | None:
    if not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return None
    dims = kind.tensor_type.shape.dim
    shape = tuple([d.dim_value for d in dims])
    if 0 in shape and not all(d.HasField("dim_value") for d in dims):
        return None
    if shape and (min(shape) < 0 or len(shape) > MOST_AXES or math.prod(shape) >= MOST_ELEMENTS):
        return None  # no shape that a value can have; some exporters write -1 for what they do not know
    return Tensor(shape, DTYPES.get(kind.tensor_type.elem_type, "float32"))


def inferred(call: Call, opsets: Mapping[str, int]) -> list[Tensor]:
    """What onnx itself infers of one node whose operands are known; the answer to operators without a rule of ours.

    Raises UnknownShape where onnx does not know the operator, or cannot tell.
    """
    node = call.node
    domain = "" if node.domain == "ai.onnx" else node.domain
    if domain not in opsets:
        raise UnknownShape(f"the file imports no opset for domain {domain or 'ai.onnx'}")
    if not onnx.defs.has(node.op_type, domain):
        raise UnknownOperator("onnx does not know this operator")
    types, data = {}, {}
    for position, tensor in enumerate(call.operands):
        if tensor is None:
            continue
        name = node.input[position]
        types[name] = helper.make_tensor_type_proto(ONNX_TYPES[tensor.dtype], tensor.shape)
        value = call.values(position)
        if value is not None and value.dtype.kind in "iufb":
            data[name] = numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)
    try:
        schema = onnx.defs.get_schema(node.op_type, opsets[domain], domain)
        imports = [helper.make_opsetid(d, v) for d, v in opsets.items()]
        found = onnx.shape_inference.infer_node_outputs(schema, node, types, data, opset_imports=imports)
    except Exception as error:  # raised by onnx's C++ as classes of its own
        raise UnknownShape(first_line(error)) from error
    tensors = []
    for name in node.output:
        if not name:
            tensors.append(Tensor(()))
            continue
        tensor_or_none = _stated(found[name]) if name in found else None
        if tensor_or_none is None:
            break
        tensors.append(tensor_or_none)
    if not tensors:
        raise UnknownShape("onnx cannot tell it from its operands")
    return tensors


def first_line(error: Exception) -> str:
    """The first line of what an error says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
