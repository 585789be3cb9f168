"""Which constants of a network are its parameters: what training adjusts, and neither settings nor buffers.

A front end that knows says so (`Operand.trained`). An ONNX file does not tell, so this is the rule there:

1. An operator's row tells the settings (indices, sizes, masks), the buffers (running statistics, caches, initial
   states) and the scales and zero points of integers: none is a parameter, nor is anything of int64, bool or text.
2. What stands where an operator has its weights is a parameter: filters, matrices, tables that are looked up, biases.
   Not so the ones and zeros that PyTorch writes where it makes instances of groups: their names are an exporter's.
3. Elsewhere (a constant that is added, multiplied, concatenated) it is one unless its name is a buffer's (a mask, a
   table of cosines, anchors), and unless an exporter has computed it; an exporter's own vectors, such as a scale in
   another shape, remain. A constant of one element is one only where its name is that of a module's attribute.
4. What is added to the scores of an attention is a mask, or a bias that was looked up before: no parameter, but for
   relative positions in a window, where the table is counted from which they were.

A matrix that several nodes read is one. A vector that several nodes read is one where they follow the same matrix (one
layer that is applied several times); else it is several, which an exporter has stored once because they are equal, as
those of a fresh network are. Where the front end says what is trained, its names tell what is the same.
"""

from __future__ import annotations

import math
import re
from collections import Counter

from narformer.graph import Graph, Node, Operand, Shape
from narformer.operators import Operator, operator_of
from narformer.operators.table import MICROSOFT

_NEVER = frozenset({"int64", "uint64", "bool", "string"})
# What torch, ONNX Runtime and others call a constant that they made: onnx::Mul_16, /attn/Constant_output_0, val_3, and
# names of operations that were computed before (select_1, unsqueeze).
_OPERATIONS = (
    "abs|add|alias|arange|bmm|cat|clamp|clone|cos|cumsum|detach|div|empty|exp|expand|expand_as|eye|flatten|full|getitem|"
    "index|item|lift_fresh_copy|(c_)?lifted_tensor|linspace|log|masked_fill|matmul|mean|mul|neg|ones|outer|permute|pow|"
    "reciprocal|repeat|reshape|rsqrt|scalar_tensor(_default)?|select|sigmoid|sin|slice|softmax|split|sqrt|squeeze|stack|"
    "sub|sum|t|tanh|tensor|tensor_constant|to|_to_copy|transpose|tril|triu|type_as|unbind|unsqueeze|val|view|where|zeros"
)
_MADE = re.compile(rf"^(.*(::|/|_token_|Constant|const_fold|const_ax|ortshared).*|_*({_OPERATIONS})(_\d+)?|\d+)$")
_ATTRIBUTE = re.compile(r"^((\w+\.)+\w+|[A-Za-z_]\w+)$")
# PyTorch writes groups as instances of scale 1, and states that a recurrent layer starts from as zeros, spread.
_SPREAD = ("InstanceNormalization", "Expand")
_CONSTANT = re.compile(r"(^|/)(Constant(_\d+)?_output_\d+|val_\d+)$")
_READS_WEIGHTS = ("Cast", "Gather", "GatherND", "GatherElements", "GatherBlockQuantized")
_NUMBERS = frozenset(("zero", "half", "one", "two", "three", "four", "six", "eps", "epsilon", "pi", "low", "high"))
_BUFFER = re.compile(
    r"(^|[._/])(\w*mask|inv_freq|freqs?(_\w+)?|\w*cos(ines?)?(_\w+)?|\w*sin(es?|usoid\w*)?(_\w+)?|pe|anchors?|anchor_grid"
    r"|grids?|strides?|running_(mean|var)|num_batches_tracked|\w*position_(ids|index)|\w*_ind(ex|ices|exs)|idxs"
    r"|pixel_(mean|std)|window|\w*_cached?)$"
)


def node_parameters(node: Node) -> int:
    """How many parameters a node reads, told from the node alone."""
    row = operator_of(node)
    packed = row.elements(node) if row.elements else {}
    return sum(packed.get(k, o.tensor.elements) for k, o in parameter_operands(node))


def parameter_operands(node: Node) -> list[tuple[int, Operand]]:
    """The operands of a node that are parameters, each with its position."""
    if all(o.source is not None for o in node.operands):
        return []
    row = operator_of(node)
    return [
        (position, operand)
        for position, operand in zip(node.positions, node.operands, strict=True)
        if operand.source is None and _trained(row, position, operand)
    ]


def graph_parameters(graph: Graph) -> tuple[list[int], int]:
    """Parameters that each node reads, and those of the whole network, where what nodes share counts once."""
    added = _added_to_scores(graph)
    counts: list[int] = []
    once: dict[str, int] = {}
    vectors: dict[str, list[tuple[int, int]]] = {}  # which nodes read them, and elements
    total = 0
    for index, node in enumerate(graph.nodes):
        own = 0
        found = [(o, o.tensor.elements) for _, o in parameter_operands(node)]
        row = operator_of(node)
        if found and row.elements is not None:
            packed = row.elements(node)
            found = [(o, packed.get(k, o.tensor.elements)) for k, o in parameter_operands(node)]
        elif index in added:
            found = [(node.operands[k], elements) for k, elements in added[index]]
        for operand, elements in found:
            own += elements
            if not operand.name:
                total += elements
            elif operand.trained is not None or is_matrix(operand.tensor.shape):
                once[operand.name] = elements
            else:
                vectors.setdefault(operand.name, []).append((index, elements))
        counts.append(own)
    return counts, total + sum(once.values()) + _of_vectors(graph, vectors)


