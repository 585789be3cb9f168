"""Errors on held-out networks, as a card tells them: those of the answers that a user gets."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from dummies import relu_graph, write_dummy

from narformer.datasets.dataset import Dataset
from narformer.graph import Graph
from narformer.prediction.card import Card
from narformer.prediction.held_out import held_out_scores, predict_sources, write_held_out
from narformer.prediction.predictor import Predictor


@dataclass(frozen=True)
class _Made:
    """A network with one node."""

    operator: str = "Relu"

    def graph(self) -> Graph:
        """The same each time."""
        return relu_graph(self.operator)

    def state(self) -> None:
        """Code makes it."""


# The dummy answers 10 ms on p and 20 on q, within a factor of e^0.1, of an operator that it does not know e^2.
KNOWN, UNKNOWN = _Made(), _Made("Gelu")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_dummy(tmp_path)


@pytest.fixture
def dataset() -> Dataset:
    nothing = math.nan
    return Dataset(
        name="tiny",
        ids=("seen", "near", "off", "flagged", "far off", "seen again"),
        sources=(KNOWN, KNOWN, KNOWN, UNKNOWN, UNKNOWN, KNOWN),
        family=("f",) * 6,
        split=("train", *("test",) * 5),
        targets=np.array(
            [
                [999, 999],
                [10.5, nothing],
                [12.5, nothing],
                [20.0, nothing],  # half as fast as predicted: within the interval of an unknown operator alone
                [100.0, nothing],
                [999, 999],
            ]
        ),
        devices=("p", "q"),
        network=("one", "two", "three", "four", "five", "one"),
    )


def test_coverage_counts_intervals_as_they_are_printed_wider_where_there_is_a_warning(
    file: Path, dataset: Dataset
) -> None:
    errors = [0.5 / 10.5, 2.5 / 12.5, 0.5, 0.9]
    expected = {"rows": 4, "mape": round(100 * float(np.mean(errors)), 3), "acc_10": 25.0, "coverage": 50.0}
    assert held_out_scores(file, dataset, jobs=1) == {"p": expected, "q": {"rows": 0}}


def test_a_test_row_whose_network_is_that_of_a_train_row_is_not_held_out(file: Path, dataset: Dataset) -> None:
    assert [dataset.ids[row] for row in dataset.unseen()] == ["near", "off", "flagged", "far off"]
    assert [dataset.ids[row] for row in replace(dataset, network=()).unseen()][-1] == "seen again"
    scores = held_out_scores(file, replace(dataset, network=()), jobs=1)
    assert (scores["p"]["rows"], scores["q"]["rows"]) == (5, 1)
    assert scores["q"]["coverage"] == 0


def test_batches_are_those_that_were_measured(file: Path, dataset: Dataset) -> None:
    """Batch 4 was never seen, so its interval is that of unknown families: e^1."""
    told = predict_sources(str(file), [KNOWN, KNOWN], [1, 4], jobs=1)[:, 0]
    assert told[:, 3].tolist() == [0, 1]
    np.testing.assert_allclose(told[:, 2], [10 * math.exp(0.1), 10 * math.e])
    batched = replace(dataset, batch=(1, 1, 4, 1, 1, 1))
    assert held_out_scores(file, batched, jobs=1)["p"]["coverage"] == 75.0


def test_a_card_is_told_anew_and_nothing_else_of_the_predictor_changes(file: Path, dataset: Dataset) -> None:
    weights, before = file.read_bytes(), Card.read(file.with_suffix(".json"))
    written = write_held_out(file, dataset, jobs=1)
    after = Card.read(file.with_suffix(".json"))
    assert after.outputs == written.outputs
    assert after.outputs[0].held_out["coverage"] == 50.0
    assert [replace(o, held_out={}) for o in after.outputs] == [replace(o, held_out={}) for o in before.outputs]
    assert file.read_bytes() == weights
    assert Predictor.load(file).predict([relu_graph()], "p")[0].held_out_mape == after.outputs[0].held_out["mape"]


def test_a_target_that_the_dataset_does_not_have_keeps_what_its_card_says(file: Path, dataset: Dataset) -> None:
    card = write_held_out(file, dataset.with_devices(["p"]), jobs=1)
    assert card.outputs[1].held_out == {"mape": 3.0}
