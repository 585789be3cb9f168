"""`narformer inspect`: what networks cost, by operator and by node."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from narformer.cli.format import FORMAT, JSON, Format, chosen, print_records, print_table, print_text
from narformer.cli.inputs import BATCH_SIZE, DIM, INPUT_SHAPE, each_graph, files_of, sizes_from
from narformer.cli.modules import BY, DEPTH, By, check_modules, levels
from narformer.figures import sizes as spelt

if TYPE_CHECKING:
    from narformer.inspection import Inspection


def inspect(
    models: list[Path] = typer.Argument(
        ..., help="ONNX files, or directories of them.", metavar="MODEL...", readable=False
    ),
    batch_size: int | None = BATCH_SIZE,
    input_shape: list[str] = INPUT_SHAPE,
    dim: list[str] = DIM,
    by: By = BY,
    depth: int | None = DEPTH,
    top: int = typer.Option(10, "--top", min=0, help="How many of the heaviest nodes to list."),
    form: Format | None = FORMAT,
    as_json: bool = JSON,
) -> None:
    """Show what networks cost: MACs, parameters and memory traffic, by operator or module, and the heaviest nodes.

    An operator of which narformer does not know what it computes is named; it counts no MACs. JSON is an object for one
    file, and an array for several; CSV and Markdown have a row a network.
    Exit codes: 0, 2 for a file that cannot be read.
    """
    from narformer.inspection import Inspections, inspection_of

    form = chosen(form, as_json)
    shown = levels(by, depth)
    failed: list[str] = []
    found: list[Inspection] = []
    for path, graph in each_graph(files_of(models), sizes_from(batch_size, input_shape, dim), failed):
        each = inspection_of(graph, str(path))
        if shown is not None:
            check_modules(str(path), each.modules(shown), shown)
        found.append(each)
        if form is Format.TABLE:
            _print(each, top, shown, first=len(found) == 1)
    if form is not Format.TABLE:
        data = [each.to_dict(top, shown) for each in found]
        one = len(models) == 1 and not models[0].is_dir()
        if found or not one:
            print_records(form, Inspections(found).records(), data[0] if one else data)
    if failed:
        raise typer.Exit(2)


def _print(inspection: Inspection, top: int, depth: int | None, first: bool) -> None:
    graph = inspection.graph
    names = graph.input_names or tuple(str(k) for k in range(len(graph.inputs)))
    inputs = ", ".join(f"{n} {spelt(t.shape)}" for n, t in zip(names, graph.inputs, strict=True))
    if not first:
        print()
    print_text(inspection.model, "bold")
    print_text(f"{len(graph)} nodes, input {inputs}")
    print_text(inspection.summary())
    for name, nodes in inspection.without_cost_rule.items():
        print()
        print_text(
            f"{name} ({nodes} node{'s' if nodes > 1 else ''}): no cost rule, counted as 0 MACs; "
            "narformer.operators.register gives it one"
        )
    print()
    print_table(inspection.operator_table() if depth is None else inspection.module_table(depth))
    if top and len(graph):
        print()
        print_table(inspection.node_table(top))
