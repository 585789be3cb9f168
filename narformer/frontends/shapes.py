"""Concrete shapes for every value of an ONNX graph: bound inputs first, then what the file says or onnx infers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.shape_inference
from onnx import TensorProto
from onnx.helper import make_tensor_value_info

from narformer.errors import ShapeError
from narformer.frontends.arithmetic import fold_shape_arithmetic
from narformer.graph import Shape, Tensor

DTYPES: Mapping[int, str] = {
    TensorProto.FLOAT: "float32",
    TensorProto.DOUBLE: "float64",
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.FLOAT8E4M3FN: "float8",
    TensorProto.FLOAT8E4M3FNUZ: "float8",
    TensorProto.FLOAT8E5M2: "float8",
    TensorProto.FLOAT8E5M2FNUZ: "float8",
    TensorProto.INT64: "int64",
    TensorProto.INT32: "int32",
    TensorProto.INT16: "int16",
    TensorProto.INT8: "int8",
    TensorProto.UINT64: "uint64",
    TensorProto.UINT32: "uint32",
    TensorProto.UINT16: "uint16",
    TensorProto.UINT8: "uint8",
    TensorProto.INT4: "int4",
    TensorProto.UINT4: "uint4",
    TensorProto.BOOL: "bool",
    TensorProto.STRING: "string",
    TensorProto.COMPLEX64: "complex64",
    TensorProto.COMPLEX128: "complex128",
}

ROUNDS = 8  # of computing shape arithmetic and inferring anew, each of which may make the next possible


def bind_shapes(
    inputs: Sequence[onnx.ValueInfoProto], batch_size: int | None, wanted: Mapping[str, Shape], label: str
) -> tuple[dict[str, Tensor], bool]:
    """Concrete shapes of the inputs, and whether any differs from what the file says.

    Raises ShapeError for a dynamic dimension other than the first that `wanted` does not bind, for a name in `wanted`
    that no input has, and for a rank that is not the input's.
    """
    names = [i.name for i in inputs]
    shapes = {names[0] if name == "" and len(names) == 1 else name: shape for name, shape in wanted.items()}
    for name in shapes:
        if name not in names:
            told = "a shape without a name needs a network with one input" if name == "" else f"no input {name!r}"
            raise ShapeError(f"{label}: {told}; the inputs are {', '.join(names) or 'none'}")
    bound: dict[str, Tensor] = {}
    rebound = False
    for info in inputs:
        tensor = info.type.tensor_type
        declared = [d.dim_value if d.HasField("dim_value") else (d.dim_param or "?") for d in tensor.shape.dim]
        shape: list[int | str] = list(declared)
        if info.name in shapes:
            if tensor.HasField("shape") and len(shapes[info.name]) != len(declared):
                raise ShapeError(f"{label}: input {info.name!r} has {len(declared)} dimensions: {_spell(declared)}")
            shape = list(shapes[info.name])
        elif not tensor.HasField("shape"):
            raise ShapeError(
                f"{label}: input {info.name!r} has no shape; give it with --input-shape {info.name}=1,3,224,224"
            )
        if shape and batch_size is not None and info.name not in shapes:
            shape[0] = batch_size
        elif shape and (isinstance(shape[0], str) or shape[0] == 0):
            shape[0] = 1
        unknown = [s for s in shape if isinstance(s, str)]
        if unknown:
            example = ",".join("224" if isinstance(s, str) else str(s) for s in shape)
            raise ShapeError(
                f"{label}: input {info.name!r} has dynamic sizes {_spell(declared)}; "
                f"bind them, for example --input-shape {info.name}={example}"
            )
        sizes = tuple(int(s) for s in shape)
        if any(s < 0 for s in sizes) or math.prod(sizes) >= 2**53:
            raise ShapeError(f"{label}: input {info.name!r} cannot have the shape {_spell(sizes)}")
        rebound |= list(sizes) != declared
        bound[info.name] = Tensor(sizes, DTYPES.get(tensor.elem_type, "float32"))
    return bound, rebound


def known_shapes(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    order: Sequence[int],
    inputs: Mapping[str, Tensor],
    rebound: bool,
    label: str,
) -> dict[str, Tensor]:
    """Shape and type of every input and of every output of the nodes in `order`.

    What the file says is believed as long as no input was rebound; otherwise, or if it says too little, onnx infers.
    Raises ShapeError, naming the node, where a shape stays unknown.
    """
    needed = [output for index in order for output in nodes[index].output if output]
    known = {} if rebound else _stated(model)
    if not all(value in known for value in needed):
        known = _stated(_inferred(model, [nodes[i] for i in order], inputs, rebound, label))
    known.update(inputs)
    for index in order:
        node = nodes[index]
        for value in node.output[:1]:
            if value not in known:
                operator = f"{node.domain or 'onnx'}.{node.op_type}"
                raise ShapeError(
                    f"{label}: the output shape of node {node.name or value!r} ({operator}) cannot "
                    "be inferred; export with fixed shapes, or bind the inputs with --input-shape"
                )
        if node.op_type == "Reshape" and node.input[0] in known:
            before, after = known[node.input[0]], known[node.output[0]]
            if before.elements != after.elements:
                raise ShapeError(
                    f"{label}: node {node.name or node.output[0]!r} reshapes {_spell(before.shape)} to "
                    f"{_spell(after.shape)}: sizes are fixed inside the network; export it with the shapes you want"
                )
    return known


def _stated(model: onnx.ModelProto) -> dict[str, Tensor]:
    """Values whose whole shape the file states."""
    stated: dict[str, Tensor] = {}
    for infos in (model.graph.value_info, model.graph.output):
        for info in infos:
            tensor = info.type.tensor_type
            if not tensor.HasField("shape"):
                continue
            shape = []
            for dim in tensor.shape.dim:
                if not dim.HasField("dim_value"):
                    break
                shape.append(dim.dim_value)
            else:
                stated[info.name] = Tensor(tuple(shape), DTYPES.get(tensor.elem_type, "float32"))
    return stated


def _inferred(
    model: onnx.ModelProto, live: Sequence[onnx.NodeProto], inputs: Mapping[str, Tensor], rebound: bool, label: str
) -> onnx.ModelProto:
    """A copy of the model with inputs bound, shapes inferred; what the file stated is dropped if inputs changed.

    onnx infers node by node: the copy holds the live ones alone, in topological order.
    """
    bound = onnx.ModelProto()
    bound.CopyFrom(model)
    constants = [n for n in model.graph.node if n.op_type == "Constant"]
    del bound.graph.node[:]
    bound.graph.node.extend([*constants, *live])
    first = next((i for i in bound.graph.input if i.name in inputs), None)
    if first is not None and rebound:
        _rebind_reshapes(bound, first, inputs[first.name])
    for info in bound.graph.input:
        if info.name in inputs:
            shape = info.type.tensor_type.shape
            del shape.dim[:]
            shape.SetInParent()
            for size in inputs[info.name].shape:
                shape.dim.add().dim_value = size
    if rebound:
        del bound.graph.value_info[:]
        for info in bound.graph.output:
            info.type.tensor_type.ClearField("shape")
    needed = [output for node in live for output in node.output[:1] if output]
    try:
        found = onnx.shape_inference.infer_shapes(bound, data_prop=True)
        for _ in range(ROUNDS):
            stated = _stated(found)
            if all(value in stated for value in needed) or not fold_shape_arithmetic(found, {**stated, **inputs}):
                break
            found = onnx.shape_inference.infer_shapes(found, data_prop=True)
            _state_initializers(found)
        return found
    except Exception as error:  # raised by onnx's C++ as classes of its own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ShapeError(f"{label}: onnx cannot infer its shapes: {reason}") from error


def _state_initializers(model: onnx.ModelProto) -> None:
    """State the shape of every initializer: values that have become one are known in full."""
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    kept = [info for info in model.graph.value_info if info.name not in initializers]
    copies = [onnx.ValueInfoProto.FromString(info.SerializeToString()) for info in kept]
    copies += [make_tensor_value_info(name, t.data_type, list(t.dims)) for name, t in initializers.items()]
    del model.graph.value_info[:]
    model.graph.value_info.extend(copies)


def _rebind_reshapes(model: onnx.ModelProto, info: onnx.ValueInfoProto, bound: Tensor) -> None:
    """Exporters write the batch size into Reshape's constants; where the batch size changes, change it there too."""
    dims = info.type.tensor_type.shape.dim
    if not dims or not dims[0].HasField("dim_value") or not bound.shape or dims[0].dim_value == bound.shape[0]:
        return
    old, new = dims[0].dim_value, bound.shape[0]
    targets = {node.input[1] for node in model.graph.node if node.op_type == "Reshape" and len(node.input) > 1}
    tensors = [t for t in model.graph.initializer if t.name in targets]
    tensors += [
        a.t for n in model.graph.node if n.op_type == "Constant" and n.output[0] in targets for a in n.attribute
    ]
    for tensor in tensors:
        if len(tensor.dims) != 1 or tensor.dims[0] < 2 or not (tensor.raw_data or tensor.int64_data):
            continue
        sizes = onnx.numpy_helper.to_array(tensor)
        if sizes[0] == old:
            changed = np.concatenate([[new], sizes[1:]]).astype(np.int64)
            tensor.CopyFrom(onnx.numpy_helper.from_array(changed, tensor.name))


def _spell(shape: Sequence[int | str]) -> str:
    return "x".join(map(str, shape)) or "(no dimensions)"
