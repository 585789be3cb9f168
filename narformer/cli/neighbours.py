"""`narformer neighbours`: the known networks most like a given one, and how long they take."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from narformer.cli.format import FORMAT, JSON, Format, chosen, print_records, print_table, print_text
from narformer.cli.inputs import BATCH_SIZE, DIM, INPUT_SHAPE, PREDICTOR, files_of, read_each, sizes_from
from narformer.figures import milliseconds
from narformer.tables import Column, Table

if TYPE_CHECKING:
    from narformer.evaluation.neighbours import Neighbour


def neighbours(
    models: list[Path] = typer.Argument(
        ..., help="ONNX files, or directories of them.", metavar="MODEL...", readable=False
    ),
    count: int = typer.Option(5, "--count", "-n", min=1, help="How many neighbours of each."),
    dataset: str = typer.Option(
        "nnmeter", "--dataset", help="Known networks: a public table, or a directory in NNLQP's layout."
    ),
    batch_size: int | None = BATCH_SIZE,
    input_shape: list[str] = INPUT_SHAPE,
    dim: list[str] = DIM,
    data: Path | None = typer.Option(None, "--data", help="Root of the public datasets. Default: $NARFORMER_DATA."),
    cache: Path = typer.Option(Path("cache"), "--cache", help="Where the known networks' vectors are kept."),
    predictor: str | None = PREDICTOR,
    form: Format | None = FORMAT,
    as_json: bool = JSON,
) -> None:
    """Find the nearest known networks with their measured latencies.

    JSON has an object a network; CSV and Markdown have a row for each neighbour and target.
    """
    from narformer.adaptation.predictor import default_predictor
    from narformer.cli.progress import bar
    from narformer.datasets.registry import load_dataset
    from narformer.evaluation.neighbours import embeddings, nearest
    from narformer.frontends.canonical import network_hash

    form = chosen(form, as_json)
    paths = files_of(models)
    graphs = read_each(paths, sizes_from(batch_size, input_shape, dim))
    known = load_dataset(dataset, data)
    with bar(f"embedding the networks of {known.name}, once") as show:
        vectors = embeddings(known, predictor, cache, show)
    loaded = default_predictor(predictor)
    found = [nearest(vector, vectors, known, count) for vector in loaded.embed(graphs)]
    if form is Format.TABLE:
        for path, near in zip(paths, found, strict=True):
            print_text(str(path), "bold")
            print_table(_table(near))
            print()
        return
    hashes = [network_hash(graph) for graph in graphs]
    answers = [
        {"hash": hash, "model": str(path), "neighbours": [dataclasses.asdict(n) for n in near]}
        for hash, path, near in zip(hashes, paths, found, strict=True)
    ]
    rows = [
        {
            "hash": hash,
            "model": str(path),
            "neighbour": n.id,
            "family": n.family,
            "distance": n.distance,
            "target": target,
            "latency_ms": ms,
            "source": None if ms is None else "measured",
        }
        for hash, path, near in zip(hashes, paths, found, strict=True)
        for n in near
        for target, ms in _latencies(n)
    ]
    print_records(form, rows, answers)


def _latencies(neighbour: Neighbour) -> list[tuple[str | None, float | None]]:
    """Targets and milliseconds; one pair of nothing where it was measured nowhere."""
    return [*neighbour.measured_ms.items()] or [(None, None)]


def _table(near: Sequence[Neighbour]) -> Table:
    """A row for each neighbour and target; what a neighbour is stands in its first."""
    columns = (
        Column("network"),
        Column("family"),
        Column("distance", right=True),
        Column("target"),
        Column("measured", right=True),
    )
    rows = []
    for n in near:
        names = (n.id, n.family, f"{n.distance:.4f}")
        for target, ms in _latencies(n):
            rows.append((*names, target or "", "–" if ms is None else f"{milliseconds(ms)} ms"))
            names = ("", "", "")
    return Table(columns, tuple(rows))
