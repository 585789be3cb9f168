"""A network as data: what every part of narformer reads and no part changes.

A Graph holds operators only. Weights and constants are operands of the node that reads them,
never nodes of their own, and the tensors fed from outside are the Graph's `inputs`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from narformer.batch_axis import with_batch
from narformer.errors import ModelError
from narformer.hashing import canonical_hash

T = TypeVar("T")
VALUE_ELEMENTS = 16
Shape = tuple[int, ...]
Attribute = int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]

# Bytes of one element, by the dtype names a Graph uses (NumPy's, plus those NumPy lacks).
DTYPE_BYTES: Mapping[str, float] = MappingProxyType(
    {
        "float64": 8,
        "float32": 4,
        "float16": 2,
        "bfloat16": 2,
        "float8": 1,
        "float6": 0.75,
        "float4": 0.5,
        "int64": 8,
        "int32": 4,
        "int16": 2,
        "int8": 1,
        "int4": 0.5,
        "int2": 0.25,
        "uint64": 8,
        "uint32": 4,
        "uint16": 2,
        "uint8": 1,
        "uint4": 0.5,
        "uint2": 0.25,
        "bool": 1,
        "complex64": 8,
        "complex128": 16,
        "string": 8,
    }
)
FLOATS = frozenset({"float64", "float32", "float16", "bfloat16"})


# Tensors, Operands and Nodes are named tuples: as immutable as a frozen dataclass, and made and compared several times
# faster, which decides how fast a file is read.


class Tensor(NamedTuple):
    """Shape and element type of one value. Shapes are concrete: no symbols, no unknowns.

    >>> image = Tensor((1, 3, 224, 224), "float16")
    >>> image.elements, image.bytes
    (150528, 301056)
    """

    shape: Shape
    dtype: str = "float32"

    @property
    def elements(self) -> int:
        """How many numbers there are."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of all numbers at the width of their type; packed ones share a byte."""
        return math.ceil(self.elements * DTYPE_BYTES[self.dtype])


class Operand(NamedTuple):
    """One input of a node.

    source: index of the node that computes it; `~k` (negative) for the Graph's input `k`;
        None for a weight or constant, which no node computes.
    output: which output of the source node, for operators with several (Split).
    name: for a weight, the name under which the file stores it (two nodes that share a weight share it).
    value: for a constant of at most VALUE_ELEMENTS elements what it holds, in C order; None where that is not known.
        Also of an operand that is computed, where an operator of a runtime reads it and it is known before the run.
    tensor: the value as this operand reads it: in a canonical Graph, where views are no nodes, its shape may be
        another than that of the output it reads, with as many elements.
    trained: for a weight, whether training adjusts it: True for a parameter, False for a buffer (a mask, a cache, a
        table of positions); None where the front end cannot tell, as in ONNX files, and operators decide.

    >>> Operand(Tensor((64, 3, 7, 7)), name="conv1.weight").is_weight
    True
    """

    tensor: Tensor
    source: int | None = None
    output: int = 0
    name: str = ""
    value: tuple[float, ...] | None = None
    trained: bool | None = None

    @property
    def is_weight(self) -> bool:
        """Whether it is a constant of the network rather than computed."""
        return self.source is None


