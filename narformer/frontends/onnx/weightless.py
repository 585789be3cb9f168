"""Graph → weightless ONNX: the file from which the front end reads the same Graph again.

A Graph does not hold all of an ONNX file: contents of constants, bodies of If and Loop. The file serves for reading,
predicting and training; a runtime may refuse it.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import AttributeProto, numpy_helper

from narformer.errors import ModelError
from narformer.frontends.onnx import read_onnx
from narformer.frontends.tensors import DTYPES
from narformer.graph import Attribute, Graph, Operand, Tensor

OPSET = 17
# Where several of ONNX's types are one dtype of a Graph, the first.
NUMPY = frozenset(f"{kind}{bits}" for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64)) - {"float8"} | {
    "bool"
}
TYPES = {dtype: number for number, dtype in reversed(list(DTYPES.items()))}


def weightless_onnx(graph: Graph) -> onnx.ModelProto:
    """The network as ONNX: each weight an initializer without data, listed as an input too, as NNLQP has it.

    Small constants whose contents are known keep them: what a network is may depend on them.

    Raises ModelError where reading it would not give this Graph again.
    """
    model = _write(graph)
    batch = graph.batch_size if graph.inputs and graph.inputs[0].shape else None
    if read_onnx(model, batch_size=batch).hash != graph.hash:
        raise ModelError(f"{graph.name}: cannot be written as weightless ONNX without becoming another network")
    return model


def _write(graph: Graph) -> onnx.ModelProto:
    model = onnx.ModelProto(ir_version=8, producer_name="narformer")
    for domain in sorted({"", *(node.domain for node in graph.nodes)}):
        model.opset_import.add(domain=domain, version=1 if domain else OPSET)
    message = model.graph
    # A name may be that of a file, and those need not be text.
    message.name = graph.name.encode(errors="replace").decode() or "network"
    inputs = graph.input_names or tuple(f"input_{k}" for k in range(len(graph.inputs)))
    for name, tensor in zip(inputs, graph.inputs, strict=True):
        _declare(message.input.add(), name, tensor)
    # No name of ours may be one of an input.
    prefix = "_" * (1 + max((len(name) - len(name.lstrip("_")) for name in inputs), default=0))
    weights: dict[str, str] = {}

    def weight(operand: Operand) -> str:
        if operand.name in weights:
            return weights[operand.name]
        name = f"{prefix}weight_{len(message.initializer)}"
        if operand.name:
            weights[operand.name] = name
        initializer = message.initializer.add()
        initializer.name, initializer.data_type = name, TYPES[operand.tensor.dtype]
        initializer.dims.extend(operand.tensor.shape)
        if operand.value is not None and operand.tensor.dtype in NUMPY:
            held = np.array(operand.value, operand.tensor.dtype).reshape(operand.tensor.shape)
            initializer.CopyFrom(numpy_helper.from_array(held, name))
        _declare(message.input.add(), name, operand.tensor)
        return name

    read = {source for node in graph.nodes for source in node.sources}
    for index, node in enumerate(graph.nodes):
        written = message.node.add()
        written.name, written.op_type, written.domain = node.name, node.op, node.domain
        for position, o in zip(node.positions, node.operands, strict=True):
            written.input.extend([""] * (position - len(written.input)))
            if o.source is None:
                written.input.append(weight(o))
            else:
                written.input.append(inputs[~o.source] if o.source < 0 else f"{prefix}value_{o.source}_{o.output}")
        for port, tensor in enumerate(node.outputs):
            written.output.append(f"{prefix}value_{index}_{port}")
            _declare((message.value_info if index in read else message.output).add(), written.output[-1], tensor)
        for key, value in node.attributes.items():
            _attribute(written.attribute.add(), key, value)
    return model


def _declare(info: onnx.ValueInfoProto, name: str, tensor: Tensor) -> None:
    info.name = name
    info.type.tensor_type.elem_type = TYPES[tensor.dtype]
    info.type.tensor_type.shape.SetInParent()
    for size in tensor.shape:
        info.type.tensor_type.shape.dim.add().dim_value = size


def _attribute(attribute: AttributeProto, name: str, value: Attribute) -> None:
    attribute.name = name
    if isinstance(value, str):
        attribute.type, attribute.s = AttributeProto.STRING, value.encode()
    elif isinstance(value, float):
        attribute.type, attribute.f = AttributeProto.FLOAT, value
    elif isinstance(value, int):
        attribute.type, attribute.i = AttributeProto.INT, value
    elif value and isinstance(value[0], str):
        attribute.type = AttributeProto.STRINGS
        attribute.strings.extend(str(text).encode() for text in value)
    elif value and isinstance(value[0], float):
        attribute.type = AttributeProto.FLOATS
        attribute.floats.extend(float(number) for number in value)
    else:
        attribute.type = AttributeProto.INTS
        attribute.ints.extend(int(number) for number in value)
