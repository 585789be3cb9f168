"""Training: batching, the schedule, resuming after a kill, the predictor that comes out."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from narformer.datasets.cache import TokenCache, build_cache
from narformer.datasets.dataset import Dataset, FamilySource
from narformer.errors import ConfigError, DataError
from narformer.families.registry import sample
from narformer.models import tally as tally_module
from narformer.models.registry import create_model
from narformer.models.tally import Tally
from narformer.prediction.card import Card
from narformer.prediction.predictor import Predictor
from narformer.training.batching import TOKEN_MULTIPLE, predict_rows, split_rows, to_tensors
from narformer.training.checkpoint import load_checkpoint, save_checkpoint
from narformer.training.config import TrainConfig, load_config, save_config
from narformer.training.export import AVERAGED, at_lengths, conformal_quantile, export_predictor, narrowest
from narformer.training.loop import learning_rate_at, train
from narformer.training.losses import balanced, log_l1, relative_mse

OPTIONS = {"hidden": 16}
CONFIG = TrainConfig(model_options=OPTIONS, epochs=4, batch_size=4)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    variants = [v for family in ("alexnet", "squeezenet") for v in sample(family, 12)]
    rng = np.random.default_rng(0)
    targets = rng.uniform(5, 50, size=(24, 2))
    targets[::5, 1] = np.nan
    return Dataset(
        name="tiny",
        ids=tuple(f"row{i}" for i in range(24)),
        sources=tuple(FamilySource(v.family, v.config, v.version) for v in variants),
        family=tuple(v.family for v in variants),
        split=tuple("test" if i % 4 == 0 else "train" for i in range(24)),
        targets=targets,
        devices=("p", "q"),
    )


@pytest.fixture(scope="module")
def tokens(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> TokenCache:
    return build_cache(dataset.sources, dataset.ids, tmp_path_factory.mktemp("cache"), "narformer_v2", workers=1)


def _train(directory: Path, dataset: Dataset, tokens: TokenCache, epochs: int, config: TrainConfig = CONFIG) -> dict:
    """Train, stopping dead in the middle of epoch `epochs` if it is before the last."""
    torch.manual_seed(0)
    model = create_model("narformer_v2", OPTIONS, 2)
    rows = dataset.rows("train")
    for progress in train(config, model, tokens, dataset.targets, rows[:14], rows[14:], directory):
        if progress.epoch == epochs:
            break
    return model.state_dict()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_killed_run_resumes_to_the_same_weights(
    tmp_path: Path, dataset: Dataset, tokens: TokenCache, precision: str
) -> None:
    config = dataclasses.replace(CONFIG, precision=precision)
    whole = _train(tmp_path / "whole", dataset, tokens, 99, config)
    _train(tmp_path / "killed", dataset, tokens, 2, config)
    resumed = _train(tmp_path / "killed", dataset, tokens, 99, config)
    assert whole.keys() == resumed.keys()
    for name, weight in whole.items():
        assert torch.equal(weight, resumed[name]), name
    strip = [line.split(', "seconds"')[0] for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    again = [line.split(', "seconds"')[0] for line in (tmp_path / "killed" / "log.jsonl").read_text().splitlines()]
    assert strip == again
    assert len(strip) == 4


@pytest.mark.parametrize("killed_in", [1, 3])
def test_factors_of_tiles_are_learned_in_the_second_half_and_resume(
    tmp_path: Path, dataset: Dataset, killed_in: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally_module, "TILE_NETWORKS", 14)  # as many as p has; q lacks every fifth
    tokens = build_cache(dataset.sources, dataset.ids, tmp_path / "cache", "kernels", workers=1)
    rows = dataset.rows("train")

    def run(directory: Path, until: int) -> Tally:
        torch.manual_seed(0)
        model = create_model("tally", {"hidden": 8}, 2)
        assert isinstance(model, Tally)
        for progress in train(CONFIG, model, tokens, dataset.targets, rows[:14], rows[14:], directory):
            if progress.epoch == until:
                break
            learned = progress.epoch >= 2
            assert model.roofline.by_tile.any(dim=0).tolist() == [learned, False]
        return model

    whole = run(tmp_path / "whole", 99).state_dict()
    run(tmp_path / "killed", killed_in)
    for name, weight in run(tmp_path / "killed", 99).state_dict().items():
        assert torch.equal(weight, whole[name]), name


def test_training_learns(tmp_path: Path, dataset: Dataset, tokens: TokenCache) -> None:
    config = dataclasses.replace(CONFIG, epochs=30)
    torch.manual_seed(0)
    model = create_model("narformer_v2", OPTIONS, 2)
    rows = dataset.rows("train")
    losses = [p.loss for p in train(config, model, tokens, dataset.targets, rows, rows, tmp_path) if p.validation_mape]
    assert losses[-1] < 0.5 * losses[0]
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_seeds_differ(tmp_path: Path, dataset: Dataset, tokens: TokenCache) -> None:
    one = _train(tmp_path / "a", dataset, tokens, 99)
    two = _train(tmp_path / "b", dataset, tokens, 99, dataclasses.replace(CONFIG, seed=1))
    assert any(not torch.equal(one[name], two[name]) for name in one)


def test_the_learning_rate_rises_then_falls() -> None:
    factors = [learning_rate_at(step, 100, 0.1) for step in range(101)]
    assert factors[:10] == pytest.approx([0.1 * k for k in range(1, 11)])
    assert factors[10] == 1
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == 0


def test_missing_labels_count_for_nothing() -> None:
    prediction = torch.tensor([[2.0, 3.0], [4.0, 5.0]], requires_grad=True)
    loss = relative_mse(prediction, torch.tensor([[1.0, torch.nan], [4.0, 10.0]]))
    assert loss.item() == pytest.approx((1 + 0 + 0.25) / 3)
    loss.backward()
    assert prediction.grad is not None
    assert prediction.grad[0, 1] == 0
    assert torch.isfinite(prediction.grad).all()


def test_filling_up_a_batch_changes_no_prediction(dataset: Dataset, tokens: TokenCache) -> None:
    torch.manual_seed(0)
    model = create_model("narformer_v2", OPTIONS, 2).eval()
    batch = tokens.batch([0, 13, 5])
    filled = to_tensors(batch, torch.device("cpu"))
    assert filled[0].shape[0] % TOKEN_MULTIPLE == 0
    bare = (batch.features, batch.edges.astype(np.int64), batch.graph.astype(np.int64), batch.static)
    with torch.no_grad():
        expected = model(*map(torch.from_numpy, bare))
        torch.testing.assert_close(model(*filled)[:3], expected, rtol=1e-5, atol=0)
    np.testing.assert_allclose(predict_rows(model, tokens, np.array([0, 13, 5]), 2), expected.numpy(), rtol=1e-5)


def test_rows_are_split_for_ever_by_their_ids() -> None:
    ids = [f"id{i}" for i in range(1000)]
    validation, calibration, rest = split_rows(ids, (0.1, 0.05))
    assert (len(validation), len(calibration), len(rest)) == (100, 50, 850)
    assert sorted([*validation, *calibration, *rest]) == list(range(1000))
    again, *_ = split_rows(ids[::-1], (0.1, 0.05))
    assert {ids[::-1][r] for r in again} == {ids[r] for r in validation}


def test_conformal_intervals_cover_what_they_promise() -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(200):
        target = rng.uniform(1, 100, size=300)
        prediction = target * np.exp(rng.normal(scale=0.1, size=300))
        q = conformal_quantile(prediction[:100], target[:100])
        covered.append(np.mean(np.abs(np.log(prediction[100:] / target[100:])) <= q))
    assert 0.89 < np.mean(covered) < 0.92
    assert conformal_quantile(np.array([1.0, 2.0]), np.array([1.0, 1.0])) == pytest.approx(np.log(2))
    with pytest.raises(DataError, match="no rows"):
        conformal_quantile(np.array([]), np.array([]))


def test_networks_that_take_long_have_a_width_of_their_own_where_there_are_enough_of_both() -> None:
    residuals = np.concatenate([np.linspace(0.4, 0.8, 50), np.linspace(0.1, 0.2, 50)])
    latency = np.repeat([0.1, 10.0], 50)
    found = at_lengths(residuals, np.ones(100), latency, 0.0)
    assert found is not None
    assert 0.7 < found[0] <= 0.8
    assert 0.17 < found[1] <= 0.2
    assert at_lengths(residuals[:80], np.ones(80), latency[:80], 0.0) is None


def test_intervals_narrow_with_the_number_of_kernels_where_errors_do() -> None:
    random = np.random.default_rng(0)
    kernels = np.tile([1.0, 4.0, 100.0], 400)
    shared = narrowest(np.abs(random.normal(0, 0.2, len(kernels))), kernels)
    averaging = narrowest(np.abs(random.normal(0, 0.5 / np.sqrt(kernels))), kernels)
    assert shared[0] == 0.0
    assert averaging[0] == max(AVERAGED)


def test_targets_with_few_networks_weigh_more_each_and_measurements_weigh_one_in_the_mean() -> None:
    counts = torch.tensor([10_000, 400, 10])
    weights = balanced(counts, 0.5)
    assert float((weights * counts).sum() / counts.sum()) == pytest.approx(1.0)
    assert float(weights[1] / weights[0]) == pytest.approx(5.0)
    assert float(weights[2] / weights[1]) == pytest.approx(math.sqrt(400 / 300))  # no more than that of 300
    prediction, target = torch.tensor([[1.0, 1.0]]), torch.tensor([[math.e, float("nan")]])
    assert float(log_l1(prediction, target, torch.tensor([3.0, 7.0]))) == pytest.approx(3.0)


def test_the_exported_predictor_equals_the_model(tmp_path: Path, dataset: Dataset, tokens: TokenCache) -> None:
    torch.manual_seed(0)
    model = create_model("narformer_v2", {}, 2)
    train_rows = dataset.rows("train")
    card = export_predictor(
        model,
        "mine",
        "narformer_v2",
        "narformer_v2",
        dataset,
        tokens,
        train_rows[:12],
        train_rows[12:],
        tmp_path / "mine.onnx",
        descriptions={"p": "a device"},
        novel_quantiles={"q": 9.0},
        training={"seed": 0},
    )
    kept = Card.read(tmp_path / "mine.json")
    assert (kept.outputs, kept.fingerprint) == (card.outputs, card.fingerprint)
    np.testing.assert_allclose(kept.novelty.references, card.novelty.references, atol=0.006)
    predictor = Predictor.load(tmp_path / "mine.onnx")
    graphs = [source.graph() for source in dataset.sources]
    expected = predict_rows(model, tokens, np.arange(24))
    np.testing.assert_allclose(predictor.latencies(graphs), expected, rtol=1e-5)
    with torch.no_grad():
        model.head.output.bias.fill_(-400.0)  # type: ignore[union-attr]
    assert card.outputs[1].quantiles["novel"] == 9.0
    assert card.outputs[0].quantiles["novel"] == pytest.approx(4 * card.outputs[0].quantiles["known"])
    assert card.outputs[0].operators == ("Concat", "Conv", "Flatten", "Gemm", "GlobalAveragePool", "MaxPool", "Relu")
    assert card.outputs[0].held_out["rows"] == 6
    tests = dataset.rows("test")
    answers = predictor.predict([graphs[r] for r in tests], "p")
    inside = [a.low_ms <= truth <= a.high_ms for a, truth in zip(answers, dataset.targets[tests, 0], strict=True)]
    assert card.outputs[0].held_out["coverage"] == round(100 * float(np.mean(inside)), 2)


def test_configurations_come_back_from_their_file(tmp_path: Path) -> None:
    config = TrainConfig(families=("vgg",), model_options={"hidden": 64}, learning_rate=2e-4, precision="bfloat16")
    save_config(config, tmp_path / "c.yaml")
    assert load_config(tmp_path / "c.yaml") == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3", "unknown setting epoch; known are dataset"),
        ("epochs: many", "epochs should be a int, not 'many'"),
        ("epochs: 0", "at least 1"),
        ("precision: int8", "must be one of float32, bfloat16"),
        ("validation: 0.6\ncalibration: 0.5", "no rows to train on"),
        ("- a", "expected `name: value` lines"),
        (": : :", "not YAML"),
    ],
)
def test_configuration_mistakes_are_told_with_the_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


def test_the_shipped_configurations_are_valid() -> None:
    paths = list((Path(__file__).parents[2] / "configs").glob("*.yaml"))
    assert paths
    for path in paths:
        load_config(path)


def test_checkpoints_are_whole_or_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.pt", {"x": torch.ones(3), "epoch": 1})
    assert load_checkpoint(tmp_path / "c.pt")["epoch"] == 1
    whole = (tmp_path / "c.pt").read_bytes()
    (tmp_path / "c.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="not a checkpoint"):
        load_checkpoint(tmp_path / "c.pt")
    with pytest.raises(DataError, match="cannot be read"):
        load_checkpoint(tmp_path / "absent.pt")
    with pytest.raises(DataError, match="could not be written"):
        save_checkpoint(tmp_path / "no" / "such" / "c.pt", {})


def test_unknown_models_and_options_are_told() -> None:
    with pytest.raises(ConfigError, match="unknown model 'gpt'"):
        create_model("gpt", {}, 1)
    with pytest.raises(ConfigError, match="narformer_v2 has no option depth; it has blocks"):
        create_model("narformer_v2", {"depth": 3}, 1)
