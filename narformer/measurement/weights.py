"""Networks without weights become runnable: random weights of a sane scale, and inputs to feed.

The time of a run hardly depends on the values, with two exceptions: numbers too small to be normal are many times
slower on a CPU, and indices must exist. So layers keep the scale of activations (LeCun et al., 1998), and biases keep
them from dying out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.numpy_helper
from onnx import external_data_helper

from narformer.errors import ModelError
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph, Shape, Tensor
from narformer.operators.lookup import find

Array = npt.NDArray[Any]

# Serialised messages of protobuf end here.
MAX_BYTES = 2**31 - 1
# A prime, so that rows of a weight do not repeat each other: values are drawn once and laid out again and again.
_BLOCK = 1_000_003


@dataclass(frozen=True)
class Runnable:
    """A network with every weight in place, its Graph, and an array for each of its inputs."""

    model: onnx.ModelProto
    graph: Graph
    inputs: Mapping[str, Array]


def runnable(
    source: Path | bytes | onnx.ModelProto,
    batch_size: int | None = None,
    name: str | None = None,
    input_shapes: Mapping[str, Shape] | None = None,
) -> Runnable:
    """Make a network runnable; weights that are there stay as they are.

    source: a path, the bytes of a file, or a model in memory (which is not changed).
    batch_size, input_shapes: sizes of its inputs, as `read_onnx` takes them.
    Raises ModelError where it cannot be read, or where an integer operand without data cannot be guessed.
    """
    graph = read_onnx(source, batch_size=batch_size, input_shapes=input_shapes, name=name)
    model = _loaded(source, graph.name)
    kept = set(graph.input_names)
    initializers = {t.name: t for t in model.graph.initializer}
    uses = _uses(model.graph)
    for tensor in initializers.values():
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            _take_external(tensor, source)
        if not _has_data(tensor):
            _fill(tensor, uses.get(tensor.name), graph)
    for info in model.graph.input:
        if info.name not in kept and info.name not in initializers:
            tensor = model.graph.initializer.add()
            tensor.name, tensor.data_type = info.name, info.type.tensor_type.elem_type
            tensor.dims.extend(d.dim_value for d in info.type.tensor_type.shape.dim)
            _fill(tensor, uses.get(tensor.name), graph)
    _bind_inputs(model.graph, dict(zip(graph.input_names, graph.inputs, strict=True)))
    inputs = {
        name: _input(tensor, name, uses.get(name), initializers)
        for name, tensor in zip(graph.input_names, graph.inputs, strict=True)
    }
    return Runnable(model, graph, inputs)


def _loaded(source: Path | bytes | onnx.ModelProto, label: str) -> onnx.ModelProto:
    model = onnx.ModelProto()
    if isinstance(source, onnx.ModelProto):
        model.CopyFrom(source)
    else:
        # read_onnx has parsed it without weights already, so it is ONNX; with weights it may still be too large.
        try:
            model.ParseFromString(source if isinstance(source, bytes) else source.read_bytes())
        except Exception as error:
            raise ModelError(f"{label}: cannot be loaded with its weights ({error})") from error
    return model


def _take_external(tensor: onnx.TensorProto, source: Path | bytes | onnx.ModelProto) -> None:
    """Read a weight from its file where there is one; otherwise it stays without data."""
    if isinstance(source, Path):
        try:
            external_data_helper.load_external_data_for_tensor(tensor, str(source.parent))
        except Exception:  # absent, cut short, or outside the directory: random weights do
            tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.DEFAULT
    tensor.ClearField("external_data")


def _has_data(tensor: onnx.TensorProto) -> bool:
    fields = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
    return math.prod(tensor.dims) == 0 or any(len(getattr(tensor, field)) for field in fields)


@dataclass(frozen=True)
class _Use:
    """The first node that reads a value, and as which operand."""

    node: onnx.NodeProto
    position: int


def _uses(graph: onnx.GraphProto) -> dict[str, _Use]:
    uses: dict[str, _Use] = {}
    for node in graph.node:
        for position, value in enumerate(node.input):
            if value:
                uses.setdefault(value, _Use(node, position))
    return uses


def _fill(tensor: onnx.TensorProto, use: _Use | None, graph: Graph) -> None:
    """Give a tensor random contents that suit the operator that reads it."""
    shape = tuple(tensor.dims)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    if np.issubdtype(dtype, np.floating) or tensor.data_type == onnx.TensorProto.BFLOAT16:
        values = _floats(shape, use).astype(dtype)
    elif dtype == np.bool_:
        values = np.ones(shape, dtype)
    else:
        values = _integers(shape, dtype, tensor.name, use, graph)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def _floats(shape: Shape, use: _Use | None) -> Array:
    op, position = (use.node.op_type, use.position) if use else ("", 0)
    row = find(op, use.node.domain if use else "")
    if row.kind == "normalization":
        # Scale and variance around 1 and positive, shift and mean around 0.
        return _uniform(shape, 0.5, 1.5) if position in (1, 4) else _uniform(shape, -0.1, 0.1)
    if position in row.scales:
        return np.full(shape, 0.02, np.float32)
    if op == "Clip":
        return np.full(shape, 0.0 if position == 1 else 6.0, np.float32)
    if op == "PRelu":
        return np.full(shape, 0.25, np.float32)
    if op in ("Mul", "Div", "Pow"):
        return _uniform(shape, 0.5, 1.5)
    if len(shape) >= 2 and op != "Gather":
        # Variance 1 / fan-in: what a layer sums up is as large as what it reads.
        bound = math.sqrt(3 / max(_fan_in(shape, use), 1))
        return _uniform(shape, -bound, bound)
    return _uniform(shape, -1.0, 1.0) if op == "Gather" else _uniform(shape, -0.1, 0.1)


def _fan_in(shape: Shape, use: _Use | None) -> int:
    """How many inputs of a layer are summed up in each of its outputs."""
    op = use.node.op_type if use else ""
    if op == "MatMul":
        return shape[-2]
    if op == "Gemm" and use is not None:
        transposed = any(a.name == "transB" and a.i for a in use.node.attribute)
        return shape[1] if transposed else shape[0]
    if op in ("LSTM", "GRU", "RNN"):
        return shape[-1]
    return math.prod(shape[1:])


def _integers(shape: Shape, dtype: np.dtype[Any], name: str, use: _Use | None, graph: Graph) -> Array:
    """Integers that are weights may be anything small; those that say where or how come from the shapes known."""
    op = use.node.op_type if use else ""
    row = find(op, use.node.domain if use else "")
    if use and op in ("Reshape", "Expand", "Split") and use.position == 1:
        node = next((n for n in graph.nodes if any(o.name == name for o in n.weights)), None)
        if node is not None:
            axis = node.attributes.get("axis", 0)
            sizes = (
                [t.shape[axis] for t in node.outputs] if op == "Split" and isinstance(axis, int) else node.output_shape
            )
            return np.array(sizes, dtype).reshape(shape)
    if row.scales:
        high = 1 if len(shape) < 2 else 100
        return np.asarray(_uniform(shape, 0, high)).astype(dtype)
    if row.kind == "gather":
        return np.zeros(shape, dtype)
    raise ModelError(
        f"{graph.name}: {name!r} has no data, but {op or 'the network'} needs its numbers; keep integer constants"
    )


@cache
def _block() -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).random(_BLOCK, dtype=np.float32)


def _uniform(shape: Shape, low: float, high: float) -> npt.NDArray[np.float32]:
    return (np.resize(_block(), shape) * np.float32(high - low) + np.float32(low)).astype(np.float32)


def _bind_inputs(graph: onnx.GraphProto, inputs: Mapping[str, Tensor]) -> None:
    """Leave the network's own inputs alone in the list, each with its concrete shape."""
    infos = [i for i in graph.input if i.name in inputs]
    rebound = False
    for info in infos:
        dims = info.type.tensor_type.shape.dim
        wanted = inputs[info.name].shape
        if tuple(d.dim_value for d in dims) != wanted:
            rebound = True
            info.type.tensor_type.shape.ClearField("dim")
            for size in wanted:
                info.type.tensor_type.shape.dim.add().dim_value = size
    copies = [onnx.ValueInfoProto.FromString(i.SerializeToString()) for i in infos]
    graph.ClearField("input")
    graph.input.extend(copies)
    if rebound:
        # What the file says of inner values is of another batch size.
        graph.ClearField("value_info")
        for output in graph.output:
            output.type.tensor_type.ClearField("shape")


def _input(tensor: Tensor, name: str, use: _Use | None, weights: Mapping[str, onnx.TensorProto]) -> Array:
    """Numbers around 0 for floats; for integers, rows of the table they look up, otherwise ones (a mask, a length)."""
    if tensor.dtype == "bfloat16" or tensor.dtype.startswith("float"):
        dtype = tensor.dtype if tensor.dtype in ("float16", "float32", "float64") else None
        if dtype is None:
            raise ModelError(f"input {name!r} is of {tensor.dtype}, which NumPy cannot make; export it with float32")
        return _uniform(tensor.shape, -1.0, 1.0).astype(dtype)
    if tensor.dtype == "bool":
        return np.ones(tensor.shape, np.bool_)
    if tensor.dtype in ("string", "complex64", "complex128") or tensor.dtype.endswith("int4"):
        raise ModelError(f"input {name!r} is of {tensor.dtype}; networks that read such inputs are not measured")
    if use and use.node.op_type == "Gather" and use.position == 1 and use.node.input[0] in weights:
        rows = weights[use.node.input[0]].dims[0]
        return np.asarray(_uniform(tensor.shape, 0, rows)).astype(tensor.dtype)
    return np.ones(tensor.shape, tensor.dtype)
