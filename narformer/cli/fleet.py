"""`narformer fleet`: which machines a cluster has, and what this one offers to it; measuring on them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from narformer.cli.format import FORMAT, JSON, Format, chosen, print_records, print_table
from narformer.cli.notes import note
from narformer.tables import Column, Table

if TYPE_CHECKING:
    from narformer.measurement.session import Settings

FLEET = typer.Option(
    None,
    "--fleet",
    metavar="ADDRESS",
    help="host:port of a cluster of Ray whose machines do the work; auto: this one's.",
)
app = typer.Typer(
    help="Machines that are a cluster of Ray: which there are, what this one offers.", no_args_is_help=True
)


@app.command()
def offer(
    hardware: str | None = typer.Option(None, "--hardware", help="Another name for this machine than the one it has."),
) -> None:
    """Print what this machine can measure on, as `ray start --resources` takes it.

    ray start --address=10.0.0.1:6379 --resources="$(narformer fleet offer)"
    """
    from narformer.fleet.cluster import DEVICE
    from narformer.measurement.here import available
    from narformer.prediction.target import Target

    names = [hardware] if hardware else [Target.parse(e.device).hardware for e in available() if not e.missing]
    print(json.dumps({f"{DEVICE}{name}": 1 for name in dict.fromkeys(names)}))


@app.command()
def machines(
    address: str = typer.Argument("auto", help="host:port of the cluster; auto: the one that this machine has joined."),
    form: Format | None = FORMAT,
    as_json: bool = JSON,
) -> None:
    """List the machines of a cluster, and the hardware that each measures on."""
    from narformer.fleet import cluster

    form = chosen(form, as_json)
    with cluster.connected(address):
        found = cluster.machines()
    if form is not Format.TABLE:
        print_records(form, [machine.to_dict() for machine in found])
        return
    columns = (Column("machine"), Column("measures on"), Column("cores", right=True), Column("GPUs", right=True))
    rows = tuple((m.host, ", ".join(m.hardware) or "-", f"{m.cores:g}", f"{m.gpus:g}") for m in found)
    print_table(Table(columns, rows))


@contextmanager
def measuring_on(address: str, wanted: Sequence[str], settings: Settings) -> Iterator[tuple[int, Callable[..., Any]]]:
    """On how many targets there is to measure, and what does that as `session.measure` does it on one machine."""
    from narformer.fleet import cluster
    from narformer.fleet.measuring import measure, wishes_of

    with cluster.connected(address):
        wishes = wishes_of(wanted, cluster.machines())
        yield len(wishes), partial(measure, wishes=wishes, settings=settings, tell=note)
