"""`narformer devices`: what the shipped predictor knows, and how well; with `--here`, what this machine can measure."""

from __future__ import annotations

import json
from typing import Any

import typer


def devices(
    as_json: bool = typer.Option(False, "--json", help="Print one JSON array, an object per device."),
    predictor: str | None = typer.Option(None, "--predictor", help="Name of a shipped predictor, or path of an .onnx."),
    here: bool = typer.Option(False, "--here", help="List what this machine can measure instead."),
) -> None:
    """List the devices that can be predicted, with the error measured on held-out networks."""
    if here:
        _print_here(as_json)
        return
    from narformer.adaptation.predictor import PredictorWithAdapted, default_predictor
    from narformer.cli.inputs import tell_unusable

    loaded = default_predictor(predictor)
    card = loaded.card
    rows: list[dict[str, Any]] = [
        {"device": o.device, "description": o.description, "source": "predicted", "held_out": dict(o.held_out)}
        for o in card.outputs
    ]
    rows += [
        {"device": d.name, "description": d.description, "source": "adapted", "held_out": dict(d.validation)}
        for d in (loaded.adapted.values() if isinstance(loaded, PredictorWithAdapted) else ())
    ]
    tell_unusable(loaded)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("device", overflow="fold")  # folded, never cut: an id is there to be copied
    table.add_column("MAPE", justify="right", no_wrap=True)
    table.add_column("within\n10 %", justify="right", no_wrap=True)
    for row in rows:
        figures = [f"{row['held_out'][key]:.1f} %" if key in row["held_out"] else "" for key in ("mape", "acc_10")]
        table.add_row(row["device"], *figures)
        table.add_row(f"  {row['description']}", style="dim")
    console = Console()
    console.print(table)
    console.print(
        f"\nMAPE and share of networks within 10 %, on held-out networks; predictor {card.name}.",
        highlight=False,
        soft_wrap=True,
    )


def _print_here(as_json: bool) -> None:
    from narformer.measurement.here import available

    entries = available()
    if as_json:
        print(json.dumps([entry.to_dict() for entry in entries], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2))
    for column in ("runtime", "processor", "device"):
        table.add_column(column)
    for entry in entries:
        if not entry.missing:
            table.add_row(entry.runtime, entry.processor, entry.device)
    console = Console()
    console.print(table)
    print("\nIds are those of networks in float32 (fp32) at batch size 1 (b1), with one thread (t1).")
    for missing in dict.fromkeys(entry.missing for entry in entries if entry.missing):
        print(missing)
