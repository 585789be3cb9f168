"""What operators really read and write, where that is not all of each operand and output.

Rules give elements by position; positions that they leave out are read, or written, in whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from narformer.graph import Node
from narformer.operators.attention import held
from narformer.operators.macs import number
from narformer.operators.operator import Count, Counts


def nothing(node: Node) -> Mapping[int, int]:
    """Views: another way to look at the same numbers."""
    return dict.fromkeys(node.positions, 0)


def no_output(node: Node) -> Mapping[int, int]:
    """Nothing is written."""
    return dict.fromkeys(range(len(node.outputs)), 0)


def written(position: int = 0) -> Counts:
    """As many elements of an operand as the output has: rows of a table, or a part of the data."""

    def rule(node: Node) -> Mapping[int, int]:
        operand = node.operand(position)
        return {} if operand is None else {position: min(math.prod(node.output_shape), operand.tensor.elements)}

    return rule


def neighbours(node: Node) -> Mapping[int, int]:
    """Of resized data: no more than as many places as all outputs have neighbours."""
    if not node.operands:
        return {}
    usual = "linear" if node.op == "GridSample" else "nearest"
    near = {"linear": 2, "bilinear": 2, "cubic": 4, "bicubic": 4}.get(str(node.attributes.get("mode", usual)), 1)
    resized = sum(a != b for a, b in zip(node.operands[0].tensor.shape, node.output_shape, strict=False))
    return {0: min(node.operands[0].tensor.elements, math.prod((*node.output_shape, *[near] * resized)))}


def embeddings(*tables: int) -> Counts:
    """One row of each table for every word: (N, S, width) is what comes out."""

    def rule(node: Node) -> Mapping[int, int]:
        found: dict[int, int] = {}
        for position in tables:
            table = node.operand(position)
            if table is not None:
                found[position] = min(math.prod(node.output_shape), table.tensor.elements)
        return found

    return rule


def rotary(cosines: int, sines: int, places: int) -> Counts:
    """Of tables (positions, width): one row for each place that is looked up; all where none is."""

    def rule(node: Node) -> Mapping[int, int]:
        looked_up = node.operand(places)
        found: dict[int, int] = {}
        for position in (cosines, sines):
            table = node.operand(position)
            if table is not None and looked_up is not None and len(table.tensor.shape) == 2:
                shape = looked_up.tensor.shape
                rows = math.prod(shape)
                if rows == 1 and node.operands[0].tensor.shape:  # the first place; the others follow
                    x = node.operands[0].tensor.shape
                    rows = x[-2] if len(x) > 1 else 1
                found[position] = min(rows * table.tensor.shape[1], table.tensor.elements)
        return found

    return rule


def packed_rows(node: Node) -> Mapping[int, int]:
    """Of a table of packed numbers: as many of its elements as the rows that come out take."""
    table = node.operand(0)
    if table is None:
        return {}
    share = 8 // max(number(node, "bits", 4), 1) if table.tensor.dtype == "uint8" else 1
    block = max(number(node, "block_size", 128), 1)
    read = math.prod(node.output_shape)
    found = {0: min(-(-read // max(share, 1)), table.tensor.elements)}
    for position in (2, 3):
        operand = node.operand(position)
        if operand is not None:
            found[position] = min(-(-read // block), operand.tensor.elements)
    return found


def packed_table(node: Node) -> Mapping[int, int]:
    """How many numbers a table holds that packs several into a byte."""
    table = node.operand(0)
    if table is None:
        return {}
    share = 8 // max(number(node, "bits", 4), 1) if table.tensor.dtype == "uint8" else 1
    return {0: table.tensor.elements * max(share, 1)}


def packed_matrix(node: Node) -> Mapping[int, int]:
    """A matrix of K by N numbers, however it is packed; without these attributes as many as meet the data."""
    size = number(node, "K") * number(node, "N")
    if not size:
        size = (node.operands[0].tensor.shape or (0,))[-1] * (node.output_shape or (0,))[-1]
    return {1: size}


def packed_several(columns: Mapping[int, str]) -> Counts:
    """Matrices of K by as many columns as an attribute says, by position."""

    def rule(node: Node) -> Mapping[int, int]:
        return {position: number(node, "K") * number(node, name) for position, name in columns.items()}

    return rule


def chosen_experts(*weights: int) -> Counts:
    """Weights of the experts that can be chosen: k for each token, and no more than there are."""

    def rule(node: Node) -> Mapping[int, int]:
        tokens = math.prod(node.operands[0].tensor.shape[:-1])
        found: dict[int, int] = {}
        for position in weights:
            operand = node.operand(position)
            if operand is not None and operand.tensor.shape:
                every = operand.tensor.shape[0]
                used = min(every, tokens * number(node, "k", 1))
                found[position] = operand.tensor.elements // max(every, 1) * used
        return found

    return rule


def cached(keys: Count, *positions: int) -> Counts:
    """Of a buffer of keys and values (N, heads, longest, head): those that there are."""

    def rule(node: Node) -> Mapping[int, int]:
        found: dict[int, int] = {}
        for position in positions:
            operand = node.operand(position)
            if operand is not None and len(operand.tensor.shape) == 4:
                shape = operand.tensor.shape
                found[position] = operand.tensor.elements // max(shape[2], 1) * min(keys(node), shape[2])
        return found

    return rule


def appended(total: int, *buffers: int) -> Counts:
    """Keys and values of this run alone, where outputs 1 and 2 are the buffers read (N, heads, longest, head).

    total: position of the number of keys in all, which tells buffers from caches that grow.
    """

    def rule(node: Node) -> Mapping[int, int]:
        found: dict[int, int] = {}
        every = held(node, total)
        for output, position in enumerate(buffers, 1):
            operand = node.operand(position)
            if operand is None or every is None or output >= len(node.outputs):
                continue
            before, after = operand.tensor.shape, node.outputs[output].shape
            if before == after and len(after) == 4 and len(node.operands[0].tensor.shape) == 3:
                steps = min(node.operands[0].tensor.shape[1], after[2])
                found[output] = node.outputs[output].elements // max(after[2], 1) * steps
        return found

    return rule
