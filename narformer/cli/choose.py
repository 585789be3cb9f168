"""`narformer choose`: the most accurate pretrained networks within a budget of milliseconds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from narformer.cli.completion import hardware_names
from narformer.cli.format import FORMAT, JSON, Format, chosen, print_records, print_table, print_text
from narformer.cli.inputs import (
    DIM,
    INPUT_SHAPE,
    PREDICTOR,
    files_of,
    plot_option,
    read_each,
    sizes_from,
    tell_unusable,
)
from narformer.cli.notes import note

if TYPE_CHECKING:
    from narformer.prediction.choice import Choices
    from narformer.prediction.estimate import Estimate

ALIKE = 3  # named of the pretrained networks that take as long as the user's


def choose(
    target: str = typer.Option(
        ...,
        "--target",
        "--device",
        "-t",
        "-d",
        help="What it shall run on; see `narformer devices`.",
        autocompletion=hardware_names,
    ),
    max_ms: float | None = typer.Option(None, "--max-ms", min=0, help="Only networks that take no longer, in ms."),
    top1: float | None = typer.Option(
        None, "--top1", min=0, max=100, help="Only networks of at least this ImageNet top-1 accuracy, in percent."
    ),
    batch_size: int = typer.Option(1, "--batch-size", "-b", min=1, help="Images in one run; the limit is for all."),
    model: Path | None = typer.Option(
        None, "--model", "-m", help="An ONNX file, or a directory of them, to be shown among them."
    ),
    input_shape: list[str] = INPUT_SHAPE,
    dim: list[str] = DIM,
    every: bool = typer.Option(False, "--all", help="Also those that another surpasses in both."),
    plot: Path | None = plot_option("accuracy against latency, with the frontier"),
    predictor: str | None = PREDICTOR,
    form: Format | None = FORMAT,
    as_json: bool = JSON,
) -> None:
    """Choose a pretrained network: accuracy on ImageNet against latency on a target, the most accurate first.

    Listed is the frontier: networks that no other surpasses in accuracy and latency. Latencies are timm's where they
    were measured on this target at this batch size, else predicted. Exit codes: 0, 2, 3 where no network is within the
    limits.
    """
    from narformer.adaptation.predictor import default_predictor
    from narformer.prediction.choice import survey, targets, with_network
    from narformer.prediction.headline import one_target

    form = chosen(form, as_json)
    loaded = default_predictor(predictor)
    tell_unusable(loaded)
    target, others = one_target(target, targets(loaded))
    if others:
        note(f"{target} is taken; there are also {', '.join(others)}")
    mine: list[Estimate] = []
    if model is not None:
        graphs = read_each(files_of([model]), sizes_from(batch_size, input_shape, dim))
        mine = sorted(loaded.predict(graphs, [target]), key=lambda estimate: -estimate.latency_ms)
    surveyed = survey(target, batch_size, loaded)
    if told := _batches(target, batch_size):
        note(told)
    found = surveyed.chosen(max_ms, top1, every)
    listed = found
    for estimate in mine:
        listed = with_network(listed, estimate)
    if form is not Format.TABLE:
        print_records(form, listed.records())
    else:
        _print(listed, target, batch_size)
        for estimate in mine:
            _print_alike(estimate, surveyed.alike(estimate.latency_ms))
        if surveyed.left_out:
            print_text(
                f"Left out: {surveyed.left_out} of {surveyed.left_out + len(surveyed.networks)} weights, whose "
                "networks the zoo lacks.",
                "dim",
            )
    if plot is not None:
        from narformer.evaluation.frontier_plot import plot_frontier

        plot_frontier(surveyed, surveyed.chosen(max_ms, top1), plot, max_ms=max_ms, top1=top1, mine=mine)
        if form is Format.TABLE:
            print(f"plot: {plot}")
    if not found:
        raise typer.Exit(3)


def _batches(target: str, batch_size: int) -> str:
    """What to know where a target was measured, but not at this batch size."""
    from narformer.datasets.pretrained import timed

    counts = Counter(row.batch_size for row in timed().get(target, ()))
    if not counts or batch_size in counts:
        return ""
    often = " or ".join(str(size) for size, _ in counts.most_common(2))
    return f"{target} was measured at other batch sizes, most often {often}; these are predicted"


def _print(choices: Choices, target: str, batch_size: int) -> None:
    print_text(f"{target}, batch size {batch_size}", "bold")
    if not len(choices):
        print_text("no pretrained network is within these limits")
        return
    print_table(choices.table())
    for warning in dict.fromkeys(w for choice in choices for w in choice.estimate.warnings):
        of = [choice.network for choice in choices if warning in choice.estimate.warnings]
        where = "" if len(of) == len(choices) else f" ({', '.join(of)})"
        print_text(f"warning: {warning}{where}", "yellow", indent=2)


def _print_alike(mine: Estimate, alike: Choices) -> None:
    """How accurate the pretrained networks are that take as long as the user's."""
    accuracies = [choice.top1 for choice in alike if choice.top1 is not None]
    if not accuracies:
        print_text(f"No pretrained network takes as long as {mine.model} (within 10 %).")
        return
    middle = accuracies[len(accuracies) // 2]
    named = ", ".join(f"{choice.network} ({choice.top1:.1f} %)" for choice in alike[:ALIKE])
    print_text(
        f"{len(alike)} pretrained networks take as long as {mine.model}, within 10 %: "
        f"top-1 {accuracies[-1]:.1f} to {accuracies[0]:.1f} %, half of them above {middle:.1f} %. The best: {named}."
    )
