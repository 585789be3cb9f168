"""A PyTorch module → Graph: what torch.export records, each ATen operator written as ONNX's.

The Graph has the canonical form of the module's file from `torch.onnx.export`. Contents of weights are not read, so
that modules on the device meta and under a FakeTensorMode serve as well; the module is traced in evaluation mode, as
deployed networks run, and left as it was.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from narformer.errors import ModelError
from narformer.frontends.torch.program import DEPENDS_ON_DATA, program_of
from narformer.frontends.torch.quiet import quiet
from narformer.frontends.torch.walk import UNREAD, graph_of, missing
from narformer.graph import Graph

if TYPE_CHECKING:
    import torch

_WRAP = "wrap a function in one"
_ROUNDS = 4  # operators are written by others, which may be written by others again


def read_torch(
    module: torch.nn.Module,
    example_inputs: torch.Tensor | Sequence[Any] | Mapping[str, Any],
    *,
    kwargs: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> Graph:
    """Read a module with the shapes of its example inputs.

    example_inputs: what `module(*example_inputs)` would be called with; one tensor may stand alone, and a mapping, such
    as a tokenizer of transformers gives, is arguments by name. kwargs: further arguments by name.
    name: of the Graph; by default the module's class.
    A Node is named after the module that calls it, `layers.0.attn/linear`; a weight has its name in the state_dict.

    Raises ModelError for what is no module, cannot be traced (control flow that depends on data), or calls an operator
    which narformer does not read.

    >>> import torch
    >>> import narformer
    >>> narformer.read_torch(torch.nn.Linear(16, 4), torch.zeros(1, 16))
    Graph('Linear', 1 nodes, inputs 1x16)
    """
    label = name or type(module).__name__
    # Who has a module has imported PyTorch: nothing here imports it, so that reading files never does.
    torch = sys.modules.get("torch")
    if torch is None:
        raise ModelError(f"{label}: not a torch.nn.Module, for PyTorch was never imported")
    if not isinstance(module, torch.nn.Module):
        hint = "give the module that it was made of" if type(module).__name__ == "ExportedProgram" else _WRAP
        raise ModelError(f"{label}: not a torch.nn.Module; {hint}")
    named = {**(example_inputs if isinstance(example_inputs, Mapping) else {}), **(kwargs or {})}
    inputs: tuple[Any, ...] = ()
    if isinstance(example_inputs, torch.Tensor):
        inputs = (example_inputs,)
    elif not isinstance(example_inputs, Mapping):
        inputs = tuple(example_inputs)
    with _evaluating(module), quiet(), torch.no_grad():
        try:
            exported = torch.export.export(module, inputs, named, strict=False)
        except Exception as error:  # every part of torch raises classes of its own
            raise ModelError(f"{label}: {_reason(error)}") from error
        program = program_of(exported, label)
        unread = missing(program)
        for _ in range(_ROUNDS if unread else 0):
            exported = _decomposed(exported, missing(program))
            decomposed = program_of(exported, label)
            if missing(decomposed) == missing(program):
                break
            program = decomposed
    if missing(program):
        raise ModelError(f"{label}: {UNREAD.format(', '.join(sorted(unread)))}")
    return graph_of(program, label)


def _decomposed(exported: torch.export.ExportedProgram, operators: set[str]) -> torch.export.ExportedProgram:
    """The program with operators written by others, where torch knows how; as it is where torch does not."""
    known = sys.modules["torch._decomp"].decomposition_table  # loaded with torch.export
    # Those that PyTorch itself writes by others have their rule there alone.
    composite = sys.modules["torch"].export.default_decompositions()
    table: dict[Any, Any] = {}
    for node in exported.graph.nodes:
        if str(node.target) in operators:
            rule = known.get(node.target)
            if rule is None and node.target in composite:
                rule = composite[node.target]  # `get` does not find what the table has not looked up yet
            table |= {node.target: rule} if rule else {}
    try:
        program: torch.export.ExportedProgram = exported.run_decompositions(table)
        return program
    except Exception:  # as torch raises; what is missing is then told by the operator's name
        return exported


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


def _reason(error: Exception) -> str:
    """Why torch.export refused, in one line, and what to do where it is known."""
    names = {type(e).__name__ for e in (error, error.__cause__, error.__context__) if e is not None}
    text = str(error)
    if names & {"GuardOnDataDependentSymNode", "UserError"} or "data-dependent" in text or "Data-dependent" in text:
        return f"{DEPENDS_ON_DATA} ({_line(error)})"
    return f"torch.export cannot trace it with these inputs: {_line(error)}"


def _line(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return first[:200]
