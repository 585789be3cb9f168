"""What a network is and costs, without predicting anything: nodes, MACs, parameters, bytes, memory at most."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from narformer.cost import Cost, graph_cost, node_costs, peak_bytes, summed, without_cost_rule
from narformer.figures import count, sizes
from narformer.frontends.canonical import network_hash
from narformer.graph import Graph
from narformer.modules import Module, modules
from narformer.operators import kernel_kind
from narformer.records import Answers
from narformer.tables import Column, Table

LISTED = 10  # heaviest nodes that JSON lists, where nothing else is asked for


@dataclass(frozen=True)
class OperatorCost:
    """All nodes of one operator: how many, and what they cost together. known: whether it has a cost rule."""

    operator: str
    nodes: int
    cost: Cost
    known: bool


@dataclass(frozen=True)
class Inspection:
    """What a network costs, per node, per operator and in all; see `narformer.cost.Cost` for what is counted.

    model: its file, or name. costs: a Cost for each node of `graph`. peak_bytes: memory at most, weights and the
    activations alive at once. without_cost_rule: operators of which nobody knows what they compute, and their nodes.

    >>> import narformer
    >>> inspection = narformer.inspect("examples/mobilenet_v2.onnx")
    >>> inspection.cost.macs, inspection.without_cost_rule
    (300774272, {})
    """

    model: str
    hash: str
    graph: Graph = field(repr=False)
    cost: Cost
    costs: tuple[Cost, ...] = field(repr=False)
    peak_bytes: int
    without_cost_rule: dict[str, int]

    @cached_property
    def operators(self) -> tuple[OperatorCost, ...]:
        """What the nodes of each operator cost, most MACs first."""
        found: dict[str, list[Cost]] = {}
        for node, cost in zip(self.graph.nodes, self.costs, strict=True):
            name = f"{node.domain}.{node.op}"
            found.setdefault(name if name in self.without_cost_rule else node.op, []).append(cost)
        rows = [
            OperatorCost(name, len(costs), summed(costs), name not in self.without_cost_rule)
            for name, costs in found.items()
        ]
        return tuple(sorted(rows, key=lambda row: (-row.cost.macs, row.operator)))

    def heaviest(self, top: int) -> list[int]:
        """Indices of the nodes with most MACs, and then most activations, first."""
        costs = self.costs
        return sorted(range(len(costs)), key=lambda i: (-costs[i].macs, -costs[i].activation_bytes, i))[:top]

    def modules(self, depth: int | None = None) -> tuple[Module, ...]:
        """The network and its modules, as a tree of so many levels; see `narformer.modules`."""
        return modules(self.graph, depth)

    def record(self) -> dict[str, Any]:
        """What is known of the whole network, as JSON's types: a row of a CSV."""
        names = self.graph.input_names or tuple(str(k) for k in range(len(self.graph.inputs)))
        return {
            "hash": self.hash,
            "model": self.model,
            "batch_size": self.graph.batch_size,
            "nodes": len(self.graph),
            "inputs": {n: list(t.shape) for n, t in zip(names, self.graph.inputs, strict=True)},
            "macs": self.cost.macs,
            "flops": self.cost.flops,
            "operations": self.cost.operations,
            "parameters": self.cost.parameters,
            "activation_bytes": self.cost.activation_bytes,
            "weight_bytes": self.cost.weight_bytes,
            "peak_bytes": self.peak_bytes,
            "without_cost_rule": dict(self.without_cost_rule),
        }

    def to_dict(self, top: int = LISTED, depth: int | None = None) -> dict[str, Any]:
        """`record`, and besides what each operator, each module to a depth, and the `top` heaviest nodes cost."""
        operators = {
            row.operator: {
                "count": row.nodes,
                "macs": row.cost.macs,
                "operations": row.cost.operations,
                "parameters": row.cost.parameters,
                "activation_bytes": row.cost.activation_bytes,
                "weight_bytes": row.cost.weight_bytes,
            }
            for row in self.operators
        }
        heaviest = [
            {
                "node": node.name,
                "operator": node.op,
                "kind": kernel_kind(node),
                "shape": list(node.output_shape),
                "macs": self.costs[i].macs,
                "parameters": self.costs[i].parameters,
            }
            for i in self.heaviest(top)
            for node in (self.graph.nodes[i],)
        ]
        tree = {} if depth is None else {"modules": [each.record() for each in self.modules(depth)]}
        return {**self.record(), "operators": operators, **tree, "heaviest": heaviest}

    def operator_table(self) -> Table:
        """What the nodes of each operator cost, as people read it."""
        return Table(
            _columns("operator"), tuple(self._row(r.operator, r.nodes, r.cost, r.known) for r in self.operators)
        )

    def module_table(self, depth: int | None = None) -> Table:
        """What each module costs, as people read it: a tree."""
        rows = [self._row(each.indented(self.model), len(each.nodes), each.cost, True) for each in self.modules(depth)]
        return Table(_columns("module"), tuple(rows))

    def _row(self, name: str, nodes: int, cost: Cost, known: bool) -> tuple[str, ...]:
        macs = count(cost.macs) if known else "unknown"
        share = self._share(cost) if known else ""
        activations = f"{count(cost.activation_bytes)}B"
        return (name, str(nodes), macs.strip(), share, count(cost.parameters).strip(), activations)

    def node_table(self, top: int = LISTED) -> Table:
        """The heaviest nodes, as people read them."""
        columns = (
            Column("heaviest nodes", short=True),
            Column("operator", short=True),
            Column("output"),
            Column("MACs", right=True),
            Column("share", right=True),
        )
        rows = []
        for i in self.heaviest(top):
            node, cost = self.graph.nodes[i], self.costs[i]
            rows.append((node.name, node.op, sizes(node.output_shape), count(cost.macs).strip(), self._share(cost)))
        return Table(columns, tuple(rows))

    def _share(self, cost: Cost) -> str:
        return f"{100 * cost.macs / self.cost.macs:.1f} %" if self.cost.macs else ""

    def summary(self) -> str:
        """The whole network in a line."""
        return (
            f"{count(self.cost.macs)}MACs ({count(self.cost.flops)}FLOPs), "
            f"{count(self.cost.parameters)}parameters ({count(self.cost.weight_bytes)}B), "
            f"{count(self.cost.activation_bytes)}B of activations read and written, "
            f"{count(self.peak_bytes)}B of memory at most"
        )

    def __repr__(self) -> str:
        return f"Inspection({self.model!r}: {len(self.graph)} nodes, {self.summary()})"

    def _repr_html_(self) -> str:
        return f"<p>{self.summary()}</p>\n{self.operator_table().html()}"


