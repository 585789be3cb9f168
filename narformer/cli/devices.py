"""`narformer devices`: what the shipped predictor knows, and how well; with `--here`, what this machine can measure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from narformer.cli.format import FORMAT, JSON, Format, chosen, print_records, print_table, print_text
from narformer.tables import Column, Table


def devices(
    predictor: str | None = typer.Option(None, "--predictor", help="Name of a shipped predictor, or path of an .onnx."),
    here: bool = typer.Option(False, "--here", help="List what this machine can measure instead."),
    form: Format | None = FORMAT,
    as_json: bool = JSON,
) -> None:
    """List the devices that can be predicted, with the error measured on held-out networks."""
    form = chosen(form, as_json)
    if here:
        _print_here(form)
        return
    from narformer.adaptation.predictor import adapted_devices, default_predictor
    from narformer.cli.inputs import tell_unusable

    loaded = default_predictor(predictor)
    card = loaded.card
    rows: list[dict[str, Any]] = [_row(o.device, o.description, "predicted", o.held_out) for o in card.outputs]
    rows += [_row(d.name, d.description, "adapted", d.validation) for d in adapted_devices(loaded).values()]
    tell_unusable(loaded)
    if form is not Format.TABLE:
        flat = [{k: v for k, v in row.items() if k != "held_out"} | _held_out(row) for row in rows]
        print_records(form, flat, rows)
        return
    columns = (Column("target"), Column("MAPE", right=True), Column("within 10 %", right=True))
    cells = []
    for row in rows:
        figures = [f"{row['held_out'][key]:.1f} %" if key in row["held_out"] else "" for key in ("mape", "acc_10")]
        cells.append((row["target"], *figures))
    print_table(Table(columns, tuple(cells)), notes=[row["description"] for row in rows])
    print()
    print_text(f"MAPE and share of networks within 10 %, on held-out networks; predictor {card.name}.")


def _row(target: str, description: str, source: str, held_out: Mapping[str, float]) -> dict[str, Any]:
    # `device` is what `target` was called: scripts read it.
    return {
        "target": target,
        "description": description,
        "source": source,
        "held_out": dict(held_out),
        "device": target,
    }


def _held_out(row: dict[str, Any]) -> dict[str, Any]:
    return {f"held_out_{name}": value for name, value in row["held_out"].items()}


def _print_here(form: Format) -> None:
    from narformer.measurement.here import available

    entries = available()
    if form is not Format.TABLE:
        print_records(form, [entry.to_dict() for entry in entries])
        return
    columns = (Column("runtime"), Column("processor"), Column("target"))
    present = [(entry.runtime, entry.processor, entry.device) for entry in entries if not entry.missing]
    print_table(Table(columns, tuple(present)))
    print()
    print_text("Ids are those of networks in float32 (fp32), on a CPU with one thread (1t).")
    for missing in dict.fromkeys(entry.missing for entry in entries if entry.missing):
        print_text(missing)
