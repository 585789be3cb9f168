"""`narformer predict`: latency of networks on known devices, as a table or as JSON; a limit for CI."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from narformer.cli.inputs import BATCH_SIZE, DIM, INPUT_SHAPE, sizes_from, tell_unusable
from narformer.errors import ConfigError
from narformer.figures import milliseconds

if TYPE_CHECKING:
    from narformer.prediction.estimate import Estimate

EXIT_LIMIT = 3
MANY = 20  # files, from which on there is a progress bar


def predict(
    models: list[Path] = typer.Argument(..., help="ONNX files, with or without weights.", metavar="MODEL..."),
    device: list[str] = typer.Option([], "--device", "-d", help="Device to predict; repeat for several. Default: all."),
    batch_size: int | None = BATCH_SIZE,
    input_shape: list[str] = INPUT_SHAPE,
    dim: list[str] = DIM,
    as_json: bool = typer.Option(False, "--json", help="Print one JSON array, an object per model and device."),
    max_ms: float | None = typer.Option(
        None, "--max-ms", min=0, help="Exit with code 3 if an estimate is above this many ms."
    ),
    predictor: str | None = typer.Option(None, "--predictor", help="Name of a shipped predictor, or path of an .onnx."),
    store: str | None = typer.Option(
        None, "--store", help="Measurements to answer from: path or URL. Default: $NARFORMER_STORE, else the user's."
    ),
    no_store: bool = typer.Option(False, "--no-store", help="Predict also what was measured."),
    jobs: int | None = typer.Option(None, "--jobs", "-j", min=1, help="Processes for many files. Default: all cores."),
    server: str | None = typer.Option(
        None, "--server", help="URL of a service to ask instead; it gets the networks' structure, never their weights."
    ),
) -> None:
    """Predict latency, with a 90 % interval, without running the networks. What was measured comes from the store.

    Exit codes: 0, 2 for a file that cannot be read, 3 where an estimate exceeds --max-ms.
    """
    from narformer.adaptation.predictor import default_predictor
    from narformer.cli.many import Question, answers, cores
    from narformer.cli.progress import track
    from narformer.cli.remote import remote_answers
    from narformer.client import Client
    from narformer.measurement.answers import existing_store

    if store and no_store:
        raise ConfigError("--store and --no-store exclude each other")
    sizes = sizes_from(batch_size, input_shape, dim)
    question = Question(tuple(device) or None, sizes, predictor, store, not no_store)
    if server:
        if predictor or store or jobs:
            raise ConfigError("--server asks a service, which has its own --predictor, --store and processes")
        each_answer = remote_answers(models, question, Client(server))
    elif device:
        # An unknown device is told before a thousand files are read.
        with nullcontext() if no_store else (existing_store(store) or nullcontext()) as opened:
            measured = {d.id for d in opened.devices()} if opened else set()
        default_predictor(predictor).predict([], [d for d in device if d not in measured])
    else:
        tell_unusable(default_predictor(predictor))
    if not server:
        each_answer = answers(models, question, jobs or cores())
    failed = exceeded = False
    shown = 0
    with closing(each_answer) as each:
        # Where the answers scroll by on a terminal, they are the progress.
        bar_from = len(models) + 1 if sys.stdout.isatty() else MANY
        for answer in track(each, "predicting", len(models), least=bar_from):
            for note in answer.notes:
                print(f"narformer: note: {note}", file=sys.stderr)
            for error in answer.errors:
                failed = True
                print(f"narformer: {error}", file=sys.stderr)
            if as_json:
                for estimate in answer.estimates:
                    print(("[\n" if not shown else ",\n") + _object(estimate, answer.path), end="")
                    shown += 1
            elif answer.estimates:
                _print_table(answer.path, answer.estimates, max_ms, bool(device) or max_ms is not None)
            exceeded |= max_ms is not None and any(not e.latency_ms <= max_ms for e in answer.estimates)
    if as_json:
        print("\n]" if shown else "[]")
    if failed:
        raise typer.Exit(2)
    if exceeded:
        raise typer.Exit(EXIT_LIMIT)


def _object(estimate: Estimate, path: str) -> str:
    return textwrap.indent(json.dumps({**estimate.to_dict(), "model": path}, indent=2), "  ")


def _print_table(path: str, estimates: Sequence[Estimate], max_ms: float | None, chosen: bool) -> None:
    """chosen: whether the devices were named; else those that were never measured at this batch are counted alone."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Text(path, style="bold"), soft_wrap=True)  # a path is neither folded nor read as markup
    beyond = [] if chosen else [e for e in estimates if any(w.startswith("batch size") for w in e.warnings)]
    if len(beyond) < len(estimates):
        estimates = [e for e in estimates if e not in beyond]
    else:
        beyond = []
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("device", overflow="fold")
    table.add_column("latency", justify="right")
    table.add_column(f"{estimates[0].level:.0%} interval", justify="right")
    table.add_column("held-out\nerror", justify="right")
    if max_ms is not None:
        table.add_column(f"limit\n{max_ms:g} ms")
    for e in estimates:
        without = "unknown" if e.source == "predicted" else e.source
        # What was measured on networks like those trained on says nothing of one that is not.
        error = without if e.held_out_mape is None or e.warnings else f"{e.held_out_mape:.1f} %"
        row = [
            e.device,
            f"{milliseconds(e.latency_ms)} ms",
            f"{milliseconds(e.low_ms)} – {milliseconds(e.high_ms)} ms",
            error,
        ]
        if max_ms is not None:
            row.append(_verdict(e, max_ms))
        table.add_row(*row)
    console.print(table)
    for warning in dict.fromkeys(w for e in estimates for w in e.warnings):
        warned = [e.device for e in estimates if warning in e.warnings]
        where = "" if len(warned) == len(estimates) else f" ({', '.join(warned)})"
        console.print(
            "  ", Text("warning:", style="yellow"), f" {warning}{where}", sep="", markup=False, soft_wrap=True
        )
    if beyond:
        console.print(
            f"  not shown: {len(beyond)} devices never measured at this batch size; --device NAME shows one",
            style="dim",
            soft_wrap=True,
        )
    console.print()


def _verdict(estimate: Estimate, max_ms: float) -> str:
    if not estimate.latency_ms <= max_ms:
        return "[red]exceeded[/red]"
    return "[green]within[/green]" if estimate.high_ms <= max_ms else "[yellow]within, not surely[/yellow]"
