"""ONNX → Graph: ordinary and weightless models, with external data present or missing. Weights are never loaded.

The road: file → message without weights → names resolved, dead nodes dropped, topological order → walk.py → Graph.
"""

from __future__ import annotations

import contextlib
import shlex
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from narformer.batch_axis import Batch, followed
from narformer.errors import BindingError, ConfigError, ModelError, ModelWarning, ShapeError
from narformer.frontends.onnx.binding import assumed_batches, bind_shapes
from narformer.frontends.onnx.call import Value
from narformer.frontends.onnx.constants import constant_operand
from narformer.frontends.onnx.inlining import inlined
from narformer.frontends.onnx.inputs import weights_among
from narformer.frontends.onnx.ordering import live_in_order
from narformer.frontends.onnx.parsing import parsed
from narformer.frontends.onnx.rebinding import Rebatched
from narformer.frontends.onnx.scope import Item, Listed, Scope, Step, steps_of
from narformer.frontends.onnx.shapes import is_sequence, stated_shapes
from narformer.frontends.onnx.stated import Stated
from narformer.frontends.onnx.unbound import UnboundError, as_options, in_python, printable
from narformer.frontends.onnx.walk import Walk
from narformer.frontends.sizes import Size, Sizes, sizes_of
from narformer.frontends.tensors import DTYPES
from narformer.graph import Graph, Operand, Shape, Tensor

OLDEST_OPSET = 7  # before it broadcasting, and what is an attribute, were others


def read_onnx(
    source: str | Path | bytes | onnx.ModelProto,
    *,
    batch_size: int | None = None,
    input_shapes: Mapping[str, Sequence[Size]] | None = None,
    dims: Mapping[str, int] | None = None,
    input_values: Mapping[str, npt.ArrayLike] | None = None,
    name: str | None = None,
) -> Graph:
    """Read a network.

    source: a path, the bytes of a file, or a model in memory (which is not changed).
    batch_size: replaces the first dimension of every input; a dynamic one is 1 without it.
    input_shapes: whole shapes by input name; the name "" stands for the only input, -1 for the size in the file.
    dims: sizes by the names that the file gives them, `{"sequence": 128}`; 0 for a cache that is empty yet.
    input_values: contents of inputs that shapes depend on (a length, a target size), by name.
    name: of the Graph, for messages; by default the path, or the name in the model.

    Raises ModelError for what is not a readable network, ShapeError where sizes stay unknown, ConfigError for arguments
    that are not meant so. Warns (ModelWarning) of a file that states other shapes than its nodes give, and of
    an opset older than 7, or newer than those of the installed onnx.

    >>> import narformer
    >>> narformer.read_onnx("examples/resnet18.onnx", batch_size=8)
    Graph('examples/resnet18.onnx', 69 nodes, inputs 8x3x224x224)
    """
    sizes = sizes_of(batch_size, input_shapes, dims)
    if isinstance(source, bytearray | memoryview):
        source = bytes(source)
    if not isinstance(source, str | Path | bytes | onnx.ModelProto):
        raise ConfigError(
            f"{type(source).__name__}: read_onnx takes the path of an ONNX file, its bytes, or an onnx.ModelProto; "
            "for a PyTorch module there is read_torch"
        )
    label = name or (str(source) if isinstance(source, str | Path) else "model")
    try:
        return _read(source, label, name is not None, sizes, input_values or {})
    except ModelError as error:
        if str(error).isprintable():
            raise
        raise type(error)(printable(str(error))) from error


def _read(
    source: str | Path | bytes | onnx.ModelProto,
    label: str,
    named: bool,
    sizes: Sizes,
    input_values: Mapping[str, npt.ArrayLike],
) -> Graph:
    model = parsed(source, label)
    if not named and not isinstance(source, str | Path):
        label = str(model.graph.name) or label
    if model.functions:
        model = inlined(model, label)
    values = {key: np.asarray(value) for key, value in input_values.items()}
    shapes = {**{key: value.shape for key, value in values.items()}, **sizes.input_shapes}
    sizes = replace(sizes, input_shapes=shapes)
    reader = _Reader(model, label, values, shapes)
    try:
        graph = reader.graph(sizes)
    except UnboundError as error:
        file = str(source) if isinstance(source, str | Path) else ""
        raise error.with_example(_that_works(model, error, sizes, values) or error.example, file) from None
    except BindingError:
        raise
    except ShapeError as error:
        raise _with_batches_open(error, model, reader, sizes, values, source) from None
    if reader.walk.stated.wrong:
        warnings.warn(printable(reader.walk.stated.note(label)), ModelWarning, stacklevel=3)
    if (told := _of_opset(reader.walk.opsets.get(""))) is not None:
        warnings.warn(printable(f"{label}: {told}"), ModelWarning, stacklevel=3)
    return graph


