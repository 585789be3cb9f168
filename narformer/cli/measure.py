"""`narformer measure`: time networks on this machine and keep the results in the store."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from narformer.cli.completion import runtime_names
from narformer.cli.fleet import FLEET, measuring_on
from narformer.cli.format import FORMAT, JSON, Format, chosen, print_records, print_table, print_text
from narformer.cli.inputs import BATCH_SIZE, DIM, INPUT_SHAPE, files_below, sizes_from
from narformer.cli.notes import tell
from narformer.tables import Column, Table

if TYPE_CHECKING:
    from narformer.frontends.sizes import Sizes
    from narformer.measurement.session import Network, Outcome, Settings

# More results than this are a number of lines that nobody reads.
TABLE_ROWS = 40
NAME_WIDTH = 24  # of a network beside the bar: configurations are long


def measure(
    models: list[Path] = typer.Argument(
        ..., help="ONNX files, directories of them, or directories in NNLQP's layout (gt.txt).", metavar="MODEL..."
    ),
    device: list[str] = typer.Option(
        [],
        "--device",
        "--target",
        "-d",
        help="Id from `narformer devices --here`; sets all that the id says. On a fleet several.",
    ),
    runtime: str = typer.Option(
        "onnxruntime",
        "--runtime",
        "-r",
        help="Runtime, see `narformer devices --here`.",
        autocompletion=runtime_names,
    ),
    processor: str = typer.Option("cpu", "--processor", help="What the runtime runs on: cpu, cuda, ..."),
    threads: int = typer.Option(1, "--threads", "-t", min=1, help="Threads of the runtime."),
    batch_size: int | None = BATCH_SIZE,
    input_shape: list[str] = INPUT_SHAPE,
    dim: list[str] = DIM,
    hardware: str | None = typer.Option(None, "--hardware", help="Another name for this machine in the device's id."),
    store: str | None = typer.Option(
        None, "--store", help="Path or URL. Default: $NARFORMER_STORE, else a file of this user."
    ),
    again: bool = typer.Option(False, "--again", help="Measure also what the store has."),
    timeout: float = typer.Option(60.0, "--timeout", min=0.1, help="Seconds for one network, loading included."),
    budget: float = typer.Option(2.0, "--budget", min=0.0, help="Seconds of timed runs for one network, at most."),
    pin: int | None = typer.Option(None, "--pin", min=0, help="First core to run on. Default: the last ones."),
    fleet: str | None = FLEET,
    form: Format | None = FORMAT,
    as_json: bool = JSON,
) -> None:
    """Measure the latency of networks on this machine; weightless ones run with random weights.

    Can be interrupted and given again: what the store has is not measured twice. Files that are missing or cannot be
    read are told, and the others measured. Exit codes: 0, 2 where a network could not be measured or nothing can be,
    130 interrupted.
    """
    from narformer.errors import ConfigError
    from narformer.measurement import session
    from narformer.measurement.store import Store
    from narformer.measurement.timing import Plan

    form = chosen(form, as_json)
    settings = session.Settings(runtime, processor, threads, hardware, timeout_s=timeout, plan=Plan(budget_s=budget))
    if fleet is not None:
        if hardware is not None or pin is not None:
            raise ConfigError(
                "--hardware and --pin are for this machine; those of a fleet say themselves what they are"
            )
    elif device:
        if len(device) > 1:
            raise ConfigError(f"--device {' '.join(device)}: one target at a time; with --fleet several")
        settings, batch_size = _from_id(device[0], settings, batch_size)
    if fleet is None:
        check_threads(settings.threads)
    if pin is not None:
        from dataclasses import replace

        settings = replace(settings, cores=session.pinned(pin, settings.threads))
    networks, unfit = _networks(models, sizes_from(batch_size, input_shape, dim))
    for reason in unfit:
        print(f"narformer: {reason}", file=sys.stderr)
    if unfit and not networks:
        raise typer.Exit(2)
    outcomes: list[Outcome] = []
    with ExitStack() as stack:
        targets = 1
        run: Callable[..., object] = partial(session.measure, settings=settings)
        if fleet is not None:
            targets, run = stack.enter_context(measuring_on(fleet, device, settings))
        opened = stack.enter_context(Store.open(store))
        advance = stack.enter_context(_progress(targets * len(networks)))

        def report(outcome: Outcome) -> None:
            outcomes.append(outcome)
            advance(outcome)

        try:
            run(networks, store=opened, again=again, report=report)
        finally:
            if fleet is not None:  # they came as machines had them ready
                places = {network.name: place for place, network in enumerate(networks)}
                outcomes.sort(key=lambda outcome: places[outcome.name])
            tell(f"{session.summary(outcomes)}; store {opened.name}")
            if form is Format.TABLE:
                _print(outcomes)
            else:
                print_records(form, [outcome.to_dict() for outcome in outcomes])
    if unfit or any(outcome.source == "failed" for outcome in outcomes):
        raise typer.Exit(2)


def check_threads(threads: int) -> None:
    """Raises ConfigError for more threads than cores: they would wait for each other, and nothing would be measured."""
    from narformer.errors import ConfigError

    cores = os.cpu_count() or threads
    if threads > cores:
        raise ConfigError(f"{threads} threads: this machine has {cores} cores")


def _from_id(text: str, settings: Settings, batch_size: int | None) -> tuple[Settings, int | None]:
    """Settings that make the target of this id. Raises ConfigError where this machine is another one.

    A former id said the batch size too, which is the one to measure at unless another was asked for.
    """
    from narformer.errors import ConfigError
    from narformer.measurement.here import settings_for
    from narformer.prediction.target import Target, parse_former

    former = parse_former(text)
    wanted = str(Target.parse(text))
    try:
        found = settings_for(wanted, settings)
    except ConfigError as error:
        raise ConfigError(
            f"{error} (see `narformer devices --here`); measure there, or name this machine with --hardware"
        ) from None
    return found, former[1] if former is not None and batch_size is None else batch_size


def _networks(models: list[Path], sizes: Sizes) -> tuple[list[Network], list[str]]:
    """The networks that files and directories hold, in order, each file once; and why some arguments hold none."""
    from narformer.errors import DataError
    from narformer.measurement.session import Network

    networks: dict[tuple[Path, int | None], Network] = {}
    unfit: list[str] = []
    for model in models:
        try:
            for path, batch in _files(model, sizes.batch_size):
                networks.setdefault((path, batch), Network(str(path), path, batch, sizes.input_shapes, sizes.dims))
        except DataError as error:
            unfit.append(str(error))
    return list(networks.values()), unfit


def _files(model: Path, batch_size: int | None) -> list[tuple[Path, int | None]]:
    """The files that an argument stands for, with their batch sizes. Raises DataError where there are none."""
    from narformer.datasets.dataset import FileSource
    from narformer.datasets.nnlqp import load_nnlqp
    from narformer.errors import DataError
    from narformer.frontends.other_formats import why_missing

    if not model.exists():
        raise DataError(f"{model}: {why_missing(str(model))}")
    if not model.is_dir():
        return [(model, batch_size)]
    if any((model / name).is_file() for name in ("gt.txt", "gt_stage.txt")):
        sources = [source for source in load_nnlqp(model).sources if isinstance(source, FileSource)]
        return [(Path(source.path), batch_size or source.batch_size) for source in sources]
    return [(path, batch_size) for path in files_below(model)]


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Outcome], None]]:
    """A progress bar with the time left, on a terminal; nothing otherwise."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)

        def advance(outcome: Outcome) -> None:
            latency = outcome.measurement.latency_ms
            told = "failed" if latency is None else f"{latency:.2f} ms"
            bar.update(task, advance=1, description=f"{Path(outcome.name).name[:NAME_WIDTH]}: {told}")

        yield advance


