"""One table of all intervals: what they cover and how wide they are on random rows, left-out tasks and real files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Result = dict[str, Any]
REAL_FILES = "real-files"
HEADER = ["rows", "model", "target", "number", "median error %", "90 % interval covers %", "median high/low"]


def interval_rows(results: Sequence[Result]) -> list[list[str]]:
    """A row a result, rule and target: predictors' own test rows first, then left-out tasks, then real files."""
    random, left_out, real = [], [], []
    for result in sorted(results, key=lambda r: (r["protocol"], r["model"])):
        protocol, model = result["protocol"], result["model"]
        run = result["runs"][0] if result["runs"] else {"tasks": {}}
        for rule, devices in sorted(run.get("intervals", {}).items()):
            named = f"left out, {protocol}, {rule}"
            left_out += [[named, model, device, *_figures(figures)] for device, figures in devices.items()]
        for task, scored in run["tasks"].items():
            for device, families in scored["devices"].items():
                if "ratio" not in families["all"]:
                    continue
                if protocol == REAL_FILES:
                    real.append([f"real files, {task}", model, device, *_figures(families["all"])])
                else:
                    random.append([f"random rows, {protocol}", model, device, *_figures(families["all"])])
    return [*random, *left_out, *real]


def _figures(figures: dict[str, float]) -> list[str]:
    error, covers = figures["median_error"], figures["coverage"]
    return [f"{figures['rows']:,}", f"{error:.1f}", f"{covers:.1f}", f"{figures['ratio']:.2f}"]
