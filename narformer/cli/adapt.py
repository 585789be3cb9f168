"""`narformer adapt` and `narformer validate`: learn a new device from a few measurements, and try what it knows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from narformer.cli.completion import runtime_names
from narformer.cli.format import FORMAT, JSON, Format, chosen, print_records, print_table, print_text
from narformer.cli.inputs import PREDICTOR, as_words, parse_batch_sizes, parse_sizes, plot_option
from narformer.cli.measure import acknowledge, check_threads
from narformer.cli.notes import tell
from narformer.cli.progress import track
from narformer.figures import milliseconds
from narformer.tables import Column, Table

if TYPE_CHECKING:
    from narformer.adaptation.device import AdaptedDevice
    from narformer.adaptation.session import Comparison
    from narformer.graph import Graph
    from narformer.measurement.session import Outcome, Settings
    from narformer.prediction.predictor import Predictor

Item = TypeVar("Item")
SHIFTED = 8.0  # median error in percent, beyond which it is said

NAME = typer.Option(..., "--device", "-d", help="A name for the device, as `narformer predict --device` will take it.")
RUNTIME = typer.Option(
    "onnxruntime",
    "--runtime",
    "-r",
    help="Runtime, see `narformer devices --here`.",
    autocompletion=runtime_names,
)
PROCESSOR = typer.Option("cpu", "--processor", help="What the runtime runs on: cpu, cuda, ...")
THREADS = typer.Option(1, "--threads", "-t", min=1, help="Threads of the runtime.")
STORE = typer.Option(None, "--store", help="Path or URL. Default: $NARFORMER_STORE, else a file of this user.")
BUDGET = typer.Option(2.0, "--budget", min=0.0, help="Seconds of timed runs for one network, at most.")
TIMEOUT = typer.Option(60.0, "--timeout", min=0.1, help="Seconds for one network, loading included.")


def adapt(
    device: str = NAME,
    samples: int | None = typer.Option(None, "--samples", "-k", min=3, help="Networks to learn from. Default: 20."),
    target_error: float | None = typer.Option(
        None, "--target-error", min=0.1, help="Stop before, once the expected error in percent is no more than this."
    ),
    from_store: str | None = typer.Option(None, "--from-store", help="Learn from what a store has, by path or URL."),
    directory: Path | None = typer.Option(None, "--from", help="Learn from a directory in NNLQP's layout."),
    table: Path | None = typer.Option(
        None,
        "--csv",
        help="Learn from a CSV with columns model (an ONNX file), latency_ms and, if need be, batch_size and shapes.",
    ),
    measured_on: str | None = typer.Option(
        None, "--measured-on", help="Of several devices in a store or directory, this one."
    ),
    batch_size: str | None = typer.Option(
        None, "--batch-size", "-b", metavar="N[,N...]", help="Measure networks at these in turns. Default: 1."
    ),
    runtime: str = RUNTIME,
    processor: str = PROCESSOR,
    threads: int = THREADS,
    store: str | None = STORE,
    budget: float = BUDGET,
    timeout: float = TIMEOUT,
    predictor: str | None = PREDICTOR,
    form: Format | None = FORMAT,
    as_json: bool = JSON,
) -> None:
    """Learn a device: choose networks, measure them here, and keep a small file that `predict` finds.

    Can be interrupted and given again: what the store has is not measured twice. Exit codes: 0, 2, 130 interrupted.
    """
    from narformer.adaptation.device import check_name
    from narformer.errors import ConfigError
    from narformer.own_hardware import MOST, from_measurements
    from narformer.prediction.predictor import Predictor

    form = chosen(form, as_json)
    loaded = Predictor.load(predictor)
    check_name(device, loaded)
    sources = [s for s in (from_store, directory, table) if s is not None]
    if len(sources) > 1:
        raise ConfigError("--from-store, --from and --csv exclude each other")
    measuring = {
        "--target-error": target_error is not None,
        "--runtime": runtime != RUNTIME.default,
        "--processor": processor != PROCESSOR.default,
        "--threads": threads != THREADS.default,
        "--store": store is not None,
        "--budget": budget != BUDGET.default,
        "--timeout": timeout != TIMEOUT.default,
    }
    if sources and any(measuring.values()):
        named = ", ".join(name for name, given in measuring.items() if given)
        raise ConfigError(f"{named}: for measuring; leave it out to learn from what was measured")
    if not sources and measured_on is not None:
        raise ConfigError("--measured-on chooses among the devices of --from-store, --from or --csv; give one of these")
    if sources and batch_size is not None:
        raise ConfigError("--batch-size is for measuring; a CSV says it in a column batch_size")
    batch_sizes = [batch or 1 for batch in parse_batch_sizes(batch_size)]
    if sources:
        pairs, origin = _measurements(from_store, directory, table, measured_on)
        adapted = from_measurements(device, pairs, origin, samples or MOST, loaded, _track("reading"))
    else:
        settings = _settings(runtime, processor, threads, budget, timeout)
        adapted = _by_measuring(device, samples or 20, target_error, settings, store, loaded, batch_sizes)
    path = adapted.save()
    if form is not Format.TABLE:
        networks = [
            {"hash": hash, "model": network, "target": adapted.measured_on, "batch_size": batch, "latency_ms": ms}
            for hash, network, batch, ms in zip(
                adapted.hashes, adapted.networks, adapted.batch_sizes, adapted.latencies, strict=True
            )
        ]
        told = {"target": device, "measured_on": adapted.measured_on, "networks": networks, "file": str(path)}
        print_records(form, networks, {**told, "device": device})
        return
    print_text(f"{device}: {adapted.description}; {path}")
    if not sources:
        print_text(f"Try it on networks that it has not seen: narformer validate --device {device}")


def validate(
    device: str = NAME,
    networks: int = typer.Option(100, "--networks", "-n", min=1, help="How many to predict and measure."),
    plot: Path | None = plot_option("predicted against measured"),
    runtime: str = RUNTIME,
    processor: str = PROCESSOR,
    threads: int = THREADS,
    store: str | None = STORE,
    budget: float = BUDGET,
    timeout: float = TIMEOUT,
    predictor: str | None = PREDICTOR,
    form: Format | None = FORMAT,
    as_json: bool = JSON,
) -> None:
    """Predict networks that the device was not adapted from, measure them, and compare.

    The errors are kept beside the device and shown by `predict` and `devices`. Exit codes: 0, 2, 130 interrupted.
    """
    from narformer.adaptation import session as adapting
    from narformer.adaptation.device import adapted_device
    from narformer.adaptation.predictor import AdaptedDevices
    from narformer.errors import ConfigError
    from narformer.measurement.store import Store
    from narformer.prediction.predictor import Predictor

    form = chosen(form, as_json)
    adapted = adapted_device(device)
    settings = _settings(runtime, processor, threads, budget, timeout)
    here = str(settings.target())
    if adapted.measured_on != here:
        raise ConfigError(
            f"{device} is {adapted.measured_on}, and this is {here}: measure there, or with its --runtime"
        )
    loaded = Predictor.load(predictor or adapted.predictor).with_further(AdaptedDevices.of(adapted))
    if loaded.card.name != adapted.predictor:
        raise ConfigError(f"{device} was adapted with predictor {adapted.predictor}, not {loaded.card.name}")
    with Store.open(store) as opened:
        unseen = adapting.unmeasured(networks, adapted.hashes, _track("building"))
        with _measuring(len(unseen)) as report:
            comparisons = adapting.validate(
                adapted,
                unseen,
                settings=settings,
                store=opened,
                predictor=loaded,
                report=report,
                acknowledge=acknowledge,
            )
    if not comparisons:
        raise ConfigError(f"{device}: none of {len(unseen)} networks could be measured; see `narformer store list`")
    told = adapting.summary(comparisons)
    replace(adapted, validation=told).save()
    if form is not Format.TABLE:
        rows = [comparison.to_dict() for comparison in comparisons]
        print_records(form, rows, {"target": device, **told, "comparisons": rows, "device": device})
    else:
        _print(device, comparisons, told)
    if plot is not None:
        _plot(device, comparisons, told, plot)
        if form is Format.TABLE:
            print(f"plot: {plot}")


def _settings(runtime: str, processor: str, threads: int, budget: float, timeout: float) -> Settings:
    from narformer.measurement.session import Settings
    from narformer.measurement.timing import Plan

    check_threads(threads)
    return Settings(runtime, processor, threads, timeout_s=timeout, plan=Plan(budget_s=budget))


def _by_measuring(
    name: str,
    samples: int,
    target_error: float | None,
    settings: Settings,
    store: str | None,
    predictor: Predictor,
    batch_sizes: Sequence[int],
) -> AdaptedDevice:
    from narformer.adaptation import session as adapting
    from narformer.measurement.session import summary
    from narformer.measurement.store import Store

    outcomes: list[Outcome] = []
    settings.target()  # a runtime that is absent is told before networks are built
    with Store.open(store) as opened:
        pool = adapting.Pool.of_zoo(predictor, str(settings.target()), batch_sizes=batch_sizes)
        with _measuring(samples) as show:

            def report(outcome: Outcome) -> None:
                outcomes.append(outcome)
                show(outcome)

            adapted = adapting.measure_and_adapt(
                name,
                pool,
                samples,
                settings=settings,
                store=opened,
                predictor=predictor,
                target_error=target_error,
                report=report,
                acknowledge=acknowledge,
            )
        expected = adapted.prices.expected_error(pool.profiles)
        tell(f"{summary(outcomes)}; store {opened.name}")
        tell(f"expected error on networks of the zoo: {expected:.1f} %")
    return adapted


def _measurements(
    from_store: str | None, directory: Path | None, table: Path | None, measured_on: str | None
) -> tuple[list[tuple[Graph, float]], str]:
    """(Graph, ms) pairs, and the device that they are of. Raises DataError, StoreError, ConfigError."""
    if from_store is not None:
        return _of_store(from_store, measured_on)
    if directory is not None:
        return _of_nnlqp(directory, measured_on)
    assert table is not None
    return _of_table(table), measured_on or table.name


def _of_table(table: Path) -> list[tuple[Graph, float]]:
    from narformer.datasets.table import positive, read_table
    from narformer.errors import ModelError, UserError
    from narformer.frontends.onnx import read_onnx
    from narformer.frontends.onnx.unbound import UnboundError

    pairs = []
    for number, row in enumerate(read_table(table, ("model", "latency_ms")), start=2):
        where = f"{table}, row {number}"
        latency = positive(row["latency_ms"], f"{where}, latency_ms")
        batch = _batch_size(row.get("batch_size", ""), where)
        try:
            sizes = parse_sizes(row.get("shapes", ""))
            path = table.parent / row["model"]
            graph = read_onnx(path, batch_size=batch, input_shapes=sizes.input_shapes, dims=sizes.dims)
            pairs.append((graph, latency))
        except UnboundError as error:
            told = f"{error.told}; bind them in a column shapes, for example: {as_words(error.example)}"
            raise ModelError(f"{where}: {told}") from None
        except UserError as error:
            raise ModelError(f"{where}: {error}") from None
    return pairs


def _batch_size(text: str, where: str) -> int | None:
    """A cell of a column batch_size; empty where the network's own stands. Raises DataError."""
    from narformer.errors import DataError

    if not text.strip():
        return None
    if not text.strip().isdecimal() or int(text) < 1:
        raise DataError(f"{where}, batch_size: {text!r} is not a number of inputs")
    return int(text)


