"""Fits the predictor of a space that ships, and measures it on cells that it never saw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from narformer.cells.card import CellCard, HeldOut, Learned
from narformer.cells.dataset import CellDataset
from narformer.cells.networks import distinct_networks
from narformer.cells.predictor import CellPredictor
from narformer.cells.table import CellTable
from narformer.datasets.dataset import sha1_order
from narformer.metrics import kendall_tau, spearman

TEST, CALIBRATION = 0.2, 0.1


def fit_cell_predictor(dataset: CellDataset, train: int) -> CellPredictor:
    """Test, calibration and training cells by SHA-1 order of their ids; the card carries the test errors.

    Where test cells are networks of which another cell was trained or calibrated on, the errors of the others stand
    beside those of all.
    """
    order = sha1_order(dataset.ids)
    test, calibration = round(TEST * len(order)), round(CALIBRATION * len(order))
    held_out, calibrating = order[:test], order[test : test + calibration]
    fit = order[test + calibration :][:train]
    card = CellCard(
        dataset.table.space,
        dataset.about,
        Learned(dataset.name, len(fit), len(calibrating)),
        "SHA-1 order of the ids: first fifth test, next tenth calibration, then training",
    )
    table, accuracy = dataset.table, dataset.accuracy
    predictor = CellPredictor.fit(table.rows(fit), accuracy[fit], table.rows(calibrating), accuracy[calibrating], card)
    tested = held_out_errors(predictor, table.rows(held_out), accuracy[held_out])
    _, network = distinct_networks(table)
    new = held_out[~np.isin(network[held_out], network[np.concatenate([fit, calibrating])])]
    apart = 1 < len(new) < len(held_out)
    of_new = held_out_errors(predictor, table.rows(new), accuracy[new]) if apart else None
    predictor.card = replace(card, test=tested, test_of_new_networks=of_new)
    return predictor


def held_out_errors(predictor: CellPredictor, table: CellTable, truth: npt.NDArray[np.float64]) -> HeldOut:
    """Rank correlations, median error in points, and how often and how widely the intervals hold (percent, points)."""
    scores = predictor.score(table)
    value, low, high = predictor.accuracies(scores).T
    return HeldOut(
        cells=len(truth),
        kendall=round(kendall_tau(scores, truth), 4),
        spearman=round(spearman(scores, truth), 4),
        median_absolute_error=round(float(np.median(np.abs(value - truth))), 3),
        coverage=round(100 * float(((low <= truth) & (truth <= high)).mean()), 2),
        median_width=round(float(np.median(high - low)), 3),
    )
