"""Scores of predictions on test rows: for each device, in all and for each family."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from narformer.metrics import acc, kendall_tau, mape, rmspe, spearman

Scores = dict[str, float]


def score(prediction: npt.NDArray[np.float64], target: npt.NDArray[np.float64]) -> Scores:
    """All metrics of one list: mape, rmspe, acc_10, acc_5, acc_1 in percent, kendall, spearman, and rows."""
    return {
        "rows": len(target),
        "mape": round(mape(prediction, target), 4),
        "rmspe": round(rmspe(prediction, target), 4),
        "acc_10": round(100 * acc(prediction, target, 0.1), 3),
        "acc_5": round(100 * acc(prediction, target, 0.05), 3),
        "acc_1": round(100 * acc(prediction, target, 0.01), 3),
        "kendall": round(kendall_tau(prediction, target), 4) if len(target) > 1 else float("nan"),
        "spearman": round(spearman(prediction, target), 4) if len(target) > 1 else float("nan"),
    }


def score_table(
    prediction: npt.NDArray[np.float64],
    target: npt.NDArray[np.float64],
    devices: Sequence[str],
    families: Sequence[str],
) -> dict[str, dict[str, Scores]]:
    """Scores by device, then by family and under `all`; prediction and target (rows, devices), NaN targets left out."""
    names = np.asarray(families)
    table: dict[str, dict[str, Scores]] = {}
    for column, device in enumerate(devices):
        measured = np.isfinite(target[:, column])
        if not measured.any():
            continue
        table[device] = {"all": score(prediction[measured, column], target[measured, column])}
        for family in sorted(set(names[measured])):
            rows = measured & (names == family)
            table[device][family] = score(prediction[rows, column], target[rows, column])
    return table


def warning_scores(error: npt.NDArray[np.float64], flagged: npt.NDArray[np.bool_]) -> Scores:
    """Whether warnings are rare and right: the share flagged, the median errors of these and of the others; percent.

    error (N,): relative, in percent. flagged (N,): which carry a warning. A median of nothing is left out.
    """
    scores = {"flagged": round(100 * float(np.mean(flagged)), 2)}
    for name, chosen in (("error_flagged", flagged), ("error_others", ~flagged)):
        if chosen.any():
            scores[name] = round(float(np.median(error[chosen])), 2)
    return scores