def _of_store(location: str, measured_on: str | None) -> tuple[list[tuple[Graph, float]], str]:
    from narformer.measurement.store import Store

    with Store.open(location, create=False) as store:
        device = _one_of([d.id for d in store.devices() if d.measured], measured_on, store.name)
        latest = {m.graph: m.latency_ms for m in store.find(device=device, failed=False)}
        graphs = ((store.graph(hash), ms) for hash, ms in latest.items())
        return [(graph, ms) for graph, ms in graphs if graph is not None and ms is not None], device


def _of_nnlqp(directory: Path, measured_on: str | None) -> tuple[list[tuple[Graph, float]], str]:
    import numpy as np

    from narformer.datasets.nnlqp import load_nnlqp

    dataset = load_nnlqp(directory)
    device = _one_of(dataset.devices, measured_on, str(directory))
    latencies = dataset.targets[:, dataset.devices.index(device)]
    rows = np.flatnonzero(np.isfinite(latencies))
    return [(dataset.sources[row].graph(), float(latencies[row])) for row in _track("reading")(rows.tolist())], device


def _one_of(devices: Sequence[str], wanted: str | None, where: str) -> str:
    from narformer.errors import ConfigError
    from narformer.prediction.target import select

    if wanted is None and len(devices) == 1:
        return devices[0]
    found = [] if wanted is None else select([wanted], devices)
    if len(found) != 1:
        listed = ", ".join(devices) or "none"
        raise ConfigError(f"{where}: choose one of its targets with --measured-on; it has {listed}")
    return found[0]


