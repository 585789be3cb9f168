"""Networks as text, in ONNX's own notation, and what their canonical form says."""

from __future__ import annotations

from collections.abc import Callable

import onnx.parser
import pytest

from narformer.frontends.canonical import canonical
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph

Read = Callable[[str], Graph]


def _graph(text: str) -> Graph:
    header = '<ir_version: 10, opset_import: ["" : 20, "com.microsoft" : 1, "com.microsoft.nchwc" : 1]>\n'
    model = onnx.parser.parse_model(text if text.lstrip().startswith("<") else header + text)
    computed = {name for node in model.graph.node for name in node.output}
    for info in model.graph.value_info:  # what is declared and not computed is a weight, without contents
        if info.name not in computed:
            kind = info.type.tensor_type
            held = model.graph.initializer.add(name=info.name, data_type=kind.elem_type)
            held.dims.extend(d.dim_value for d in kind.shape.dim)
    for info in model.graph.output:  # the notation needs a shape; what the nodes give is what counts
        info.type.tensor_type.ClearField("shape")
    return read_onnx(model)


@pytest.fixture
def graph() -> Read:
    """A network from the text of its graph (opset 20) or of a whole model; values in <> alone are weights."""
    return _graph


@pytest.fixture
def canon() -> Read:
    """The canonical form of such a network, asked twice: the form of the form is the form."""

    def form(text: str) -> Graph:
        found = canonical(_graph(text))
        again = canonical(Graph(found.nodes, found.inputs, found.input_names, found.name))
        assert again == found
        return found

    return form
