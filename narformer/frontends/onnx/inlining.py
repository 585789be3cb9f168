"""Local functions of a model: their calls replaced by their nodes, if these are not too many."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from narformer.errors import ModelError
from narformer.frontends.onnx.ordering import bodies_of
from narformer.frontends.onnx.shapes import first_line

# Nodes that local functions may unfold to.
MOST_INLINED = 200_000


def inlined(model: onnx.ModelProto, label: str) -> onnx.ModelProto:
    """The model with calls of its local functions replaced by their nodes."""
    import onnx.inliner

    if _inlined_size(model, label) > MOST_INLINED:
        raise ModelError(f"{label}: its local functions unfold to more than {MOST_INLINED} nodes")
    try:
        return onnx.inliner.inline_local_functions(model)
    except Exception as error:  # raised by onnx's C++ as classes of its own
        raise ModelError(f"{label}: its local functions cannot be inlined ({first_line(error)})") from error


def _inlined_size(model: onnx.ModelProto, label: str) -> int:
    """Nodes after inlining. Raises ModelError where a function calls itself."""
    functions = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}
    open_calls: set[tuple[str, str]] = set()

    def size(nodes: Sequence[onnx.NodeProto]) -> int:
        total = 0
        for node in nodes:
            total += 1 + sum(size(body.node) for body in bodies_of(node))
            key = (node.domain, node.op_type)
            if key not in functions:
                continue
            if key in open_calls or len(open_calls) > 100:
                raise ModelError(f"{label}: the local function {node.op_type!r} calls itself, or others too deep")
            if key not in sizes:
                open_calls.add(key)
                sizes[key] = size(functions[key].node)
                open_calls.discard(key)
            total += sizes[key]
        return total

    return size(model.graph.node)
