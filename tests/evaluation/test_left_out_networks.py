"""Networks of a GPU left out on all hardware: no row of theirs is learned from, whatever dataset it is of."""

from __future__ import annotations

import numpy as np

from narformer.datasets.dataset import Dataset, FamilySource
from narformer.evaluation.splits import left_out_networks


def _dataset() -> Dataset:
    """Eight networks: a to g on both GPUs, h on one; g is for testing."""
    ids = [*(f"{name}@224x64" for name in "abcdefgh"), *(f"pytorch-gpu:timm:{name}@224x1" for name in "abcdefg")]
    names = [*"abcdefgh", *"abcdefg"]
    return Dataset(
        name="both",
        ids=tuple(ids),
        sources=(FamilySource("alexnet", ""),) * 15,
        family=tuple(names),
        split=tuple("test" if name == "g" else "train" for name in names),
        targets=np.ones((15, 1)),
        devices=("one",),
        network=tuple(names),
    )


def test_each_network_is_tested_once_and_known_from_no_other_row() -> None:
    dataset = _dataset()
    tasks = left_out_networks(dataset)
    assert [len(task.test) for task in tasks] == [2, 1, 1, 1, 1]
    assert sorted(row for task in tasks for row in task.test.tolist()) == list(range(8, 14))
    for task in tasks:
        assert not {dataset.network[row] for row in task.fit} & {dataset.network[row] for row in task.test}
        assert 7 in task.fit
        assert all(dataset.split[row] == "train" for row in task.fit)
