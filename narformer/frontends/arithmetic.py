"""Arithmetic on shapes that exporters leave in a network (Shape, Gather, Slice, Concat, …), computed where it can be.

onnx's own data propagation gives up on some of it, and then every shape behind stays unknown. Only small integer (or
scalar) tensors are computed, by onnx's reference implementation, and only with operators that cannot grow them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
import onnx.numpy_helper
from onnx import TensorProto
from onnx.helper import make_tensor_value_info, np_dtype_to_tensor_dtype

from narformer.graph import Tensor

LARGEST = 1024  # elements of a tensor that may be a shape, or a part of one
_OPERATORS = frozenset(
    (
        *("Identity", "Gather", "Slice", "Concat", "Add", "Sub", "Mul", "Div", "Mod", "Cast", "Squeeze", "Unsqueeze"),
        *("Reshape", "Floor", "Ceil", "Min", "Max", "Neg", "ReduceProd", "Sqrt"),
    )
)


def fold_shape_arithmetic(model: onnx.ModelProto, known: Mapping[str, Tensor]) -> int:
    """Replace what can be computed by initializers, in place; returns how many nodes.

    model: nodes in topological order. known: values whose every size is known.
    """
    values: dict[str, npt.NDArray[np.generic]] = {}
    for tensor in model.graph.initializer:
        if _small(tensor.dims) and _has_data(tensor):
            values[tensor.name] = onnx.numpy_helper.to_array(tensor)
    kept, folded = [], 0
    for node in model.graph.node:
        value = _value(node, values, known, model)
        if value is None:
            kept.append(node)
            continue
        values[node.output[0]] = value
        if node.op_type == "Constant":
            kept.append(node)
        else:
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), node.output[0]))
            folded += 1
    if folded:
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
        del model.graph.node[:]
        model.graph.node.extend(copies)
    return folded


def _value(
    node: onnx.NodeProto,
    values: dict[str, npt.NDArray[np.generic]],
    known: Mapping[str, Tensor],
    model: onnx.ModelProto,
) -> npt.NDArray[np.generic] | None:
    if node.domain not in ("", "ai.onnx") or len(node.output) != 1:
        return None
    if node.op_type == "Constant":
        held = next((a.t for a in node.attribute if a.name == "value"), None)
        if held is None or not _small(held.dims) or not _has_data(held):
            return None
        return np.asarray(onnx.numpy_helper.to_array(held))
    if node.op_type == "Shape" and not node.attribute:
        tensor = known.get(node.input[0])
        return None if tensor is None else np.array(tensor.shape, dtype=np.int64)
    if node.op_type not in _OPERATORS or not all(name in values for name in node.input if name):
        return None
    from onnx.reference import ReferenceEvaluator

    given = {name: values[name] for name in node.input if name}
    graph = onnx.helper.make_graph(
        [node],
        "one",
        [make_tensor_value_info(n, np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in given.items()],
        [onnx.helper.make_empty_tensor_value_info(node.output[0])],
    )
    try:
        one = onnx.helper.make_model(graph, opset_imports=model.opset_import)
        (result,) = ReferenceEvaluator(one).run(None, given)
    except Exception:  # whatever a malformed node makes the reference raise, its value is unknown
        return None
    result = np.asarray(result)
    return result if result.size <= LARGEST else None


def _small(dims: object) -> bool:
    sizes = list(dims)  # type: ignore[call-overload]
    return len(sizes) <= 1 and all(0 <= size <= LARGEST for size in sizes)


def _has_data(tensor: TensorProto) -> bool:
    if tensor.data_location == TensorProto.EXTERNAL:
        return False
    if tensor.raw_data:
        return True
    return any(len(field) for field in (tensor.int64_data, tensor.int32_data, tensor.float_data, tensor.double_data))
