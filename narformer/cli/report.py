"""`narformer report`: the page of all result tables."""

from __future__ import annotations

from pathlib import Path

import typer

from narformer.errors import DataError

RESULTS = typer.Option(
    None, "--out", "-o", help="Where the results go. Default: docs/results where there is one, else results."
)


def results_directory(asked: Path | None) -> Path:
    """Where results are kept: in the repository below its manual, elsewhere in a directory of their own."""
    if asked is not None:
        return asked
    return Path("docs/results") if Path("docs/results").is_dir() else Path("results")


def report(
    asked: Path | None = typer.Argument(
        None,
        help="Directory of the JSON files of narformer evaluate. Default: docs/results, or results.",
        metavar="[RESULTS]",
    ),
) -> None:
    """Write README.md, all tables, their plots, and published.md, published figures beside ours, into the directory."""
    from narformer.evaluation.protocols import PROTOCOLS
    from narformer.evaluation.published import published_page
    from narformer.evaluation.report import by_protocol, page
    from narformer.evaluation.results import load_results

    results = results_directory(asked)
    found = load_results(results)
    if not found:
        raise DataError(f"{results}: no results there; make some with narformer evaluate")
    for name, group in by_protocol(found).items():
        PROTOCOLS[name].plot(group, results)
    (results / "README.md").write_text(page(found, {p.name for p in results.iterdir()}), encoding="utf-8")
    (results / "published.md").write_text(published_page(found), encoding="utf-8")
    print(results / "README.md")
    print(results / "published.md")
