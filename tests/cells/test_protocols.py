"""Protocols of accuracy, ranking and search on a small made-up benchmark."""

from __future__ import annotations

import copy
import json
from collections.abc import Generator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from narformer.cells.baselines import path_encoding
from narformer.cells.cell import nasbench101_cell
from narformer.cells.dataset import CellDataset
from narformer.cells.ranking import Ranking
from narformer.cells.search import compare_searches
from narformer.cells.selection import train_and_choose
from narformer.cells.settings import PUBLISHED, CellTraining
from narformer.cells.statistics import live_nodes
from narformer.cells.table import CellTable, cell_table, enumerate_space
from narformer.cells.training import cell_loss, create_cell_model, predict_cells, relative_error, train_cells
from narformer.cells.training_gpu import interleaved, predict_cells_dense, train_cells_on_gpu
from narformer.errors import ConfigError
from narformer.evaluation.cell_accuracy import CellProtocol
from narformer.evaluation.cell_tables import ACCURACY
from narformer.evaluation.protocol import Options
from narformer.evaluation.report import page
from narformer.evaluation.results import ALL, load_results, write_result
from narformer.models.layers import Dropout


@pytest.fixture(scope="module")
def benchmark() -> CellDataset:
    table = enumerate_space("nasbench201").rows(np.random.default_rng(0).permutation(15625)[:600])
    live, _ = live_nodes(table)
    accuracy = 80 + 3.0 * ((table.codes == 2) & live).sum(axis=1) + 1.0 * ((table.codes == 1) & live).sum(axis=1)
    accuracy = accuracy + np.random.default_rng(1).normal(0, 0.1, len(table))
    return CellDataset("nasbench201", "made up", tuple(map(str, range(600))), table, accuracy)


def small_101() -> CellTable:
    return cell_table(
        [
            nasbench101_cell("111", ["input", "maxpool3x3", "output"]),
            nasbench101_cell("110110", ["input", "conv1x1-bn-relu", "conv3x3-bn-relu", "output"][:4]),
        ]
    )


def test_a_protocol_is_resumed_and_reported(benchmark: CellDataset, tmp_path: Path) -> None:
    protocol = CellProtocol("nasbench201/accuracy", "made up", lambda _: benchmark, (60, 120, 10_000))
    shown: list[str] = []
    options = Options(seeds=2, runs=tmp_path / "runs")
    models = protocol.wanted(["gaussian_process", "random_forest"], options)
    results = list(protocol.run(models, options, shown.append))
    assert list(results[0].runs[0].tasks) == ["60 cells", "120 cells"]  # 10,000 are not there
    assert results[0].runs[0].tasks["120 cells"].devices[ACCURACY][ALL].told("kendall") > 0.8
    assert list(protocol.run(["gaussian_process"], options, shown.append)) == results[:1]
    for result in results:
        write_result(result, tmp_path)
        assert all("±" in line for line in protocol.lines(result))
    assert load_results(tmp_path) == results
    text = page(results)
    assert "## nasbench201/accuracy" in text
    assert "| gaussian_process | 2 |" in text
    with pytest.raises(ConfigError, match="unknown model 'oracle' of nasbench201/accuracy"):
        protocol.wanted(["oracle"], options)
    for asked, told in (({"cells": (600,)}, "--cells 600: .* has 600 cells"), ({"learning_rate": 0.0}, "nothing is")):
        with pytest.raises(ConfigError, match=told):
            next(protocol.run(["nnlp"], replace(options, **asked), shown.append))


def test_a_training_of_cells_keeps_its_settings_and_every_choice_of_the_epoch(
    benchmark: CellDataset, tmp_path: Path
) -> None:
    protocol = CellProtocol("nasbench201/accuracy", "made up", lambda _: benchmark, (60,))
    options = Options(epochs=2, batch_size=16, cells=(16,), runs=tmp_path / "runs")
    result, fitted = protocol.run(["nnlp", "gaussian_process"], options, lambda _: None)
    assert (result.form, result.epochs, result.batch_size, result.learning_rate) == ("2-b16", 2, 16, 1e-4)
    task = result.runs[0].tasks["16 cells"]
    assert set(task.chosen) == {"last", "validation", "test", "released"}
    assert task.chosen["released"].scores.rows == 600
    assert task.threads == torch.get_num_threads()
    assert (fitted.form, fitted.epochs, fitted.batch_size) == ("full", None, None)
    assert "--epochs 2 --batch-size 16" in page([result, fitted])


