"""`narformer neighbours`: the known networks most like a given one, and how long they take."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import typer

from narformer.cli.inputs import BATCH_SIZE, DIM, INPUT_SHAPE, read_each, sizes_from


def neighbours(
    models: list[Path] = typer.Argument(..., help="ONNX files, with or without weights.", metavar="MODEL..."),
    count: int = typer.Option(5, "--count", "-n", min=1, help="How many neighbours of each."),
    dataset: str = typer.Option(
        "nnmeter", "--dataset", help="Known networks: a public table, or a directory in NNLQP's layout."
    ),
    batch_size: int | None = BATCH_SIZE,
    input_shape: list[str] = INPUT_SHAPE,
    dim: list[str] = DIM,
    as_json: bool = typer.Option(False, "--json", help="Print one JSON array, an object per model."),
    data: Path | None = typer.Option(None, "--data", help="Root of the public datasets. Default: $NARFORMER_DATA."),
    cache: Path = typer.Option(Path("cache"), "--cache", help="Where the known networks' vectors are kept."),
    predictor: str | None = typer.Option(None, "--predictor", help="Name of a shipped predictor, or path of an .onnx."),
) -> None:
    """Find the nearest known networks with their measured latencies."""
    from narformer.adaptation.predictor import default_predictor
    from narformer.cli.progress import bar
    from narformer.datasets.registry import load_dataset
    from narformer.evaluation.neighbours import embeddings, nearest

    graphs = read_each(models, sizes_from(batch_size, input_shape, dim))
    known = load_dataset(dataset, data)
    with bar(f"embedding the networks of {known.name}, once") as show:
        vectors = embeddings(known, predictor, cache, show)
    found = [nearest(vector, vectors, known, count) for vector in default_predictor(predictor).embed(graphs)]
    if as_json:
        rows = [
            {"model": str(path), "neighbours": [dataclasses.asdict(n) for n in near]}
            for path, near in zip(models, found, strict=True)
        ]
        print(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    for path, near in zip(models, found, strict=True):
        table = Table(
            title=str(path), title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2)
        )
        for name in ("network", "family", "distance", *(f"{d} ms" for d in known.devices)):
            table.add_column(name, justify="left" if name in ("network", "family") else "right")
        for n in near:
            times = [f"{n.measured_ms[d]:.2f}" if d in n.measured_ms else "–" for d in known.devices]
            table.add_row(n.id, n.family, f"{n.distance:.4f}", *times)
        console.print(table)
        console.print()
