"""Metrics against SciPy and against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from narformer.metrics import acc, kendall_tau, mape, rmspe, spearman

pairs = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=2, max_size=60)


@given(pairs)
def test_rank_correlations_equal_scipys_with_ties(values: list[tuple[int, int]]) -> None:
    a, b = np.array(values, dtype=float).T
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert math.isnan(kendall_tau(a, b))
        assert math.isnan(spearman(a, b))
    else:
        assert kendall_tau(a, b) == pytest.approx(scipy.stats.kendalltau(a, b).statistic)
        assert spearman(a, b) == pytest.approx(scipy.stats.spearmanr(a, b).statistic)


def test_kendall_of_many_values() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=5001)
    b = a + rng.normal(size=5001)
    assert kendall_tau(a, b) == pytest.approx(scipy.stats.kendalltau(a, b).statistic)


def test_errors_by_hand() -> None:
    prediction, target = [11.0, 18.0, 30.0], [10.0, 20.0, 30.0]
    assert mape(prediction, target) == pytest.approx(100 * (0.1 + 0.1 + 0) / 3)
    assert rmspe(prediction, target) == pytest.approx(100 * math.sqrt(0.02 / 3))
    assert acc(prediction, target, 0.05) == pytest.approx(1 / 3)
    assert acc([1.0, 1.5], [1.0, 1.0], 0.5) == 1
    assert acc(prediction, target, 0.1) == 1


@pytest.mark.parametrize("metric", [mape, rmspe, lambda p, t: acc(p, t, 0.1)])
def test_relative_errors_need_targets_other_than_zero(metric: object) -> None:
    with pytest.raises(ValueError, match="a target is 0"):
        metric([1.0, 2.0], [1.0, 0.0])  # type: ignore[operator]


@pytest.mark.parametrize("metric", [mape, rmspe, kendall_tau, spearman])
@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [([], [], "no predictions"), ([1.0], [1.0, 2.0], "one length"), ([math.nan], [1.0], "finite")],
)
def test_what_cannot_be_compared_is_an_error(metric: object, prediction: list, target: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metric(prediction, target)  # type: ignore[operator]