def _columns(first: str) -> tuple[Column, ...]:
    titles = ("nodes", "MACs", "share", "parameters", "activations")
    return (Column(first), *(Column(title, right=True) for title in titles))


class Inspections(Answers[Inspection]):
    """Inspections of several networks, in order."""

    def records(self) -> list[dict[str, Any]]:
        """A row a network, without its operators and nodes."""
        return [inspection.record() for inspection in self]

    def table(self) -> Table:
        """A line a network."""
        titles = ("nodes", "MACs", "parameters", "activations", "memory at most")
        columns = (Column("model", short=True), *(Column(title, right=True) for title in titles))
        rows = [
            (
                each.model,
                str(len(each.graph)),
                count(each.cost.macs).strip(),
                count(each.cost.parameters).strip(),
                f"{count(each.cost.activation_bytes)}B",
                f"{count(each.peak_bytes)}B",
            )
            for each in self
        ]
        return Table(columns, tuple(rows))


def inspection_of(graph: Graph, model: str | None = None) -> Inspection:
    """What a Graph costs. model: what to call it; by default its name."""
    return Inspection(
        graph.name if model is None else model,
        network_hash(graph),
        graph,
        graph_cost(graph),
        node_costs(graph),
        peak_bytes(graph),
        without_cost_rule(graph),
    )
