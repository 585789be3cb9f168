"""`narformer store`: what was measured, listed, shown, imported and exported."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import typer

from narformer.cli.format import FORMAT, JSON, Format, chosen, print_records, print_table, print_text
from narformer.cli.inputs import BATCH_SIZE, DIM, INPUT_SHAPE, files_of, read_each, sizes_from
from narformer.cli.notes import tell
from narformer.cli.progress import track
from narformer.errors import ConfigError, DataError, NarformerError
from narformer.tables import Column, Table

if TYPE_CHECKING:
    from narformer.frontends.sizes import Sizes
    from narformer.measurement.measurement import Measurement
    from narformer.measurement.store import Store

app = typer.Typer(no_args_is_help=True, help="The store of measurements: list, show, devices, remove, import, export.")

LOCATION = typer.Option(None, "--store", help="Path or URL. Default: $NARFORMER_STORE, else a file of the user's.")
DEVICE = typer.Option(None, "--device", "--target", "-d", help="Only this target, or all of this hardware.")
MODEL = typer.Option(None, "--model", "-m", help="Only models with this in their name.")
# More lines of reasons than this are a number of lines that nobody reads.
REASONS = 10
# A hash or its beginning; what has other letters is the name of a file.
HASH = re.compile("[0-9a-fA-F]{1,64}")


@app.command("list")
def list_measurements(
    location: str | None = LOCATION,
    device: str | None = DEVICE,
    model: str | None = MODEL,
    failed: bool | None = typer.Option(None, "--failed/--measured", help="Only what failed, or only what did not."),
    limit: int = typer.Option(50, "--limit", "-n", min=1, help="Of the table: only the last so many."),
    every: bool = typer.Option(False, "--all", help="Also the reference network that measurements are related to."),
    form: Format | None = FORMAT,
    as_json: bool = JSON,
) -> None:
    """List measurements, the last one last."""
    from narformer.measurement.drift import REFERENCE_NAME
    from narformer.measurement.store import Store

    form = chosen(form, as_json)
    with Store.open(location, create=False) as store:
        rows = store.find(device=_selected(store, device), failed=failed, model=model)
    if not every:
        rows = [row for row in rows if row.model != REFERENCE_NAME]
    if form is not Format.TABLE:
        print_records(form, [row.record() for row in rows])
        return
    _print_measurements(rows[-limit:])
    left_out = f", the last {limit} shown" if len(rows) > limit else ""
    tell(f"{len(rows)} measurements{left_out}; store {store.name}")


@app.command()
def show(
    network: str = typer.Argument(
        ..., help="ONNX file, directory of them, or the hash of a network or its beginning.", metavar="NETWORK"
    ),
    location: str | None = LOCATION,
    batch_size: int | None = BATCH_SIZE,
    input_shape: list[str] = INPUT_SHAPE,
    dim: list[str] = DIM,
    form: Format | None = FORMAT,
    as_json: bool = JSON,
) -> None:
    """Show all measurements of one network, whatever its file was called; of a directory, of each network below it.

    JSON is an object for one network, and an array for a directory; CSV and Markdown have a row a measurement.
    """
    from narformer.measurement.store import Store

    form = chosen(form, as_json)
    asked = _asked_hashes(network, sizes_from(batch_size, input_shape, dim))
    wholes, records = [], []
    with Store.open(location, create=False) as store:
        known = _known_hashes(asked, store)
        for place, hash in enumerate(known):
            rows, graph = store.find(graph=hash), store.graph(hash)
            assert graph is not None
            if form is Format.TABLE:
                if place:
                    print()
                shapes = ", ".join("x".join(map(str, tensor.shape)) for tensor in graph.inputs)
                print(f"{hash}\n{len(graph)} nodes, input {shapes}")
                _print_measurements(rows)
            each = [row.record() for row in rows]
            records += each
            wholes.append({"hash": hash, "graph": hash, "nodes": len(graph), "measurements": each})
    if form is not Format.TABLE:
        print_records(form, records, wholes if Path(network).is_dir() else wholes[0])


def _asked_hashes(network: str, sizes: Sizes) -> dict[str, str]:
    """What to call each network that is meant, and its hash: of an ONNX file, of those below a directory, of a hash.

    Raises ConfigError for sizes of a hash, DataError for a file that there is not.
    """
    from narformer.frontends.canonical import network_hash
    from narformer.frontends.other_formats import missing

    if Path(network).exists():
        paths = files_of([Path(network)])
        return {str(path): network_hash(graph) for path, graph in zip(paths, read_each(paths, sizes), strict=True)}
    if not HASH.fullmatch(network):
        raise DataError(missing(PurePath(network)))
    if sizes:
        raise ConfigError(f"{network}: sizes are those of an ONNX file's inputs; a hash has its own")
    return {network: network.lower()}


def _known_hashes(asked: dict[str, str], store: Store) -> list[str]:
    """Those in the store, each once; of the files of a directory some may be unknown. Raises DataError for none."""
    if len(asked) == 1:
        return [_known_hash(network, hash, store) for network, hash in asked.items()]
    measured = {row.graph for row in store.find()}
    found = [hash for hash in dict.fromkeys(asked.values()) if (store.current_hash(hash) or hash) in measured]
    if not found:
        raise DataError(f"{', '.join(asked)}: none of them was measured; see `narformer store list`")
    return [store.current_hash(hash) or hash for hash in found]


def _known_hash(network: str, asked: str, store: Store) -> str:
    """The hash in the store that is this one, was this one, or begins so. Raises DataError for none or several."""
    hash = store.current_hash(asked) or asked
    hashes = sorted({row.graph for row in store.find() if row.graph.startswith(hash)}) if hash else []
    if len(hashes) != 1:
        told = f"stands for several networks: {', '.join(h[:16] for h in hashes[:5])}" if hashes else "not measured"
        raise DataError(f"{network}: {told}; give an ONNX file, or a hash from `narformer store list --json`")
    return hashes[0]


@app.command()
def devices(location: str | None = LOCATION, form: Format | None = FORMAT, as_json: bool = JSON) -> None:
    """List the devices that something was measured on."""
    from narformer.measurement.drift import REFERENCE_NAME
    from narformer.measurement.store import Store

    form = chosen(form, as_json)
    with Store.open(location, create=False) as store:
        own = Counter(row.device for row in store.find(model=REFERENCE_NAME) if row.model == REFERENCE_NAME)
        # The reference network is one of those counted, and none of the user's.
        found = [
            replace(d, networks=d.networks - (d.id in own), measured=d.measured - own[d.id]) for d in store.devices()
        ]
    if form is not Format.TABLE:
        print_records(form, [device.to_dict() for device in found])
        return
    numbers = ("networks", "measurements", "failed")
    columns = (Column("target"), *(Column(title, right=True) for title in numbers))
    rows = [(d.id, str(d.networks), str(d.measured), str(d.failed)) for d in found]
    print_table(Table(columns, tuple(rows)), notes=[d.description for d in found])


@app.command()
def remove(
    network: str | None = typer.Argument(
        None,
        help="ONNX file, directory of them, or the hash of a network or its beginning; without one, of all.",
        metavar="[NETWORK]",
    ),
    location: str | None = LOCATION,
    device: str | None = DEVICE,
    model: str | None = MODEL,
    failed: bool | None = typer.Option(None, "--failed/--measured", help="Only what failed, or only what did not."),
    yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask."),
    batch_size: int | None = BATCH_SIZE,
    input_shape: list[str] = INPUT_SHAPE,
    dim: list[str] = DIM,
) -> None:
    """Remove measurements from the store: of a network, of a target, of names, or what failed. Cannot be undone.

    Without --yes it is asked first. What adapted devices have learned stays in them; see `narformer devices remove`.
    """
    from narformer.measurement.store import Store

    if network is None and device is None and model is None and failed is None:
        raise ConfigError("say what to remove: a NETWORK, --device, --model or --failed; see `narformer store list`")
    sizes = sizes_from(batch_size, input_shape, dim)
    asked = {} if network is None else _asked_hashes(network, sizes)
    with Store.open(location, create=False) as store:
        hash = None if network is None else _known_hashes(asked, store)
        chosen_ones = {"graph": hash, "device": _selected(store, device), "failed": failed, "model": model}
        rows = store.find(**chosen_ones)  # type: ignore[arg-type]
        if not rows:
            raise DataError(f"{store.name}: no such measurements; see `narformer store list`")
        told = f"{len(rows)} measurement{'s' if len(rows) > 1 else ''} of {len({r.device for r in rows})} device(s)"
        if not yes:
            if not sys.stdin.isatty():
                raise ConfigError(f"{store.name}: {told} would be removed; give --yes")
            if not typer.confirm(f"Remove {told} from {store.name}?", err=True):
                return
        removed = store.remove(**chosen_ones)  # type: ignore[arg-type]
    print(f"{removed} removed; store {store.name}")


@app.command("import")
def import_into(
    sources: list[str] = typer.Argument(
        ..., help="Directories in NNLQP's layout, CSV files, other stores (path or URL).", metavar="SOURCE..."
    ),
    location: str | None = LOCATION,
    as_json: bool = JSON,
) -> None:
    """Add measurements made elsewhere. Can be given again: what the store has is not added twice.

    Exit codes: 0, 2 where something was left out; the reasons are on standard error.
    """
    from narformer.measurement.exchange import add, entries
    from narformer.measurement.store import Store

    results = []
    with Store.open(location) as store:
        for source in sources:
            try:
                total, items = entries(source, store)
                result = add(store, track(items, "importing", total))
            except NarformerError as error:
                print(f"narformer: {error}", file=sys.stderr)
                results.append({"source": source, "added": 0, "present": 0, "skipped": [str(error)]})
                continue
            _print_reasons(result.skipped)
            results.append(
                {"source": source, "added": result.added, "present": result.present, "skipped": list(result.skipped)}
            )
            if not as_json:
                print(f"{source}: {result.added} added, {result.present} already there, {len(result.skipped)} left out")
    if as_json:
        print(json.dumps(results, indent=2))
    if any(result["skipped"] for result in results):
        raise typer.Exit(2)


@app.command("export")
def export_from(
    out: Path = typer.Argument(
        ..., help="A .csv file, a new store (.db), or a new directory, in NNLQP's layout.", metavar="OUT"
    ),
    location: str | None = LOCATION,
    device: str | None = DEVICE,
    model: str | None = MODEL,
) -> None:
    """Write measurements as CSV, a row each, as a store, or as a dataset in NNLQP's layout with weightless ONNX files.

    Only a store holds everything: a CSV has no networks, and the dataset only the last latency of each.

    Exit codes: 0, 2 where a network cannot be written as weightless ONNX; the others are written.
    """
    from narformer.measurement.exchange import export_csv, export_nnlqp, export_store
    from narformer.measurement.store import Store

    with Store.open(location, create=False) as store:
        rows = store.find(device=_selected(store, device), model=model)
        if not rows:
            raise DataError(f"{store.name}: no such measurements; see `narformer store list`")
        if out.suffix.lower() == ".csv":
            export_csv(rows, out)
            print(f"{len(rows)} measurements in {out}")
            return
        if out.suffix.lower() == ".db":
            print(f"{export_store(rows, store, out)} measurements in {out}")
            return
        networks = len({row.graph for row in rows if row.latency_ms is not None})
        steps = list(track(export_nnlqp(rows, store, out), "exporting", networks))
    reasons = [reason for reason in steps if reason is not None]
    _print_reasons(reasons)
    print(f"{len(steps) - len(reasons)} networks below {out / 'onnx'}, listed in {out / 'gt.txt'}")
    if reasons:
        raise typer.Exit(2)


def _selected(store: Store, device: str | None) -> list[str] | None:
    """The targets of a store that a text stands for. Raises UnknownDeviceError where it stands for none."""
    from narformer.prediction.target import select

    return None if device is None else select([device], [known.id for known in store.devices()])


def _print_measurements(rows: list[Measurement]) -> None:
    """A table a device; names give way where the terminal is narrow, ids and latencies do not."""
    by_device: dict[str, list[Measurement]] = {}
    for row in rows:
        by_device.setdefault(row.device, []).append(row)
    columns = (Column("network"), Column("model", short=True), Column("latency"), Column("on"))
    for device, shown in by_device.items():
        cells, reasons = [], []
        for m in shown:
            spread = "" if m.spread_ms is None else f" ± {m.spread_ms:.3f}"
            kind, _, reason = m.failure.partition(": ")
            latency = kind if m.latency_ms is None else f"{m.latency_ms:.3f}{spread} ms"
            cells.append((m.graph[:12], m.model, latency, m.measured_at[:10]))
            reasons.append(reason)
        print_text(device, "bold")
        print_table(Table(columns, tuple(cells)), notes=reasons)


def _print_reasons(reasons: Iterable[str]) -> None:
    every = list(reasons)
    for reason in every[:REASONS]:
        print(f"narformer: {reason}", file=sys.stderr)
    if len(every) > REASONS:
        print(f"narformer: {len(every) - REASONS} more were left out", file=sys.stderr)
