"""`narformer measure`: time networks on this machine and keep the results in the store."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from narformer.cli.completion import runtime_names
from narformer.cli.fleet import FLEET, measuring_on
from narformer.cli.format import FORMAT, JSON, Format, chosen, print_records, print_table, print_text
from narformer.cli.inputs import (
    BATCH_SIZES,
    DIM,
    INPUT_SHAPE,
    files_below,
    parse_batch_sizes,
    parse_numbers,
    sizes_from,
)
from narformer.cli.notes import tell
from narformer.cli.progress import bar
from narformer.figures import milliseconds
from narformer.tables import Column, Table

if TYPE_CHECKING:
    from narformer.frontends.sizes import Sizes
    from narformer.measurement.session import Network, Outcome, Settings

# More results than this are a number of lines that nobody reads.
TABLE_ROWS = 40
NAME_WIDTH = 24  # of a network beside the bar: configurations are long


def measure(
    models: list[Path] = typer.Argument(
        ...,
        help="ONNX files, directories of them, or directories in NNLQP's layout (gt.txt).",
        metavar="MODEL...",
        readable=False,
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
    threads: str = typer.Option(
        "1", "--threads", "-t", metavar="N[,N...]", help="Threads of the runtime; several, as in 1,2,4."
    ),
    batch_size: str | None = BATCH_SIZES,
    input_shape: list[str] = INPUT_SHAPE,
    dim: list[str] = DIM,
    input_data: Path | None = typer.Option(
        None, "--input-data", help="What the inputs hold: an .npz file with an array an input. Measures anew."
    ),
    hardware: str | None = typer.Option(None, "--hardware", help="Another name for this machine in the device's id."),
    store: str | None = typer.Option(
        None, "--store", help="Path or URL. Default: $NARFORMER_STORE, else a file of this user."
    ),
    again: bool = typer.Option(False, "--again", help="Measure also what the store has."),
    timeout: float | None = typer.Option(
        None, "--timeout", min=0.1, help="Seconds for one network, loading included. Default: 60, and twice --duration."
    ),
    budget: float | None = typer.Option(
        None, "--budget", min=0.0, help="Seconds of timed runs for one network, at most. Default: 2."
    ),
    duration: float | None = typer.Option(
        None, "--duration", min=0.01, help="Seconds of timed runs for one network, exactly. Measures anew."
    ),
    pin: int | None = typer.Option(None, "--pin", min=0, help="First core to run on. Default: the last ones."),
    fleet: str | None = FLEET,
    form: Format | None = FORMAT,
    as_json: bool = JSON,
) -> None:
    """Measure the latency of networks on this machine; weightless ones run with random weights.

    Told are the median, the times that 90 and 99 in 100 runs do not exceed, the fastest, and inputs a second. Can be
    interrupted and given again: what the store has is not measured twice, and two runs with one store share the work.
    Files that are missing or cannot be read are told, and the others measured. Exit codes: 0, 2 where a network could
    not be measured or nothing can be, 130 interrupted.
    """
    from dataclasses import replace

    from narformer.errors import ConfigError
    from narformer.measurement import session
    from narformer.measurement.store import Store
    from narformer.measurement.timing import Plan

    form = chosen(form, as_json)
    if budget is not None and duration is not None:
        raise ConfigError("--budget and --duration exclude each other")
    plan = Plan(budget_s=2.0 if budget is None else budget) if duration is None else Plan.lasting(duration)
    seconds = timeout or 60.0 + 2 * (duration or 0.0)
    each_threads, batch_sizes = parse_numbers(threads, "--threads"), parse_batch_sizes(batch_size)
    settings = session.Settings(runtime, processor, each_threads[0], hardware, timeout_s=seconds, plan=plan)
    if fleet is not None:
        if hardware is not None or pin is not None or input_data is not None:
            raise ConfigError(
                "--hardware, --pin and --input-data are for this machine; those of a fleet say themselves what they are"
            )
        if len(each_threads) > 1:
            raise ConfigError(f"--threads {threads}: one number at a time with --fleet")
    elif device:
        if len(device) > 1:
            raise ConfigError(f"--device {' '.join(device)}: one target at a time; with --fleet several")
        settings, batch_sizes = _from_id(device[0], settings, batch_sizes)
        each_threads = (settings.threads,)
    if fleet is None:
        for count in each_threads:
            check_threads(count)
        settings.target()  # a runtime that is unknown or absent is told before a store is made
    each_settings = [replace(settings, threads=count) for count in each_threads]
    if pin is not None:
        each_settings = [replace(each, cores=session.pinned(pin, each.threads)) for each in each_settings]
    networks, unfit = _networks(models, [sizes_from(size, input_shape, dim) for size in batch_sizes], input_data)
    for reason in unfit:
        print(f"narformer: {reason}", file=sys.stderr)
    if unfit and not networks:
        raise typer.Exit(2)
    outcomes: list[Outcome] = []
    anew = again or input_data is not None or duration is not None
    with ExitStack() as stack:
        runs: list[Callable[..., object]] = [
            partial(session.measure, settings=each, share=True, acknowledge=acknowledge) for each in each_settings
        ]
        targets = len(runs)
        if fleet is not None:
            targets, on_fleet = stack.enter_context(measuring_on(fleet, device, settings))
            runs = [on_fleet]
        opened = stack.enter_context(Store.open(store))
        advance = stack.enter_context(_progress(targets * len(networks)))

        def report(outcome: Outcome) -> None:
            outcomes.append(outcome)
            advance(outcome)

        try:
            for each in runs:
                each(networks, store=opened, again=anew, report=report)
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


def acknowledge() -> None:
    """Say that Ctrl-C was heard, past Python's own buffers: Ctrl-C may come in the middle of writing something."""
    with contextlib.suppress(OSError):
        os.write(2, b"\nnarformer: stopping when the network under way is in the store; Ctrl-C again stops at once\n")


