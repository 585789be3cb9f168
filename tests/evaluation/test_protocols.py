"""Protocols: who is trained on what, on small data; results that survive a kill; the page they make."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from narformer.datasets.dataset import Dataset, FamilySource
from narformer.datasets.nnlqp import load_nnlqp
from narformer.errors import ConfigError, DataError
from narformer.evaluation import run as run_module
from narformer.evaluation import splits
from narformer.evaluation.baselines import BASELINES, fit_predict
from narformer.evaluation.latency import LatencyProtocol
from narformer.evaluation.protocol import Options
from narformer.evaluation.protocols import LATENCY, PROTOCOLS, protocol
from narformer.evaluation.report import page
from narformer.evaluation.results import ALL, Choice, Result, Run, Scores, TaskResult, load_results, write_result
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
    for name, each in LATENCY.items():
        for task in each.tasks(folded):
            assert not set(task.fit) & set(task.test), name


def test_a_test_network_that_is_a_train_network_under_another_name_is_not_scored(dataset: Dataset) -> None:
    names = [f"network {k}" for k in range(60)]
    names[5] = names[6]  # row 5 is test, row 6 train
    (task,) = left_out_models(replace(dataset, network=tuple(names)))
    assert set(dataset.rows("test")) - set(task.test) == {5}
    assert set(left_out_models(dataset)[0].test) == set(dataset.rows("test"))
    chosen = LATENCY["qai_hub/left-out-models"]
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
    here = Options(nnlqp=tmp_path, cache=tmp_path / "cache", runs=tmp_path / "runs", epochs=1)
    with pytest.raises(ConfigError, match="choose --device from gpu, cpu"):
        _run("nnlqp/in-domain", "nnlp", here)
    with pytest.raises(ConfigError, match="needs --nnlqp DIRECTORY"):
        _run("nnlqp/in-domain", "nnlp", Options())
    assert load_nnlqp(tmp_path).devices == ("gpu", "cpu")
    monkeypatch.setattr(splits, "TRANSFER_SAMPLES", (4, 8))
    assert LATENCY["nnlqp/transfer"].load("full", None, tmp_path, "cpu").devices == ("cpu", "gpu")
    tasks = _run("nnlqp/transfer", "nnlp", replace(here, device="cpu")).runs[0].tasks
    assert list(tasks) == ["4 networks", "8 networks"]
    assert set(tasks["4 networks"].devices) == {"cpu"}
    for name, device in (("nnlqp/leave-one-family-out", "gpu"), ("nnlqp/multi-platform", None)):
        tasks = _run(name, "flops", replace(here, device=device, epochs=None)).runs[0].tasks
        assert len(tasks) == (3 if device else 1)
        assert set(next(iter(tasks.values())).devices) == ({"gpu"} if device else {"gpu", "cpu"})
    alone = replace(here, device="gpu", epochs=None, task=("resnet",))
    one = _run("nnlqp/leave-one-family-out", "flops", alone)
    assert (one.form, list(one.runs[0].tasks)) == ("full-resnet", ["resnet"])  # its mean is not that of all
    with pytest.raises(ConfigError, match="no task 'resnt'; did you mean resnet"):
        _run("nnlqp/leave-one-family-out", "flops", replace(alone, task=("resnt",)))
    with pytest.raises(ConfigError, match="unknown processor 'gpu'"):
        _run("nnlqp/in-domain", "nnlp", replace(here, device="gpu", processor="gpu"))


def _run(name: str, model: str, options: Options, shown: list[str] | None = None) -> Result:
    chosen = PROTOCOLS[name]
    (result,) = chosen.run(chosen.wanted([model], options), options, (shown if shown is not None else []).append)
    return result


@pytest.fixture
def here(tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> Options:
    """Options of a run on the small dataset, whatever the protocol's is."""
    monkeypatch.setattr(LatencyProtocol, "load", lambda *_: dataset)
    return Options(cache=tmp_path / "cache", runs=tmp_path / "runs")


def test_finished_tasks_are_not_run_again(here: Options, monkeypatch: pytest.MonkeyPatch) -> None:
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
        _run("nnmeter/leave-one-family-out", "flops_memory", here)
    monkeypatch.setattr(run_module, "_predict", lambda *a: seen.append(a[3].name) or real(*a))
    result = _run("nnmeter/leave-one-family-out", "flops_memory", here)
    assert seen == sorted(FAMILIES)
    assert list(result.runs[0].tasks) == sorted(FAMILIES)