def _of_opset(opset: int | None) -> str | None:
    """What to know where the operators' version is one that nobody here has read networks of."""
    newest = onnx.defs.onnx_opset_version()
    if opset is None or OLDEST_OPSET <= opset <= newest:
        return None
    read = f"opset {opset}, read as opsets {OLDEST_OPSET} to {newest} are; look at its shapes with `narformer inspect`"
    return f"{read}, or export it again" if opset < OLDEST_OPSET else f"{read}; a newer onnx may know it"


def _with_batches_open(
    error: ShapeError,
    model: onnx.ModelProto,
    reader: _Reader,
    sizes: Sizes,
    values: Mapping[str, Value],
    source: object,
) -> ShapeError:
    """The same error with a command that works, where an open size that was taken for a batch of 1 is none."""
    inputs = assumed_batches(reader.inputs, sizes, reader.label)
    if not inputs:
        return error
    unbound = UnboundError(reader.label, inputs, sizes.dims)
    example = _that_works(model, unbound, sizes, values)
    if example is None:
        return error
    command = in_python(example)
    if isinstance(source, str | Path):
        command = f"narformer inspect {shlex.quote(str(source))} {as_options(example)} (in Python: {command})"
    names = ", ".join(repr(one.name) for one in inputs)
    return ShapeError(f"{error} (an open size of {names} was taken for a batch of 1), for example: {command}")


def _that_works(model: onnx.ModelProto, error: UnboundError, sizes: Sizes, values: Mapping[str, Value]) -> Sizes | None:
    """An example of what binds the sizes left open, with which the network can be read; None if none of those tried."""
    for example in error.examples():
        shapes, dims = {**sizes.input_shapes, **example.input_shapes}, {**sizes.dims, **example.dims}
        with contextlib.suppress(ModelError):
            _Reader(model, "", values, shapes).graph(replace(sizes, input_shapes=shapes, dims=dims))
            return example
    return None


