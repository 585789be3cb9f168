"""An exported PyTorch program as plain data: the only file here that knows torch's objects.

A Program lists what enters (parameters, buffers, constants, inputs of the user, each with its fully qualified name) and
the operators that `torch.export` recorded, each with its arguments by the names of its schema, defaults filled in, the
tensors it gives, and the path of the module that called it.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from narformer.errors import ModelError
from narformer.graph import DTYPE_BYTES, VALUE_ELEMENTS, Tensor

if TYPE_CHECKING:
    import torch

DEPENDS_ON_DATA = (
    "its control flow, or a shape in it, depends on data, which no fixed graph has; use torch.cond or "
    "torch.where instead, or give a part without it"
)


class Reference(NamedTuple):
    """An argument that an input or a step of the program gives."""

    name: str


class Symbol(NamedTuple):
    """A size or number that is known only when the program runs."""

    text: str


class Input(NamedTuple):
    """What enters a program. kind: parameter, buffer, constant or input; target: its fully qualified name.

    value: what a buffer or constant of a few elements holds, in C order; None where that is not known.
    """

    name: str
    kind: str
    target: str
    tensor: Tensor | None
    value: tuple[float, ...] | None = None


class Step(NamedTuple):
    """One operator of a program.

    operator: such as "aten.add.Tensor". arguments: by the names of its schema; dtypes as a Graph names them, a body
    (of torch.cond) as a Program. outputs: the tensors it gives, None for what is no tensor.
    writes: name of the argument that it changes in place, or "". view: whether its outputs share memory with its
    first argument. module: path of the module that called it, such as "layers.0.attn".
    """

    name: str
    operator: str
    arguments: Mapping[str, Any]
    outputs: tuple[Tensor | None, ...]
    several: bool = False
    writes: str = ""
    view: bool = False
    module: str = ""


class Program(NamedTuple):
    """Inputs, steps in the order in which they run, and what the program returns (nested as the module returns it)."""

    inputs: tuple[Input, ...]
    steps: tuple[Step, ...]
    outputs: Any


def program_of(exported: torch.export.ExportedProgram, label: str) -> Program:
    """The program as data. Raises ModelError where a shape depends on data, or an element type is none of a Graph's."""
    kinds = {
        "PARAMETER": "parameter",
        "BUFFER": "buffer",
        "CONSTANT_TENSOR": "constant",
        "USER_INPUT": "input",
    }
    inputs = {}
    for spec in exported.graph_signature.input_specs:
        name, kind, target = spec.arg.name, kinds.get(spec.kind.name, "constant"), spec.target or spec.arg.name
        held = None
        if kind in ("buffer", "constant"):
            held = exported.constants.get(target)
            held = exported.state_dict.get(target) if held is None else held
        inputs[name] = (kind, target, _contents(held))
    return _Reader(label, inputs).program(exported.graph_module)


