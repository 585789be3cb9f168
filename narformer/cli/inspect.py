"""`narformer inspect`: what a network costs, by operator type and by node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from narformer.cli.inputs import BATCH_SIZE, DIM, INPUT_SHAPE, read_each, sizes_from

if TYPE_CHECKING:
    from narformer.cost import Cost
    from narformer.graph import Graph


def inspect(
    model: Path = typer.Argument(..., help="ONNX file, with or without weights.", metavar="MODEL"),
    batch_size: int | None = BATCH_SIZE,
    input_shape: list[str] = INPUT_SHAPE,
    dim: list[str] = DIM,
    top: int = typer.Option(10, "--top", min=0, help="How many of the heaviest nodes to list."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Show what a network costs: MACs, parameters and memory traffic, by operator and for the heaviest nodes.

    An operator of which narformer does not know what it computes is named; it counts no MACs.
    """
    from narformer.cost import graph_cost, node_costs, without_cost_rule
    from narformer.frontends.canonical import network_hash

    (graph,) = read_each([model], sizes_from(batch_size, input_shape, dim))
    costs, total = node_costs(graph), graph_cost(graph)
    heaviest = sorted(range(len(graph)), key=lambda i: (-costs[i].macs, -costs[i].activation_bytes, i))[:top]
    unknown = without_cost_rule(graph)
    by_operator: dict[str, list[Cost]] = {}
    for node, cost in zip(graph.nodes, costs, strict=True):
        name = f"{node.domain}.{node.op}"
        by_operator.setdefault(name if name in unknown else node.op, []).append(cost)
    if as_json:
        print(json.dumps(_as_dict(graph, network_hash(graph), total, by_operator, heaviest, costs, unknown), indent=2))
    else:
        _print(graph, total, by_operator, heaviest, costs, unknown)


def _summed(costs: list[Cost]) -> dict[str, int]:
    return {
        "count": len(costs),
        "macs": sum(c.macs for c in costs),
        "operations": sum(c.operations for c in costs),
        "parameters": sum(c.parameters for c in costs),
        "activation_bytes": sum(c.activation_bytes for c in costs),
        "weight_bytes": sum(c.weight_bytes for c in costs),
    }


def _as_dict(
    graph: Graph,
    hash: str,
    total: Cost,
    by_operator: dict[str, list[Cost]],
    heaviest: list[int],
    costs: tuple[Cost, ...],
    unknown: dict[str, int],
) -> dict[str, object]:
    from narformer.cost import peak_bytes

    names = graph.input_names or tuple(str(k) for k in range(len(graph.inputs)))
    return {
        "model": graph.name,
        "hash": hash,
        "nodes": len(graph),
        "inputs": {n: list(t.shape) for n, t in zip(names, graph.inputs, strict=True)},
        "macs": total.macs,
        "flops": total.flops,
        "operations": total.operations,
        "parameters": total.parameters,
        "activation_bytes": total.activation_bytes,
        "weight_bytes": total.weight_bytes,
        "peak_bytes": peak_bytes(graph),
        "without_cost_rule": unknown,
        "operators": {op: _summed(c) for op, c in by_operator.items()},
        "heaviest": [
            {
                "name": graph.nodes[i].name,
                "op": graph.nodes[i].op,
                "output_shape": list(graph.nodes[i].output_shape),
                "macs": costs[i].macs,
                "parameters": costs[i].parameters,
            }
            for i in heaviest
        ],
    }


def _print(
    graph: Graph,
    total: Cost,
    by_operator: dict[str, list[Cost]],
    heaviest: list[int],
    costs: tuple[Cost, ...],
    unknown: dict[str, int],
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from narformer.cost import peak_bytes

    console = Console(highlight=False)
    names = graph.input_names or tuple(str(k) for k in range(len(graph.inputs)))
    inputs = ", ".join(f"{n} {'x'.join(map(str, t.shape))}" for n, t in zip(names, graph.inputs, strict=True))
    console.print(Text(graph.name, style="bold"), f"  {len(graph)} nodes, input {inputs}", markup=False, soft_wrap=True)
    console.print(
        f"{_count(total.macs)}MACs ({_count(total.flops)}FLOPs), {_count(total.parameters)}parameters "
        f"({_count(total.weight_bytes)}B), {_count(total.activation_bytes)}B of activations read and written, "
        f"{_count(peak_bytes(graph))}B of memory at most\n",
        soft_wrap=True,
    )
    for name, nodes_of in unknown.items():
        told = f"{name} ({nodes_of} node{'s' if nodes_of > 1 else ''}): no cost rule, counted as 0 MACs; "
        console.print(told + "narformer.operators.register gives it one\n", markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    for name in ("operator", "count", "MACs", "share", "parameters", "activations"):
        table.add_column(name, justify="left" if name == "operator" else "right")
    for op, cost in sorted(by_operator.items(), key=lambda item: (-sum(c.macs for c in item[1]), item[0])):
        s = _summed(cost)
        share = f"{100 * s['macs'] / total.macs:.1f} %" if total.macs and op not in unknown else ""
        row = [
            "unknown" if op in unknown else _count(s["macs"]),
            share,
            _count(s["parameters"]),
            _count(s["activation_bytes"]) + "B",
        ]
        table.add_row(op, str(s["count"]), *row)
    console.print(table)
    if heaviest:
        nodes = Table(title="heaviest nodes", title_justify="left", box=None, pad_edge=False, padding=(0, 2))
        for name in ("node", "operator", "output", "MACs", "share"):
            nodes.add_column(name, justify="right" if name in ("MACs", "share") else "left", overflow="ellipsis")
        for i in heaviest:
            share = f"{100 * costs[i].macs / total.macs:.1f} %" if total.macs else ""
            node = graph.nodes[i]
            nodes.add_row(node.name, node.op, "x".join(map(str, node.output_shape)), _count(costs[i].macs), share)
        console.print()
        console.print(nodes)


def _count(value: float) -> str:
    """Three significant digits with a decimal prefix: 1814073344 -> '1.81 G'."""
    for prefix in ("", "k", "M", "G", "T"):
        if value < 999.5 or prefix == "T":
            digits = 0 if value >= 99.95 or prefix == "" else 1 if value >= 9.995 else 2
            return f"{value:.{digits}f} {prefix}"
        value /= 1000
    raise AssertionError
