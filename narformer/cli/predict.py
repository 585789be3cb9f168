"""`narformer predict`: latency of networks on known devices, as a table or as JSON; a limit for CI."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from narformer.errors import ConfigError, NarformerError

if TYPE_CHECKING:
    from narformer.predictor import Estimate

EXIT_LIMIT = 3


def predict(
    models: list[Path] = typer.Argument(..., help="ONNX files, with or without weights.", metavar="MODEL..."),
    device: list[str] = typer.Option([], "--device", "-d", help="Device to predict; repeat for several. Default: all."),
    batch_size: int | None = typer.Option(
        None, "--batch-size", "-b", min=1, help="Override the first input dimension."
    ),
    input_shape: list[str] = typer.Option(
        [], "--input-shape", help="NAME=1,3,224,224; bind or override an input's shape."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON array, an object per model and device."),
    max_ms: float | None = typer.Option(
        None, "--max-ms", help="Exit with code 3 if an estimate is above this many ms."
    ),
    predictor: str | None = typer.Option(None, "--predictor", help="Name of a shipped predictor, or path of an .onnx."),
    store: str | None = typer.Option(
        None, "--store", help="Measurements to answer from: path or URL. Default: $NARFORMER_STORE, else the user's."
    ),
    no_store: bool = typer.Option(False, "--no-store", help="Predict also what was measured."),
) -> None:
    """Predict latency, with a 90 % interval, without running the networks. What was measured comes from the store.

    Exit codes: 0, 2 for a file that cannot be read, 3 where an estimate exceeds --max-ms.
    """
    from narformer.cli.inputs import parse_input_shapes
    from narformer.frontends.onnx import read_onnx
    from narformer.measurement.answers import answer, existing_store
    from narformer.predictor import default_predictor

    if store and no_store:
        raise ConfigError("--store and --no-store exclude each other")
    shapes = parse_input_shapes(input_shape)
    loaded = default_predictor(predictor)
    with nullcontext() if no_store else (existing_store(store) or nullcontext()) as opened:
        measured = {d.id for d in opened.devices()} if opened and device else set()
        # An unknown device is told before a thousand files are read.
        loaded.predict([], [d for d in device if d not in measured] or None)
        graphs, failed = [], 0
        for path in _progress(models):
            try:
                graph = read_onnx(path, batch_size=batch_size, input_shapes=shapes)
            except NarformerError as error:
                failed += 1
                print(f"narformer: {error}", file=sys.stderr)
                continue
            graphs.append((str(path), graph))
        answers = answer([graph for _, graph in graphs], loaded, device or None, opened)
    named = [(name, estimate) for (name, _), found in zip(graphs, answers, strict=True) for estimate in found]
    for (name, _), found in zip(graphs, answers, strict=True):
        for missing in sorted(set(device) - {estimate.device for estimate in found}):
            failed += 1
            print(f"narformer: {name}: not measured on {missing}, and the predictor does not know it", file=sys.stderr)
    if as_json:
        print(json.dumps([{**estimate.to_dict(), "model": path} for path, estimate in named], indent=2))
    elif named:
        _print_table(named, max_ms)
    if failed:
        raise typer.Exit(2)
    if max_ms is not None and any(not estimate.latency_ms <= max_ms for _, estimate in named):
        raise typer.Exit(EXIT_LIMIT)


def _progress(models: list[Path]) -> list[Path]:
    """A progress bar over many files, on a terminal; nothing otherwise."""
    if len(models) < 50 or not sys.stderr.isatty():
        return models
    from rich.console import Console
    from rich.progress import track

    return track(models, "reading", console=Console(stderr=True), transient=True)  # type: ignore[return-value]


def _print_table(named: list[tuple[str, Estimate]], max_ms: float | None) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    by_model: dict[str, list[Estimate]] = {}
    for path, estimate in named:
        by_model.setdefault(path, []).append(estimate)
    for path, estimates in by_model.items():
        table = Table(title=path, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2))
        table.add_column("device", overflow="fold")
        table.add_column("latency", justify="right")
        table.add_column(f"{estimates[0].level:.0%} interval", justify="right")
        table.add_column("held-out error", justify="right")
        if max_ms is not None:
            table.add_column(f"limit {max_ms:g} ms")
        for e in estimates:
            without = "unknown" if e.source == "predicted" else e.source
            error = without if e.held_out_mape is None else f"{e.held_out_mape:.1f} %"
            row = [e.device, f"{_ms(e.latency_ms)} ms", f"{_ms(e.low_ms)} – {_ms(e.high_ms)} ms", error]
            if max_ms is not None:
                row.append(_verdict(e, max_ms))
            table.add_row(*row)
        console.print(table)
        for warning in dict.fromkeys(w for e in estimates for w in e.warnings):
            warned = [e.device for e in estimates if warning in e.warnings]
            where = "" if len(warned) == len(estimates) else f" ({', '.join(warned)})"
            console.print(f"  [yellow]warning:[/yellow] {warning}{where}", highlight=False, soft_wrap=True)
        console.print()


def _verdict(estimate: Estimate, max_ms: float) -> str:
    if estimate.latency_ms > max_ms:
        return "[red]exceeded[/red]"
    return "[green]within[/green]" if estimate.high_ms <= max_ms else "[yellow]within, not surely[/yellow]"


def _ms(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
