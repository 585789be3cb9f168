"""Predictors of cells: what they learn, what ships, and what the commands print."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from narformer.cells.card import CellCard, Learned
from narformer.cells.cell import Cell, nasbench101_cell, parse_cell
from narformer.cells.dataset import CellDataset
from narformer.cells.fit import TEST, fit_cell_predictor
from narformer.cells.networks import distinct_networks, live_nodes, reaches_output
from narformer.cells.predictor import PRETRAINED, CellPredictor, predictor_statistics
from narformer.cells.process import GaussianProcess, normal_scores
from narformer.cells.ranking import rank_space
from narformer.cells.table import CellTable, cell_table, enumerate_space
from narformer.cells.tokens import reordered
from narformer.cli.main import app
from narformer.datasets.dataset import sha1_order
from narformer.errors import ConfigError, DataError
from narformer.metrics import kendall_tau

ARCH = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|"
runner = CliRunner()
CARD = CellCard("nasbench201", "made up", Learned("made", 200, 113), "by hand")


def test_normal_scores() -> None:
    scores = normal_scores([3.0, 1.0, 2.0])
    np.testing.assert_allclose(scores, [0.9674, -0.9674, 0], atol=1e-4)  # quantiles 5/6, 1/6, 1/2
    assert normal_scores([1.0, 1.0])[0] == normal_scores([1.0, 1.0])[1]


def test_the_process_learns_a_ranking_and_gives_it_back() -> None:
    table = enumerate_space("nasbench201").rows(np.random.default_rng(0).permutation(15625)[:400])
    live, _ = live_nodes(table)
    truth = ((table.codes == 2) & live).sum(axis=1) * 3.0 + ((table.codes == 1) & live).sum(axis=1)
    statistics, groups = predictor_statistics(table)
    process = GaussianProcess(groups).fit(statistics[:200], truth[:200])
    assert kendall_tau(process.predict(statistics[200:]), truth[200:]) > 0.9
    with pytest.raises(DataError, match="too few"):
        GaussianProcess(groups).fit(statistics[:3], truth[:3])


def test_the_process_finds_the_statistic_that_matters_among_others_of_its_group() -> None:
    rng = np.random.default_rng(0)
    statistics = rng.normal(size=(300, 20))
    truth = np.sin(2 * statistics[:, 3])
    process = GaussianProcess(np.zeros(20, dtype=np.int64)).fit(statistics[:150], truth[:150])
    assert process.scale.argmax() == 3
    assert process.scale[3] > 3 * np.delete(process.scale, 3).max()
    assert kendall_tau(process.predict(statistics[150:]), truth[150:]) > 0.9
    assert process.noise_share < 0.05


def test_the_process_tells_noise_from_signal() -> None:
    rng = np.random.default_rng(0)
    statistics = rng.normal(size=(400, 3))
    truth = statistics[:, 0] + rng.normal(size=400)  # half of the variance is noise
    process = GaussianProcess(np.zeros(3, dtype=np.int64)).fit(statistics, truth)
    assert process.noise_share == pytest.approx(0.5, abs=0.1)


def test_a_network_that_passes_nothing_on_is_last_though_none_was_trained_on() -> None:
    space = enumerate_space("nasbench201")
    reached = reaches_output(space)
    assert (~reached).sum() == 341
    table = space.rows(np.flatnonzero(reached)[::60])
    truth = 90 + (table.codes == 2).sum(axis=1).astype(float)
    predictor = CellPredictor.fit(table, truth, table, truth, CARD)
    scores = predictor.score(space)
    assert scores[~reached].max() < scores[reached].min()


def test_a_saved_predictor_is_the_same_predictor(tmp_path: Path) -> None:
    table = enumerate_space("nasbench201").rows(slice(0, 15625, 50))
    truth = 90 + (table.codes == 2).sum(axis=1).astype(float)
    predictor = CellPredictor.fit(
        table.rows(slice(0, 200)), truth[:200], table.rows(slice(200, None)), truth[200:], CARD
    )
    predictor.save(tmp_path / "mine.npz")
    again = CellPredictor.load(tmp_path / "mine.npz")
    assert again.card == CARD
    np.testing.assert_array_equal(again.score(table), predictor.score(table))
    with pytest.raises(ConfigError, match="is for nasbench201"):
        again.score(cell_table([nasbench101_cell("1", ["input", "output"])]))


@pytest.mark.parametrize("space", ["nasbench101", "nasbench201"])
def test_shipped_predictors_hold_what_their_cards_say(space: str, data_root: Path) -> None:

    from narformer.cells.nasbench101 import load_nasbench101
    from narformer.cells.nasbench201 import load_nasbench201

    predictor = CellPredictor.load(space)
    dataset = (load_nasbench101 if space == "nasbench101" else load_nasbench201)(data_root)
    test = sha1_order(dataset.ids)[: round(TEST * len(dataset))]
    tau = kendall_tau(predictor.score(dataset.table.rows(test)), dataset.accuracy[test])
    assert predictor.card.test is not None
    assert predictor.card.to_json() == json.loads((PRETRAINED / f"cells-{space}.json").read_text())
    assert tau == pytest.approx(predictor.card.test.kendall, abs=2e-3)
    assert 86 < predictor.card.test.coverage < 94


def test_a_card_tells_the_errors_on_networks_of_which_no_other_cell_was_seen() -> None:
    table = enumerate_space("nasbench201").rows(np.random.default_rng(0).permutation(15625)[:500])
    accuracy = 90 + ((table.codes == 2) & live_nodes(table)[0]).sum(axis=1).astype(float)
    dataset = CellDataset("nasbench201", "made up", tuple(map(str, range(500))), table, accuracy)
    card = fit_cell_predictor(dataset, 100).card
    order = sha1_order(dataset.ids)
    _, network = distinct_networks(table)
    seen = set(network[order[100:250]].tolist())  # 50 cells for calibration, 100 for training
    new = [row for row in order[:100] if network[row] not in seen]
    assert card.test is not None
    assert card.test_of_new_networks is not None
    assert (card.test.cells, card.test_of_new_networks.cells) == (100, len(new))
    assert 0 < len(new) < 100


def test_predict_cell_prints_an_array_and_tells_bad_cells() -> None:
    result = runner.invoke(app, ["predict-cell", "nasbench201", ARCH, "--json"])
    (entry,) = json.loads(result.stdout)
    assert {"cell", "accuracy", "low", "high"} < set(entry)
    assert entry["low"] <= entry["accuracy"] <= entry["high"]
    mixed = runner.invoke(app, ["predict-cell", "nasbench201", ARCH, "|magic~0|+"])
    assert mixed.exit_code == 2
    assert ARCH in mixed.stdout
    assert "magic" in mixed.stderr


def test_predict_cell_reads_the_benchmarks_layout(tmp_path: Path) -> None:
    file = tmp_path / "cells.csv"
    file.write_text("module_hash,upper_triangle,operations\nx,101,input;conv3x3-bn-relu;output\n")
    result = runner.invoke(app, ["predict-cell", "nasbench101", "--file", str(file), "--json"])
    assert json.loads(result.stdout)[0]["cell"] == "101,input;conv3x3-bn-relu;output"


def test_better_cells_are_predicted_better() -> None:
    predictor = CellPredictor.load("nasbench201")
    good, bad = (
        parse_cell("nasbench201", "+".join("|" + "|".join(f"{op}~{k}" for k in range(n)) + "|" for n in (1, 2, 3)))
        for op in ("nor_conv_3x3", "avg_pool_3x3")
    )
    estimates = predictor.predict([good, bad])
    assert estimates[0].low > estimates[1].high


def test_beyond_the_best_held_out_cells_accuracy_goes_on_rising() -> None:
    predictor = CellPredictor.load("nasbench101")
    last = predictor._scores[-1]
    accuracies = predictor.accuracies(np.array([last - 1, last, last + 0.5, last + 100]))
    median = accuracies[:, 0]
    assert median[2] - median[1] == pytest.approx((median[1] - median[0]) / 2)
    assert (np.diff(accuracies[:3], axis=0) > 0).all()
    assert accuracies[-1].tolist() == [100, 100, 100]


# One network: node 1 is the input in the second, node 2 in the first.
TWINS = (
    "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|nor_conv_1x1~1|avg_pool_3x3~2|",
    "|skip_connect~0|+|nor_conv_3x3~0|none~1|+|none~0|avg_pool_3x3~1|nor_conv_1x1~2|",
)


@pytest.mark.parametrize(
    ("space", "cells"),
    [
        ("nasbench201", TWINS),
        (
            "nasbench101",
            (
                "110011,input;conv1x1-bn-relu;conv3x3-bn-relu;output",
                "110011,input;conv3x3-bn-relu;conv1x1-bn-relu;output",
            ),
        ),
        ("nasbench101", ("101,input;conv3x3-bn-relu;output", "110010,input;conv3x3-bn-relu;maxpool3x3;output")),
    ],
)
def test_cells_that_are_one_network_get_one_accuracy(space: str, cells: tuple[str, str]) -> None:
    result = runner.invoke(app, ["predict-cell", space, *cells, "--json"])
    first, second = json.loads(result.stdout)
    alone = json.loads(runner.invoke(app, ["predict-cell", space, cells[1], "--json"]).stdout)
    assert [second] == alone
    assert [first[k] for k in ("accuracy", "low", "high")] == [second[k] for k in ("accuracy", "low", "high")]


def test_cells_that_are_one_network_have_one_score_in_a_ranked_space() -> None:
    ranking = rank_space("nasbench201", None, 1)
    row = {str(ranking.table.cell(k)): k for k in range(len(ranking.table))}
    assert ranking.scores[row[TWINS[0]]] == ranking.scores[row[TWINS[1]]]
    _, network = distinct_networks(ranking.table)
    assert len(np.unique(ranking.scores)) <= network.max() + 1


def test_the_order_of_nodes_changes_no_score(nasbench101: CellTable) -> None:
    table = nasbench101.rows(slice(0, None, 2000))
    predictor = CellPredictor.load("nasbench101")
    other = reordered(table, np.random.default_rng(0))
    np.testing.assert_array_equal(predictor.score(other), predictor.score(table))


def test_a_cell_whose_output_reads_nothing_has_no_accuracy() -> None:
    with pytest.raises(DataError, match="does not reach"):
        CellPredictor.load("nasbench101").predict([Cell("nasbench101", ("input", "output"), ())])