class Node(NamedTuple):
    """One operator: its type as ONNX spells it, attributes, operands in the operator's order, outputs.

    origin: in a canonical Graph, the names of the file's other nodes that run within this one.
    left_out: positions of optional operands that are left out in front of others that are there; `operands` skips
        them, and `operand` does not.

    >>> x = Tensor((1, 64, 56, 56))
    >>> Node("relu", "Relu", (Operand(x, source=0),), (x,))
    Node('relu', Relu: 1x64x56x56 -> 1x64x56x56)
    """

    name: str
    op: str
    operands: tuple[Operand, ...]
    outputs: tuple[Tensor, ...]
    attributes: Mapping[str, Attribute] = {}
    domain: str = ""
    origin: tuple[str, ...] = ()
    left_out: tuple[int, ...] = ()

    def __repr__(self) -> str:
        read = ", ".join(_told(o.tensor) for o in self.operands if o.source is not None)
        written = ", ".join(map(_told, self.outputs))
        return f"Node({self.name!r}, {self.domain}{'.' if self.domain else ''}{self.op}: {read} -> {written})"

    @property
    def positions(self) -> tuple[int, ...]:
        """Where each operand stands in the operator's signature."""
        if not self.left_out:
            return tuple(range(len(self.operands)))
        every = range(len(self.operands) + len(self.left_out))
        return tuple([position for position in every if position not in self.left_out])

    def operand(self, position: int) -> Operand | None:
        """The operand at a position of the operator's signature; None where it is left out."""
        if self.left_out:
            if position in self.left_out:
                return None
            position -= sum(gap < position for gap in self.left_out)
        return self.operands[position] if position < len(self.operands) else None

    @property
    def sources(self) -> tuple[int, ...]:
        """Producers of the operands that are computed (`~k` for Graph input k), in operand order."""
        return tuple([o.source for o in self.operands if o.source is not None])

    @property
    def weights(self) -> tuple[Operand, ...]:
        """The operands that are constants."""
        return tuple([o for o in self.operands if o.source is None])

    @property
    def output_shape(self) -> Shape:
        """Shape of the first output: the one that tokens describe."""
        return self.outputs[0].shape if self.outputs else ()


class Distinct:
    """The nodes of a Graph that do different things: networks repeat their blocks, and what repeats is computed once.

    Networks that are read one after another have much in common too: what was computed of the last few thousand nodes
    of one process is kept.

    nodes: one of each that differ in operator, attributes, outputs or the tensors they read, weights or not, or in the
    integers (axes, steps, lengths) and exponents that they hold.
    place (N,): for every node of the Graph the index of that one; an array of the distinct nodes' values, indexed with
    it, is that of all nodes. times: how many nodes of the Graph each one stands for.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        found: dict[object, int] = {}
        self._known: list[dict[Callable[[Node], Any], Any]] = []
        kept: list[Node] = []
        place: list[int] = []
        for node in nodes:
            _, op, operands, outputs, attributes, domain, _, left_out = node
            read: list[object] = [
                (tensor,) if source is not None else tensor if trained is None else (tensor, trained)
                for tensor, source, _, _, _, trained in operands
            ]
            read += [(k, o.value) for k, o in enumerate(operands) if o.value is not None and _decides(op, o)]
            key = (op, domain, outputs, left_out, *read, *attributes.items())
            index = found.setdefault(key, len(kept))
            if index == len(kept):
                kept.append(node)
                self._known.append(_known_of(key, node))
            place.append(index)
        self.nodes = tuple(kept)
        self.place: npt.NDArray[np.int64] = np.array(place, dtype=np.int64)
        self.times: list[int] = np.bincount(self.place, minlength=len(kept)).tolist()

    def each(self, function: Callable[[Node], T]) -> list[T]:
        """The function's value for each distinct node; asked a second time, it is not computed again.

        function: of what tells distinct nodes apart alone, and of the table of operators.
        """
        values: list[T] = []
        for node, known in zip(self.nodes, self._known, strict=True):
            if function not in known:
                known[function] = function(node)
            values.append(known[function])
        return values


# What functions said of a node, by what tells it apart: of the nodes read last in this process.
_KNOWN: dict[object, dict[Callable[[Node], Any], Any]] = {}
_MOST_KNOWN = 4096
# Numbers and letters of attributes, and operands: the tables of a tree's million nodes are not kept.
_LARGEST_KNOWN = 64


def _known_of(key: tuple[object, ...], node: Node) -> dict[Callable[[Node], Any], Any]:
    known = _KNOWN.get(key)
    if known is None:
        known = {}
        texts = [value for value in node.attributes.values() if isinstance(value, tuple | str)]
        if len(node.operands) + len(node.outputs) + sum(map(len, texts)) <= _LARGEST_KNOWN:
            if len(_KNOWN) >= _MOST_KNOWN:
                _KNOWN.clear()
            _KNOWN[key] = known
    return known


def forget_nodes() -> None:
    """What was computed of nodes is not kept any longer: an operator's row is another now."""
    _KNOWN.clear()