def _track(what: str) -> Callable[[Sequence[Item]], Iterable[Item]]:
    return lambda items: track(items, what, len(items))


@contextmanager
def _measuring(total: int) -> Iterator[Callable[[Outcome], None]]:
    """A progress bar over measurements, on a terminal; nothing otherwise."""
    from narformer.cli.measure import _progress

    with _progress(total) as advance:
        yield advance


def _print(device: str, comparisons: list[Comparison], told: dict[str, float]) -> None:
    titles = ("predicted", "90% interval", "measured", "error")
    rows = []
    for c in sorted(comparisons, key=lambda c: abs(c.error)):
        low, high, predicted, measured = map(milliseconds, (c.low, c.high, c.predicted, c.measured))
        rows.append((c.model, f"{predicted} ms", f"{low} – {high} ms", f"{measured} ms", f"{c.error:+.1f} %"))
    columns = (Column("network", short=True), *(Column(title, right=True) for title in titles))
    print_table(Table(columns, tuple(rows)))
    print()
    print_text(
        f"{device}: MAPE {told['mape']:.1f} % on {told['networks']} networks, {told['acc_10']:.0f} % of them within "
        f"10 %; the 90 % intervals cover {told['covers']:.0f} %; median error {told['median_error']:+.1f} %."
    )
    if abs(told["median_error"]) > SHIFTED:
        print_text(
            "Most are off the same way: the machine is not as fast as it was while adapting. Stop what else runs on "
            f"it, and adapt again into a new store: narformer adapt --device {device} --store NEW"
        )


def _plot(device: str, comparisons: list[Comparison], told: dict[str, float], path: Path) -> None:
    import numpy as np

    from narformer.evaluation.plots import predicted_against_measured

    predicted = np.array([[c.predicted] for c in comparisons])
    measured = np.array([[c.measured] for c in comparisons])
    low, high = (np.array([[getattr(c, end)] for c in comparisons]) for end in ("low", "high"))
    title = f"MAPE {told['mape']:.1f} %, 90 % intervals cover {told['covers']:.0f} % of {told['networks']} networks"
    predicted_against_measured(
        predicted,
        measured,
        [device],
        ["networks"] * len(comparisons),
        path,
        interval=(low, high),
        names=[c.model for c in comparisons],
        title=title,
    )
