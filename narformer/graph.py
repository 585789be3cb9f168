"""A network as data: what every part of narformer reads and no part changes.

A Graph holds operators only. Weights and constants are operands of the node that reads them,
never nodes of their own, and the tensors fed from outside are the Graph's `inputs`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from narformer.errors import ModelError

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
        "float4": 0.5,
        "int64": 8,
        "int32": 4,
        "int16": 2,
        "int8": 1,
        "int4": 0.5,
        "uint64": 8,
        "uint32": 4,
        "uint16": 2,
        "uint8": 1,
        "uint4": 0.5,
        "bool": 1,
        "complex64": 8,
        "complex128": 16,
        "string": 8,
    }
)


@dataclass(frozen=True, slots=True)
class Tensor:
    """Shape and element type of one value. Shapes are concrete: no symbols, no unknowns."""

    shape: Shape
    dtype: str = "float32"

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return math.ceil(self.elements * DTYPE_BYTES[self.dtype])


@dataclass(frozen=True, slots=True)
class Operand:
    """One input of a node.

    source: index of the node that computes it; `~k` (negative) for the Graph's input `k`;
        None for a weight or constant, which no node computes.
    output: which output of the source node, for operators with several (Split).
    name: for a weight, the name under which the file stores it (two nodes that share a weight share it).
    """

    tensor: Tensor
    source: int | None = None
    output: int = 0
    name: str = ""

    @property
    def is_weight(self) -> bool:
        return self.source is None


@dataclass(frozen=True, slots=True)
class Node:
    """One operator: its type as ONNX spells it, attributes, operands in the operator's order, outputs."""

    name: str
    op: str
    operands: tuple[Operand, ...]
    outputs: tuple[Tensor, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    domain: str = ""

    @property
    def sources(self) -> tuple[int, ...]:
        """Producers of the operands that are computed (`~k` for Graph input k), in operand order."""
        return tuple(o.source for o in self.operands if o.source is not None)

    @property
    def weights(self) -> tuple[Operand, ...]:
        return tuple(o for o in self.operands if o.source is None)

    @property
    def output_shape(self) -> Shape:
        """Shape of the first output: the one that tokens describe."""
        return self.outputs[0].shape if self.outputs else ()


@dataclass(frozen=True)
class Graph:
    """One network: nodes in topological order, inputs with their shapes. Immutable.

    Raises ModelError where a node reads from a later node or an input that does not exist.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Tensor, ...]
    input_names: tuple[str, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        for index, node in enumerate(self.nodes):
            for source in node.sources:
                if not -len(self.inputs) <= source < index:
                    raise ModelError(
                        f"{self.name or 'graph'}: node {index} ({node.op} {node.name!r}) reads from {source}, "
                        "which does not come before it; nodes must be in topological order"
                    )

    def __len__(self) -> int:
        return len(self.nodes)

    @cached_property
    def edges(self) -> npt.NDArray[np.int64]:
        """Directed edges between nodes, (E, 2): producer, consumer; each pair once, Graph inputs left out."""
        pairs = [(s, i) for i, node in enumerate(self.nodes) for s in dict.fromkeys(node.sources) if s >= 0]
        return np.asarray(pairs, dtype=np.int64).reshape(-1, 2)

    @cached_property
    def input_edges(self) -> npt.NDArray[np.int64]:
        """Edges from Graph inputs, (E, 2): input index, consumer node; each pair once."""
        pairs = [(~s, i) for i, node in enumerate(self.nodes) for s in dict.fromkeys(node.sources) if s < 0]
        return np.asarray(pairs, dtype=np.int64).reshape(-1, 2)

    @property
    def batch_size(self) -> int:
        """First dimension of the first input; 1 for an input without dimensions."""
        return self.inputs[0].shape[0] if self.inputs and self.inputs[0].shape else 1

    @cached_property
    def hash(self) -> str:
        """Canonical SHA-256 (hex): equal for the same network under other node names and another node order.

        Each node is hashed from its operator, attributes, operands and outputs together with the hashes of what
        it reads; then once more with those of its readers; the Graph is the sorted multiset of both.
        """
        below: list[str] = []
        inputs = [_digest("input", k, t.shape, t.dtype) for k, t in enumerate(self.inputs)]
        shared: dict[str, int] = {}
        for node in self.nodes:
            for weight in node.weights:
                if weight.name:
                    shared[weight.name] = shared.get(weight.name, 0) + 1
        for node in self.nodes:
            operands = [
                ("weight", o.tensor.shape, o.tensor.dtype, shared.get(o.name, 1))
                if o.source is None
                else (inputs[~o.source] if o.source < 0 else (below[o.source], o.output))
                for o in node.operands
            ]
            outputs = [(t.shape, t.dtype) for t in node.outputs]
            below.append(_digest(node.domain, node.op, sorted(node.attributes.items()), operands, outputs))
        readers: list[list[str]] = [[] for _ in self.nodes]
        above = [""] * len(self.nodes)
        for index in reversed(range(len(self.nodes))):
            above[index] = _digest(below[index], sorted(readers[index]))
            for source in self.nodes[index].sources:
                if source >= 0:
                    readers[source].append(above[index])
        return _digest(inputs, sorted(above))

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
                        "operands": [
                            [list(o.tensor.shape), o.tensor.dtype, o.source, o.output, o.name] for o in n.operands
                        ],
                        "outputs": [[list(t.shape), t.dtype] for t in n.outputs],
                    }
                    for n in self.nodes
                ],
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
                nodes=tuple(
                    Node(
                        name=n["name"],
                        op=n["op"],
                        domain=n["domain"],
                        attributes={k: tuple(v) if isinstance(v, list) else v for k, v in n["attributes"].items()},
                        operands=tuple(Operand(Tensor(tuple(shape), d), *rest) for shape, d, *rest in n["operands"]),
                        outputs=tuple(Tensor(tuple(shape), dtype) for shape, dtype in n["outputs"]),
                    )
                    for n in data["nodes"]
                ),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"not a Graph in JSON form: {error}; write one with Graph.to_json") from error


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
