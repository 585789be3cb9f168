"""`narformer explain`: which operators a network's latency goes to, as a table, as JSON, or as a plot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from narformer.cli.inputs import BATCH_SIZE, DIM, INPUT_SHAPE, plot_option, read_each, sizes_from
from narformer.figures import milliseconds as spelt

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from narformer.graph import Graph


def explain(
    model: Path = typer.Argument(..., help="An ONNX file, with or without weights."),
    device: str = typer.Option("cortexA76cpu", "--device", "-d", help="The device to explain."),
    top: int = typer.Option(15, "--top", min=1, help="How many nodes to list, the slowest first."),
    batch_size: int | None = BATCH_SIZE,
    input_shape: list[str] = INPUT_SHAPE,
    dim: list[str] = DIM,
    plot: Path | None = plot_option("the nodes in their order"),
    as_json: bool = typer.Option(False, "--json", help="Print a JSON object: latency, by operator, by node."),
    predictor: str | None = typer.Option(None, "--predictor", help="Name of a shipped predictor, or path of an .onnx."),
) -> None:
    """Say where the milliseconds go: by operator and by node. The parts sum to what `predict` prints."""
    from narformer.adaptation.device import device_file
    from narformer.errors import ConfigError
    from narformer.prediction.predictor import Predictor

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
        listed = [{"operator": op, "nodes": count, "ms": round(ms, 6)} for op, count, ms in by_operator]
        answer = {"model": str(model), "device": device, "latency_ms": total, "operators": listed, "nodes": nodes}
        print(json.dumps(answer, indent=1))
        return
    print(f"{model} on {device}: {spelt(total)} ms")
    print(f"\n{'operator':24s} {'nodes':>5s} {'ms':>9s} {'share':>7s}")
    for op, count, ms in by_operator:
        print(f"{op:24s} {count:5d} {spelt(ms):>9s} {100 * ms / total:6.1f} %")
    print(f"\n{'slowest nodes':40s} {'operator':16s} {'output':>18s} {'ms':>9s} {'share':>7s}")
    for row in milliseconds.argsort()[::-1][:top]:
        n, ms = read.nodes[row], float(milliseconds[row])
        shape = "×".join(map(str, n.output_shape))
        print(f"{n.name[:40]:40s} {n.op:16s} {shape:>18s} {spelt(ms):>9s} {100 * ms / total:6.1f} %")
    if plot is not None:
        print(f"\nplot: {plot}")


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
