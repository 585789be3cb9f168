"""Intervals on left-out tasks: widths come from other rows than those they are tried on, and are counted right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from narformer.datasets.dataset import Dataset, FamilySource
from narformer.datasets.kernel_cache import build_kernel_cache
from narformer.evaluation import left_out_intervals as module
from narformer.evaluation.interval_tables import interval_rows
from narformer.evaluation.left_out_intervals import FILE, keep_kernels, left_out_intervals, strange_shares
from narformer.evaluation.results import ALL, Result, Run, Scores, TaskResult
from narformer.families.registry import sample
from narformer.models.tally2 import Tally2, Tally2Config
from narformer.training.export import observe


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Targets of forty networks are not called targets of few."""
    monkeypatch.setattr(module, "SMALL", 0)


def _home(folder: Path, name: str, errors: np.ndarray) -> Path:
    """A task whose truth is 1 ms and whose predictions are off by these, in ln(ms)."""
    (folder / name).mkdir()
    np.save(folder / name / "prediction.npy", np.exp(errors)[:, None])
    return folder / name


def _kernels(home: Path, strange: float, novelty: float) -> None:
    """Of a task of 41 rows beside known ones that are off by 0.1: all alike strange, and novel."""
    np.savez(
        home / FILE,
        validation=np.full((30, 1), 0.1),
        validation_kernels=np.ones((30, 1)),
        kernels=np.ones((41, 1)),
        strange=np.full((41, 1), strange),
        validation_novelty=np.zeros((30, 1)),
        novelty=np.full((41, 1), novelty),
    )


def test_a_width_from_other_tasks_covers_what_is_like_them_and_not_what_is_worse(tmp_path: Path) -> None:
    usual = np.linspace(-0.2, 0.2, 81)
    homes = [_home(tmp_path, str(k), errors) for k, errors in enumerate((usual, usual, 10 * usual))]
    truths = [np.ones((81, 1))] * 3
    figures = left_out_intervals(["d"], truths[:2], homes[:2])["other tasks"]["d"]
    assert figures.rows == 162
    assert figures.coverage == pytest.approx(90, abs=2)
    assert figures.ratio == pytest.approx(np.exp(2 * 0.18), rel=0.02)
    assert figures.median_error == pytest.approx(10, abs=1)
    worse = left_out_intervals(["d"], truths, homes)["other tasks"]["d"]
    assert worse.coverage < 80


@pytest.mark.usefixtures("many")
def test_unlike_networks_have_a_width_beyond_that_of_the_other_tasks(tmp_path: Path) -> None:
    homes = [_home(tmp_path, name, np.linspace(-0.5, 0.5, 41)) for name in ("a", "b")]
    for home, strange in zip(homes, (0.0, 1.0), strict=True):
        _kernels(home, strange, 0.95 * strange)
    truth = np.ones((41, 1))
    truth[0] = np.nan
    figures = left_out_intervals(["d"], [truth, truth], homes)["stated"]["d"]
    assert figures.rows == 80
    # Half of them have ±0.1, which covers 9 of 41 (of 40 rows), the other half more than any is off.
    assert figures.coverage == pytest.approx(100 * (9 + 40) / 80, abs=2)
    assert figures.flagged == 50
    assert figures.error_flagged == pytest.approx(figures.error_others, rel=0.1)


def test_where_few_networks_were_measured_all_have_the_width_of_the_other_tasks(tmp_path: Path) -> None:
    homes = [_home(tmp_path, name, np.linspace(-0.5, 0.5, 41)) for name in ("a", "b")]
    for home, strange in zip(homes, (0.0, 1.0), strict=True):
        _kernels(home, strange, 0.0)
    figures = left_out_intervals(["d"], [np.ones((41, 1))] * 2, homes)["stated"]["d"]
    # Those of the first task have ±0.45, in which nine in ten of the other's errors are, and the others more.
    assert figures.coverage == pytest.approx(95, abs=2)
    assert figures.flagged == 50


