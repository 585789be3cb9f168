"""`narformer embed`: a vector for each network."""

from __future__ import annotations

import json
from pathlib import Path

import typer


def embed(
    models: list[Path] = typer.Argument(..., help="ONNX files, with or without weights.", metavar="MODEL..."),
    batch_size: int | None = typer.Option(
        None, "--batch-size", "-b", min=1, help="Override the first input dimension."
    ),
    input_shape: list[str] = typer.Option(
        [], "--input-shape", help="NAME=1,3,224,224; bind or override an input's shape."
    ),
    out: Path | None = typer.Option(
        None, "--out", "-o", help="Write a NumPy array (.npy), a row a network, instead of JSON."
    ),
    predictor: str | None = typer.Option(None, "--predictor", help="Name of a shipped predictor, or path of an .onnx."),
) -> None:
    """Print a JSON array with the vector of each network: what the predictor's last layer reads."""
    import numpy as np

    from narformer.cli.inputs import parse_input_shapes
    from narformer.errors import DataError
    from narformer.frontends.onnx import read_onnx
    from narformer.predictor import default_predictor

    shapes = parse_input_shapes(input_shape)
    graphs = [read_onnx(path, batch_size=batch_size, input_shapes=shapes) for path in models]
    vectors = default_predictor(predictor).embed(graphs)
    if out is None:
        rows = [{"model": str(path), "vector": vector.tolist()} for path, vector in zip(models, vectors, strict=True)]
        print(json.dumps(rows))
        return
    try:
        np.save(out, vectors.astype(np.float32))
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror})") from error