def test_path_encoding_of_a_known_cell() -> None:
    cells = [
        nasbench101_cell("111", ["input", "maxpool3x3", "output"]),
        nasbench101_cell("101", ["input", "maxpool3x3", "output"]),
    ]
    encoded = path_encoding(cell_table(cells))
    assert encoded.tolist() == [[1, 1], [0, 1]]  # straight, then through the pool


def test_the_pareto_front_is_what_no_other_beats(benchmark: CellDataset) -> None:
    scores = np.array([1.0, 3.0, 2.0, 4.0, 0.0])
    latency = np.array([1.0, 2.0, 3.0, np.nan, 0.5])
    ranking = Ranking(benchmark.table.rows(slice(0, 5)), scores, np.tile(scores[:, None], (1, 3)), latency)
    assert ranking.pareto() == [4, 0, 1]
    assert ranking.best(2) == [3, 1]
    assert ranking.best(2, max_ms=1.5) == [0, 4]
    unknown, known = ranking.entries([3, 0])
    assert unknown.to_dict() == {"cell": unknown.cell, "accuracy": 4.0, "low": 4.0, "high": 4.0}
    assert (known.latency_ms, known.accuracy) == (1.0, 1.0)
    assert ranking.entries([0, 3]).to_csv().splitlines()[0] == "cell,accuracy,low,high,target,latency_ms"


def test_a_guided_search_needs_fewer_trainings_than_a_random_one(benchmark: CellDataset) -> None:
    result = compare_searches(benchmark, seeds=3, queries=60)
    searches = result.searches
    assert searches["predictor"].mean_queries < searches["random"].mean_queries
    assert all(len(s.curve) == 60 for s in searches.values())
    assert all(np.all(np.diff(s.curve) >= 0) for s in searches.values())
    assert json.loads(result.to_json())["searches"]["random"]["curve"] == list(searches["random"].curve)


def test_the_loss_of_cells_is_the_papers() -> None:
    prediction, again = torch.tensor([0.5, 1.0]), torch.tensor([0.6, 1.0])
    target, pairs = torch.tensor([1.0, 1.0]), torch.tensor([1, 0, 3, 2])
    # (0.25 + 0 + 0.16 + 0)/4 + 0.1 · mean |±0.5, ±0.4| + 0.5 · (0.1 + 0)/2
    loss = cell_loss(prediction, again, target, pairs, CellTraining())
    assert loss.item() == pytest.approx(0.1025 + 0.045 + 0.025)
    # Without re-orderings: 0.25/2 + 0.1 · 0.5
    assert cell_loss(prediction, None, target, pairs[:2], CellTraining()).item() == pytest.approx(0.125 + 0.05)


def test_a_cell_that_failed_to_train_weighs_little_under_the_huber_loss() -> None:
    prediction = torch.tensor([0.93, 0.9], requires_grad=True)
    relative_error(prediction, torch.tensor([0.92, 0.1]), 0.05).sum().backward()
    # 2 · ln(0.93/0.92) / 0.93, and 2 · 0.05 / 0.9 where the paper's loss has 2 · 8 / 0.1
    assert prediction.grad is not None
    np.testing.assert_allclose(prediction.grad, [0.02324, 0.11111], rtol=1e-3)


@pytest.mark.parametrize("name", ["narformer_v2", "nn_former", "nnlp"])
def test_models_of_cells_train_and_do_not_mind_the_batch(name: str, benchmark: CellDataset) -> None:
    torch.manual_seed(0)
    model = create_cell_model(name)
    table, accuracy = benchmark.table.rows(slice(0, 16)), benchmark.accuracy[:16]
    losses = [loss for _, loss in train_cells(CellTraining(epochs=3), model, table, accuracy)]
    assert losses[-1] < losses[0]
    together = predict_cells(model, table)
    alone = np.concatenate([predict_cells(model, table.rows(slice(k, k + 1))) for k in range(16)])
    np.testing.assert_allclose(alone, together, rtol=1e-4)


@pytest.mark.parametrize("name", ["narformer_v2", "nn_former"])
@pytest.mark.parametrize("space", ["nasbench101", "nasbench201"])
def test_the_form_for_gpus_predicts_as_the_one_for_cpus(name: str, space: str) -> None:
    table = enumerate_space("nasbench201").rows(slice(0, 15625, 300)) if space == "nasbench201" else small_101()
    torch.manual_seed(0)
    model = create_cell_model(name)
    np.testing.assert_allclose(predict_cells_dense(model, table), predict_cells(model, table), rtol=1e-5)


