"""Raw numbers of a network as NNLQP's and NAR-Former V2's released code has them, token by token.

It differs from `raw_nodes` in two ways: a constant that Clip, Mul, Div, Add or Reshape reads is a token of its own, of
kind Input (no operation, no attributes), with an edge to its reader; and a Split of k outputs is k tokens, each with
the shape of its output, its producers' edges, and its readers. Weights of other operators are still no tokens.

Files that an exporter of another opset wrote differ here: to Clip the bounds are attributes up to opset 10, and
constants since. Tokens stand in another order than in the released code, on which no model of whole networks depends.
"""

from __future__ import annotations

import numpy as np

from narformer.graph import Graph
from narformer.tokens.raw import CODE, SLOTS, UNKNOWN, RawNodes, raw_nodes

READ_CONSTANTS = frozenset({"Clip", "Mul", "Div", "Add", "Reshape"})
DIMS = 4


def released_nodes(graph: Graph) -> RawNodes:
    """The numbers of `raw_nodes`, then those of constants and of further outputs of Splits as they are first met."""
    plain = raw_nodes(graph)
    inputs = len(graph.inputs)
    rows: list[list[int]] = []
    edges: dict[tuple[int, int], None] = {}
    constants: dict[str, int] = {}
    parts: dict[tuple[int, int], int] = {}  # (index of a Split, which output): its token

    def added(operation: int, shape: tuple[int, ...]) -> int:
        rows.append([operation, *(0,) * SLOTS, *shape[:DIMS], *(0,) * (DIMS - len(shape[:DIMS]))])
        return len(plain) + len(rows) - 1

    for index, node in enumerate(graph.nodes):
        tokens = [index + inputs]
        if node.op == "Split":
            tokens += [added(CODE["Split"], output.shape) for output in node.outputs[1:]]
            parts.update({(index, output): token for output, token in enumerate(tokens)})
        for operand in node.operands:
            if operand.source is None:
                if node.op not in READ_CONSTANTS:
                    continue
                producer = constants.get(operand.name)
                if producer is None:
                    producer = added(UNKNOWN, operand.tensor.shape)
                    if operand.name:  # two readers of one stored constant share its token
                        constants[operand.name] = producer
            elif operand.source < 0:
                producer = ~operand.source
            else:
                producer = parts.get((operand.source, operand.output), operand.source + inputs)
            edges.update(dict.fromkeys((producer, token) for token in tokens))
    table = np.array(rows, dtype=np.int64).reshape(-1, 1 + SLOTS + DIMS)
    return RawNodes(
        np.concatenate([plain.operation, table[:, 0]]),
        np.concatenate([plain.attributes, table[:, 1 : 1 + SLOTS]]),
        np.concatenate([plain.shapes, table[:, 1 + SLOTS :]]),
        np.array(list(edges), dtype=np.int32).reshape(-1, 2).T,
    )
