"""`narformer report`: the page of all result tables."""

from __future__ import annotations

from pathlib import Path

import typer

from narformer.errors import DataError


def report(
    results: Path = typer.Argument(Path("docs/results"), help="Directory of the JSON files of narformer evaluate."),
) -> None:
    """Write README.md, all tables, beside the results."""
    from narformer.evaluation.report import load_results, page

    found = load_results(results)
    if not found:
        raise DataError(f"{results}: no results there; make some with narformer evaluate")
    (results / "README.md").write_text(page(found))
    print(results / "README.md")
