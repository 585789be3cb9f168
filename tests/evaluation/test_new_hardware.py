"""New hardware: nothing of it is seen before its samples; what is made to be found is found; tables and results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from narformer.datasets.dataset import Dataset, FamilySource
from narformer.datasets.kernel_cache import KernelCache, build_kernel_cache
from narformer.errors import ConfigError
from narformer.evaluation import hardware_protocol
from narformer.evaluation.hardware_protocol import work_by_row
from narformer.evaluation.hardware_tables import tables_of
from narformer.evaluation.new_hardware import (
    BASELINES,
    NewHardware,
    baseline,
    learned,
    scaled,
    score,
)
from narformer.evaluation.protocol import Options
from narformer.evaluation.protocols import PROTOCOLS
from narformer.evaluation.related import datasheet_factor, peak_ratio, related
from narformer.evaluation.report import page
from narformer.evaluation.results import Result, load_results, write_result
from narformer.families.registry import sample
from narformer.prediction.target import Target
from narformer.tokens.runtime_kernels import KINDS
from narformer.tokens.statistics import NAMES

DEVICES = ("rtx4090:pytorch-2.9:fp16", "rtx5090:pytorch-2.9:fp16", "i7-12700h:pytorch-2.4:fp32")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, KernelCache]:
    """Latencies that are MACs and bytes; the RTX 5090 is twice the RTX 4090, the i7 is otherwise."""
    variants = [v for name in ("squeezenet", "nasbench201", "mobilenetv1") for v in sample(name, 14)]
    size = len(variants)
    dataset = Dataset(
        "made",
        tuple(map(str, range(size))),
        tuple(FamilySource(v.family, v.config, v.version) for v in variants),
        tuple(v.family for v in variants),
        tuple("test" if k % 5 == 4 else "train" for k in range(size)),
        np.ones((size, 3)),
        DEVICES,
    )
    tokens = build_kernel_cache(dataset, tmp_path_factory.mktemp("cache"), 1)
    macs, traffic = np.expm1(tokens.statistics[:, [NAMES.index("log_macs"), NAMES.index("log_activation_bytes")]]).T
    slow = macs / 1e9 + traffic / 1e8
    dataset.targets[:] = np.column_stack([slow, slow / 2, macs / 2e7 + traffic / 1e8 + 0.5])
    return dataset, tokens


def test_related_targets_run_alike_on_hardware_alike() -> None:
    known = ["i7-12700h:pytorch-2.4-compiled:fp32", "rtx3090:pytorch-2.4:fp16", "rtx4090:pytorch-2.9:fp16"]
    known += ["rtx4090:pytorch-2.9-compiled:fp16", "galaxy-s24-npu:tflite:fp16", "galaxy-s26-npu:tflite:fp16"]
    assert related("rtx5090:pytorch-2.9-compiled:fp16", known)[0] == "rtx4090:pytorch-2.9-compiled:fp16"
    assert related("rtx5090:pytorch-2.9:fp16", known)[:2] == ["rtx4090:pytorch-2.9:fp16", "rtx3090:pytorch-2.4:fp16"]
    assert related("galaxy-s25-npu:tflite:fp16", known)[:2] == [
        "galaxy-s26-npu:tflite:fp16",
        "galaxy-s24-npu:tflite:fp16",
    ]


def test_datasheets_tell_a_factor_where_they_tell_anything() -> None:
    new, old = (Target.parse(f"{name}:pytorch-2.9:fp16") for name in ("rtx5090", "rtx4090"))
    peak, bandwidth = new.facts.peak["fp16"] / old.facts.peak["fp16"], new.facts.bandwidth / old.facts.bandwidth
    assert peak_ratio(new, old) == peak
    assert datasheet_factor(str(new), str(old)) == pytest.approx(1 / np.sqrt(peak * bandwidth))
    assert datasheet_factor(str(old), str(new)) == pytest.approx(np.sqrt(peak * bandwidth))
    assert datasheet_factor("some-board-npu:tflite:int8", "galaxy-s25-npu:tflite:int8") == 1
    assert peak_ratio(Target.parse("some-board-npu:tflite:int8"), new) is None


def test_samples_are_train_rows_of_different_networks_nested_and_the_same_for_ever(
    made: tuple[Dataset, KernelCache],
) -> None:
    dataset, tokens = made
    named = replace(dataset, network=tuple(str(k // 2) for k in range(len(dataset))))
    bench = NewHardware(named, tokens.statistics, "rtx5090")
    rows = bench.samples(DEVICES[1], 0)
    assert {named.split[r] for r in rows} == {"train"}
    assert len({named.network[r] for r in rows}) == len(rows)
    np.testing.assert_array_equal(rows, bench.samples(DEVICES[1], 0))
    assert rows.tolist() != bench.samples(DEVICES[1], 1).tolist()
    assert np.isnan(bench.hidden.targets[:, 1]).all()
    assert np.isfinite(bench.hidden.targets[:, [0, 2]]).all()


def test_a_factor_is_the_median_ratio_and_none_without_a_sample() -> None:
    estimate = np.array([1.0, 2.0, 4.0, np.nan])
    np.testing.assert_allclose(
        scaled(estimate, np.array([0, 1, 2, 3]), np.array([3.0, 6.0, 40.0, 1.0]))[:3], [3, 6, 12]
    )
    none = np.zeros(0, dtype=np.int64)
    np.testing.assert_array_equal(scaled(estimate, none, np.zeros(0)), estimate)


def test_what_the_related_target_tells_is_found_with_one_factor(made: tuple[Dataset, KernelCache]) -> None:
    dataset, tokens = made
    bench = NewHardware(dataset, tokens.statistics, "rtx5090")
    errors = {}
    for name in BASELINES:
        table = score(bench, baseline(name, bench), draws=2)
        errors[name] = {count: devices[DEVICES[1]].mape for count, devices in table.items()}
    guessed = 100 * abs(2 * datasheet_factor(DEVICES[1], DEVICES[0]) - 1)
    assert errors["related_measured"]["0 samples"] == pytest.approx(guessed, abs=1e-3)
    assert errors["line"]["0 samples"] == pytest.approx(guessed, abs=1e-3)
    assert max(errors["related_measured"][f"{count} samples"] for count in (5, 10, 20)) == 0
    assert errors["related_line"]["5 samples"] < 1e-3
    assert errors["line"]["20 samples"] < 1e-3 < errors["flops"]["20 samples"]


def test_spoiled_labels_of_the_new_hardware_change_nothing_but_the_score(made: tuple[Dataset, KernelCache]) -> None:
    dataset, tokens = made
    spoiled = dataset.targets.copy()
    spoiled[:, 1] *= np.random.default_rng(0).lognormal(size=len(dataset))
    other = NewHardware(replace(dataset, targets=spoiled), tokens.statistics, "rtx5090")
    bench = NewHardware(dataset, tokens.statistics, "rtx5090")
    none = np.zeros(0, dtype=np.int64)
    for name in BASELINES:
        first, second = (baseline(name, each)(DEVICES[1], none, np.zeros(0)).value for each in (bench, other))
        np.testing.assert_array_equal(first, second)


def test_estimates_of_a_model_are_scaled_or_adapted(made: tuple[Dataset, KernelCache]) -> None:
    dataset, tokens = made
    bench = NewHardware(dataset, tokens.statistics, "rtx5090")
    parts = np.zeros((len(dataset), len(KINDS), len(DEVICES)))
    parts[:, [KINDS.index("convolution"), KINDS.index("add")]] = dataset.targets[:, None] * [[0.25], [0.75]]
    parts[:, :, 1] = 7.0  # a model that never saw the new hardware says what it likes of it
    work = work_by_row(tokens)
    errors = {
        variant: score(bench, learned(variant, bench, parts, work), 2)["10 samples"][DEVICES[1]]
        for variant in ("", "_related", "_adapted")
    }
    assert errors["_related"].mape < 1e-6
    assert errors["_adapted"].mape < 10
    assert errors["_adapted"].coverage > 60
    assert errors["_adapted"].width > 0
    assert errors[""].mape > 20


def test_a_protocol_trains_once_resumes_and_makes_tables(
    tmp_path: Path, made: tuple[Dataset, KernelCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, _ = made
    monkeypatch.setattr(hardware_protocol, "load_dataset", lambda name, root: dataset)
    protocol = PROTOCOLS["timm/leave-one-hardware-out"]
    here = Options(seeds=2, cache=tmp_path / "cache")

    def run(model: str, options: Options) -> list[Result]:
        return list(protocol.run(protocol.wanted([model], options), options, lambda _: None))

    results = run("line", here)
    results += run("tally2", replace(here, runs=tmp_path / "runs"))
    assert [r.model for r in results] == ["line", "tally2", "tally2_related", "tally2_adapted"]
    assert {r.epochs for r in results} == {None}
    assert set(results[2].runs[0].tasks["5 samples"].devices) == set(DEVICES)
    assert not list((tmp_path / "runs").rglob("*.pt"))
    monkeypatch.setattr(hardware_protocol, "trained", None)  # what is finished is not trained again
    assert run("tally2", replace(here, runs=tmp_path / "runs")) == results[1:]
    for result in results:
        write_result(result, tmp_path / "out")
        assert any(line.startswith("20 samples") for line in protocol.lines(result))
    assert load_results(tmp_path / "out") == [results[k] for k in (0, 1, 3, 2)]
    text = page(results)
    assert "## timm/leave-one-hardware-out" in text
    assert "| tally2_adapted |" in text
    assert "## All protocols" not in text
    title, header, rows = tables_of(results)[0]
    assert title.startswith("MAPE %")
    assert header == ["", "0 samples", "5 samples", "10 samples", "20 samples"]
    assert rows[-1] == ["targets", "3", "3", "3", "3"]
    assert run("line", replace(here, device="rtx5090")) == []  # a result is of all hardware
    with pytest.raises(ConfigError, match=r"no hardware 'rtx'; did you mean rtx5090 or rtx4090\?"):
        run("line", replace(here, device="rtx"))
    with pytest.raises(ConfigError, match=r"unknown model 'guess' of timm/.*; known are flops, line, .*tally2"):
        run("guess", here)
