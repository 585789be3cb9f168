"""An ONNX network as a PyTorch module: each node the call of a PyTorch function, weights as parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.inliner
import onnx.numpy_helper
import torch

from narformer.errors import ModelError, NarformerError
from narformer.measurement.runtimes.torch_call import Call
from narformer.measurement.runtimes.torch_operators import OPERATORS

Outputs = torch.Tensor | Sequence[torch.Tensor]


@dataclass(frozen=True)
class Step:
    """One call: its function, the names it reads (None where an operand is left out) and writes, and what to forget."""

    function: Callable[..., Outputs]
    inputs: tuple[str | None, ...]
    outputs: tuple[str, ...]
    forget: tuple[str, ...] = ()


class TorchNetwork(torch.nn.Module):
    """Runs the nodes in the order of the file.

    Made by running the network once: what depends on constants and shapes alone is computed then and never again, and
    settings given as operands (a shape, an axis) become plain numbers. Raises ModelError that names node and operator
    where PyTorch has no such function here, or where it fails.

    place: where it runs, which holds all that it makes: a run that brought a constant from elsewhere would wait for it.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        inputs: Mapping[str, npt.NDArray[Any]],
        label: str,
        place: torch.device = torch.device("cpu"),  # noqa: B008
    ) -> None:
        super().__init__()
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        self.input_names = tuple(inputs)
        self.output_names = tuple(o.name for o in model.graph.output)
        with place:
            values = {name: _tensor(array) for name, array in inputs.items()}
            constants = {t.name: _tensor(onnx.numpy_helper.to_array(t)) for t in model.graph.initializer}
            steps: list[Step] = []
            last = {name: index for index, node in enumerate(model.graph.node) for name in node.input}
            for index, node in enumerate(model.graph.node):
                step, results, fixed = _execute(node, values, constants, label)
                (constants if fixed else values).update(zip(step.outputs, results, strict=False))
                if not fixed:
                    steps.append(step)
                for name in (*node.input, *node.output):  # a large batch would not fit in memory with all it computes
                    if last.get(name, -1) <= index:
                        values.pop(name, None)
        self.steps = _forgetting(steps, self.output_names)
        self._weight_of: dict[str, str] = {}
        for name in dict.fromkeys(i for step in steps for i in step.inputs if i is not None and i in constants):
            self._weight_of[name] = f"weight_{len(self._weight_of)}"
            self.register_buffer(self._weight_of[name], constants[name])
        self.fixed_outputs = {name: constants[name] for name in self.output_names if name in constants}

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        values = dict(zip(self.input_names, inputs, strict=True))
        for step in self.steps:
            operands = [None if name is None else self._value(name, values) for name in step.inputs]
            results = step.function(*operands)
            if isinstance(results, torch.Tensor):
                values[step.outputs[0]] = results
            else:
                values.update(zip(step.outputs, results, strict=False))
            for name in step.forget:
                del values[name]
        return tuple(values[n] if n in values else self.fixed_outputs[n] for n in self.output_names)

    def _value(self, name: str, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        if name in values:
            return values[name]
        return self.get_buffer(self._weight_of[name])


def _execute(
    node: onnx.NodeProto, values: Mapping[str, torch.Tensor], constants: Mapping[str, torch.Tensor], label: str
) -> tuple[Step, Sequence[torch.Tensor], bool]:
    """The node's step, its results, and whether they are the same for every input of the network."""
    where = f"{label}: node {node.name or node.output[0]!r} ({node.op_type})"
    maker = OPERATORS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if maker is None:
        domain = f" of {node.domain}" if node.domain not in ("", "ai.onnx") else ""
        raise ModelError(f"{where}: the operator {node.op_type}{domain} is not among those that can be run by PyTorch")
    names = [name or None for name in node.input]
    attributes = {a.name: _attribute(a) for a in node.attribute}
    try:
        operands = [None if n is None else values[n] if n in values else constants[n] for n in names]
        call = Call(where, attributes, operands, {k for k, n in enumerate(names) if n in constants}, len(node.output))
        function = maker(call)
        kept = [k for k in range(len(names)) if k not in call.settings]
        results = function(*(operands[k] for k in kept))
    except NarformerError:
        raise
    except Exception as error:
        raise ModelError(f"{where}: PyTorch rejects it: {error}") from error
    step = Step(function, tuple(names[k] for k in kept), tuple(node.output))
    fixed = node.op_type in ("Shape", "Size") or all(n is None or n in constants for n in names)
    return step, [results] if isinstance(results, torch.Tensor) else results, fixed


def _forgetting(steps: Sequence[Step], outputs: Sequence[str]) -> list[Step]:
    """The same steps, each forgetting what no later one reads: memory is used as PyTorch programs use it."""
    last: dict[str, int] = {}
    for index, step in enumerate(steps):
        for name in step.outputs:
            last[name] = index
        last.update((name, index) for name in step.inputs if name in last and name is not None)
    forget: dict[int, list[str]] = {}
    for name, index in last.items():
        if name and name not in outputs:
            forget.setdefault(index, []).append(name)
    return [Step(s.function, s.inputs, s.outputs, tuple(forget.get(i, ()))) for i, s in enumerate(steps)]


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return _tensor(onnx.numpy_helper.to_array(value))
    if isinstance(value, bytes):
        return value.decode()
    return list(value) if attribute.type in (6, 7, 8) else value


def _tensor(array: npt.NDArray[Any]) -> torch.Tensor:
    """A copy of an array where tensors are made now."""
    return torch.from_numpy(np.array(array)).to(torch.get_default_device())
