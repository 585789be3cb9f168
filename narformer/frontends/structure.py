"""A Graph without anything that training made: what may leave a machine whose weights may not.

A Graph never holds a weight, but it does hold what constants of a few elements say, since shapes and bounds are among
them, and a bias of ten classes is as small. Kept are single numbers, vectors of one number over and over, integers
that shapes and places are made of, and the factors of a Resize; of operators of machine learning the shape of trees.
"""

from __future__ import annotations

from dataclasses import replace

from narformer.graph import Attribute, Graph, Node, Operand

PLACES = frozenset(("int64", "int32", "bool"))  # types of shapes, axes, indices and conditions
SCALED = frozenset(("Resize", "Upsample"))  # whose constants are factors between shapes
# Attributes whose lists of numbers were chosen, not trained: factors between shapes, bounds of activations.
FACTORS = frozenset(("scales", "activation_params", "activation_alpha", "activation_beta"))
# Readers of int32 that was trained: biases, in multiples of the scales.
_QUANTISED = ("Linear", "Integer", "QGemm", "NBits")
_TREES = "TreeEnsemble"
LONGEST_TEXT = 256


def structure_of(graph: Graph) -> Graph:
    """The same network, of the same cost, without the contents of its weights and without the name of its file."""
    return replace(graph, name="network", nodes=tuple([_bare(node) for node in graph.nodes]))


def _bare(node: Node) -> Node:
    operands = node.operands
    if any(o.value is not None and not _tells_nothing(node, o) for o in operands):
        operands = tuple(
            [o if o.value is None or _tells_nothing(node, o) else o._replace(value=None) for o in operands]
        )
    attributes = node.attributes
    if any(_told(node, name, value) is not value for name, value in attributes.items()):
        attributes = {name: _told(node, name, value) for name, value in attributes.items()}
    return (
        node
        if operands is node.operands and attributes is node.attributes
        else node._replace(operands=operands, attributes=attributes)
    )


def _tells_nothing(node: Node, operand: Operand) -> bool:
    """Whether a constant's contents are structure."""
    assert operand.value is not None
    if len(set(operand.value)) <= 1:
        return True
    if operand.tensor.dtype in PLACES:
        return operand.tensor.dtype != "int32" or not any(word in node.op for word in _QUANTISED)
    return node.op in SCALED


def _told(node: Node, name: str, value: Attribute) -> Attribute:
    """An attribute, or one of the same length that tells nothing."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST_TEXT else ""
    if not isinstance(value, tuple) or len(value) < 2:
        return value
    if isinstance(value[0], float):
        return value if name in FACTORS else (0.0,) * len(value)
    if node.domain != "ai.onnx.ml" or name == "nodes_modes":
        return value
    if isinstance(value[0], str):
        return ("",) * len(value)
    return value if node.op.startswith(_TREES) else (0,) * len(value)
