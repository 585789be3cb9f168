"""Scores of predictions on test rows: for each device, in all and for each family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from narformer.evaluation.results import ALL, Scores
from narformer.metrics import acc, kendall_tau, mape, rmspe, spearman

Array = npt.NDArray[np.float64]


def score(prediction: Array, target: Array) -> Scores:
    """Errors, shares within 10, 5 and 1 % and rank correlations of predictions, (N,) like what they should be."""
    return Scores(
        rows=len(target),
        mape=round(mape(prediction, target), 4),
        rmspe=round(rmspe(prediction, target), 4),
        acc_10=round(100 * acc(prediction, target, 0.1), 3),
        acc_5=round(100 * acc(prediction, target, 0.05), 3),
        acc_1=round(100 * acc(prediction, target, 0.01), 3),
        kendall=round(kendall_tau(prediction, target), 4) if len(target) > 1 else float("nan"),
        spearman=round(spearman(prediction, target), 4) if len(target) > 1 else float("nan"),
    )


def score_table(
    prediction: Array, target: Array, devices: Sequence[str], families: Sequence[str]
) -> dict[str, dict[str, Scores]]:
    """Scores by device, then by family and under `all`; prediction and target (rows, devices), NaN targets left out."""
    names = np.asarray(families)
    table: dict[str, dict[str, Scores]] = {}
    for column, device in enumerate(devices):
        measured = np.isfinite(target[:, column])
        if not measured.any():
            continue
        table[device] = {ALL: score(prediction[measured, column], target[measured, column])}
        for family in sorted(set(names[measured])):
            rows = measured & (names == family)
            table[device][family] = score(prediction[rows, column], target[rows, column])
    return table


def with_warnings(scores: Scores, error: Array, flagged: npt.NDArray[np.bool_]) -> Scores:
    """Scores that also say whether warnings are rare and right: the share flagged, and median errors.

    error (N,): relative, in percent. flagged (N,): which carry a warning. A median of nothing is left out.
    """
    others = error[~flagged]
    return replace(
        scores,
        flagged=round(100 * float(np.mean(flagged)), 2),
        error_flagged=round(float(np.median(error[flagged])), 2) if flagged.any() else None,
        error_others=round(float(np.median(others)), 2) if len(others) else None,
    )
