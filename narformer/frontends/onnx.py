"""ONNX → Graph: ordinary and weightless models, with external data present or missing. Weights are never loaded.

The road: file → message without weights → names resolved, dead nodes dropped, topological order → shapes → Graph.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from narformer.errors import ModelError
from narformer.frontends.protobuf import strip_weights
from narformer.frontends.shapes import DTYPES, bind_shapes, known_shapes
from narformer.graph import Attribute, Graph, Node, Operand, Shape, Tensor

# Files beyond this size are stripped of their weights before they are parsed.
STRIP_BEYOND = 1 << 20
# Operands that are weights where a weightless file declares them as mere inputs of the graph.
WEIGHT_POSITIONS: Mapping[str, tuple[int, ...]] = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (1, 2),
    "MatMul": (1,),
    "BatchNormalization": (1, 2, 3, 4),
    "LayerNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "PRelu": (1,),
    "LSTM": (1, 2, 3),
    "GRU": (1, 2, 3),
    "RNN": (1, 2, 3),
}


def read_onnx(
    source: str | Path | bytes | onnx.ModelProto,
    *,
    batch_size: int | None = None,
    input_shapes: Mapping[str, Shape] | None = None,
    name: str | None = None,
) -> Graph:
    """Read a network.

    source: a path, the bytes of a file, or a model in memory (which is not changed).
    batch_size: replaces the first dimension of every input; a dynamic one is 1 without it.
    input_shapes: whole shapes by input name; the name "" stands for the only input.
    name: of the Graph, for messages; by default the path, or the name in the model.

    Raises ModelError for what is not a readable network, ShapeError where sizes stay unknown.
    """
    label = name or (str(source) if isinstance(source, str | Path) else "model")
    model = _parse(source, label)
    if name is None and not isinstance(source, str | Path):
        label = model.graph.name or label
    if model.functions:
        model = _inline(model, label)
    return _Reader(model, label).graph(batch_size, dict(input_shapes or {}))


def _parse(source: str | Path | bytes | onnx.ModelProto, label: str) -> onnx.ModelProto:
    if isinstance(source, onnx.ModelProto):
        return source
    data = source if isinstance(source, bytes) else _read_file(Path(source))
    if not data:
        raise ModelError(f"{label}: the file is empty")
    if data[:4] == b"PK\x03\x04":
        raise ModelError(
            f"{label}: a zip archive (perhaps a PyTorch checkpoint), not ONNX; export it with torch.onnx.export"
        )
    model = onnx.ModelProto()
    try:
        model.ParseFromString(strip_weights(data) if len(data) > STRIP_BEYOND else data)
    except (DecodeError, ValueError) as error:
        raise ModelError(f"{label}: not an ONNX model, or cut short; export or copy it again") from error
    if not model.HasField("graph"):
        raise ModelError(f"{label}: not an ONNX model: it holds no graph")
    return model


def _read_file(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ModelError(f"{path}: not a regular file")
        with path.open("rb") as file:
            if path.stat().st_size <= STRIP_BEYOND:
                return file.read()
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                if mapped[:4] == b"PK\x03\x04":
                    return mapped[:4]
                return strip_weights(mapped)
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise ModelError(f"{path}: a directory; give the path of an .onnx file") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ModelError(f"{path}: not an ONNX model, or cut short ({error}); export or copy it again") from error


def _inline(model: onnx.ModelProto, label: str) -> onnx.ModelProto:
    import onnx.inliner

    try:
        return onnx.inliner.inline_local_functions(model)
    except Exception as error:  # raised by onnx's C++ as classes of its own
        raise ModelError(f"{label}: its local functions cannot be inlined ({_first_line(error)})") from error


class _Reader:
    """One model on its way to a Graph."""

    def __init__(self, model: onnx.ModelProto, label: str) -> None:
        self.model = model
        self.label = label
        graph = model.graph
        if not graph.node:
            raise ModelError(f"{label}: the graph has no nodes; there is nothing to predict")
        self.weights: dict[str, Tensor] = {t.name: self._weight(t) for t in graph.initializer}
        for sparse in graph.sparse_initializer:
            self.weights[sparse.values.name] = Tensor(
                tuple(sparse.dims), DTYPES.get(sparse.values.data_type, "float32")
            )
        self.nodes: list[onnx.NodeProto] = []
        self.producer: dict[str, int] = {}
        for node in graph.node:
            if node.op_type == "Constant" and node.domain in ("", "ai.onnx") and len(node.output) == 1:
                self.weights[node.output[0]] = self._constant(node)
                continue
            for output in node.output:
                if output and (output in self.producer or output in self.weights):
                    raise ModelError(f"{label}: two nodes compute {output!r}; every value needs one producer")
                self.producer[output] = len(self.nodes)
            self.nodes.append(node)
        self.producer.pop("", None)
        self.inputs = [i for i in graph.input if i.name not in self.weights]
        self._take_weights_from_inputs()

    def _weight(self, tensor: onnx.TensorProto) -> Tensor:
        return Tensor(self._checked(tuple(tensor.dims), tensor.name), DTYPES.get(tensor.data_type, "float32"))

    def _constant(self, node: onnx.NodeProto) -> Tensor:
        for a in node.attribute:
            if a.name == "value":
                return self._weight(a.t)
            if a.name == "sparse_value":
                return Tensor(tuple(a.sparse_tensor.dims), DTYPES.get(a.sparse_tensor.values.data_type, "float32"))
            if a.name in ("value_float", "value_int", "value_string"):
                return Tensor((), {"value_float": "float32", "value_int": "int64"}.get(a.name, "string"))
            if a.name in ("value_floats", "value_ints", "value_strings"):
                size = len(a.floats) or len(a.ints) or len(a.strings)
                return Tensor((size,), {"value_floats": "float32", "value_ints": "int64"}.get(a.name, "string"))
        raise ModelError(f"{self.label}: Constant node {node.name!r} has no value")

    def _checked(self, shape: Shape, value: str) -> Shape:
        """A shape whose sizes are not negative and whose number of elements a float64 holds exactly."""
        elements = 1
        for size in shape:
            if size < 0:
                raise ModelError(f"{self.label}: {value!r} has a negative size in its shape {list(shape)}")
            elements *= size
        if elements >= 2**53:
            raise ModelError(f"{self.label}: {value!r} has the shape {list(shape)}, more elements than can be counted")
        return shape

    def _take_weights_from_inputs(self) -> None:
        """Weights that a weightless file declares as inputs alone: read only where operators expect weights."""
        if len(self.inputs) < 2:
            return
        as_weight: set[str] = set()
        as_data: set[str] = set()
        rank = {i.name: len(i.type.tensor_type.shape.dim) for i in self.inputs}
        for node in self.nodes:
            positions = WEIGHT_POSITIONS.get(node.op_type, ())
            for position, value in enumerate(node.input):
                # The second operand of a MatMul may well be data (attention); a matrix of weights has two dimensions.
                expected = position in positions and (node.op_type != "MatMul" or rank.get(value) == 2)
                (as_weight if expected else as_data).add(value)
        weights = [i for i in self.inputs if i.name in as_weight and i.name not in as_data]
        if len(weights) == len(self.inputs):
            return
        for info in weights:
            dims = info.type.tensor_type.shape.dim
            if all(d.HasField("dim_value") for d in dims):
                self.weights[info.name] = self._declared(info)
        self.inputs = [i for i in self.inputs if i.name not in self.weights]

    def _declared(self, info: onnx.ValueInfoProto) -> Tensor:
        tensor = info.type.tensor_type
        shape = self._checked(tuple(d.dim_value for d in tensor.shape.dim), info.name)
        return Tensor(shape, DTYPES.get(tensor.elem_type, "float32"))

    def graph(self, batch_size: int | None, input_shapes: dict[str, Shape]) -> Graph:
        order = self._live_in_order()
        inputs, rebound = bind_shapes(self.inputs, batch_size, input_shapes, self.label)
        shapes = known_shapes(self.model, self.nodes, order, inputs, rebound, self.label)
        index = {old: new for new, old in enumerate(order)}
        places = {info.name: ~k for k, info in enumerate(self.inputs)}
        nodes = []
        for old in order:
            node = self.nodes[old]
            operands = [self._operand(v, shapes, index, places) for v in node.input if v]
            operands += [self._operand(v, shapes, index, places) for v in self._captured(node)]
            outputs = tuple(
                Tensor(self._checked(shapes[v].shape, v), shapes[v].dtype) for v in node.output if v in shapes
            )
            nodes.append(
                Node(
                    name=node.name or node.output[0],
                    op=node.op_type,
                    domain="" if node.domain == "ai.onnx" else node.domain,
                    operands=tuple(operands),
                    outputs=outputs,
                    attributes=_attributes(node),
                )
            )
        return Graph(
            nodes=tuple(nodes),
            inputs=tuple(inputs.values()),
            input_names=tuple(inputs),
            name=self.label,
        )

    def _operand(
        self, value: str, shapes: Mapping[str, Tensor], index: Mapping[int, int], places: Mapping[str, int]
    ) -> Operand:
        if value in self.producer:
            producer = self.producer[value]
            port = list(self.nodes[producer].output).index(value) if len(self.nodes[producer].output) > 1 else 0
            return Operand(shapes[value], index[producer], port)
        if value in self.weights:
            return Operand(self.weights[value], name=value)
        return Operand(shapes[value], places[value])

    def _captured(self, node: onnx.NodeProto) -> list[str]:
        """Values of this graph that the bodies of If, Loop and Scan read."""
        bodies = [g for a in node.attribute for g in ([a.g] if a.HasField("g") else list(a.graphs))]
        if not bodies:
            return []
        read: dict[str, None] = {}
        while bodies:
            body = bodies.pop()
            for inner in body.node:
                read.update(dict.fromkeys(inner.input))
                bodies += [g for a in inner.attribute for g in ([a.g] if a.HasField("g") else list(a.graphs))]
            read.update(dict.fromkeys(o.name for o in body.output))
        here = self.producer.keys() | self.weights.keys() | {i.name for i in self.inputs}
        return [v for v in read if v in here]

    def _live_in_order(self) -> list[int]:
        """Nodes that some output of the graph needs, each after those it reads; the file's order where it can stay.

        Raises ModelError where a node reads what nothing computes, or where nodes read each other in a circle.
        """
        inputs = {i.name for i in self.inputs}
        reads: list[list[int]] = []
        for node in self.nodes:
            sources = []
            for value in [
                *node.input,
                *(self._captured(node) if any(a.type in (5, 10) for a in node.attribute) else ()),
            ]:
                if value in self.producer:
                    sources.append(self.producer[value])
                elif value and value not in self.weights and value not in inputs:
                    raise ModelError(
                        f"{self.label}: node {node.name or node.op_type!r} reads {value!r}, which nothing computes"
                    )
            reads.append(sources)
        outputs = [self.producer[o.name] for o in self.model.graph.output if o.name in self.producer]
        if not outputs:
            raise ModelError(f"{self.label}: no output of the graph is computed by a node")
        live = set(outputs)
        stack = list(live)
        while stack:
            for source in reads[stack.pop()]:
                if source not in live:
                    live.add(source)
                    stack.append(source)
        order: list[int] = []
        done: set[int] = set()
        open_nodes: set[int] = set()
        for first in sorted(live):
            stack = [first]
            while stack:
                current = stack[-1]
                if current in done:
                    stack.pop()
                    continue
                waiting = [s for s in reads[current] if s not in done]
                if not waiting:
                    stack.pop()
                    open_nodes.discard(current)
                    done.add(current)
                    order.append(current)
                elif any(s in open_nodes for s in waiting) or current in waiting:
                    name = self.nodes[current].name or self.nodes[current].op_type
                    raise ModelError(f"{self.label}: the graph has a cycle through node {name!r}; a network has none")
                else:
                    open_nodes.add(current)
                    stack.append(waiting[0])
        return order


def _attributes(node: onnx.NodeProto) -> dict[str, Attribute]:
    """Numbers and strings of a node; tensors and bodies are left out."""
    values: dict[str, Attribute] = {}
    for a in node.attribute:
        kind = a.type
        if kind == 7:
            values[a.name] = tuple(a.ints)
        elif kind == 2:
            values[a.name] = a.i
        elif kind == 1:
            values[a.name] = a.f
        elif kind == 3:
            values[a.name] = a.s.decode(errors="replace")
        elif kind == 6:
            values[a.name] = tuple(a.floats)
        elif kind == 8:
            values[a.name] = tuple(s.decode(errors="replace") for s in a.strings)
    return values


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