def _decides(op: str, operand: Operand) -> bool:
    """Whether what a node does, and takes, may depend on the contents of an operand: axes, steps, lengths, a power."""
    return operand.tensor.dtype in ("int64", "int32") or op == "Pow"


@dataclass(frozen=True)
class Graph:
    """One network: nodes in topological order, inputs with their shapes. Immutable.

    modules: the path of the module that calls a node, by the node's name, where the file says so in its metadata.

    Raises ModelError where a node reads from a later node or an input that does not exist.

    >>> x = Tensor((1, 8))
    >>> graph = Graph((Node("relu", "Relu", (Operand(x, source=~0),), (x,)),), inputs=(x,), name="tiny")
    >>> graph, graph.batch_size, Graph.from_json(graph.to_json()) == graph
    (Graph('tiny', 1 nodes, inputs 1x8), 1, True)
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Tensor, ...]
    input_names: tuple[str, ...] = ()
    name: str = ""
    modules: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        lowest = -len(self.inputs)
        for source, index in self.reads:
            if not lowest <= source < index:
                node = self.nodes[index]
                raise ModelError(
                    f"{self.name or 'graph'}: node {index} ({node.op} {node.name!r}) reads from {source}, "
                    "which does not come before it; nodes must be in topological order"
                )

    def __len__(self) -> int:
        return len(self.nodes)

    def __repr__(self) -> str:
        return f"Graph({self.name!r}, {len(self)} nodes, inputs {', '.join(map(_told, self.inputs)) or 'none'})"

    @cached_property
    def reads(self) -> tuple[tuple[int, int], ...]:
        """Who reads from whom: source (`~k` for Graph input k), consumer; each pair once, by consumer."""
        return tuple(
            dict.fromkeys([(o[1], i) for i, node in enumerate(self.nodes) for o in node.operands if o[1] is not None])
        )

    @cached_property
    def edges(self) -> npt.NDArray[np.int64]:
        """Directed edges between nodes, (E, 2): producer, consumer; each pair once, Graph inputs left out."""
        return np.array([pair for pair in self.reads if pair[0] >= 0], dtype=np.int64).reshape(-1, 2)

    @cached_property
    def input_edges(self) -> npt.NDArray[np.int64]:
        """Edges from Graph inputs, (E, 2): input index, consumer node; each pair once."""
        return np.array([(~s, i) for s, i in self.reads if s < 0], dtype=np.int64).reshape(-1, 2)

    @cached_property
    def distinct(self) -> Distinct:
        """The nodes that do different things, with what was computed of them."""
        return Distinct(self.nodes)

    @property
    def batch_size(self) -> int:
        """First dimension of the first input; 1 for an input without dimensions."""
        return self.inputs[0].shape[0] if self.inputs and self.inputs[0].shape else 1

    def with_batch(self, batch_size: int) -> Graph:
        """The same network at another batch size: the first dimension of its inputs, and what follows from it.

        Raises ShapeError where the network fixes a size inside, or where the batch cannot be followed through it;
        ValueError for a batch size below 1.
        """
        if batch_size < 1:
            raise ValueError(f"batch size {batch_size}: at least 1")
        if batch_size == self.batch_size:
            return self
        nodes, inputs = with_batch(self.nodes, self.inputs, self.batch_size, batch_size, self.name)
        return replace(self, nodes=nodes, inputs=inputs)

    def cast(self, dtype: str) -> Graph:
        """The same network in another type of floating point numbers: inputs, weights and all that is computed.

        Integers stay. Raises ValueError for what is no such type.
        """
        if dtype not in FLOATS:
            raise ValueError(f"{dtype!r}: one of {', '.join(sorted(FLOATS))}")

        def tensor(of: Tensor) -> Tensor:
            return of._replace(dtype=dtype) if of.dtype in FLOATS else of

        nodes = tuple(
            node._replace(
                operands=tuple([o._replace(tensor=tensor(o.tensor)) for o in node.operands]),
                outputs=tuple([tensor(output) for output in node.outputs]),
            )
            for node in self.nodes
        )
        return replace(self, nodes=nodes, inputs=tuple([tensor(of) for of in self.inputs]))

    @cached_property
    def hash(self) -> str:
        """Canonical SHA-256 (hex): equal for the same network under other names and another order (hashing.py)."""
        return canonical_hash(self)

    def to_json(self) -> str:
        """The Graph as JSON text; `from_json` restores it exactly."""
        return json.dumps(
            {
                "name": self.name,
                "inputs": [[list(t.shape), t.dtype] for t in self.inputs],
                "input_names": list(self.input_names),
                "nodes": [
                    {
                        "name": n.name,
                        "op": n.op,
                        "domain": n.domain,
                        "attributes": {k: list(v) if isinstance(v, tuple) else v for k, v in n.attributes.items()},
                        "operands": [_row(o) for o in n.operands],
                        "outputs": [[list(t.shape), t.dtype] for t in n.outputs],
                        **({"origin": list(n.origin)} if n.origin else {}),
                        **({"left_out": list(n.left_out)} if n.left_out else {}),
                    }
                    for n in self.nodes
                ],
                **({"modules": dict(self.modules)} if self.modules else {}),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Graph:
        """Read what `to_json` wrote. Raises ModelError on anything else."""
        try:
            data: dict[str, Any] = json.loads(text)
            return cls(
                name=data["name"],
                inputs=tuple(Tensor(tuple(shape), dtype) for shape, dtype in data["inputs"]),
                input_names=tuple(data["input_names"]),
                modules=dict(data.get("modules", {})),
                nodes=tuple(
                    Node(
                        name=n["name"],
                        op=n["op"],
                        domain=n["domain"],
                        attributes={k: tuple(v) if isinstance(v, list) else v for k, v in n["attributes"].items()},
                        operands=tuple(_operand(*row) for row in n["operands"]),
                        outputs=tuple(Tensor(tuple(shape), dtype) for shape, dtype in n["outputs"]),
                        origin=tuple(n.get("origin", ())),
                        left_out=tuple(n.get("left_out", ())),
                    )
                    for n in data["nodes"]
                ),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"not a Graph in JSON form: {error}; write one with Graph.to_json") from error


def _told(tensor: Tensor) -> str:
    """A tensor in short: 1x3x224x224, with its dtype where that is not float32."""
    shape = "x".join(map(str, tensor.shape)) or "scalar"
    return shape if tensor.dtype == "float32" else f"{shape} {tensor.dtype}"


def _row(operand: Operand) -> list[object]:
    """An Operand as JSON has it; what is not known is left out at the end."""
    tensor, source, output, name, value, trained = operand
    row: list[object] = [list(tensor.shape), tensor.dtype, source, output, name]
    if value is not None or trained is not None:
        row.append(None if value is None else list(value))
    return row if trained is None else [*row, trained]


def _operand(
    shape: Sequence[int],
    dtype: str,
    source: int | None = None,
    output: int = 0,
    name: str = "",
    value: Sequence[float] | None = None,
    trained: bool | None = None,
) -> Operand:
    """An Operand from its row in JSON."""
    held = None if value is None else tuple(value)
    return Operand(Tensor(tuple(shape), dtype), source, output, name, held, trained)