@pytest.mark.usefixtures("many")
def test_novel_networks_have_the_width_of_the_other_tasks_beside_their_own(tmp_path: Path) -> None:
    homes = [_home(tmp_path, name, np.linspace(-0.5, 0.5, 41)) for name in ("a", "b")]
    for home in homes:
        _kernels(home, 0.0, 0.9)
    truth = np.ones((41, 1))
    figures = left_out_intervals(["d"], [truth, truth], homes)["stated"]["d"]
    assert figures.ratio == pytest.approx(np.exp(2 * np.hypot(0.1, 0.475 * np.sqrt(0.9))), rel=0.06)


def test_a_task_alone_has_no_other_tasks(tmp_path: Path) -> None:
    assert left_out_intervals(["d"], [np.ones((41, 1))], [_home(tmp_path, "a", np.zeros(41))]) == {}


def test_kernels_unlike_those_of_training_are_counted_by_their_time(tmp_path: Path) -> None:
    variants = [v for name in ("squeezenet", "nasbench201") for v in sample(name, 4)]
    dataset = Dataset(
        "made",
        tuple(map(str, range(8))),
        tuple(FamilySource(v.family, v.config, v.version) for v in variants),
        tuple(v.family for v in variants),
        ("train",) * 8,
        np.ones((8, 2)),
        ("p", "q"),
    )
    dataset.targets[:4, 1] = np.nan
    tokens = build_kernel_cache(dataset, tmp_path / "cache", 1)
    torch.manual_seed(0)
    network = Tally2(Tally2Config(outputs=2))
    rows = np.arange(8)
    observe(network, tokens, rows[:4], np.isfinite(dataset.targets))
    shares = strange_shares(network, tokens, rows)
    assert (shares[:4, 0] < 1e-6).all()  # learned from on p
    np.testing.assert_allclose(shares[:, 1], 1, atol=0.2)  # nothing was measured on q but the run itself
    keep_kernels(network, tokens, dataset, rows[:4], rows[4:6], rows[6:], tmp_path)
    with np.load(tmp_path / FILE) as kept:
        assert kept["validation"].shape == kept["kernels"].shape == kept["strange"].shape == (2, 2)
        assert (kept["kernels"] >= 1).all()


def test_the_table_has_random_rows_left_out_families_and_real_files_in_one_place() -> None:
    shipped = Scores(9, median_error=4.0, coverage=91.0, width=30.0, ratio=1.4)
    stated = Scores(90, median_error=8.0, coverage=70.0, ratio=1.5, flagged=4.0, error_flagged=30.0, error_others=7.5)

    def result(protocol: str, model: str, task: str, scores: Scores) -> Result:
        return Result(protocol, "full", model, None, (Run(0, {task: TaskResult({"d": {ALL: scores}})}),))

    results = [
        result("timm/in-domain", "m", "in-domain", shipped),
        Result("timm/leave-families-out", "full", "tally2", None, (Run(0, {}, {}, {"stated": {"d": stated}}),)),
        result("real-files", "m", "all", shipped),
        result("timm/in-domain", "flops", "in-domain", Scores(9, mape=3.0)),
    ]
    assert interval_rows(results) == [
        ["random rows, timm/in-domain", "m", "d", "9", "4.0", "91.0", "1.40", "–", "–", "–"],
        ["left out, timm/leave-families-out, stated", "tally2", "d", "90", "8.0", "70.0", "1.50", "4.0", "30.0", "7.5"],
        ["real files, all", "m", "d", "9", "4.0", "91.0", "1.40", "–", "–", "–"],
    ]


def test_many_targets_are_told_together_by_precision() -> None:
    usual = Scores(3, median_error=4.0, coverage=100.0, ratio=1.4)
    targets = {f"npu{k}:tflite:{p}": usual for k in range(12) for p in ("fp16", "int8")}
    targets["npu0:tflite:fp16"] = Scores(33, median_error=16.0, coverage=50.0, ratio=2.6)
    rows = interval_rows([Result("p", "full", "m", None, (Run(0, {}, {}, {"stated": targets}),))])
    assert rows == [
        ["left out, p, stated", "m", "12 targets in fp16", "66", "5.0", "75.0", "1.50", "–", "–", "–"],
        ["left out, p, stated", "m", "12 targets in int8", "36", "4.0", "100.0", "1.40", "–", "–", "–"],
    ]
