"""One table of all intervals: what they cover and how wide they are on random rows, left-out tasks and real files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from narformer.evaluation.results import ALL, Result, Scores

REAL_FILES = "real-files"
WARNINGS = ("flagged", "error_flagged", "error_others")
MANY = 20  # targets, from which on a table has means of them
HEADER = ["rows", "model", "target", "number", "median error %", "90 % interval covers %", "median high/low"]
HEADER += ["with a warning %", "their error %", "others' error %"]


def interval_rows(results: Sequence[Result]) -> list[list[str]]:
    """A row a result, rule and target: predictors' own test rows first, then left-out tasks, then real files."""
    random: list[list[str]] = []
    left_out: list[list[str]] = []
    real: list[list[str]] = []
    for result in sorted(results, key=lambda r: (r.protocol, r.model)):
        for run in result.runs[:1]:
            for rule, devices in sorted(run.intervals.items()):
                named = f"left out, {result.protocol}, {rule}"
                left_out += [[named, result.model, *row] for row in _shown(devices)]
            for task, scored in run.tasks.items():
                told = {d: families[ALL] for d, families in scored.devices.items() if families[ALL].ratio is not None}
                is_real = result.protocol == REAL_FILES
                named = f"real files, {task}" if is_real else f"random rows, {result.protocol}"
                (real if is_real else random).extend([named, result.model, *row] for row in _shown(told))
    return [*random, *left_out, *real]


def _shown(devices: Mapping[str, Scores]) -> list[list[str]]:
    """Target and figures; where targets are many, together by precision: all rows' coverage, means of the rest."""
    if len(devices) <= MANY:
        return [[device, *_figures(scores)] for device, scores in devices.items()]
    shown = []
    for precision in dict.fromkeys(device.rpartition(":")[2] for device in devices):
        mine = [scores for device, scores in devices.items() if device.endswith(f":{precision}")]
        rows = np.array([scores.rows for scores in mine])
        means = {
            metric: float(np.mean(told))
            for metric in ("median_error", "ratio", *WARNINGS)
            if (told := [figure for scores in mine if (figure := scores.figure(metric)) is not None])
        }
        coverage = float(rows @ [scores.told("coverage") for scores in mine] / rows.sum())
        together = Scores(int(rows.sum()), coverage=coverage, **means)
        shown.append([f"{len(mine)} targets in {precision}", *_figures(together)])
    return shown


def _figures(scores: Scores) -> list[str]:
    warned = [f"{figure:.1f}" if (figure := scores.figure(name)) is not None else "–" for name in WARNINGS]
    error, covers, ratio = (scores.told(name) for name in ("median_error", "coverage", "ratio"))
    return [f"{scores.rows:,}", f"{error:.1f}", f"{covers:.1f}", f"{ratio:.2f}", *warned]
