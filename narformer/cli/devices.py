"""`narformer devices`: what the shipped predictor knows, and how well; with `--here`, what this machine can measure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import typer

from narformer.cli.format import FORMAT, JSON, Format, chosen, print_records, print_table, print_text
from narformer.cli.inputs import PREDICTOR
from narformer.tables import Column, Table

KINDS = {"gpu": "GPUs", "cpu": "CPUs", "npu": "NPUs", "vpu": "VPUs", "": "others", "adapted": "adapted by you"}


class Kind(str, Enum):
    """What may be asked for with --kind."""

    GPU = "gpu"
    CPU = "cpu"
    NPU = "npu"
    VPU = "vpu"
    ADAPTED = "adapted"


def devices(
    words: list[str] = typer.Argument(
        None, help="Only targets with all of these in their name or description; or: remove NAME.", metavar="[WORD]..."
    ),
    kind: Kind | None = typer.Option(None, "--kind", help="Only this kind of hardware, or what you adapted."),
    predictor: str | None = PREDICTOR,
    here: bool = typer.Option(False, "--here", help="List what this machine can measure instead."),
    form: Format | None = FORMAT,
    as_json: bool = JSON,
) -> None:
    """List the targets that can be predicted, by kind of hardware, with the error measured on held-out networks.

    `narformer devices rtx compiled` searches; `narformer devices remove NAME` removes an adapted device.
    """
    form = chosen(form, as_json)
    words = list(words or ())
    if words[:1] == ["remove"]:
        _remove(words[1:])
        return
    if here:
        _print_here(form)
        return
    from narformer.adaptation.predictor import adapted_devices, default_predictor
    from narformer.cli.inputs import tell_unusable
    from narformer.errors import UnknownDeviceError, did_you_mean

    loaded = default_predictor(predictor)
    card = loaded.card
    rows: list[dict[str, Any]] = [_row(o.device, o.description, "predicted", o.held_out) for o in card.outputs]
    rows += [_row(d.name, d.description, "adapted", d.validation) for d in adapted_devices(loaded).values()]
    tell_unusable(loaded)
    known = sorted({part for row in rows for part in (row["target"].partition(":")[0], row["kind"])})
    rows = [row for row in rows if _meant(row, words, kind)]
    if not rows:
        meant = "".join(did_you_mean(word, known) for word in words[:1])
        asked = " ".join([*(repr(word) for word in words), *([f"--kind {kind.value}"] if kind else [])])
        raise UnknownDeviceError(
            f"no target of predictor {card.name} has {asked}; {meant}`narformer devices` lists all"
        )
    hardware = list(dict.fromkeys(row["hardware"] for row in rows))
    rows.sort(key=lambda row: (list(KINDS).index(row["kind"]), hardware.index(row["hardware"])))
    if form is not Format.TABLE:
        flat = [{k: v for k, v in row.items() if k != "held_out"} | _held_out(row) for row in rows]
        print_records(form, flat, rows)
        return
    _print(rows)
    print()
    print_text(f"MAPE and share of networks within 10 %, on held-out networks; predictor {card.name}.")


def _print(rows: list[dict[str, Any]]) -> None:
    """A line above the first target of each kind of hardware."""
    columns = (
        Column("target"),
        Column("hardware", short=True),
        Column("MAPE", right=True),
        Column("within 10 %", right=True),
    )
    cells, groups, notes = [], [], []
    for place, row in enumerate(rows):
        figures = [f"{row['held_out'][key]:.1f} %" if key in row["held_out"] else "" for key in ("mape", "acc_10")]
        cells.append((row["target"], row["hardware"], *figures))
        notes.append("" if row["hardware"] else row["description"])
        groups.append("" if place and rows[place - 1]["kind"] == row["kind"] else KINDS[row["kind"]])
    print_table(Table(columns, tuple(cells)), notes=notes, groups=groups)


def _meant(row: dict[str, Any], words: list[str], kind: Kind | None) -> bool:
    told = f"{row['target']} {row['description']} {row['hardware']}".lower()
    return all(word.lower() in told for word in words) and kind in (None, row["kind"])


def _remove(names: list[str]) -> None:
    """Remove the files of adapted devices. Raises ConfigError where none is named, DataError for one that is none."""
    from narformer.adaptation.device import remove
    from narformer.errors import ConfigError

    if not names:
        raise ConfigError("name the adapted device to remove: narformer devices remove NAME")
    for name in names:
        print_text(f"{name}: removed ({remove(name)}); its measurements stay in the store")


def _row(target: str, description: str, source: str, held_out: Mapping[str, float]) -> dict[str, Any]:
    from narformer.prediction.target_groups import hardware_of

    facts = hardware_of(target)
    # `device` is what `target` was called: scripts read it.
    return {
        "target": target,
        "kind": "adapted" if source == "adapted" else facts.kind if facts and facts.kind in KINDS else "",
        "hardware": facts.title if facts else "",
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