class _Reader:
    def __init__(self, label: str, inputs: Mapping[str, tuple[str, str, tuple[float, ...] | None]]) -> None:
        self.label = label
        self.inputs = inputs
        self._schemas: dict[Any, tuple[tuple[tuple[str, Any], ...], str, bool]] = {}

    def program(self, module: torch.fx.GraphModule) -> Program:
        inputs: list[Input] = []
        steps: list[Step] = []
        outputs: Any = ()
        bodies: dict[str, Any] = {}
        for node in module.graph.nodes:
            if node.op == "placeholder":
                kind, target, value = self.inputs.get(node.name, ("input", node.name, None))
                tensor = self._tensor(node.meta.get("val"), node)
                inputs.append(Input(node.name, kind, target, tensor, value))
            elif node.op == "get_attr":
                held = module
                for part in str(node.target).split("."):
                    held = getattr(held, part)
                if hasattr(held, "graph"):
                    bodies[node.name] = self.program(held)
                else:
                    tensor = self._tensor(held, node)
                    inputs.append(Input(node.name, "constant", str(node.target), tensor, _contents(held)))
            elif node.op == "output":
                outputs = self._argument(node.args[0], bodies)
            else:
                steps.append(self._step(node, bodies))
        return Program(tuple(inputs), tuple(steps), outputs)

    def _step(self, node: torch.fx.Node, bodies: Mapping[str, Any]) -> Step:
        target: Any = node.target
        value = node.meta.get("val")
        several = isinstance(value, tuple | list)
        values: Any = value if several else (value,)
        outputs = tuple([self._tensor(v, node) for v in values])
        stack = node.meta.get("nn_module_stack")
        module = next(reversed(stack.values()))[0] if stack else ""
        known, writes, view = self._schema(target)
        given = dict(known)
        for (name, _), argument in zip(known, node.args, strict=False):
            given[name] = argument
        for position in range(len(known), len(node.args)):
            given[str(position)] = node.args[position]
        given |= node.kwargs
        arguments = {name: self._argument(argument, bodies) for name, argument in given.items()}
        return Step(node.name, _spelt(target), arguments, outputs, several, writes, view, str(module))

    def _schema(self, target: Any) -> tuple[tuple[tuple[str, Any], ...], str, bool]:
        """Names and defaults of an operator's arguments, which of them it changes, and whether it gives a view."""
        found = self._schemas.get(target)
        if found is None:
            schema = getattr(target, "_schema", None)
            arguments = schema.arguments if schema is not None else ()
            writes = next((a.name for a in arguments if a.alias_info is not None and a.alias_info.is_write), "")
            view = schema is not None and any(r.alias_info is not None for r in schema.returns) and not writes
            defaults = tuple([(a.name, a.default_value if a.has_default_value() else None) for a in arguments])
            found = self._schemas[target] = (defaults, writes, view or target is operator.getitem)
        return found

    def _argument(self, argument: Any, bodies: Mapping[str, Any]) -> Any:
        if argument is None or type(argument) in (bool, int, float, str):
            return argument
        if isinstance(argument, tuple | list):
            return tuple([self._argument(item, bodies) for item in argument])
        if isinstance(argument, dict):
            return tuple([self._argument(item, bodies) for item in argument.values()])
        if hasattr(argument, "op") and hasattr(argument, "meta"):  # a node of torch.fx
            return bodies.get(argument.name) or Reference(argument.name)
        spelt = str(argument)
        if spelt.startswith("torch."):  # dtypes, layouts, memory formats
            return _dtype(spelt)
        if type(argument).__name__ in ("SymInt", "SymFloat", "SymBool"):
            return Symbol(spelt)
        return spelt

    def _tensor(self, value: Any, node: torch.fx.Node) -> Tensor | None:
        if not hasattr(value, "shape") or not hasattr(value, "dtype"):
            return None
        if not all(type(size) is int for size in value.shape):
            raise ModelError(f"{self.label}: {DEPENDS_ON_DATA} ({_spelt(node.target)} gives {list(value.shape)})")
        dtype = _dtype(str(value.dtype))
        if dtype not in DTYPE_BYTES:
            raise ModelError(f"{self.label}: {node.name} has the element type {value.dtype}, which no Graph holds")
        return Tensor(tuple(value.shape), dtype)


def _spelt(target: Any) -> str:
    """The name of an operator: aten.add.Tensor, torchvision.nms.default, getitem, cond."""
    if target is operator.getitem:
        return "getitem"
    if hasattr(target, "_schema"):
        return str(target)
    return str(getattr(target, "__name__", target))


def _dtype(spelt: str) -> str:
    name = spelt.removeprefix("torch.")
    return name[:6] if name.startswith("float8") else name


def _contents(tensor: Any) -> tuple[float, ...] | None:
    """What a small tensor holds; None for a large one, and for one without memory (meta, fake)."""
    if tensor is None or not hasattr(tensor, "numel") or not hasattr(tensor, "device"):
        return None
    if not 0 < tensor.numel() <= VALUE_ELEMENTS or tensor.is_complex() or tensor.is_quantized:
        return None
    if tensor.device.type == "meta" or hasattr(tensor, "fake_mode") or type(tensor).__name__ == "FunctionalTensor":
        return None
    return tuple(tensor.detach().reshape(-1).tolist())