@pytest.mark.parametrize("name", ["narformer_v2", "nn_former"])
def test_a_step_for_gpus_is_a_step_for_cpus(name: str, benchmark: CellDataset) -> None:
    """Without dropout, and with all cells in one batch, whose order does not matter, weights move alike."""
    table, accuracy = benchmark.table.rows(slice(0, 11)), benchmark.accuracy[:11]
    config = CellTraining(epochs=2, batch_size=16, ranking=0.0, averaged=0.9)
    torch.manual_seed(0)
    model = create_cell_model(name)
    for layer in model.modules():
        if isinstance(layer, Dropout):
            layer.rate = 0.0
    models = [copy.deepcopy(model) for _ in range(4)]
    for _ in train_cells(config, models[0], table, accuracy, averaged=models[1]):
        pass
    for _ in train_cells_on_gpu(config, models[2], table, accuracy, averaged=models[3]):
        pass
    before, *after = (predict_cells(m, table) for m in [model, *models])
    assert np.abs(after[0] / before - 1).max() > 1e-4
    if name == "narformer_v2":
        np.testing.assert_allclose(after[2], after[0], rtol=1e-4)
        np.testing.assert_allclose(after[3], after[1], rtol=1e-4)


@pytest.fixture
def looks_after_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("narformer.cells.training.CYCLE", 1)
    monkeypatch.setattr("narformer.cells.selection.CYCLE", 1)
    monkeypatch.setattr("narformer.cells.training.SECONDS_BETWEEN_CHECKPOINTS", -1)


@pytest.mark.usefixtures("looks_after_each_epoch")
def test_a_killed_training_of_cells_ends_as_the_uninterrupted_one(benchmark: CellDataset, tmp_path: Path) -> None:
    table, accuracy = benchmark.table.rows(slice(0, 16)), benchmark.accuracy[:16]
    config, checkpoint = CellTraining(epochs=4, seed=3), tmp_path / "last.pt"

    def weights(model: torch.nn.Module) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    torch.manual_seed(0)
    whole, killed, resumed = (create_cell_model("nnlp") for _ in range(3))
    killed.load_state_dict(whole.state_dict())
    for _ in train_cells(config, whole, table, accuracy):
        pass
    for epoch, _ in train_cells(config, killed, table, accuracy, checkpoint):
        if epoch == 2:
            break
    assert not torch.equal(weights(whole), weights(killed))
    epochs = [epoch for epoch, _ in train_cells(config, resumed, table, accuracy, checkpoint)]
    assert epochs == [2, 3]
    assert torch.equal(weights(whole), weights(resumed))


@pytest.mark.usefixtures("looks_after_each_epoch")
def test_epochs_are_chosen_by_validation_and_by_test_cells(benchmark: CellDataset, tmp_path: Path) -> None:
    fit, test, validation = np.split(np.arange(60), [16, 40])
    config = CellTraining(epochs=4)
    training = partial(train_and_choose, config, "nnlp", benchmark, fit, test, validation, tmp_path)
    (chosen,) = interleaved([training], "cpu")
    looks = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert [look["epochs"] for look in looks] == [1, 2, 3, 4]
    assert chosen["last"].epochs == 4
    for name in ("validation", "test"):
        assert chosen[name].epochs == max(looks, key=lambda look: look[f"{name} tau"])["epochs"]
    assert all(choice.prediction.shape == (600,) for choice in chosen.values())
    (again,) = interleaved([training], "cpu")
    assert again["validation"].epochs == chosen["validation"].epochs


def test_trainings_take_turns_and_return_in_their_order() -> None:
    turns: list[str] = []

    def training(name: str, epochs: int) -> Generator[None, None, str]:
        for _ in range(epochs):
            turns.append(name)
            yield
        return name.upper()

    assert interleaved([partial(training, "a", 1), partial(training, "b", 3)], "cpu") == ["A", "B"]
    assert turns == ["a", "b", "b", "b"]


def test_published_settings_have_a_name_of_their_own() -> None:
    assert CellTraining().label == "1000"
    assert PUBLISHED["nn_former"].label == "3000-b128-squared-ranking0.2-consistency1-averaged0.99"


def test_a_plain_squared_error_and_cells_without_weight() -> None:
    config = CellTraining(squared=True, ranking=0.0)
    prediction, target = torch.tensor([0.5, 7.0]), torch.tensor([0.9, 1.0])
    loss = cell_loss(prediction, None, target, torch.tensor([0, 1]), config, torch.tensor([1.0, 0.0]))
    assert loss.item() == pytest.approx(0.16)
