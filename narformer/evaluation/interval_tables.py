"""One table of all intervals: what they cover and how wide they are on random rows, left-out tasks and real files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Result = dict[str, Any]
REAL_FILES = "real-files"
WARNINGS = ("flagged", "error_flagged", "error_others")  # of scores.warning_scores
MANY = 20  # targets, from which on a table has means of them
HEADER = ["rows", "model", "target", "number", "median error %", "90 % interval covers %", "median high/low"]
HEADER += ["with a warning %", "their error %", "others' error %"]


def interval_rows(results: Sequence[Result]) -> list[list[str]]:
    """A row a result, rule and target: predictors' own test rows first, then left-out tasks, then real files."""
    random: list[list[str]] = []
    left_out: list[list[str]] = []
    real: list[list[str]] = []
    for result in sorted(results, key=lambda r: (r["protocol"], r["model"])):
        protocol, model = result["protocol"], result["model"]
        run = result["runs"][0] if result["runs"] else {"tasks": {}}
        for rule, devices in sorted(run.get("intervals", {}).items()):
            named = f"left out, {protocol}, {rule}"
            left_out += [[named, model, device, *_figures(figures)] for device, figures in _shown(devices)]
        for task, scored in run["tasks"].items():
            told = {d: families["all"] for d, families in scored["devices"].items() if "ratio" in families["all"]}
            named = f"real files, {task}" if protocol == REAL_FILES else f"random rows, {protocol}"
            rows = [[named, model, device, *_figures(figures)] for device, figures in _shown(told)]
            (real if protocol == REAL_FILES else random).extend(rows)
    return [*random, *left_out, *real]


def _shown(devices: Mapping[str, Mapping[str, float]]) -> list[tuple[str, Mapping[str, float]]]:
    """Figures by target; where there are many, together by precision: all rows' coverage, means of the rest."""
    if len(devices) <= MANY:
        return list(devices.items())
    shown: list[tuple[str, Mapping[str, float]]] = []
    for precision in dict.fromkeys(device.rpartition(":")[2] for device in devices):
        mine = [figures for device, figures in devices.items() if device.endswith(f":{precision}")]
        rows = np.array([figures["rows"] for figures in mine])
        keys = [key for key in ("median_error", "ratio", *WARNINGS) if any(key in figures for figures in mine)]
        means = {key: float(np.mean([figures[key] for figures in mine if key in figures])) for key in keys}
        coverage = float(rows @ [figures["coverage"] for figures in mine] / rows.sum())
        named = f"{len(mine)} targets in {precision}"
        shown.append((named, {**means, "coverage": coverage, "rows": int(rows.sum())}))
    return shown


def _figures(figures: Mapping[str, float]) -> list[str]:
    error, covers = figures["median_error"], figures["coverage"]
    warned = [f"{figures[key]:.1f}" if key in figures else "–" for key in WARNINGS]
    return [f"{figures['rows']:,}", f"{error:.1f}", f"{covers:.1f}", f"{figures['ratio']:.2f}", *warned]
