"""Protocols of adaptation on spaces and devices made here, whose costs are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from narformer.datasets.dataset import Dataset, FamilySource
from narformer.datasets.help import LatencyTable
from narformer.errors import ConfigError
from narformer.evaluation import adaptation, known_devices
from narformer.evaluation.adaptation import Bench, DevicesProtocol, SpaceProtocol
from narformer.evaluation.device_prior import DevicePrior
from narformer.evaluation.protocol import Options
from narformer.evaluation.results import ALL
from narformer.families.registry import sample


def _space(devices: int = 9, networks: int = 1500) -> LatencyTable:
    """Devices of four costs; all but the last two pay for everything, those two only for what they keep."""
    random = np.random.default_rng(0)
    counts = random.integers(0, 4, (networks, 3)).astype(float)
    kept = counts * (random.random((networks, 3)) < 0.6)
    work = tuple(np.column_stack([np.ones(networks), c]) for c in (counts, kept))
    costs = np.array([1.0, 0.2, 1.0, 2.0]) * random.lognormal(sigma=0.3, size=(devices, 4))
    latencies = np.column_stack([work[int(d >= devices - 2)] @ costs[d] for d in range(devices)])
    latencies *= random.lognormal(sigma=0.01, size=latencies.shape)
    return LatencyTable("help/made", tuple(f"d{k}" for k in range(devices)), latencies, work, counts)


def test_known_devices_tell_their_costs_and_how_they_run() -> None:
    table = _space()
    prior = DevicePrior.learn(table.work, table.latencies[:, :8], np.arange(900))
    assert prior.way.tolist() == [0] * 7 + [1]
    for k in range(8):
        work = table.work[prior.way[k]]
        exact = np.linalg.lstsq(work, table.latencies[:, k], rcond=None)[0]
        np.testing.assert_allclose(prior.costs[k], exact / (work @ exact).mean(), rtol=0.05, atol=0.01)


def test_ten_samples_tell_the_costs_of_a_device_and_how_it_runs() -> None:
    table = _space()
    prior = DevicePrior.learn(table.work, table.latencies[:, :8], np.arange(900))
    for device in (6, 8):
        rows = prior.choose(table.work, 10, np.random.default_rng(0))
        prediction = prior.adapt(table.work, rows, table.latencies[rows, device])
        assert len(set(rows.tolist())) == 10
        assert np.abs(prediction / table.latencies[:, device] - 1).mean() < 0.05


def test_one_outlier_among_the_known_latencies_moves_no_cost() -> None:
    table = _space()
    clean = DevicePrior.learn(table.work, table.latencies[:, :3], np.arange(200))
    table.latencies[5, :3] = 1e4
    np.testing.assert_allclose(
        DevicePrior.learn(table.work, table.latencies[:, :3], np.arange(200)).costs, clean.costs, atol=0.02
    )


def test_the_protocol_of_a_space_scores_what_was_not_measured() -> None:
    table = _space()
    protocol = SpaceProtocol("help/made", "made here", lambda root: table, ("d7", "d8"), sizes=(10,))
    options = Options(seeds=2)
    (result,) = protocol.run(protocol.wanted(["adapted"], options), options, lambda _: None)
    scores = result.runs[0].tasks["10 samples"].devices
    assert set(scores) == {"d7", "d8"}
    assert scores["d8"][ALL].rows == 1490
    assert [line.split()[:3] for line in protocol.lines(result)] == [["10", "samples", "spearman"]]
    assert list(protocol.run(["adapted"], options, lambda _: None)) == [result]
    with pytest.raises(ConfigError, match="unknown model 'adaptd' of help/made; did you mean adapted"):
        protocol.wanted(["adaptd"], options)


def test_a_roofline_finds_the_costs_that_made_the_latencies() -> None:
    random = np.random.default_rng(0)
    work, costs = random.lognormal(size=(50, 4)) * [1, 1e6, 1e3, 1], np.array([2.0, 3e-6, 0.0, 0.5])
    np.testing.assert_allclose(known_devices._roofline(work, work @ costs), costs, rtol=0.02, atol=1e-5)


def _dataset() -> Dataset:
    variants = [v for name in ("squeezenet", "nasbench201", "mobilenetv1") for v in sample(name, 10)]
    size = len(variants)
    return Dataset(
        "made",
        tuple(map(str, range(size))),
        tuple(FamilySource(v.family, v.config, v.version) for v in variants),
        tuple(v.family for v in variants),
        tuple("test" if k % 4 == 3 else "train" for k in range(size)),
        np.ones((size, 3)),
        ("a", "b", "c"),
    )


def test_no_latency_of_the_left_out_device_but_the_samples_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Devices are made of MACs and bytes; spoiling the rows of one that were not drawn changes no prediction of it."""
    dataset = _dataset()
    tokens = adaptation.build_cache(dataset.sources, dataset.ids, tmp_path / "cache", "physical", 1)
    macs, traffic, calls = known_devices.work_by_kind(tokens).sum(axis=1).T
    devices = [macs / 1e8 + calls / 20, macs / 4e8 + traffic / 1e7, 2 * macs / 1e8 + traffic / 2e7]
    dataset.targets[:] = np.column_stack(devices)
    bench = Bench.prepare(dataset, tokens)
    good = bench.score("c", 12, True, np.random.default_rng(0))
    assert good.rows == 7
    assert (good.mape or 0) < 25
    assert 0 <= (good.interval_covers or 0) <= 100
    assert bench.score("c", 12, True, np.random.default_rng(0)) == good

    monkeypatch.setattr(adaptation, "load_dataset", lambda name, root: dataset)
    protocol = DevicesProtocol("made/leave-one-device-out", "made here", ("made",), sizes=(5,))
    options = Options(quick=True, cache=tmp_path / "cache2")
    (result,) = protocol.run(["adapted"], options, lambda _: None)
    assert set(result.runs[0].tasks["5 samples"].devices) == {"a", "b", "c"}

    read: list[float] = []

    class Noted(adaptation.Adaptation):
        def __init__(self, measured: adaptation.Profiles, latencies: np.ndarray) -> None:
            read.extend(latencies)
            super().__init__(measured, latencies)

    monkeypatch.setattr(adaptation, "Adaptation", Noted)
    bench.score("c", 12, True, np.random.default_rng(0))
    train = [k for k, split in enumerate(dataset.split) if split == "train"]
    assert len(read) == 12
    assert set(read) <= set(dataset.targets[train, 2])
    monkeypatch.undo()
    spoiled = [row for row in train if dataset.targets[row, 2] not in read]
    dataset.targets[spoiled, 2] *= 50
    assert Bench.prepare(dataset, tokens).score("c", 12, True, np.random.default_rng(0)) == good
