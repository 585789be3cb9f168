"""Shares of kernels as labels: laid beside a batch where they belong, and a loss with known values."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from narformer.datasets.dataset import Dataset, FamilySource
from narformer.datasets.kernel_cache import build_kernel_cache
from narformer.datasets.profiles import Profile, read_profiles, write_profiles
from narformer.errors import DataError
from narformer.families.registry import sample
from narformer.tokens.runtime_kernels import KINDS, kind_names
from narformer.training.config import TrainConfig
from narformer.training.kernel_shares import KernelShares, share_loss
from narformer.training.loop import train
from narformer.training.parts import parts_by_kind
from narformer.training.run import kernel_shares, model_for

TOLD = TrainConfig(model="tally2", kernels=1.0)


def _profile(shares: list[float], groups: list[int] | None = None) -> Profile:
    places = groups or list(range(len(shares)))
    return Profile("a:b:fp32", np.array(shares, dtype=np.float32), np.array(places))


def test_labels_lie_beside_the_tokens_of_their_networks() -> None:
    shares = KernelShares([None, _profile([0, 0.25, 0.75]), _profile([0, 1, 0], [0, 1, 1])], np.array([2, 3, 3]))
    labels = shares.batch(np.array([2, 0, 1]))
    assert labels is not None
    assert labels.tokens.tolist() == [0, 1, 2, 5, 6, 7]
    assert labels.first.tolist() == [0, 1, 1, 5, 6, 7]
    assert labels.share.tolist() == [0, 1, 0, 0, 0.25, 0.75]
    assert labels.network.tolist() == [0, 0, 0, 2, 2, 2]
    assert shares.batch(np.array([0])) is None


def test_the_loss_is_zero_for_true_shares_whatever_the_sum_and_known_otherwise() -> None:
    labels = KernelShares([_profile([0, 0.5, 0.5])], np.array([3])).batch(np.array([0]))
    assert labels is not None
    assert share_loss(torch.tensor([9.0, 2.0, 2.0]), labels, 1).item() == pytest.approx(0, abs=1e-6)
    # ln 4 apart, of equal weight: each is ln 2 from their mean.
    assert share_loss(torch.tensor([9.0, 1.0, 4.0]), labels, 1).item() == pytest.approx(math.log(2))


def test_kernels_that_ran_as_one_are_added_up() -> None:
    labels = KernelShares([_profile([0, 0.5, 0.5, 0], [0, 1, 2, 1])], np.array([4])).batch(np.array([0]))
    assert labels is not None
    assert share_loss(torch.tensor([9.0, 1.0, 3.0, 2.0]), labels, 1).item() == pytest.approx(0, abs=1e-6)


def test_a_profile_of_other_tokens_is_refused() -> None:
    with pytest.raises(DataError, match="profile of 2 tokens for a network of 3"):
        KernelShares([_profile([0, 1])], np.array([3]))


def test_a_file_of_profiles_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = {"one": _profile([0, 0.25, 0.75], [0, 1, 1]), "two": _profile([0, 1])}
    write_profiles(tmp_path / "p.npz", written)
    read = read_profiles(tmp_path / "p.npz", "a:b:fp32")
    assert list(read) == list(written)
    for name, profile in written.items():
        assert read[name].shares.tolist() == pytest.approx(profile.shares.tolist(), abs=1e-3)
        assert read[name].groups.tolist() == profile.groups.tolist()
    (tmp_path / "no.npz").write_text("no archive")
    with pytest.raises(DataError, match="not a file of profiles"):
        read_profiles(tmp_path / "no.npz", "a:b:fp32")


def test_training_moves_kernels_towards_their_shares(tmp_path: Path) -> None:
    variants = sample("squeezenet", 6)
    dataset = Dataset(
        name="tiny",
        ids=tuple(f"row{i}" for i in range(6)),
        sources=tuple(FamilySource(v.family, v.config, v.version) for v in variants),
        family=("squeezenet",) * 6,
        split=("train",) * 6,
        targets=np.full((6, 1), 10.0),
        devices=("a:b:fp32",),
    )
    tokens = build_kernel_cache(dataset, tmp_path / "cache", workers=1)
    profiles = {}
    for row, id in enumerate(dataset.ids):
        kinds = kind_names(tokens.batch([row]).features)
        pools = np.array([kind == "pool" for kind in kinds], dtype=np.float32)  # as if pools took all the time
        rest = np.array([kind != "run" for kind in kinds], dtype=np.float32)
        shares = 0.9 * pools / pools.sum() + 0.1 * rest / rest.sum()
        profiles[id] = Profile("a:b:fp32", shares, np.arange(len(kinds)))
    profiled = kernel_shares(TOLD, dataclasses.replace(dataset, profiles=profiles), tokens.sizes())
    assert profiled is not None
    assert profiled[1] == 0

    def pools_take(weight: float) -> float:
        config = TrainConfig(model="tally2", epochs=30, batch_size=6, learning_rate=0.02, loss="log_l1", kernels=weight)
        torch.manual_seed(0)
        model = model_for("tally2", dataset, np.arange(6), {"hidden": 8})
        rows = np.arange(6)
        for _ in train(config, model, tokens, dataset.targets, rows, rows[:0], tmp_path / f"run{weight}", profiled):
            pass
        parts = parts_by_kind(model, tokens)[:, :, 0]
        return float((parts[:, KINDS.index("pool")] / parts.sum(axis=1)).mean())

    assert pools_take(0.0) < 0.5
    assert pools_take(1.0) > 0.6


def test_profiles_of_several_targets_are_refused(tmp_path: Path) -> None:
    variant = next(iter(sample("squeezenet", 1)))
    dataset = Dataset(
        name="tiny",
        ids=("one", "two"),
        sources=(FamilySource(variant.family, variant.config, variant.version),) * 2,
        family=("squeezenet",) * 2,
        split=("train",) * 2,
        targets=np.ones((2, 2)),
        devices=("a:b:fp32", "c:b:fp32"),
        profiles={"one": _profile([0, 1]), "two": _profile([0, 1])._replace(target="c:b:fp32")},
    )
    with pytest.raises(DataError, match="profiles of several targets"):
        kernel_shares(TOLD, dataset, np.array([2, 2]))
    assert kernel_shares(TOLD, dataclasses.replace(dataset, profiles={}), np.array([2, 2])) is None
    assert kernel_shares(TrainConfig(model="tally2"), dataset, np.array([2, 2])) is None
