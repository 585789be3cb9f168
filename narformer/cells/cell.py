"""Cells of NAS-Bench-101 and NAS-Bench-201, from the text forms in which the benchmarks' tables write them.

A cell is a small directed acyclic graph: operations on its nodes, input first, output last, edges from earlier nodes
to later ones. NAS-Bench-201 puts its operations on edges; here, as in NAR-Former V2, each of its six edges is a node.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from narformer.errors import ConfigError, DataError, did_you_mean
from narformer.families import nasbench201

# Operation codes of each space, by position (NAR-Former V2, released code).
OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "nasbench101": ("input", "conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3", "output"),
    "nasbench201": nasbench201.CODES,
}
MAX_VERTICES, MAX_EDGES = 7, 9  # NAS-Bench-101, section 2.1
EDGES_201 = nasbench201.EDGES
# How NAS-Bench-101's own hash numbers operations: input −1, output −2, the others in this order.
_HASH_LABELS = {"input": -1, "output": -2, "conv3x3-bn-relu": 0, "conv1x1-bn-relu": 1, "maxpool3x3": 2}


@dataclass(frozen=True)
class Cell:
    """One cell: its space, operations by node in topological order, and directed edges as (producer, consumer).

    Raises DataError for an unknown operation, an edge that does not point forward, or a cell without input and output.
    """

    space: str
    operations: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        known = OPERATIONS.get(self.space)
        if known is None:
            raise DataError(f"unknown space {self.space!r}; known are {', '.join(OPERATIONS)}")
        unknown = [o for o in self.operations if o not in known]
        if unknown:
            raise DataError(f"cell {self}: unknown operation {unknown[0]!r}; known are {', '.join(known)}")
        inner = self.operations[1:-1]
        ends = (self.operations[:1], self.operations[-1:]) == (("input",), ("output",))
        if not ends or "input" in inner or "output" in inner:
            raise DataError(f"cell {self}: the first operation must be input, the last output, and no other either")
        for producer, consumer in self.edges:
            if not 0 <= producer < consumer < len(self.operations):
                raise DataError(f"cell {self}: edge {producer} -> {consumer} must go from an earlier to a later node")

    def __str__(self) -> str:
        """The text form of the cell's space; `parse_cell` reads it again."""
        if self.space == "nasbench201" and len(self.operations) == 8:
            words = [f"{op}~{source}" for op, (source, _) in zip(self.operations[1:-1], EDGES_201, strict=True)]
            return "+".join(f"|{'|'.join(part)}|" for part in (words[:1], words[1:3], words[3:]))
        present = set(self.edges)
        pairs = itertools.combinations(range(len(self.operations)), 2)
        return "".join("1" if pair in present else "0" for pair in pairs) + "," + ";".join(self.operations)

    @cached_property
    def codes(self) -> tuple[int, ...]:
        """Operation code of each node."""
        return tuple(OPERATIONS[self.space].index(o) for o in self.operations)

    @cached_property
    def matrix(self) -> npt.NDArray[np.bool_]:
        """Adjacency (V, V): row produces, column consumes."""
        matrix = np.zeros((len(self.operations),) * 2, dtype=bool)
        for producer, consumer in self.edges:
            matrix[producer, consumer] = True
        return matrix

    @cached_property
    def hash(self) -> str:
        """NAS-Bench-101's `module_hash` (Ying et al., 2019): equal cells, equal hash.

        MD5 of each node's degrees and operation; as many rounds as nodes, each joining a node's hash with the sorted
        hashes of its producers and of its consumers; MD5 of the sorted result.
        """
        labels = [_HASH_LABELS.get(o, code) for o, code in zip(self.operations, self.codes, strict=True)]
        producers = [[p for p, c in self.edges if c == node] for node in range(len(labels))]
        consumers = [[c for p, c in self.edges if p == node] for node in range(len(labels))]
        hashes = [
            _md5(str((len(outs), len(ins), label)))
            for ins, outs, label in zip(producers, consumers, labels, strict=True)
        ]
        for _ in labels:
            before = ["".join(sorted([hashes[p] for p in nodes])) for nodes in producers]
            after = ["".join(sorted([hashes[c] for c in nodes])) for nodes in consumers]
            hashes = [_md5("|".join(parts)) for parts in zip(before, after, hashes, strict=True)]
        return _md5(str(sorted(hashes)))


def known_space(space: str) -> str:
    """The name itself. Raises ConfigError, naming those there are, for a space that is not known."""
    if space not in OPERATIONS:
        raise ConfigError(
            f"unknown space {space!r}; {did_you_mean(space, OPERATIONS)}known are {', '.join(OPERATIONS)}"
        )
    return space


