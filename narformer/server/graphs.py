"""A Graph in JSON from somebody else: checked before anything computes with it."""

from __future__ import annotations

from collections.abc import Mapping

from narformer.errors import ModelError
from narformer.graph import DTYPE_BYTES, Graph, Node, Tensor

LARGEST = 1 << 62  # of one size


def graph_from_json(data: bytes, label: str) -> Graph:
    """The Graph that `Graph.to_json` wrote. Raises ModelError for anything else, down to the type of each number."""
    try:
        graph = Graph.from_json(data.decode())
    except (UnicodeDecodeError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{label}: not a Graph in JSON form ({type(error).__name__}); write it with Graph.to_json"
        ) from error
    except ModelError as error:
        raise ModelError(f"{label}: {error}") from error
    wrong = _wrong(graph)
    if wrong:
        raise ModelError(f"{label}: not a Graph in JSON form: {wrong}; write one with Graph.to_json")
    return graph


def _wrong(graph: Graph) -> str:
    """What is not as a Graph has it; "" where all is."""
    if not graph.nodes:
        return "it has no nodes"
    if not isinstance(graph.name, str) or not all(isinstance(name, str) for name in graph.input_names):
        return "a name is no text"
    if len(graph.input_names) not in (0, len(graph.inputs)):
        return "not every input has a name"
    if not all(map(_is_tensor, graph.inputs)):
        return "an input has a shape or type that no tensor has"
    for index, node in enumerate(graph.nodes):
        wrong = _wrong_node(graph, node)
        if wrong:
            return f"node {index} {wrong}"
    return ""


def _wrong_node(graph: Graph, node: Node) -> str:
    texts = (node.name, node.op, node.domain, *node.origin)
    if not all(isinstance(text, str) for text in texts):
        return "has a name that is no text"
    if not node.outputs or not all(map(_is_tensor, node.outputs)):
        return "has an output of a shape or type that no tensor has"
    if not isinstance(node.attributes, Mapping) or not all(map(_is_attribute, node.attributes.values())):
        return "has an attribute of a type that ONNX has not"
    if not all(_is_size(place) for place in node.left_out):
        return "leaves out an operand at a place that is none"
    for operand in node.operands:
        if not _is_tensor(operand.tensor) or not isinstance(operand.name, str):
            return "reads a tensor of a shape or type that no tensor has"
        if operand.value is not None and (
            len(operand.value) != operand.tensor.elements or not all(isinstance(v, int | float) for v in operand.value)
        ):
            return "reads a constant whose contents do not fit its shape"
        if operand.trained not in (None, True, False):
            return "reads a weight that is neither trained nor not"
        if operand.source is None:
            continue
        outputs = 1 if operand.source < 0 else len(graph.nodes[operand.source].outputs)
        if not _is_size(operand.output) or operand.output >= outputs:
            return "reads an output that does not exist"
    return ""


def _is_tensor(tensor: Tensor) -> bool:
    return isinstance(tensor.dtype, str) and tensor.dtype in DTYPE_BYTES and all(map(_is_size, tensor.shape))


def _is_size(size: object) -> bool:
    return type(size) is int and 0 <= size < LARGEST


def _is_attribute(value: object) -> bool:
    if isinstance(value, tuple):
        kinds = {type(one) for one in value}
        return len(kinds - {bool}) <= 1 and kinds <= {int, float, str}
    return isinstance(value, int | float | str)
