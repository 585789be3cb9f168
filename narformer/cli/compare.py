"""`narformer compare`: which of two networks is faster where, by how much, and which kernels make the difference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from narformer.cli.format import FORMAT, JSON, Format, chosen, print_records, print_table, print_text
from narformer.cli.inputs import (
    BATCH_SIZE,
    DEVICES,
    DIM,
    INPUT_SHAPE,
    PREDICTOR,
    files_of,
    read_each,
    sizes_from,
    tell_unusable,
)
from narformer.figures import milliseconds

if TYPE_CHECKING:
    from narformer.prediction.compare import Comparison


def compare(
    models: list[Path] = typer.Argument(
        ...,
        help="Two ONNX files or more, or directories; each is compared with the first.",
        metavar="MODEL...",
        readable=False,
    ),
    device: list[str] = DEVICES,
    top: int = typer.Option(8, "--top", min=0, help="How many kernels to list."),
    batch_size: int | None = BATCH_SIZE,
    input_shape: list[str] = INPUT_SHAPE,
    dim: list[str] = DIM,
    form: Format | None = FORMAT,
    as_json: bool = JSON,
    predictor: str | None = PREDICTOR,
    store: str | None = typer.Option(
        None, "--store", help="Measurements to answer from: path or URL. Default: $NARFORMER_STORE, else the user's."
    ),
    no_store: bool = typer.Option(False, "--no-store", help="Predict also what was measured."),
) -> None:
    """Compare networks: the ratio of their latencies on each target, with an interval, and what makes the difference.

    Why is told on the targets asked for, without --device on the first. JSON has it for all; CSV and Markdown have a
    row for each network and target.
    """
    from narformer.adaptation.predictor import default_predictor
    from narformer.api import compared
    from narformer.errors import ConfigError

    form = chosen(form, as_json)
    if store and no_store:
        raise ConfigError("--store and --no-store exclude each other")
    paths = files_of(models)
    if len(paths) < 2:
        raise ConfigError(f"{paths[0]}: compared with what? Give two networks or more")
    loaded = default_predictor(predictor)
    if not device:
        tell_unusable(loaded)
    graphs = read_each(paths, sizes_from(batch_size, input_shape, dim))
    found = compared(graphs, [str(path) for path in paths], loaded, device or None, store=store, measured=not no_store)
    if form is not Format.TABLE:
        print_records(form, found.records(), [comparison.to_dict() for comparison in found])
        return
    known = [c for c in found if device or not any(w.startswith("batch size") for w in _warnings(c))] or list(found)
    print_text(f"first:  {paths[0]}", "bold")
    for second in dict.fromkeys(comparison.second.model for comparison in known):
        if len(paths) > 2:
            print()
        print_text(f"second: {second}", "bold")
        print_table(type(found)([each for each in known if each.second.model == second]).table())
    for warning in dict.fromkeys(w for c in known for w in _warnings(c)):
        warned = list(dict.fromkeys(c.target for c in known if warning in _warnings(c)))
        where = "" if len(warned) == len({c.target for c in known}) else f" ({', '.join(warned)})"
        print_text(f"warning: {warning}{where}", "yellow", indent=2)
    if len(known) < len(found):
        left_out = len({c.target for c in found} - {c.target for c in known})
        print_text(
            f"not shown: {left_out} targets never measured at this batch size; -d NAME shows one", "dim", indent=2
        )
    for comparison in known if device else known[:1]:
        if not comparison.same and comparison.parts is not None:
            print()
            _print_why(comparison, top, several=len(paths) > 2)


def _warnings(comparison: Comparison) -> tuple[str, ...]:
    return (*comparison.first.warnings, *comparison.second.warnings)


def _print_why(comparison: Comparison, top: int, several: bool) -> None:
    first, second = (milliseconds(e.latency_ms) for e in comparison.parts or ())
    whom = f"{comparison.second.model} " if several else ""
    print_text(f"why, {whom}on {comparison.target}: {first} ms and {second} ms", "bold")
    print_table(comparison.difference_table("kind of kernel", comparison.kinds))
    if top:
        print()
        print_table(comparison.difference_table("kernel", comparison.kernels, top))
