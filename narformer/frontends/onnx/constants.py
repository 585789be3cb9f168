"""Constant nodes: operands of those that read them, never nodes of a Graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx

from narformer.errors import ModelError
from narformer.frontends.onnx.scope import Scope
from narformer.frontends.tensors import DTYPES
from narformer.graph import Operand, Tensor

if TYPE_CHECKING:
    from narformer.frontends.onnx.walk import Walk


def constant(walk: Walk, node: onnx.NodeProto, scope: Scope, prefix: str) -> None:
    """A constant within a body; those of the graph itself are known before the walk."""
    scope.names[node.output[0]] = constant_operand(walk, node, prefix + node.output[0])


def constant_operand(walk: Walk, node: onnx.NodeProto, name: str) -> Operand:
    """What a Constant node holds. Raises ModelError where it holds nothing."""
    for a in node.attribute:
        if a.name == "value":
            return walk.weight(a.t, name)
        if a.name == "sparse_value":
            dtype = DTYPES.get(a.sparse_tensor.values.data_type, "float32")
            return Operand(Tensor(tuple(a.sparse_tensor.dims), dtype), name=name)
        if a.name in ("value_float", "value_floats"):
            return walk.constant(np.array(list(a.floats) if a.name[-1] == "s" else a.f, np.float32), name)
        if a.name in ("value_int", "value_ints"):
            return walk.constant(np.array(list(a.ints) if a.name[-1] == "s" else a.i, np.int64), name)
        if a.name in ("value_string", "value_strings"):
            shape = (len(a.strings),) if a.name[-1] == "s" else ()
            return Operand(Tensor(shape, "string"), name=name)
    raise ModelError(f"{walk.label}: Constant node {node.name!r} has no value")
