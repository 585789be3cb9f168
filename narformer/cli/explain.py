"""`narformer explain`: which operators a network's latency goes to, as a table, as JSON, or as a plot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from narformer.cli.inputs import BATCH_SIZE, DIM, INPUT_SHAPE, plot_option, read_each, sizes_from
from narformer.cli.modules import BY, DEPTH, By, check_modules, levels
from narformer.figures import count
from narformer.figures import milliseconds as spelt

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from narformer.graph import Graph
    from narformer.modules import Module


def explain(
    model: Path = typer.Argument(..., help="An ONNX file, with or without weights."),
    device: str = typer.Option("cortexA76cpu", "--device", "-d", help="The device to explain."),
    by: By = BY,
    depth: int | None = DEPTH,
    top: int = typer.Option(15, "--top", min=1, help="How many nodes to list, the slowest first."),
    batch_size: int | None = BATCH_SIZE,
    input_shape: list[str] = INPUT_SHAPE,
    dim: list[str] = DIM,
    plot: Path | None = plot_option("the nodes in their order"),
    as_json: bool = typer.Option(False, "--json", help="Print a JSON object: latency, by operator, by node."),
    predictor: str | None = typer.Option(None, "--predictor", help="Name of a shipped predictor, or path of an .onnx."),
) -> None:
    """Say where the milliseconds go: by operator or module, and by node. The parts sum to what `predict` prints."""
    from narformer.adaptation.device import device_file
    from narformer.errors import ConfigError
    from narformer.modules import module_latencies, modules
    from narformer.prediction.predictor import Predictor

    shown = levels(by, depth)
    loaded = Predictor.load(predictor)
    if device not in loaded.devices and device_file(device).is_file():
        raise ConfigError(
            f"{device} is adapted: it is known by whole networks, not by nodes; "
            f"explain one of the predictor's own: {', '.join(loaded.devices)}"
        )
    loaded.predict([], [device])
    (graph,) = read_each([model], sizes_from(batch_size, input_shape, dim))
    read, parts = loaded.explain(graph)
    milliseconds = parts[:, loaded.devices.index(device)]
    total = float(milliseconds.sum())
    tree: tuple[Module, ...] = ()
    if shown is not None:
        tree = modules(graph, shown)
        check_modules(str(model), tree, shown)
    times = module_latencies(graph, tree, read, milliseconds.tolist())
    operators: dict[str, list[float]] = {}
    for node, ms in zip(read.nodes, milliseconds.tolist(), strict=True):
        operators.setdefault(node.op, []).append(ms)
    by_operator = sorted(((op, len(ms), sum(ms)) for op, ms in operators.items()), key=lambda row: -row[2])
    if plot is not None:
        _plot(read, milliseconds, device, plot)
    if as_json:
        nodes = [
            {"node": n.name, "operator": n.op, "shape": list(n.output_shape), "ms": round(ms, 6)}
            for n, ms in zip(read.nodes, milliseconds.tolist(), strict=True)
        ]
        listed = [{"operator": op, "nodes": nodes_of, "ms": round(ms, 6)} for op, nodes_of, ms in by_operator]
        answer = {"model": str(model), "device": device, "latency_ms": total, "operators": listed, "nodes": nodes}
        if tree:
            answer["modules"] = [
                {**module.record(), "ms": round(ms, 6)} for module, ms in zip(tree, times, strict=True)
            ]
        print(json.dumps(answer, indent=1))
        return
    print(f"{model} on {device}: {spelt(total)} ms")
    if tree:
        _print_modules(tree, times, model.name)
    else:
        print(f"\n{'operator':24s} {'nodes':>5s} {'ms':>9s} {'share':>7s}")
        for op, nodes_of, ms in by_operator:
            print(f"{op:24s} {nodes_of:5d} {spelt(ms):>9s} {100 * ms / total:6.1f} %")
    print(f"\n{'slowest nodes':40s} {'operator':16s} {'output':>18s} {'ms':>9s} {'share':>7s}")
    for row in milliseconds.argsort()[::-1][:top]:
        n, ms = read.nodes[row], float(milliseconds[row])
        shape = "×".join(map(str, n.output_shape))
        print(f"{n.name[:40]:40s} {n.op:16s} {shape:>18s} {spelt(ms):>9s} {100 * ms / total:6.1f} %")
    if plot is not None:
        print(f"\nplot: {plot}")


def _print_modules(tree: Sequence[Module], times: Sequence[float], network: str) -> None:
    """A row a module, those within it below it and further in."""
    names = [module.indented(network) for module in tree]
    width = max(24, *map(len, names))
    print(f"\n{'module':{width}s} {'nodes':>5s} {'ms':>9s} {'share':>7s}   {'MACs':>7s} {'parameters':>10s}")
    for name, module, ms in zip(names, tree, times, strict=True):
        cost, share = module.cost, 100 * ms / times[0]
        amounts = f"{count(cost.macs):>7s} {count(cost.parameters):>10s}"
        print(f"{name:{width}s} {len(module.nodes):5d} {spelt(ms):>9s} {share:6.1f} %   {amounts}")


def _plot(graph: Graph, milliseconds: npt.NDArray[np.float64], device: str, path: Path) -> None:
    """A bar a node in topological order, coloured by operator."""
    from narformer.evaluation.plots import pyplot, save_plot

    plt = pyplot()
    figure, axis = plt.subplots(figsize=(10, 3.5), layout="constrained")
    colours = plt.get_cmap("tab20")
    for number, op in enumerate(sorted({n.op for n in graph.nodes})):
        rows = [k for k, n in enumerate(graph.nodes) if n.op == op]
        axis.bar(rows, milliseconds[rows], width=1.0, color=colours(number % 20), label=op)
    axis.set(xlabel="node, in topological order", ylabel="ms", title=f"{graph.name} on {device}")
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    save_plot(figure, path)