def parse_cell(space: str, text: str) -> Cell:
    """A cell from its text form. Raises DataError, naming the cell, for anything that is not a cell of `space`."""
    if space == "nasbench101":
        return parse_nasbench101(text)
    if space == "nasbench201":
        return parse_nasbench201(text)
    raise DataError(f"unknown space {space!r}; known are {', '.join(OPERATIONS)}")


def parse_nasbench101(text: str) -> Cell:
    """`UPPER_TRIANGLE,op;op;...`: bits of the adjacency above its diagonal, row by row, then the operations."""
    bits, _, words = text.strip().strip('"').partition(",")
    return nasbench101_cell(bits, words.split(";"), text)


def nasbench101_cell(bits: str, operations: Sequence[str], text: str = "") -> Cell:
    """A cell of NAS-Bench-101 from the bits of its upper triangle and its operations.

    Nodes off every path from input to output are dropped, as the benchmark does. Raises DataError for what is not a
    cell of the space: over 7 vertices or 9 edges, an output that the input does not reach.
    """
    text = text or f"{bits},{';'.join(operations)}"
    size = len(operations)
    if len(bits) != size * (size - 1) // 2 or set(bits) - {"0", "1"}:
        raise DataError(
            f"cell {text!r}: {size} operations need {size * (size - 1) // 2} bits of upper triangle, found {bits!r}; "
            "write UPPER_TRIANGLE,operation;operation;..."
        )
    pairs = itertools.combinations(range(size), 2)
    cell = Cell("nasbench101", tuple(operations), tuple(p for p, bit in zip(pairs, bits, strict=True) if bit == "1"))
    return _within_limits(pruned(cell), text)


def nasbench101_from_matrix(matrix: npt.ArrayLike, operations: Sequence[str]) -> Cell:
    """A cell of NAS-Bench-101 from its adjacency matrix (V, V), which must be upper triangular. Raises DataError."""
    array = np.asarray(matrix)
    text = f"{array.tolist()}, {';'.join(operations)}"
    if array.shape != (len(operations), len(operations)):
        raise DataError(f"cell {text}: {len(operations)} operations need a matrix of that many rows and columns")
    if np.tril(array).any() or not np.isin(array, (0, 1)).all():
        raise DataError(f"cell {text}: the matrix must be of 0 and 1, upper triangular (a cell has no cycles)")
    edges = tuple((int(p), int(c)) for p, c in np.argwhere(array))
    return _within_limits(pruned(Cell("nasbench101", tuple(operations), edges)), text)


def _within_limits(cell: Cell, text: str) -> Cell:
    if len(cell.operations) > MAX_VERTICES:
        raise DataError(f"cell {text!r}: {len(cell.operations)} vertices; NAS-Bench-101 has at most {MAX_VERTICES}")
    if len(cell.edges) > MAX_EDGES:
        raise DataError(f"cell {text!r}: {len(cell.edges)} edges; NAS-Bench-101 has at most {MAX_EDGES}")
    return cell


def pruned(cell: Cell) -> Cell:
    """The cell without nodes that are on no path from input to output. Raises DataError where there is no path."""
    size = len(cell.operations)
    forward, backward = {0}, {size - 1}
    for producer, consumer in sorted(cell.edges):
        if producer in forward:
            forward.add(consumer)
    for producer, consumer in sorted(cell.edges, key=lambda e: -e[1]):
        if consumer in backward:
            backward.add(producer)
    kept = sorted(forward & backward)
    if 0 not in kept or size - 1 not in kept:
        raise DataError(f"cell {cell}: its input does not reach its output")
    if len(kept) == size:
        return cell
    new = {old: index for index, old in enumerate(kept)}
    edges = tuple((new[p], new[c]) for p, c in cell.edges if p in new and c in new)
    return Cell(cell.space, tuple(cell.operations[k] for k in kept), edges)


def parse_nasbench201(text: str) -> Cell:
    """`|op~0|+|op~0|op~1|+|op~0|op~1|op~2|` as eight nodes: input, the six edges, output.

    An edge feeds those that start where it ends; edges from node 0 read the input, edges into node 3 feed the output.
    """
    return nasbench201_cell(nasbench201.edge_operations(text))


def nasbench201_cell(operations: Sequence[str]) -> Cell:
    """A cell of NAS-Bench-201 from the operations of its six edges, in the order of `EDGES_201`."""
    return Cell("nasbench201", ("input", *operations, "output"), NODES_201)


def _nodes_201() -> tuple[tuple[int, int], ...]:
    edges = [(0, k) for k, (source, _) in enumerate(EDGES_201, start=1) if source == 0]
    for k, (_, target) in enumerate(EDGES_201, start=1):
        edges += [(k, other) for other, (source, _) in enumerate(EDGES_201, start=1) if source == target]
        if target == 3:
            edges.append((k, 7))
    return tuple(sorted(edges))


# Edges of a NAS-Bench-201 cell once its operations are nodes; every cell has the same.
NODES_201 = _nodes_201()


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
