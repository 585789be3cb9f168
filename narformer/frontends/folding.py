"""What every inference runtime does to a network before running it: a convolution takes in the BatchNormalization."""

from __future__ import annotations

from collections import Counter

from narformer.graph import Graph, Node, Operand, Tensor


def foldable(graph: Graph) -> list[int]:
    """Indices of the BatchNormalizations whose input is a convolution that nothing else reads."""
    if not any(node.op == "BatchNormalization" for node in graph.nodes):
        return []
    readers = Counter([source for node in graph.nodes for source in node.sources])
    found = []
    for index, node in enumerate(graph.nodes):
        source = node.operands[0].source if node.op == "BatchNormalization" and node.operands else None
        if source is not None and source >= 0 and readers[source] == 1 and graph.nodes[source].op == "Conv":
            found.append(index)
    return found


def fold_batch_norm(graph: Graph) -> Graph:
    """The Graph with each BatchNormalization of `foldable` merged into its convolution, which gets a bias."""
    folded = set(foldable(graph))
    if not folded:
        return graph
    into = {node.operands[0].source for index, node in enumerate(graph.nodes) if index in folded}
    new: dict[int, int] = {}
    nodes: list[Node] = []
    for index, node in enumerate(graph.nodes):
        if index in folded:
            source = node.operands[0].source
            assert source is not None
            new[index] = new[source]
            continue
        new[index] = len(nodes)
        operands = tuple(
            [
                o if o.source is None or o.source < 0 else Operand(o.tensor, new[o.source], o.output, o.name)
                for o in node.operands
            ]
        )
        if index in into and len(operands) == 2:
            weight = operands[1].tensor
            operands = (*operands, Operand(Tensor(weight.shape[:1], weight.dtype), name=f"{node.name}.folded_bias"))
        nodes.append(Node(node.name, node.op, operands, node.outputs, node.attributes, node.domain, (), node.left_out))
    return Graph(tuple(nodes), graph.inputs, graph.input_names, graph.name, graph.modules)