def test_a_model_is_trained_scored_and_reported(tmp_path: Path, here: Options) -> None:
    out = tmp_path / "results"
    shown: list[str] = []
    chosen = PROTOCOLS["nnmeter/in-domain"]
    options = replace(here, quick=True, seeds=2, epochs=1)
    results = list(chosen.run(chosen.wanted(["nnlp", "boosted_trees"], options), options, shown.append))
    for result in results:
        write_result(result, out)
        assert [line.split()[0] for line in chosen.lines(result)] == ["p", "q"]
        assert set(result.runs[0].log_error_90) == {"p", "q"}
    assert [len(result.runs) for result in results] == [2, 1]  # no chance plays a part in a baseline
    assert [result.epochs for result in results] == [1, None]
    assert len(shown) == 3
    assert load_results(out) == [results[1], results[0]]
    assert "±" in results[0].spread("p", "mape")
    text = page(results)
    assert "## nnmeter/in-domain, quick form" in text
    assert "| nnlp |" in text
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"runs": [{"log_error_90": {"r": 0.1}}, {"log_error_90": {"r": 0.3}}]}))
    errors = left_out_errors([str(out / "nnmeter-in-domain.quick.nnlp.json"), str(other)])
    assert set(errors) == {"p", "q", "r"}
    assert errors["r"] == pytest.approx(0.2)
    assert left_out_errors(()) == {}
    long = tmp_path / "long.json"
    long.write_text(json.dumps({"runs": [{"log_error_90": {"r": 0.4}, "log_error_90_long": {"r": 0.3}}]}))
    assert left_out_errors([str(other), str(long)], "log_error_90_long") == {"r": 0.3}  # the first does not tell it
    assert not list((tmp_path / "runs").rglob("*.pt")), "checkpoints of finished tasks go"


def test_a_table_of_many_targets_has_a_row_each() -> None:
    devices = [f"npu{k}:tflite:{precision}" for k in range(12) for precision in ("fp16", "int8")]

    def result(model: str, error: float) -> Result:
        table = {d: {ALL: Scores(9, mape=error + (10 if d.endswith("int8") else 0), acc_10=50.0)} for d in devices}
        return Result("qai_hub/left-out-models", "full", model, None, (Run(0, {"left-out": TaskResult(table)}),))

    text = page([result("flops", 40.0), result("line", 30.0)])
    assert "| target | flops | line |" in text
    assert "| **fp16**, 12 targets | 40.00 | **30.00** |" in text
    assert "| `npu3:tflite:int8` | 50.00 | **40.00** |" in text


