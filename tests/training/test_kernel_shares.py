"""Shares of kernels as labels: which rows have them, files of them, and that they move prices."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from narformer.datasets.dataset import Dataset, FamilySource
from narformer.datasets.kernel_cache import build_kernel_cache
from narformer.datasets.profiles import Profile, read_profiles, write_profiles
from narformer.errors import DataError
from narformer.families.registry import sample
from narformer.tokens.runtime_kernels import KINDS, kind_names
from narformer.training.config import TrainConfig
from narformer.training.loop import train
from narformer.training.parts import parts_by_kind
from narformer.training.run import kernel_shares, model_for


def _profile(shares: list[float], groups: list[int] | None = None) -> Profile:
    places = groups or list(range(len(shares)))
    return Profile("a:b:fp32", np.array(shares, dtype=np.float32), np.array(places))


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


def _dataset() -> Dataset:
    variants = sample("squeezenet", 6)
    return Dataset(
        name="tiny",
        ids=tuple(f"row{i}" for i in range(6)),
        sources=tuple(FamilySource(v.family, v.config, v.version) for v in variants),
        family=("squeezenet",) * 6,
        split=("train",) * 6,
        targets=np.array([[1.0 + i] for i in range(6)]),
        devices=("a:b:fp32",),
    )


def test_rows_that_are_fitted_to_have_the_labels_of_their_profiles() -> None:
    dataset = dataclasses.replace(_dataset(), profiles={"row1": _profile([0, 1]), "row3": _profile([0, 0.5, 0.5])})
    sizes = np.array([9, 2, 9, 3, 9, 9])
    shares = kernel_shares(dataset, sizes, np.array([4, 3, 0]))
    assert shares is not None
    assert (shares.output, shares.rows.tolist(), shares.shares[0].tolist()) == (0, [1], [0, 0.5, 0.5])
    assert kernel_shares(dataset, sizes, np.array([0, 2])) is None
    with pytest.raises(DataError, match="profile of 3 tokens for a network of 9"):
        kernel_shares(dataset, np.full(6, 9), np.array([3]))


def test_prices_move_kernels_towards_their_shares(tmp_path: Path) -> None:
    dataset = _dataset()
    tokens = build_kernel_cache(dataset, tmp_path / "cache", workers=1)
    profiles = {}
    for row, id in enumerate(dataset.ids):
        kinds = kind_names(tokens.batch([row]).features)
        pools = np.array([kind == "pool" for kind in kinds], dtype=np.float32)  # as if pools took nearly all the time
        rest = np.array([kind != "run" for kind in kinds], dtype=np.float32)
        profiles[id] = Profile("a:b:fp32", 0.9 * pools / pools.sum() + 0.1 * rest / rest.sum(), np.arange(len(kinds)))
    dataset = dataclasses.replace(dataset, profiles=profiles)
    rows = np.arange(6)

    def pools_take(told: bool) -> float:
        model = model_for("tally2", dataset, rows)
        shares = kernel_shares(dataset, tokens.sizes(), rows) if told else None
        config = TrainConfig(model="tally2")
        for _ in train(config, model, tokens, dataset.targets, rows, rows[:0], tmp_path / f"run{told}", shares):
            pass
        parts = parts_by_kind(model, tokens)[:, :, 0]
        return float((parts[:, KINDS.index("pool")] / parts.sum(axis=1)).mean())

    assert pools_take(told=True) > 1.5 * pools_take(told=False)
