"""`narformer embed`: a vector for each network."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from narformer.cli.inputs import BATCH_SIZE, DIM, INPUT_SHAPE, PREDICTOR, each_graph, files_of, sizes_from
from narformer.cli.notes import tell


def embed(
    models: list[Path] = typer.Argument(
        ..., help="ONNX files, or directories of them.", metavar="MODEL...", readable=False
    ),
    batch_size: int | None = BATCH_SIZE,
    input_shape: list[str] = INPUT_SHAPE,
    dim: list[str] = DIM,
    out: Path | None = typer.Option(
        None, "--out", "-o", help="Write a NumPy array (.npy), a row a network, instead of JSON."
    ),
    as_json: bool = typer.Option(False, "--json", help="What is printed anyway, as with other commands."),
    predictor: str | None = PREDICTOR,
) -> None:
    """Print a JSON array with the vector of each network: what the predictor's last layer reads.

    Exit codes: 0, 2 for a file that cannot be read; the others are still embedded.
    """
    import numpy as np

    from narformer.adaptation.predictor import default_predictor
    from narformer.errors import ConfigError, DataError
    from narformer.frontends.canonical import network_hash

    if as_json and out is not None:
        raise ConfigError("--json and --out exclude each other")
    if out is not None and out.suffix != ".npy":
        raise ConfigError(f"{out}: vectors are written as .npy")
    failed: list[str] = []
    read = list(each_graph(files_of(models), sizes_from(batch_size, input_shape, dim), failed))
    paths, graphs = [path for path, _ in read], [graph for _, graph in read]
    if failed and (out is not None or not read):
        raise typer.Exit(2)  # a row of an array would be another network's than its place says
    vectors = default_predictor(predictor).embed(graphs)
    if out is None:
        rows = [
            {"hash": network_hash(graph), "model": str(path), "vector": vector.tolist()}
            for graph, path, vector in zip(graphs, paths, vectors, strict=True)
        ]
        print(json.dumps(rows))
        if failed:
            raise typer.Exit(2)
        return
    try:
        np.save(out, vectors.astype(np.float32))
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror})") from error
    tell(f"{out}: {vectors.shape[0]} rows of {vectors.shape[1]} numbers, in the order of the files")