class _Reader:
    """One model on its way to a Graph."""

    def __init__(
        self, model: onnx.ModelProto, label: str, values: Mapping[str, Value], given: Collection[str] = ()
    ) -> None:
        """given: names of inputs that the caller says something of; they are no weights."""
        self.model = model
        self.label = label
        self.values = values
        self.given = given
        graph = model.graph
        if not graph.node:
            raise ModelError(f"{label}: the graph has no nodes; there is nothing to predict")
        opsets = {"" if o.domain == "ai.onnx" else o.domain: o.version for o in model.opset_import}
        self.walk = Walk(label, opsets, Stated({}))
        self.weights: dict[str, Operand] = {t.name: self.walk.weight(t, t.name) for t in graph.initializer[:]}
        for sparse in graph.sparse_initializer:
            dtype = DTYPES.get(sparse.values.data_type, "float32")
            self.weights[sparse.values.name] = Operand(Tensor(tuple(sparse.dims), dtype), name=sparse.values.name)
        self.steps: list[Step] = []
        self.producer: dict[str, int] = {}
        producer, weights = self.producer, self.weights
        put_out = {info.name for info in graph.output}
        for step in steps_of(graph.node, label):
            if step.op == "Constant" and step.domain == "" and len(step.writes) == 1:
                weights[step.writes[0]] = constant_operand(self.walk, step.node, step.writes[0])
                continue
            if step.op == "Identity" and step.reads and step.reads[0] in weights and not put_out & {*step.writes}:
                # How torch's exporter writes weights that are equal, as in a fresh network, but not the same.
                weights[step.writes[0]] = self.walk.renamed(weights[step.reads[0]], step.writes[0])
                continue
            for output in step.writes:
                if output in producer or output in weights:
                    raise ModelError(f"{label}: two nodes compute {output!r}; every value needs one producer")
                if output:
                    producer[output] = len(self.steps)
            self.steps.append(step)
        self.inputs = [i for i in graph.input[:] if i.name not in self.weights]
        if not all(isinstance(i.name, str) for i in self.inputs) or not isinstance(label, str):
            raise ModelError(f"{label!r}: an input has a name that is no text")
        if len({i.name for i in self.inputs}) < len(self.inputs):
            raise ModelError(f"{label}: two inputs have the same name; every value needs one producer")
        if not graph.initializer and not graph.sparse_initializer and len(self.inputs) > 1:
            for info in weights_among(self.inputs, self.steps, given):
                kind = info.type.tensor_type
                held = onnx.TensorProto(data_type=kind.elem_type, dims=[d.dim_value for d in kind.shape.dim])
                self.weights[info.name] = self.walk.weight(held, info.name)
            self.inputs = [i for i in self.inputs if i.name not in self.weights]

    def graph(self, sizes: Sizes) -> Graph:
        bound, rebound = bind_shapes(self.inputs, sizes, self.label)
        outputs = [o.name for o in self.model.graph.output]
        order = live_in_order(self.steps, self.producer, self.weights, bound, outputs, self.label)
        walk = self.walk
        walk.batch = self._rebatched(bound, order) if rebound else None
        scope = self._walk(bound, {} if rebound else stated_shapes(self.model.graph), order)
        if walk.batch is not None:
            after = {name: item.tensor.shape for name, item in scope.names.items() if isinstance(item, Operand)}
            walk.batch.check_sizes(after, list(bound), self.label)
            if sizes.batch_size is not None:
                walk.batch.check_steps(after, self.steps, list(bound), self.label)
        if not walk.nodes:
            raise ModelError(f"{self.label}: nothing is computed from its inputs; there is nothing to predict")
        return Graph(tuple(walk.nodes), tuple(bound.values()), tuple(bound), self.label, walk.modules)

    def _walk(self, bound: Mapping[str, Tensor], stated: Mapping[str, Tensor], order: Sequence[int]) -> Scope:
        """Walk the nodes with these inputs; the names of the graph and their values."""
        names: dict[str, Item] = dict(self.weights)
        for k, (info, tensor) in enumerate(zip(self.inputs, bound.values(), strict=True)):
            operand = Operand(tensor, ~k)
            names[info.name] = Listed((operand,), tensor) if is_sequence(info.type) else operand
            if info.name in self.values:
                self.walk.computed[~k, 0] = self.values[info.name]
        scope = Scope(names)
        self.walk.stated = Stated(stated)
        self.walk.run([self.steps[k] for k in order], scope)
        return scope

    def _rebatched(self, bound: Mapping[str, Tensor], order: Sequence[int]) -> Rebatched | None:
        """The shapes as declared, where nothing but the batch size was changed; None where that cannot be told."""
        declared: dict[str, Tensor] = {}
        for info in self.inputs:
            dims = info.type.tensor_type.shape.dim
            sizes = tuple(max(d.dim_value, 0) if d.HasField("dim_value") else 0 for d in dims)
            if len(sizes) != len(bound[info.name].shape):
                return None
            shape = tuple(s or b for s, b in zip(sizes, bound[info.name].shape, strict=True))
            declared[info.name] = Tensor(shape, bound[info.name].dtype)
        changes = {
            (k, a, b)
            for name, tensor in bound.items()
            for k, (a, b) in enumerate(zip(declared[name].shape, tensor.shape, strict=True))
            if a != b
        }
        if len(changes) != 1:
            return None
        axis, old, new = changes.pop()
        # Behind the first dimension, a size other than 1 is rather a length or a resolution than a batch.
        if not old or not new or (axis and old != 1):
            return None
        reader = _Reader(self.model, self.label, self.values, self.given)
        try:
            scope = reader._walk(declared, stated_shapes(self.model.graph), order)
        except ModelError:
            return None
        found = followed(reader.walk.nodes, list(declared.values()), old, axis)
        before: dict[str, Shape] = {}
        places: dict[str, Batch] = {}
        contents: dict[str, Value] = {}
        for name, item in scope.names.items():
            if not isinstance(item, Operand):
                continue
            before[name] = item.tensor.shape
            if item.source is None:
                continue
            at = found[item.source].outputs[item.output] if item.source >= 0 else Batch(axis)
            if at is not None:
                places[name] = at
            known = reader.walk.computed.get((item.source, item.output))
            if known is not None:
                contents[name] = known
        return Rebatched(before, old, new, axis, places, contents)
