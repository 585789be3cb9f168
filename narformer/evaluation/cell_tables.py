"""Lines and tables of protocols of accuracy: by number of training cells, and trainings of settings of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from narformer.evaluation.markdown import Key, best_table, table
from narformer.evaluation.results import ALL, Result

ACCURACY = "accuracy"  # stands where results of latency have a device
TRAINING_HEADER = (
    "model",
    "cells",
    "seed",
    "options",
    "threads",
    "minutes",
    "last epoch",
    "chosen on validation cells",
    "best on test cells",
    "as the released code tells it",
)
CHOICES = ("validation", "test", "released")


def cell_lines(result: Result) -> Iterable[str]:
    """A line a number of training cells."""
    for task in result.tasks:
        yield f"{task:12s} Kendall's tau {result.spread(ACCURACY, 'kendall', task, digits=4)}"


def cell_tables(protocol: str, results: Sequence[Result]) -> Iterable[str]:
    """Results of the usual settings by number of training cells, then trainings of other settings."""
    yield (
        "Kendall's tau on every cell not trained on, by number of training cells; made by "
        f"`narformer evaluate {protocol} --model NAME --seeds 3`. Models that are trained see 30,000 cells in all "
        "(epochs times cells); the paper's settings come to 781,000."
    )
    group = [r for r in results if r.form == "full"]
    tasks = sorted({t for r in group for t in r.tasks}, key=lambda t: int(t.split()[0]))
    keys: list[Key] = [(ACCURACY, "kendall", t) for t in tasks]
    yield best_table(["model", "draws", *tasks], group, keys, max, digits=3, draws=True)
    if longer := training_rows([r for r in results if r.form != "full"]):
        yield (
            "Trainings of other settings, with the option `--cells` and those of the table. The epochs whose weights "
            "count: the last; the best of every tenth on 200 validation cells, which are neither trained on nor "
            "tested; the best on 2,000 test cells, as NN-Former's code has it and nobody may; and the second choice "
            "scored on every cell, training cells included, as NAR-Former V2's code does."
        )
        yield table(TRAINING_HEADER, longer)


def training_rows(results: Sequence[Result]) -> list[list[str]]:
    """Kendall's tau by each choice of the epoch, and which epoch it was: a row a draw and size."""
    rows = []
    for result in sorted(results, key=lambda r: (r.model, r.form)):
        for run in result.runs:
            for name, task in run.tasks.items():
                choices = [task.chosen.get(choice) for choice in CHOICES]
                chosen = [f"{c.scores.told('kendall'):.3f} (epoch {c.epochs:,})" if c else "–" for c in choices]
                rows.append(
                    [
                        result.model,
                        name.split()[0],
                        str(run.seed),
                        f"`{training_options(result)}`",
                        "–" if task.threads is None else str(task.threads),
                        "–" if task.seconds is None else f"{task.seconds / 60:.0f}",
                        f"{task.devices[ACCURACY][ALL].told('kendall'):.3f}",
                        *chosen,
                    ]
                )
    return rows


def training_options(result: Result) -> str:
    """The options of `narformer evaluate` that make a training of such settings."""
    told = {
        "--epochs": (result.epochs, None),
        "--batch-size": (result.batch_size, 8),
        "--learning-rate": (result.learning_rate, 1e-4),
        "--huber": (result.huber, 0.0),
    }
    parts = [f"{name} {value:g}" for name, (value, plain) in told.items() if value and value != plain]
    if result.published_settings:
        parts = ["--published"]
    return " ".join([*parts, *(["--processor cuda"] if result.processor == "cuda" else [])])
