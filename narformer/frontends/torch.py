"""A PyTorch module → Graph, without a file: torch.export traces it, torch's own exporter makes it ONNX in memory.

So a module gives the Graph that its file from `torch.onnx.export` would give. Contents of weights are left out of the
message between; the module is traced in evaluation mode, as deployed networks run, and left as it was.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import onnx

from narformer.errors import MissingExtraError, ModelError
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph

if TYPE_CHECKING:
    import torch

KEPT_ELEMENTS = 1024  # a constant as large as this may still be a shape


def read_torch(
    module: torch.nn.Module,
    example_inputs: torch.Tensor | Sequence[Any],
    *,
    kwargs: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> Graph:
    """Read a module with the shapes of its example inputs.

    example_inputs: what `module(*example_inputs)` would be called with; one tensor may stand alone.
    kwargs: further arguments by name. name: of the Graph; by default the module's class.

    Raises ModelError for a module that cannot be traced (control flow that depends on data), MissingExtraError without
    PyTorch.
    """
    try:
        import torch
        import torch.onnx
    except ImportError as error:
        raise MissingExtraError("reading a PyTorch module needs PyTorch: pip install 'narformer[train]'") from error
    label = name or type(module).__name__
    if not isinstance(module, torch.nn.Module):
        raise ModelError(f"{label}: not a torch.nn.Module; wrap a function in one")
    inputs = (example_inputs,) if isinstance(example_inputs, torch.Tensor) else tuple(example_inputs)
    with _evaluating(module), _quiet(), torch.no_grad():
        try:
            exported = torch.export.export(module, inputs, dict(kwargs or {}))
        except Exception as error:  # every part of torch raises classes of its own
            raise ModelError(f"{label}: {_reason(error)}") from error
        try:
            program = torch.onnx.export(exported, (), dynamo=True, verbose=False, optimize=True)
        except Exception as error:  # as above; ImportError where onnxscript is missing
            if isinstance(error, ImportError) or isinstance(error.__cause__, ImportError):
                raise MissingExtraError(
                    "reading a PyTorch module needs onnxscript: pip install 'narformer[train]'"
                ) from error
            raise ModelError(f"{label}: PyTorch cannot export it to ONNX: {_line(error)}") from error
    if program is None:
        raise ModelError(f"{label}: PyTorch exported nothing")
    model = _weightless(program)
    # Every input of the module is one, also where an operator reads it as it would read a weight.
    shapes = {i.name: tuple(d.dim_value for d in i.type.tensor_type.shape.dim) for i in model.graph.input}
    return read_onnx(model, input_shapes=shapes, name=label)


def _weightless(program: Any) -> onnx.ModelProto:
    """The exported model as a message in which large constants have a shape and no contents."""
    import onnx_ir

    model = program.model
    for value in model.graph.initializers.values():
        held = value.const_value
        if held is not None and held.size > KEPT_ELEMENTS:
            value.const_value = onnx_ir.ExternalTensor(
                "left out", 0, held.nbytes, held.dtype, shape=held.shape, name=value.name
            )
    return onnx_ir.to_proto(model)


@contextlib.contextmanager
def _evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode for every submodule; afterwards each is as it was."""
    before = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in before:
            part.training = training


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints and logs its progress and what it fails on, and warns of its own internals."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    nowhere = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _reason(error: Exception) -> str:
    """Why torch.export refused, in one line, and what to do where it is known."""
    names = {type(e).__name__ for e in (error, error.__cause__, error.__context__) if e is not None}
    text = str(error)
    if names & {"GuardOnDataDependentSymNode", "UserError"} or "data-dependent" in text or "Data-dependent" in text:
        return (
            "its control flow, or a shape in it, depends on data, which no fixed graph has; use torch.cond or "
            f"torch.where instead, or give a part without it ({_line(error)})"
        )
    return f"torch.export cannot trace it with these inputs: {_line(error)}"


def _line(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return first[:200]
