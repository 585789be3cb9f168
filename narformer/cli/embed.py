"""`narformer embed`: a vector for each network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from narformer.cli.format import FORMAT, JSON, Format, chosen, print_records, print_table, print_text
from narformer.cli.inputs import BATCH_SIZE, DIM, INPUT_SHAPE, PREDICTOR, each_graph, files_of, sizes_from
from narformer.cli.notes import tell
from narformer.tables import Column, Table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def embed(
    models: list[Path] = typer.Argument(
        ..., help="ONNX files, or directories of them.", metavar="MODEL...", readable=False
    ),
    batch_size: int | None = BATCH_SIZE,
    input_shape: list[str] = INPUT_SHAPE,
    dim: list[str] = DIM,
    out: Path | None = typer.Option(
        None, "--out", "-o", help="Write a NumPy array (.npy), a row a network, instead of printing."
    ),
    predictor: str | None = PREDICTOR,
    form: Format | None = FORMAT,
    as_json: bool = JSON,
) -> None:
    """Make a vector of each network: what the predictor's last layer reads.

    The table has the most alike of the networks for each; --out, JSON, CSV and Markdown have the vectors.
    Exit codes: 0, 2 for a file that cannot be read; the others are still embedded.
    """
    import numpy as np

    from narformer.adaptation.predictor import default_predictor
    from narformer.errors import ConfigError, DataError
    from narformer.frontends.canonical import network_hash

    if (form is not None or as_json) and out is not None:
        raise ConfigError(f"{'--json' if as_json else '--format'} and --out exclude each other")
    form = chosen(form, as_json)
    if out is not None and out.suffix != ".npy":
        raise ConfigError(f"{out}: vectors are written as .npy")
    failed: list[str] = []
    read = list(each_graph(files_of(models), sizes_from(batch_size, input_shape, dim), failed))
    paths, graphs = [path for path, _ in read], [graph for _, graph in read]
    if failed and (out is not None or not read):
        raise typer.Exit(2)  # a row of an array would be another network's than its place says
    vectors = default_predictor(predictor).embed(graphs)
    if out is None:
        if form is not Format.TABLE:
            rows = [
                {"hash": network_hash(graph), "model": str(path), "vector": vector.tolist()}
                for graph, path, vector in zip(graphs, paths, vectors, strict=True)
            ]
            print_records(form, rows)
        else:
            if len(paths) > 1:
                print_table(_alike([str(path) for path in paths], vectors))
            names = f"{len(paths)} networks" if len(paths) > 1 else str(paths[0])
            print_text(f"{names}: vectors of {vectors.shape[1]} numbers; --out FILE.npy or --json gives them", "dim")
        if failed:
            raise typer.Exit(2)
        return
    try:
        np.save(out, vectors.astype(np.float32))
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror})") from error
    tell(f"{out}: {vectors.shape[0]} rows of {vectors.shape[1]} numbers, in the order of the files")


def _alike(names: Sequence[str], vectors: npt.NDArray[np.floating]) -> Table:
    """Each network with the one whose vector points most nearly the same way, and the cosine between them."""
    units = vectors / (vectors**2).sum(axis=1, keepdims=True) ** 0.5
    rows = []
    for row, unit in enumerate(units):
        cosines = units @ unit
        cosines[row] = -2.0  # itself is not asked for
        other = int(cosines.argmax())
        rows.append((names[row], names[other], f"{min(cosines[other], 1.0):.3f}"))
    return Table((Column("network"), Column("most alike"), Column("cosine", right=True)), tuple(rows))
