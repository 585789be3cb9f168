"""`narformer predict-cell`, `rank`, `fit-cells` and `search`: cells of NAS-Bench-101 and NAS-Bench-201."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import typer

from narformer.cli.completion import hardware_names
from narformer.cli.format import FORMAT, JSON, Format, chosen, print_records, print_table, print_text
from narformer.cli.inputs import plot_option
from narformer.cli.progress import bar, busy
from narformer.cli.report import RESULTS, results_directory
from narformer.errors import ConfigError, DataError, NarformerError

SPACES = "nasbench101 or nasbench201"


def predict_cell(
    space: str = typer.Argument(..., help=SPACES),
    cells: list[str] = typer.Argument(
        None, help="NAS-Bench-201: the arch string. NAS-Bench-101: UPPER_TRIANGLE,op;op;...", metavar="CELL..."
    ),
    file: Path | None = typer.Option(
        None, "--file", "-f", help="CSV with the cells, in the layout of the benchmark's."
    ),
    predictor: str | None = typer.Option(None, "--predictor", help="Path of an .npz. Default: the shipped one."),
    form: Format | None = FORMAT,
    as_json: bool = JSON,
) -> None:
    """Predict the accuracy (percent) of cells, with a 90 % interval, without training them.

    Exit codes: 0, 2 where a cell cannot be read (the others are still printed).
    """
    from narformer.cells.cell import Cell, parse_cell
    from narformer.cells.predictor import CellPredictor
    from narformer.prediction.estimate import Estimates

    form = chosen(form, as_json)
    loaded = CellPredictor.load(predictor or _space(space))
    texts = [*(cells or []), *(_cells_of(file, space) if file else [])]
    if not texts:
        raise ConfigError("give cells as arguments, or --file CSV")
    parsed: list[Cell] = []
    failed = 0
    for text in texts:
        try:
            parsed.append(parse_cell(space, text))
        except NarformerError as error:
            failed += 1
            print(f"narformer: {error}", file=sys.stderr)
    estimates = loaded.predict(parsed) if parsed else Estimates()
    if form is not Format.TABLE:
        print_records(form, estimates.records())
    elif estimates:
        print_table(estimates.table())
        tested = loaded.card.test
        tau = "" if tested is None else f"; Kendall's tau on test cells {tested.kendall:.3f}"
        print_text(f"{loaded.card.about}{tau}", "dim")
    if failed:
        raise typer.Exit(2)


def _space(space: str) -> str:
    from narformer.cells.cell import known_space

    return known_space(space)


def _cells_of(file: Path, space: str) -> list[str]:
    from narformer.datasets.table import read_table

    if space == "nasbench201":
        return [row["arch"] for row in read_table(file, ("arch",))]
    rows = read_table(file, ("upper_triangle", "operations"))
    return [f"{row['upper_triangle']},{row['operations']}" for row in rows]


def rank(
    space: str = typer.Argument(..., help=SPACES),
    max_ms: float | None = typer.Option(None, "--max-ms", help="Only cells whose network is at most this slow."),
    device: str | None = typer.Option(
        None,
        "--device",
        "--target",
        "-d",
        help="Device of the latencies. Without: accuracy alone.",
        autocompletion=hardware_names,
    ),
    top: int = typer.Option(20, "--top", min=1, help="How many cells to print."),
    candidates: int | None = typer.Option(
        None,
        "--candidates",
        min=1,
        help="Latency is predicted for this many cells: half the best, half at random. Default: 2000.",
    ),
    plot: Path | None = plot_option("accuracy against latency, with the Pareto front"),
    form: Format | None = FORMAT,
    as_json: bool = JSON,
) -> None:
    """Score every cell of a space; with --device also latency, and the Pareto front of both.

    JSON has both lists; CSV and Markdown tell them apart in the column `list`. Latency takes milliseconds a cell,
    accuracy microseconds: a space larger than --candidates has its latency predicted for the cells of the highest
    accuracy and for a random sample. Exit code 3 where no cell is fast enough.
    """
    from narformer.cells.ranking import CANDIDATES, rank_space

    if device is None and (max_ms is not None or plot is not None or candidates is not None):
        raise ConfigError("--max-ms, --plot and --candidates are about latency: give --device too")
    form = chosen(form, as_json)
    with bar(f"scoring {space}") as show:
        ranking = rank_space(_space(space), device, candidates or CANDIDATES, show)
    chosen_rows = ranking.best(top, max_ms)
    limit = float("inf") if max_ms is None else max_ms
    front = [row for row in ranking.pareto() if ranking.latency[row] <= limit] if device else []
    if form is not Format.TABLE:
        parts = {"top": ranking.entries(chosen_rows).records(), "pareto": ranking.entries(front).records()}
        print_records(form, [{"list": name, **entry} for name, rows in parts.items() for entry in rows], parts)
    else:
        for title, rows in (("best cells", chosen_rows), ("Pareto front", front)):
            if rows:
                print_text(f"{title} of {len(ranking.table):,} ({space}{', ' + device if device else ''}):")
                print_table(ranking.entries(rows).table())
                print()
    if plot is not None:
        ranking.plot(plot, max_ms)
        if form is Format.TABLE:
            print(f"plot: {plot}")
    if not chosen_rows:
        print(f"narformer: no cell within {max_ms} ms on {device}", file=sys.stderr)
        raise typer.Exit(3)


def fit_cells(
    space: str = typer.Argument(..., help=SPACES),
    file: Path | None = typer.Option(
        None, "--file", "-f", help="CSV in the benchmark's layout. Default: the public one."
    ),
    train: int = typer.Option(8000, "--train", min=8, help="At most this many training cells."),
    data: Path | None = typer.Option(None, "--data", help="Root of the public datasets. Default: $NARFORMER_DATA."),
    out: Path = typer.Option(..., "--out", "-o", help="The predictor to write (.npz); its card goes beside it."),
    form: Format | None = FORMAT,
    as_json: bool = JSON,
) -> None:
    """Fit a predictor of cells: a fifth of the cells tests it, a tenth sets its intervals, the rest trains it.

    JSON is the card that stands beside the predictor; the other forms have a row for each set of test cells.
    """
    from narformer.cells.fit import fit_cell_predictor
    from narformer.cells.registry import load_cells

    form = chosen(form, as_json)
    if out.suffix != ".npz":
        raise ConfigError(f"--out {out}: must end in .npz")
    with busy(f"fitting {space}"):
        predictor = fit_cell_predictor(load_cells(_space(space), data, file), train)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        predictor.save(out)
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror})") from error
    card = predictor.card
    if form is not Format.TABLE:
        print_records(form, card.records(), card.to_json())
        return
    print_text(f"{out}: {card.space}, {card.about}, fitted to {card.training.cells:,} cells", "bold")
    print_table(card.table())


def search(
    space: str = typer.Argument(..., help=SPACES),
    seeds: int = typer.Option(20, "--seeds", min=1, help="How many searches of each kind."),
    queries: int = typer.Option(400, "--queries", min=20, help="Trainings that a search may ask for."),
    data: Path | None = typer.Option(None, "--data", help="Root of the public datasets. Default: $NARFORMER_DATA."),
    out: Path | None = RESULTS,
    form: Format | None = FORMAT,
    as_json: bool = JSON,
) -> None:
    """Search a space with the tabular benchmark as oracle: how many trainings until a cell of its top 0.1 % is found.

    Random search, regularised evolution, and search guided by the Gaussian process, each from many seeds.
    """
    from narformer.cells.registry import load_cells
    from narformer.cells.search import compare_searches, plot_searches
    from narformer.plotting import check_plot

    form = chosen(form, as_json)
    dataset = load_cells(_space(space), data)
    directory = results_directory(out) / "search"
    directory.mkdir(parents=True, exist_ok=True)  # told now where it cannot be made, not after minutes
    plot = directory / f"{space}.svg"
    check_plot(plot)
    with bar(f"searching {space}") as show:
        result = compare_searches(dataset, seeds, queries, show)
    path = directory / f"{space}.json"
    path.write_text(result.to_json() + "\n")
    plot_searches(result, plot)
    if form is not Format.TABLE:
        print_records(form, result.records(), json.loads(result.to_json()))
        return
    print(f"trainings until a cell of the top 0.1 % of {space} ({seeds} searches each, at most {queries}):")
    for name, s in result.searches.items():
        print(f"  {name:10s} mean {s.mean_queries:6.1f}  median {s.median_queries:6.1f}  found {s.found} of {seeds}")
    print(f"  {path}")
