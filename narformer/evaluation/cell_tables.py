"""The table of trainings of models of cells that had settings of their own: a row a draw and size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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


def training_rows(results: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Kendall's tau by each choice of the epoch, and which epoch it was."""
    rows = []
    for result in sorted(results, key=lambda r: (r["model"], r["form"])):
        for run in result["runs"]:
            for name, task in run["tasks"].items():
                choices = [task["chosen"].get(choice) for choice in CHOICES]
                chosen = [f"{c['kendall']:.3f} (epoch {c['epochs']:,})" if c else "–" for c in choices]
                rows.append(
                    [
                        result["model"],
                        name.split()[0],
                        str(run["seed"]),
                        f"`{training_options(result)}`",
                        str(task["threads"]),
                        f"{task['seconds'] / 60:.0f}",
                        f"{task['devices']['accuracy']['all']['kendall']:.3f}",
                        *chosen,
                    ]
                )
    return rows


def training_options(result: dict[str, Any]) -> str:
    """The options of `narformer evaluate` that make a training of such settings."""
    plain = {"batch_size": 8, "learning_rate": 1e-4, "huber": 0.0}
    names = {
        "epochs": "--epochs",
        "batch_size": "--batch-size",
        "learning_rate": "--learning-rate",
        "huber": "--huber",
    }
    told = {key: result.get(key) for key in names}
    return " ".join(f"{names[key]} {value:g}" for key, value in told.items() if value and value != plain.get(key))
