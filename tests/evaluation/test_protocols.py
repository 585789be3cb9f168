"""Protocols: who is trained on what, on small data; results that survive a kill; the page they make."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from narformer.datasets.dataset import Dataset, FamilySource
from narformer.datasets.nnlqp import load_nnlqp
from narformer.errors import ConfigError, DataError
from narformer.evaluation import run as run_module
from narformer.evaluation import splits
from narformer.evaluation.baselines import BASELINES, fit_predict
from narformer.evaluation.protocols import PROTOCOLS, protocol
from narformer.evaluation.report import load_results, page, save_result, spread
from narformer.evaluation.run import Learning, run_protocol
from narformer.evaluation.scores import score_table
from narformer.evaluation.splits import few_samples, leave_one_family_out, left_out_models
from narformer.families.registry import sample
from narformer.training.run import left_out_errors

FAMILIES = ("alexnet", "squeezenet", "resnet")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    variants = [v for family in FAMILIES for v in sample(family, 20)]
    targets = np.array([[5.0 + i % 20, 3.0 + i % 7] for i in range(60)])
    targets[::6, 1] = np.nan
    return Dataset(
        name="tiny",
        ids=tuple(f"row{i}" for i in range(60)),
        sources=tuple(FamilySource(v.family, v.config, v.version) for v in variants),
        family=tuple(v.family for v in variants),
        split=tuple("test" if i % 5 == 0 else "train" for i in range(60)),
        targets=targets,
        devices=("p", "q"),
    )


def test_a_left_out_family_is_in_no_training_row(dataset: Dataset) -> None:
    tasks = leave_one_family_out(dataset)
    assert [t.name for t in tasks] == sorted(FAMILIES)
    for task in tasks:
        assert {dataset.family[r] for r in task.fit} == set(FAMILIES) - {task.name}
        assert {dataset.family[r] for r in task.test} == {task.name}
        assert {dataset.split[r] for r in task.fit} == {"train"}
        assert {dataset.split[r] for r in task.test} == {"test"}


def test_no_task_of_any_protocol_tests_on_what_it_trains_on(dataset: Dataset) -> None:
    folded = replace(dataset, fold=tuple(sorted(set(dataset.family)).index(family) % 3 for family in dataset.family))
    for name, each in PROTOCOLS.items():
        for task in each.tasks(folded):
            assert not set(task.fit) & set(task.test), name


def test_a_test_network_that_is_a_train_network_under_another_name_is_not_scored(dataset: Dataset) -> None:
    names = [f"network {k}" for k in range(60)]
    names[5] = names[6]  # row 5 is test, row 6 train
    (task,) = left_out_models(replace(dataset, network=tuple(names)))
    assert set(dataset.rows("test")) - set(task.test) == {5}
    assert set(left_out_models(dataset)[0].test) == set(dataset.rows("test"))
    chosen = protocol("qai_hub/left-out-models")
    np.testing.assert_array_equal(chosen.test_rows(replace(dataset, network=tuple(names))), task.test)


def test_few_samples_are_nested_and_fixed(dataset: Dataset) -> None:
    big = Dataset(
        name="big",
        ids=tuple(f"r{i}" for i in range(400)),
        sources=dataset.sources[:1] * 400,
        family=("alexnet",) * 400,
        split=("train",) * 300 + ("test",) * 100,
        targets=np.ones((400, 1)),
        devices=("p",),
    )
    tasks = few_samples(big)
    assert [len(t.fit) for t in tasks] == [50, 100, 200]
    assert set(tasks[0].fit) < set(tasks[1].fit) < set(tasks[2].fit)


def test_a_directory_in_nnlqps_layout_goes_through_its_protocols(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnx").mkdir()
    lines = []
    for family in FAMILIES:
        for number, variant in enumerate(sample(family, 5)):
            file = f"onnx/{family}{number}.onnx"
            (tmp_path / file).write_bytes(variant.build().SerializeToString())
            lines += [f"1 {file} 1 {10 + number} {family} gpu", f"2 {file} 1 {30 + number} {family} cpu"]
    (tmp_path / "gt.txt").write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="choose --device from gpu, cpu"):
        protocol("nnlqp/in-domain").load("full", None, tmp_path, None)
    with pytest.raises(ConfigError, match="needs --nnlqp DIRECTORY"):
        protocol("nnlqp/in-domain").load("full", None, None, None)
    assert load_nnlqp(tmp_path).devices == ("gpu", "cpu")
    monkeypatch.setattr(splits, "TRANSFER_SAMPLES", (4, 8))
    chosen = protocol("nnlqp/transfer")
    places = {"cache": tmp_path / "cache", "runs": tmp_path / "runs"}
    moved = chosen.load("full", None, tmp_path, "cpu")
    assert moved.devices == ("cpu", "gpu")
    result = run_protocol(chosen, moved, "nnlp", form="full", seeds=(0,), learning=Learning(1), **places)
    tasks = result["runs"][0]["tasks"]
    assert list(tasks) == ["4 networks", "8 networks"]
    assert set(tasks["4 networks"]["devices"]) == {"cpu"}
    for name, device in (("nnlqp/leave-one-family-out", "gpu"), ("nnlqp/multi-platform", None)):
        chosen = protocol(name)
        small = chosen.load("full", None, tmp_path, device)
        places = {"cache": tmp_path / "cache", "runs": tmp_path / "runs"}
        result = run_protocol(chosen, small, "flops", form="full", seeds=(0,), learning=Learning(1), **places)
        tasks = result["runs"][0]["tasks"]
        assert len(tasks) == (3 if device else 1)
        assert set(next(iter(tasks.values()))["devices"]) == ({"gpu"} if device else {"gpu", "cpu"})


def test_finished_tasks_are_not_run_again(tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = PROTOCOLS["nnmeter/leave-one-family-out"]
    places = {"cache": tmp_path / "cache", "runs": tmp_path / "runs"}
    seen: list[str] = []
    real = run_module._predict

    def interrupted(*arguments: object) -> np.ndarray:
        task = arguments[3]
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(task.name)  # type: ignore[attr-defined]
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(run_module, "_predict", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_protocol(chosen, dataset, "flops_memory", form="full", seeds=(0,), learning=Learning(1), **places)
    monkeypatch.setattr(run_module, "_predict", lambda *a: seen.append(a[3].name) or real(*a))
    result = run_protocol(chosen, dataset, "flops_memory", form="full", seeds=(0,), learning=Learning(1), **places)
    assert seen == sorted(FAMILIES)
    assert list(result["runs"][0]["tasks"]) == sorted(FAMILIES)


def test_a_model_is_trained_scored_and_reported(tmp_path: Path, dataset: Dataset) -> None:
    chosen = PROTOCOLS["nnmeter/in-domain"]
    places = {"cache": tmp_path / "cache", "runs": tmp_path / "runs"}
    out = tmp_path / "results"
    shown: list[str] = []
    for model, seeds in (("nnlp", (0, 1)), ("boosted_trees", (0, 1))):
        result = run_protocol(
            chosen, dataset, model, form="quick", seeds=seeds, learning=Learning(1), show=shown.append, **places
        )
        text = save_result(result, out)
        assert f"nnmeter/in-domain (quick), {model}" in text
        assert len(result["runs"]) == (2 if model == "nnlp" else 1)
        assert set(result["runs"][0]["log_error_90"]) == {"p", "q"}
    assert len(shown) == 3
    results = load_results(out)
    assert "±" in spread(next(r for r in results if r["model"] == "nnlp"), "p", "mape")
    text = page(results)
    assert "## nnmeter/in-domain, quick form" in text
    assert "| nnlp |" in text
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"runs": [{"log_error_90": {"r": 0.1}}, {"log_error_90": {"r": 0.3}}]}))
    errors = left_out_errors([str(out / "nnmeter-in-domain.quick.nnlp.json"), str(other)])
    assert set(errors) == {"p", "q", "r"}
    assert errors["r"] == pytest.approx(0.2)
    assert left_out_errors(()) == {}
    assert not list((tmp_path / "runs").rglob("*.pt")), "checkpoints of finished tasks go"


def test_a_table_of_many_targets_has_a_row_each() -> None:
    devices = [f"npu{k}:tflite:{precision}" for k in range(12) for precision in ("fp16", "int8")]

    def result(model: str, error: float) -> dict[str, object]:
        table = {d: {"all": {"mape": error + (10 if d.endswith("int8") else 0), "acc_10": 50.0}} for d in devices}
        run = {"seed": 0, "tasks": {"left-out models": {"devices": table}}}
        return {"protocol": "qai_hub/left-out-models", "form": "full", "model": model, "epochs": None, "runs": [run]}

    text = page([result("flops", 40.0), result("line", 30.0)])
    assert "| target | flops | line |" in text
    assert "| **fp16**, 12 targets | 40.00 | **30.00** |" in text
    assert "| `npu3:tflite:int8` | 50.00 | **40.00** |" in text


def test_baselines_find_what_they_are_made_for(dataset: Dataset) -> None:
    from narformer.tokens.statistics import NAMES, statistics

    numbers = np.stack([statistics(s.graph()) for s in dataset.sources])
    macs = np.expm1(numbers[:, NAMES.index("log_macs")])
    bytes_moved = np.expm1(numbers[:, NAMES.index("log_activation_bytes")])
    parameters = np.expm1(numbers[:, NAMES.index("log_parameters")])
    targets = np.column_stack([3e-8 * macs, 2e-8 * macs + 5e-7 * bytes_moved + 1.5])
    weighty = 2e-8 * macs + 5e-7 * bytes_moved + 4e-6 * parameters + 1.5
    fit, test = np.arange(40), np.arange(40, 60)
    np.testing.assert_allclose(fit_predict("flops", numbers, targets, fit, test)[:, 0], targets[test, 0], rtol=1e-9)
    np.testing.assert_allclose(fit_predict("flops_memory", numbers, targets, fit, test), targets[test], rtol=1e-6)
    predicted = fit_predict("line", numbers, weighty[:, None], fit, test)[:, 0]
    np.testing.assert_allclose(predicted, weighty[test], rtol=1e-6)
    assert set(BASELINES) == {"flops", "flops_memory", "line", "boosted_trees"}


def test_scores_leave_missing_labels_out() -> None:
    prediction = np.array([[1.1, 5.0], [2.0, 5.0], [4.0, 5.0]])
    target = np.array([[1.0, np.nan], [2.0, np.nan], [2.0, np.nan]])
    table = score_table(prediction, target, ["p", "q"], ["a", "a", "b"])
    assert set(table) == {"p"}
    assert table["p"]["all"]["rows"] == 3
    assert table["p"]["a"]["mape"] == pytest.approx(5)
    assert table["p"]["b"]["mape"] == pytest.approx(100)


def test_foreign_files_and_names_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown protocol 'imagenet'"):
        protocol("imagenet")
    (tmp_path / "x.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(DataError, match=r"x.json: not a result"):
        load_results(tmp_path)
    with pytest.raises(DataError, match="not a result of narformer evaluate"):
        left_out_errors([str(tmp_path / "x.json")])
    with pytest.raises(DataError, match="cannot be written"):
        save_result({"protocol": "p", "form": "f", "model": "m", "runs": []}, tmp_path / "x.json")