@pytest.mark.parametrize(
    ("name", "model", "options", "told"),
    [
        ("nnmeter/in-domain", "tally2", Options(epochs=3), "no use for --epochs with tally2"),
        ("nnmeter/in-domain", "tally2", Options(batch_size=8), "no use for --batch-size with tally2"),
        ("nnmeter/in-domain", "line", Options(processor="cuda"), "no use for --processor with line"),
        ("nasbench201/accuracy", "nnlp", Options(published=True, processor="cpu"), "no use for --published, --proc"),
        ("nasbench201/accuracy", "nn_former", Options(task=("x",)), "no use for --task"),
        ("nnmeter/in-domain", "flops", Options(seeds=3, epochs=3), "no use for --seeds, --epochs with flops"),
        ("nnmeter/in-domain", "nnlp", Options(huber=0.1), "no use for --huber"),
        ("nnmeter/in-domain", "nnlp", Options(nnlqp=Path("x")), "no use for --nnlqp"),
        ("nasbench201/accuracy", "gaussian_process", Options(huber=0.0), "no use for --huber"),
        ("nasbench201/accuracy", "nnlp", Options(quick=True, device="d"), "no use for --quick, --device with nnlp"),
        ("help/fbnet", "adapted", Options(cache=Path("x")), "no use for --cache"),
        ("timm/leave-one-hardware-out", "all", Options(runs=Path("x")), "no use for --runs"),
        ("timm/leave-one-hardware-out", "tally2", Options(quick=True), "no use for --quick"),
        ("nnmeter/in-domain", "taly2", Options(), "unknown model 'taly2' of nnmeter/in-domain; did you mean tally2"),
        ("nnmeter/leave-one-device-out", "trees_and_ridge", Options(), "known are adapted, adapted_random, all"),
    ],
)
def test_what_means_nothing_to_a_model_is_refused_before_anything_is_run(
    name: str, model: str, options: Options, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        PROTOCOLS[name].wanted([model], options)


def test_an_option_of_one_of_several_models_is_taken() -> None:
    chosen = PROTOCOLS["nnmeter/in-domain"]
    assert chosen.wanted(["tally2", "nnlp"], Options(epochs=3)) == ["tally2", "nnlp"]
    assert set(chosen.wanted(["all"], Options(epochs=3, seeds=2))) == set(chosen.models())
    for each in PROTOCOLS.values():
        assert set(each.compared()) <= set(each.models())
        for model in each.models():
            assert each.options(model) <= {field.name for field in dataclasses.fields(Options)}


def test_finished_predictors_are_tested_where_networks_are_theirs(here: Options) -> None:
    with pytest.raises(ConfigError, match="nasbench201/accuracy trains models: give --model"):
        PROTOCOLS["nasbench201/accuracy"].check_predictor("tally2", Options())
    with pytest.raises(ConfigError, match="no use for --seeds, --runs with the predictor tally2"):
        PROTOCOLS["nnmeter/in-domain"].check_predictor("tally2", Options(seeds=2, runs=Path("x")))
    with pytest.raises(ConfigError, match=r"the predictor tally2 knows none of its targets \(p, q\)"):
        PROTOCOLS["nnmeter/in-domain"].score("tally2", here, Path("x"))


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    whole = {field.name: 1.5 for field in dataclasses.fields(Scores)} | {"rows": 3}
    scores = Scores(**whole)
    task = TaskResult({"d": {ALL: scores}}, 10, 2.5, 1, "a GPU", {"last": Choice(9, scores)})
    run = Run(0, {"t": task}, {"d": 0.3}, {"stated": {"d": scores}})
    result = Result("help/fbnet", "full", "m", 9, (run,), 2, 8, 1e-4, 0.05, True, "cuda")
    write_result(result, tmp_path)
    assert load_results(tmp_path) == [result]


def test_every_result_in_the_repository_is_read_and_written_as_it_was() -> None:
    """The format is that of older versions; of one file the ids of devices are older still."""
    paths = sorted((Path(__file__).parents[2] / "docs/results").glob("*.json"))
    renamed = []
    for path in paths:
        data = json.loads(path.read_text())
        result = Result.from_json(data)
        if result.to_json() != {key: value for key, value in data.items() if key == "epochs" or value is not None}:
            renamed.append(path.name)
            assert result.runs[0].tasks.keys() == data["runs"][0]["tasks"].keys()
    assert len(paths) > 100
    assert len(renamed) < 3


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
    assert {"flops", "flops_memory", "line"} <= set(BASELINES)


def test_scores_leave_missing_labels_out() -> None:
    prediction = np.array([[1.1, 5.0], [2.0, 5.0], [4.0, 5.0]])
    target = np.array([[1.0, np.nan], [2.0, np.nan], [2.0, np.nan]])
    table = score_table(prediction, target, ["p", "q"], ["a", "a", "b"])
    assert set(table) == {"p"}
    assert table["p"][ALL].rows == 3
    assert table["p"]["a"].mape == pytest.approx(5)
    assert table["p"]["b"].mape == pytest.approx(100)


def test_foreign_files_and_names_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown protocol 'imagenet'; known are all, nnlqp/in-domain"):
        protocol("imagenet")
    (tmp_path / "x.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(DataError, match=r"x.json: not a result"):
        load_results(tmp_path)
    with pytest.raises(DataError, match="not a result of narformer evaluate"):
        left_out_errors([str(tmp_path / "x.json")])
    with pytest.raises(DataError, match="cannot be written"):
        write_result(Result("p", "f", "m", None, ()), tmp_path / "x.json")
    with pytest.raises(
        DataError, match=r"protocol 'nnmeter/in-dmain', which is not known here; did you mean nnmeter/in"
    ):
        page([Result("nnmeter/in-dmain", "full", "m", None, ())])


def test_errors_of_long_networks_are_told_apart_where_there_are_enough_of_both(tmp_path: Path) -> None:
    """60 networks below a millisecond are e^0.5 off on device a, 60 above e^0.2; device b has long ones alone."""
    short, long = np.full((60, 1), 0.5), np.full((60, 1), 20.0)
    prediction = np.concatenate([short, long])
    truth = np.concatenate([short * np.exp(0.5), long * np.exp(0.2)])
    both = np.concatenate([truth, np.where(prediction > 1, truth, np.nan)], axis=1)
    np.save(tmp_path / "prediction.npy", np.repeat(prediction, 2, axis=1))
    dataset = SimpleNamespace(targets=both, devices=("a", "b"))
    task = splits.Task("all", np.zeros(0, dtype=np.int64), np.arange(120))
    every, longer = run_module._log_errors(dataset, [task], [tmp_path])  # type: ignore[arg-type]
    assert every == {"a": pytest.approx(0.5), "b": pytest.approx(0.2)}
    assert longer == {"a": pytest.approx(0.2)}


def test_sizes_of_training_sets_that_were_not_asked_for_stay_in_the_file(tmp_path: Path) -> None:
    def result(epochs: int, tau: float, *sizes: str) -> Result:
        tasks = {size: TaskResult({"accuracy": {ALL: Scores(100, kendall=tau)}}) for size in sizes}
        return Result("nasbench101/accuracy", "f", "m", epochs, (Run(0, tasks),))

    def told() -> list[tuple[int | None, str, float]]:
        (found,) = load_results(tmp_path)
        return [
            (run.seed, size, task.devices["accuracy"][ALL].told("kendall"))
            for run in found.runs
            for size, task in run.tasks.items()
        ]

    write_result(result(5, 0.1, "172 cells"), tmp_path)
    write_result(result(5, 0.2, "85 cells"), tmp_path)
    assert told() == [(0, "85 cells", 0.2), (0, "172 cells", 0.1)]
    write_result(result(5, 0.3, "172 cells"), tmp_path)
    assert told() == [(0, "85 cells", 0.2), (0, "172 cells", 0.3)]
    # Other settings, or a file that is none: nothing of it can stay.
    write_result(result(6, 0.4, "85 cells"), tmp_path)
    assert told() == [(0, "85 cells", 0.4)]
    (tmp_path / "nasbench101-accuracy.f.m.json").write_text("{")
    write_result(result(6, 0.5, "85 cells"), tmp_path)
    assert told() == [(0, "85 cells", 0.5)]
