"""`narformer predict`: latency of networks on known devices, as a table or as JSON; a limit for CI."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from narformer.cli.fleet import FLEET
from narformer.cli.format import FORMAT, JSON, Format, Records, chosen, print_table, print_text
from narformer.cli.inputs import (
    BATCH_SIZES,
    DEVICES,
    DIM,
    INPUT_SHAPE,
    PREDICTOR,
    files_of,
    parse_batch_sizes,
    sizes_from,
    tell_unusable,
)
from narformer.cli.notes import note
from narformer.errors import ConfigError
from narformer.prediction.estimate import Estimates
from narformer.tables import Column, Table

if TYPE_CHECKING:
    from narformer.prediction.estimate import Estimate

EXIT_LIMIT = 3
# What of an estimate a Markdown table has; JSON and CSV have all of it.
MARKDOWN = ("model", "target", "batch_size", "latency_ms", "low_ms", "high_ms", "held_out_mape", "source", "warnings")
VERDICTS = {"exceeded": "red", "within": "green", "within, not surely": "yellow"}
MANY = 20  # files, from which on there is a progress bar


def predict(
    models: list[Path] = typer.Argument(
        ..., help="ONNX files, or directories of them.", metavar="MODEL...", readable=False
    ),
    device: list[str] = DEVICES,
    every: bool = typer.Option(False, "--all", help="Without --device: every target, not about a dozen of them."),
    batch_size: str | None = BATCH_SIZES,
    input_shape: list[str] = INPUT_SHAPE,
    dim: list[str] = DIM,
    form: Format | None = FORMAT,
    as_json: bool = JSON,
    max_ms: float | None = typer.Option(
        None, "--max-ms", min=0, help="Exit with code 3 if an estimate is above this many ms."
    ),
    predictor: str | None = PREDICTOR,
    store: str | None = typer.Option(
        None, "--store", help="Measurements to answer from: path or URL. Default: $NARFORMER_STORE, else the user's."
    ),
    no_store: bool = typer.Option(False, "--no-store", help="Predict also what was measured."),
    jobs: int | None = typer.Option(None, "--jobs", "-j", min=1, help="Processes for many files. Default: all cores."),
    server: str | None = typer.Option(
        None, "--server", help="URL of a service to ask instead; it gets the networks' structure, never their weights."
    ),
    fleet: str | None = FLEET,
) -> None:
    """Predict latency, with a 90 % interval, without running the networks. What was measured comes from the store.

    Exit codes: 0, 2 for a file that cannot be read, 3 where an estimate exceeds --max-ms.
    """
    from narformer.adaptation.predictor import default_predictor
    from narformer.cli.fleet_answers import fleet_answers
    from narformer.cli.many import Question, answers
    from narformer.cli.progress import track
    from narformer.cli.remote import remote_answers
    from narformer.client import Client
    from narformer.measurement.answers import existing_store, wanted_targets
    from narformer.processes import cores

    form = chosen(form, as_json)
    if store and no_store:
        raise ConfigError("--store and --no-store exclude each other")
    sizes, batch_sizes = sizes_from(None, input_shape, dim), parse_batch_sizes(batch_size)
    question = Question(tuple(device) or None, sizes, predictor, store, not no_store, batch_sizes)
    paths = files_of(models)
    if fleet and (server or jobs):
        raise ConfigError("--fleet has machines and processes of its own: leave --server and --jobs out")
    if server:
        if predictor or store or jobs:
            raise ConfigError("--server asks a service, which has its own --predictor, --store and processes")
        each_answer = remote_answers(paths, question, Client(server))
    elif device:
        # An unknown target is told before a thousand files are read.
        with nullcontext() if no_store else (existing_store(store) or nullcontext()) as opened:
            targets = wanted_targets(device, default_predictor(predictor), opened)
        question = replace(question, devices=tuple(targets or ()))
    else:
        tell_unusable(default_predictor(predictor))
    if fleet:
        each_answer = fleet_answers(paths, question, fleet)
    elif not server:
        each_answer = answers(paths, question, jobs or cores())
    failed = exceeded = False
    records = Records(form, MARKDOWN)
    with closing(each_answer) as each:
        # Where the answers scroll by on a terminal, they are the progress.
        bar_from = len(paths) + 1 if sys.stdout.isatty() else MANY
        for answer in track(each, "predicting", len(paths), least=bar_from):
            for told in answer.notes:
                note(told)
            for error in answer.errors:
                failed = True
                print(f"narformer: {error}", file=sys.stderr)
            if form is not Format.TABLE:
                for estimate in answer.estimates:
                    records.add({**estimate.to_dict(), "model": answer.path})
            elif answer.estimates:
                chosen_ones = bool(device) or every or max_ms is not None
                _print_table(answer.path, Estimates(answer.estimates), max_ms, chosen_ones)
            exceeded |= max_ms is not None and any(not e.value <= max_ms for e in answer.estimates)
    records.end()
    if failed:
        raise typer.Exit(2)
    if exceeded:
        raise typer.Exit(EXIT_LIMIT)


def _print_table(path: str, estimates: Estimates, max_ms: float | None, selected: bool) -> None:
    """selected: whether all targets are asked for; else about a dozen are shown that stand for them."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Text(path, style="bold"), soft_wrap=True)  # a path is neither folded nor read as markup
    left_out = ""
    if not selected:
        estimates, left_out = _headlines(estimates)
    places = {target: place for place, target in enumerate(dict.fromkeys(e.target for e in estimates))}
    estimates = Estimates(sorted(estimates, key=lambda e: places[e.target]))  # the batches of a target together
    table = estimates.table()
    if max_ms is not None:
        verdicts = [(*row, _verdict(e, max_ms)) for row, e in zip(table.rows, estimates, strict=True)]
        table = Table((*table.columns, Column(f"limit {max_ms:g} ms")), tuple(verdicts))
    print_table(table, styles=VERDICTS)
    for warning in dict.fromkeys(w for e in estimates for w in e.warnings):
        warned = [e.target for e in estimates if warning in e.warnings]
        where = "" if len(warned) == len(estimates) else f" ({', '.join(warned)})"
        print_text(f"warning: {warning}{where}", "yellow", indent=2)
    if left_out:
        print_text(f"not shown: {left_out}; --all shows them", "dim", indent=2)
    print()


def _headlines(estimates: Estimates) -> tuple[Estimates, str]:
    """What was measured or adapted, and about a dozen of the targets that were measured at this batch size.

    And how many are left out, in words; empty where none is.
    """
    from narformer.prediction.headline import headlines

    near = [e for e in estimates if not e.extrapolated] or list(estimates)
    # What was measured stands for its hardware: no other target of it takes its place.
    first = set(headlines(list(dict.fromkeys(e.target for e in near if e.source != "adapted"))))
    shown = [e for e in near if e.source != "predicted" or e.target in first]
    beyond = Counter(e.batch_size for e in estimates if e not in near)
    others = len({e.target for e in near} - {e.target for e in shown})
    if len({e.batch_size for e in estimates}) == 1:
        told = [f"{count} targets never measured at this batch size" for count in beyond.values()]
    else:
        told = [
            f"{count} targets at batch size {batch}, never measured there" for batch, count in sorted(beyond.items())
        ]
    told += [f"{others} other targets" if beyond else f"{others} targets"] if others else []
    return Estimates(shown), "; ".join(told)


def _verdict(estimate: Estimate, max_ms: float) -> str:
    if not estimate.value <= max_ms:
        return "exceeded"
    return "within" if estimate.high <= max_ms else "within, not surely"