def check_threads(threads: int) -> None:
    """Raises ConfigError for more threads than cores: they would wait for each other, and nothing would be measured."""
    from narformer.errors import ConfigError

    cores = os.cpu_count() or threads
    if threads > cores:
        raise ConfigError(f"{threads} threads: this machine has {cores} cores")


def _from_id(
    text: str, settings: Settings, batch_sizes: tuple[int | None, ...]
) -> tuple[Settings, tuple[int | None, ...]]:
    """Settings that make the target of this id. Raises ConfigError where this machine is another one.

    A former id said the batch size too, which is the one to measure at unless another was asked for.
    """
    from narformer.errors import ConfigError
    from narformer.measurement.here import settings_for
    from narformer.prediction.target import Target, parse_former

    former = parse_former(text)
    if former is None and ":" not in text:
        raise ConfigError(
            f"--device {text}: give a whole target, as `narformer devices --here` lists them; to name this machine: "
            "--hardware"
        )
    wanted = str(Target.parse(text))
    try:
        found = settings_for(wanted, settings)
    except ConfigError as error:
        raise ConfigError(
            f"{error} (see `narformer devices --here`); measure there, or name this machine with --hardware"
        ) from None
    return found, (former[1],) if former and batch_sizes == (None,) else batch_sizes


def _networks(models: list[Path], each_sizes: Sequence[Sizes], data: Path | None) -> tuple[list[Network], list[str]]:
    """The networks that files and directories hold, in order, each file once a size; and why some hold none."""
    from narformer.errors import DataError
    from narformer.measurement.data import data_shapes
    from narformer.measurement.session import Network

    networks: dict[tuple[Path, int | None], Network] = {}
    unfit: list[str] = []
    held = {} if data is None else data_shapes(data)
    for model in models:
        try:
            for sizes in each_sizes:
                shapes = {**held, **sizes.input_shapes}
                for path, batch in _files(model, sizes.batch_size):
                    networks.setdefault((path, batch), Network(str(path), path, batch, shapes, sizes.dims, data))
        except DataError as error:
            unfit.append(str(error))
    return list(networks.values()), unfit


def _files(model: Path, batch_size: int | None) -> list[tuple[Path, int | None]]:
    """The files that an argument stands for, with their batch sizes. Raises DataError where there are none."""
    from narformer.datasets.dataset import FileSource
    from narformer.datasets.nnlqp import load_nnlqp
    from narformer.errors import DataError
    from narformer.frontends.other_formats import missing

    if not model.exists():
        raise DataError(missing(model))
    if not model.is_dir():
        return [(model, batch_size)]
    if any((model / name).is_file() for name in ("gt.txt", "gt_stage.txt")):
        sources = [source for source in load_nnlqp(model).sources if isinstance(source, FileSource)]
        return [(Path(source.path), batch_size or source.batch_size) for source in sources]
    return [(path, batch_size) for path in files_below(model)]


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Outcome], None]]:
    """Progress over measurements, with the last one's latency."""
    done = 0
    with bar("measuring") as show:
        show(0, total)

        def advance(outcome: Outcome) -> None:
            nonlocal done
            done += 1
            latency = outcome.measurement.latency_ms
            told = "failed" if latency is None else f"{milliseconds(latency)} ms"
            show(done, total, f"{Path(outcome.name).name[:NAME_WIDTH]}: {told}")

        yield advance


def _print(outcomes: list[Outcome]) -> None:
    """A table a device where networks are few, and each failure."""
    by_device: dict[str, list[Outcome]] = {}
    for outcome in outcomes if len(outcomes) <= TABLE_ROWS else ():
        if not outcome.measurement.failure:
            by_device.setdefault(outcome.measurement.device, []).append(outcome)
    batches = len({outcome.measurement.batch_size for outcome in outcomes}) > 1
    for device, shown in by_device.items():
        print_text(device, "bold")
        print_table(_table(shown, batches))
    for outcome in outcomes:
        if outcome.measurement.failure:
            # What reads a network asks for sizes on behalf of any command.
            failure = outcome.measurement.failure.replace("narformer inspect ", "narformer measure ")
            print(f"narformer: {outcome.name}: {failure}", file=sys.stderr)


def _table(outcomes: Sequence[Outcome], batches: bool) -> Table:
    """A row a network; batches: with the batch size, where there are several."""
    titles = ("median ms", "p90 ms", "p99 ms", "min ms", "inputs/s", "memory")
    columns = [Column("model", short=True), *(Column(title, right=True) for title in titles), Column("source")]
    if batches:
        columns.insert(1, Column("batch", right=True))
    rows = []
    for outcome in outcomes:
        m = outcome.measurement
        memory = "" if m.peak_memory_bytes is None else f"{m.peak_memory_bytes / 2**20:.0f} MiB"
        times = ["" if ms is None else milliseconds(ms) for ms in (m.latency_ms, m.p90_ms, m.p99_ms, m.min_ms)]
        rate = "" if m.throughput is None else f"{m.throughput:,.{0 if m.throughput >= 100 else 1}f}"
        batch = [str(m.batch_size)] if batches else []
        rows.append((outcome.name, *batch, *times, rate, memory, outcome.source))
    return Table(tuple(columns), tuple(rows))
