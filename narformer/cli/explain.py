"""`narformer explain`: which operators a network's latency goes to, as a table, as data, or as a plot."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from narformer.cli.completion import hardware_names
from narformer.cli.format import FORMAT, JSON, Format, chosen, print_records, print_table, print_text
from narformer.cli.inputs import BATCH_SIZE, DIM, INPUT_SHAPE, PREDICTOR, each_graph, files_of, plot_option, sizes_from
from narformer.cli.modules import BY, DEPTH, By, check_modules, levels
from narformer.figures import count, milliseconds
from narformer.tables import Column, Table

if TYPE_CHECKING:
    from narformer.modules import Module
    from narformer.prediction.explanation import Explanation
    from narformer.prediction.predictor import Predictor


def _writable(path: Path | None) -> Path | None:
    """Told before the command begins. Raises DataError."""
    from narformer.errors import DataError

    if path is not None and not path.parent.is_dir():
        raise DataError(f"{path}: cannot be written (there is no directory {path.parent})")
    if path is not None and not os.access(path.parent, os.W_OK):
        raise DataError(f"{path}: cannot be written (nothing may be written in {path.parent.resolve()})")
    return path


DEFAULT = "cortex-a76"  # what is explained where nobody says


def explain(
    models: list[Path] = typer.Argument(
        ..., help="ONNX files, or directories of them.", metavar="MODEL...", readable=False
    ),
    device: list[str] = typer.Option(
        [],
        "--device",
        "--target",
        "-d",
        help=f"Target to explain, or the beginning of several; repeatable; `all` for every one. Default: {DEFAULT}.",
        autocompletion=hardware_names,
    ),
    by: By = BY,
    depth: int | None = DEPTH,
    top: int = typer.Option(15, "--top", min=1, help="How many nodes to list, the slowest first."),
    batch_size: int | None = BATCH_SIZE,
    input_shape: list[str] = INPUT_SHAPE,
    dim: list[str] = DIM,
    plot: Path | None = plot_option("the nodes in their order, of one network on one target"),
    page: Path | None = typer.Option(
        None,
        "--html",
        help="Write a page, one file that needs no other: the graph coloured by time, and tables.",
        callback=_writable,
    ),
    form: Format | None = FORMAT,
    as_json: bool = JSON,
    predictor: str | None = PREDICTOR,
) -> None:
    """Say where the milliseconds go: by operator or module, and by node. The parts sum to what `predict` prints.

    JSON is an object for one file and one target, an array for several; CSV and Markdown have a row a node.
    Exit codes: 0, 2 for a file that cannot be read.
    """
    from narformer.adaptation.predictor import default_predictor
    from narformer.errors import ConfigError
    from narformer.modules import module_latencies, modules
    from narformer.prediction.explanation import Explanations, explanations

    form, shown = chosen(form, as_json), levels(by, depth)
    loaded = default_predictor(predictor)
    targets = _targets(loaded, device)
    paths = files_of(models)
    one = len(models) == len(targets) == 1 and not models[0].is_dir()
    if plot is not None and len(paths) * len(targets) > 1:
        raise ConfigError(f"--plot draws one network on one target; these are {len(paths)} on {len(targets)}")
    failed: list[str] = []
    found: list[Explanation] = []
    trees: list[list[dict[str, Any]]] = []
    for path, graph in each_graph(paths, sizes_from(batch_size, input_shape, dim), failed):
        tree: tuple[Module, ...] = ()
        if shown is not None:
            tree = modules(graph, shown)
            check_modules(str(path), tree, shown)
        for each in explanations(loaded, graph, targets, str(path)):
            times = module_latencies(graph, tree, each.graph, list(each.milliseconds))
            if form is Format.TABLE:
                if found:
                    print()
                _print(each, top, None if shown is None else _module_table(tree, times, path.name))
            found.append(each)
            trees.append([{**m.record(), "ms": round(ms, 6)} for m, ms in zip(tree, times, strict=True)])
    if plot is not None and found:
        from narformer.evaluation.explanation_plot import plot_explanation

        plot_explanation(found[0], plot)
        if form is Format.TABLE:
            print(f"\nplot: {plot}")
    if page is not None and found:
        from narformer.evaluation.explanation_page import explanation_page

        _write(explanation_page(found), page)
        if form is Format.TABLE:
            print(f"\npage: {page}")
    if form is not Format.TABLE and (found or not one):
        data = [
            {**each.to_dict(), **({"modules": tree} if tree else {})} for each, tree in zip(found, trees, strict=True)
        ]
        print_records(form, Explanations(found).records() if form is not Format.JSON else [], data[0] if one else data)
    if failed:
        raise typer.Exit(2)


def _targets(predictor: Predictor, wanted: Sequence[str]) -> list[str]:
    """The targets asked for; without any, the usual one, or the first of a predictor that does not know it."""
    from narformer.errors import UnknownDeviceError

    if "all" in wanted:
        return list(predictor.own_targets)
    try:
        return predictor.select(wanted or [DEFAULT])
    except UnknownDeviceError:
        if wanted:
            raise
        return [predictor.devices[0]]


def _print(explanation: Explanation, top: int, tree: Table | None) -> None:
    batch = "" if explanation.batch_size == 1 else f" at batch size {explanation.batch_size}"
    print_text(explanation.model, "bold")
    print_text(f"{explanation.target}{batch}: {milliseconds(explanation.latency_ms)} ms")
    print()
    print_table(explanation.part_table("operator", explanation.operators) if tree is None else tree)
    print()
    print_table(explanation.node_table(top))


def _module_table(tree: Sequence[Module], times: Sequence[float], network: str) -> Table:
    """A row a module, those within it below it and further in."""
    titles = ("nodes", "ms", "share", "MACs", "parameters")
    rows = [
        (
            module.indented(network),
            str(len(module.nodes)),
            milliseconds(ms),
            f"{100 * ms / times[0]:.1f} %",
            count(module.cost.macs).strip(),
            count(module.cost.parameters).strip(),
        )
        for module, ms in zip(tree, times, strict=True)
    ]
    return Table((Column("module", short=True), *(Column(title, right=True) for title in titles)), tuple(rows))


def _write(page: str, path: Path) -> None:
    from narformer.errors import DataError

    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error
