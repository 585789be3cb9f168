"""The modules of a network: which nodes belong to which, as a tree, from what the file says of its nodes.

A node's module is found in the metadata that torch's newer exporter writes, in the node's name
(`/layer1/layer1.0/conv1/Conv` of the older exporter, `layer1.0.conv1/conv2d` of `read_torch`, `block/conv/Conv2D` of
TensorFlow), or in the name of a weight that it reads (`layer1.0.conv1.weight`). Modules are told apart by their path:
`layer1.0.conv1`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from narformer.cost import Cost, node_costs, summed
from narformer.graph import Graph, Node

Path = tuple[str, ...]


class Module(NamedTuple):
    """One module: its path, `layer1.0` (empty for the network itself), how many modules are around it, and its nodes.

    nodes: indices into the Graph's nodes, of those within it however deep. cost: theirs together.
    """

    path: str
    depth: int
    nodes: tuple[int, ...]
    cost: Cost

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition(".")[2]

    def indented(self, network: str) -> str:
        """Its name behind as much space as there are modules around it; that of the network for itself."""
        return "  " * self.depth + self.name if self.depth else network

    def record(self) -> dict[str, str | int]:
        """What it costs, as JSON's types."""
        return {
            "module": self.path,
            "nodes": len(self.nodes),
            "macs": self.cost.macs,
            "operations": self.cost.operations,
            "parameters": self.cost.parameters,
            "activation_bytes": self.cost.activation_bytes,
            "weight_bytes": self.cost.weight_bytes,
        }


def modules(graph: Graph, depth: int | None = None) -> tuple[Module, ...]:
    """The network and its modules, each before those within it, in the order in which they run.

    depth: how many levels below the network itself; all by default. Nodes of deeper ones are in the last level's.
    """
    within: dict[Path, list[int]] = {(): []}
    for index, node in enumerate(graph.nodes):
        path = module_path(graph, node)[:depth]
        for level in range(len(path) + 1):
            within.setdefault(path[:level], []).append(index)
    costs = node_costs(graph)
    return tuple(
        Module(".".join(path), len(path), tuple(within[path]), summed([costs[index] for index in within[path]]))
        for path in _in_order(list(within))
    )


def module_latencies(
    graph: Graph, found: Sequence[Module], read: Graph, milliseconds: Sequence[float]
) -> tuple[float, ...]:
    """What each module takes. found: modules of the graph.

    read, milliseconds: the Graph of which a predictor explains the nodes, and the time of each (`Predictor.explain`).
    What several modules' nodes run as counts for the one whose node gives that kernel its name.
    """
    paths = {node.name: module_path(graph, node) for node in graph.nodes}
    time: dict[str, float] = {}
    for node, ms in zip(read.nodes, milliseconds, strict=True):
        path = paths.get(node.name, ())
        for level in range(len(path) + 1):
            key = ".".join(path[:level])
            time[key] = time.get(key, 0.0) + ms
    return tuple(time.get(module.path, 0.0) for module in found)


def module_path(graph: Graph, node: Node) -> Path:
    """Names of the modules around a node, from the outermost; empty where nothing is known."""
    told = graph.modules.get(node.name)
    if told is not None:
        return tuple(told.split("."))
    parts = [part for part in node.name.split("/")[:-1] if part]
    if parts:
        return _unrepeated(parts)
    for operand in node.operands:
        if operand.source is None and "." in operand.name:
            *path, last = operand.name.split(".")
            if last.isidentifier() and all(part.isidentifier() or part.isdigit() for part in path):
                return tuple(path)
    return ()


def _unrepeated(parts: list[str]) -> Path:
    """Parts of a name as a path: torch's older exporter writes layer1/layer1.0 for what is 0 in layer1."""
    path: list[str] = []
    before = ""
    for part in parts:
        own = part[len(before) + 1 :] if before and part.startswith(f"{before}.") else part
        path += [name for name in own.split(".") if name]
        before = part
    return tuple(path)


def _in_order(paths: list[Path]) -> list[Path]:
    """Each path before those below it, and siblings as they come."""
    below: dict[Path, list[Path]] = {path: [] for path in paths}
    for path in paths:
        if path:
            below[path[:-1]].append(path)
    found: list[Path] = []
    waiting: list[Path] = [()]
    while waiting:
        path = waiting.pop()
        found.append(path)
        waiting += reversed(below[path])
    return found
