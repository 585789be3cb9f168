"""`narformer embed`: a vector for each network."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from narformer.cli.inputs import BATCH_SIZE, DIM, INPUT_SHAPE, PREDICTOR, files_of, read_each, sizes_from


def embed(
    models: list[Path] = typer.Argument(..., help="ONNX files, or directories of them.", metavar="MODEL..."),
    batch_size: int | None = BATCH_SIZE,
    input_shape: list[str] = INPUT_SHAPE,
    dim: list[str] = DIM,
    out: Path | None = typer.Option(
        None, "--out", "-o", help="Write a NumPy array (.npy), a row a network, instead of JSON."
    ),
    predictor: str | None = PREDICTOR,
) -> None:
    """Print a JSON array with the vector of each network: what the predictor's last layer reads."""
    import numpy as np

    from narformer.adaptation.predictor import default_predictor
    from narformer.errors import DataError
    from narformer.frontends.canonical import network_hash

    paths = files_of(models)
    graphs = read_each(paths, sizes_from(batch_size, input_shape, dim))
    vectors = default_predictor(predictor).embed(graphs)
    if out is None:
        rows = [
            {"hash": network_hash(graph), "model": str(path), "vector": vector.tolist()}
            for graph, path, vector in zip(graphs, paths, vectors, strict=True)
        ]
        print(json.dumps(rows))
        return
    try:
        np.save(out, vectors.astype(np.float32))
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror})") from error