def _print(outcomes: list[Outcome]) -> None:
    """A table a device where networks are few, and each failure."""
    by_device: dict[str, list[Outcome]] = {}
    for outcome in outcomes if len(outcomes) <= TABLE_ROWS else ():
        if not outcome.measurement.failure:
            by_device.setdefault(outcome.measurement.device, []).append(outcome)
    titles = ("latency", "spread", "memory")
    columns = (Column("model", short=True), *(Column(title, right=True) for title in titles), Column("source"))
    for device, shown in by_device.items():
        rows = []
        for outcome in shown:
            m = outcome.measurement
            memory = "" if m.peak_memory_bytes is None else f"{m.peak_memory_bytes / 2**20:.1f} MiB"
            spread = "" if m.spread_ms is None else f"± {m.spread_ms:.3f} ms"
            rows.append((outcome.name, f"{m.latency_ms:.3f} ms", spread, memory, outcome.source))
        print_text(device, "bold")
        print_table(Table(columns, tuple(rows)))
    for outcome in outcomes:
        if outcome.measurement.failure:
            # What reads a network asks for sizes on behalf of any command.
            failure = outcome.measurement.failure.replace("narformer inspect ", "narformer measure ")
            print(f"narformer: {outcome.name}: {failure}", file=sys.stderr)