def _of_vectors(graph: Graph, vectors: dict[str, list[tuple[int, int]]]) -> int:
    """Elements of vectors, as often as they are different ones."""
    total = 0
    followed: list[int] | None = None
    for readers in vectors.values():
        if len(readers) == 1:
            total += readers[0][1]
            continue
        if followed is None:
            followed = _matrices_followed(graph)
        # Nodes that read the very same data with one vector compute two things: nobody computes one twice.
        read = Counter((followed[index], next(iter(graph.nodes[index].sources), None)) for index, _ in readers)
        most: dict[int, int] = {}
        for (matrix, _), times in read.items():
            most[matrix] = max(most.get(matrix, 0), times)
        total += sum(most.values()) * max(elements for _, elements in readers)
    return total


def _matrices_followed(graph: Graph) -> list[int]:
    """For each node a number that is the same where the last matrices on the way to it are the same."""
    numbers: dict[object, int] = {}
    followed: list[int] = []
    for node in graph.nodes:
        own = tuple([o.name for o in node.operands if o.source is None and is_matrix(o.tensor.shape)])
        key: object = own or tuple(
            [
                o.source if o.source < 0 else (followed[o.source], o.output)
                for o in node.operands
                if o.source is not None
            ]
        )
        followed.append(numbers.setdefault(key, len(numbers)))
    return followed


def is_matrix(shape: Shape) -> bool:
    """Whether more than one axis is longer than 1: only then do two readers of one weight share it on purpose."""
    return sum(size > 1 for size in shape) > 1


def _trained(row: Operator, position: int, operand: Operand) -> bool:
    if operand.trained is not None:
        return operand.trained
    tensor, name = operand.tensor, operand.name
    if tensor.dtype in _NEVER or position in row.settings or position in row.buffers or position in row.scales:
        return False
    if row.name in _SPREAD and _CONSTANT.search(name):
        return False
    if position in row.weights or row.kernel_class == "matrix":
        return True
    kept = row.kind == "quantize" or row.name in _READS_WEIGHTS
    if not tensor.dtype.startswith(("float", "bfloat")) and not (kept or row.domain == MICROSOFT):
        return False  # a mask, or arithmetic on shapes
    if tensor.elements == 1:
        return _is_attribute(name)
    if _BUFFER.search(name):
        return False
    return kept or not (is_matrix(tensor.shape) and _MADE.match(name))


def _is_attribute(name: str) -> bool:
    """Whether a name may be that of an attribute of a module, and is no exporter's."""
    return bool(_ATTRIBUTE.match(name)) and not _MADE.match(name) and name not in _NUMBERS


_CARRIED = frozenset(("Reshape", "Squeeze", "Unsqueeze", "Identity", "Cast", "Transpose"))


def _added_to_scores(graph: Graph) -> dict[int, list[tuple[int, int]]]:
    """Constants that are added to what a softmax reads, perhaps in another shape: by the node that reads the constant
    its position, and the parameters behind it."""
    found: dict[int, list[tuple[int, int]]] = {}
    seen: set[int] = set()
    # With the shape in which what a node puts out is added; () where nothing was yet.
    waiting = [(o, ()) for n in graph.nodes if n.op in ("Softmax", "LogSoftmax") for o in n.operands[:1]]
    shape: Shape
    while waiting:
        read, shape = waiting.pop()
        if read.source is None or read.source < 0 or read.source in seen:
            continue
        seen.add(read.source)
        node = graph.nodes[read.source]
        if node.op in ("Add", "Sub"):
            operands = [(k, o, o.tensor.shape) for k, o in enumerate(node.operands)]
        elif node.op in _CARRIED:
            operands = [(0, o, shape) for o in node.operands[:1]]
        else:
            continue
        for position, operand, added in operands:
            if operand.source is not None:
                waiting.append((operand, added))  # type: ignore[arg-type]
            elif operand.trained is None and added:
                found.setdefault(read.source, []).append((position, _bias(operand, added)))
    return found


def _bias(operand: Operand, shape: Shape) -> int:
    """Parameters behind what is added to scores in this shape (…, heads, queries, keys)."""
    if not is_matrix(shape[-2:]):  # a bias of the product before, (classes,)
        return operand.tensor.elements
    heads = shape[-3] if len(shape) > 2 else 1
    if heads == 1 or _BUFFER.search(operand.name):
        return 0
    if not _MADE.match(operand.name):
        return operand.tensor.elements
    for apart in (0, 1):  # tokens that stand for no place: their three relations have rows of their own (BEiT)
        side = math.isqrt(max(shape[-1] - apart, 0))
        if side * side == shape[-1] - apart and shape[-2] == shape[-1]:
            return heads * ((2 * side - 1) ** 2 + 3 * apart)
    return 0
