"""Prices of a new device: known answers on hand-made networks."""

from __future__ import annotations

import numpy as np
import pytest

from narformer.adaptation.prices import KINDS, Adaptation, Design, Profiles, half_width

CONVOLUTION, POINTWISE, ADD = 3, 4, 14  # three kinds, two of them of one class


def profiles(count: int, seed: int = 0, relatives: int = 2) -> Profiles:
    """Networks of three kinds of kernels, on relatives that do not agree."""
    random = np.random.default_rng(seed)
    parts = np.zeros((count, KINDS, relatives))
    kinds = [CONVOLUTION, POINTWISE, ADD]
    parts[:, kinds] = random.lognormal(sigma=1.0, size=(count, 3, 1)) * random.lognormal(
        sigma=0.2, size=(count, 3, relatives)
    )
    work = np.column_stack([np.full(count, 20.0), parts[:, kinds, 0] * [1e9, 1e7, 1e6]])
    return Profiles(parts, work, np.log(parts[:, kinds].sum(axis=2)))


def test_a_device_that_is_another_times_a_factor_is_learned_from_five_networks() -> None:
    networks = profiles(40, relatives=1)
    truth = 7 * networks.total[:, 0]
    value, deviation = Adaptation(networks.rows(range(5)), truth[:5]).predict(networks.rows(range(5, 40)))
    assert np.abs(value / truth[5:] - 1).mean() < 0.08
    assert (np.abs(np.log(value / truth[5:])) < half_width(deviation)).mean() > 0.85


def test_a_kind_of_kernel_that_is_slow_on_the_new_device_is_found() -> None:
    networks = profiles(300)
    truth = networks.parts[:, CONVOLUTION].mean(axis=1) + 6 * networks.parts[:, ADD].mean(axis=1)
    test = networks.rows(range(100, 300))
    errors, widths = [], []
    for count in (5, 20, 80):
        value, deviation = Adaptation(networks.rows(range(count)), truth[:count]).predict(test)
        errors.append(np.abs(value / truth[100:] - 1).mean())
        widths.append(deviation.mean())
        assert (np.abs(np.log(value / truth[100:])) < half_width(deviation)).mean() > 0.85
    factor = np.exp(np.median(np.log(truth[:80] / networks.total[:80, 0])))
    assert errors[0] > errors[1] > errors[2]
    assert errors[1] < 0.5 * np.abs(factor * networks.total[100:, 0] / truth[100:] - 1).mean()
    assert widths[0] > widths[1] > widths[2]


def test_the_relative_that_a_device_is_like_comes_to_count_more() -> None:
    random = np.random.default_rng(3)
    networks = profiles(60)
    other = networks.parts * np.stack([np.ones((60, KINDS)), random.lognormal(sigma=0.8, size=(60, KINDS))], axis=2)
    networks = Profiles(other, networks.work, networks.statistics)
    fitted = Adaptation(networks.rows(range(30)), 3 * networks.total[:30, 0])
    first, second = fitted.model.apart @ fitted.numbers[-6:-4]
    assert first > second
    assert first + second == pytest.approx(0)


def test_weights_are_what_a_relative_counts_for_before_much_is_known() -> None:
    networks = profiles(40)
    truth = networks.total[:, 1]
    errors = []
    for weights in ([1.0, 0.0], [0.0, 1.0]):
        value, _ = Adaptation(networks.rows(range(3)), truth[:3], weights).predict(networks.rows(range(3, 40)))
        errors.append(np.abs(value / truth[3:] - 1).mean())
    assert errors[1] < errors[0]


def test_measured_networks_are_reproduced_up_to_noise() -> None:
    networks = profiles(30)
    latencies = networks.total[:, 0] * np.random.default_rng(1).lognormal(sigma=0.05, size=30)
    value, _ = Adaptation(networks, latencies).predict(networks)
    assert np.abs(np.log(value / latencies)).mean() < 0.05


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_the_expected_error_grows_with_how_far_each_is_from_what_the_others_tell(noise: float) -> None:
    networks = profiles(40, relatives=1)
    factor = np.exp(noise * np.random.default_rng(0).normal(size=20))
    error = Adaptation(networks.rows(range(20)), networks.total[:20, 0] * factor).expected_error(networks)
    assert error < 12 if noise == 0 else error > 25


def test_the_design_takes_every_network_once_and_none_that_failed() -> None:
    design = Design(profiles(6))
    asked: list[int] = []
    while (index := design.next({*asked, 3})) is not None:
        asked.append(index)
        design.measured(index)
    assert sorted(asked) == [0, 1, 2, 4, 5]


def test_the_first_networks_tell_of_different_kinds() -> None:
    parts = np.zeros((6, KINDS, 1))
    parts[:3, CONVOLUTION, 0] = 1.0, 1.1, 1.2
    parts[3:, ADD, 0] = 1.0, 1.1, 1.2
    statistics = np.repeat([[0.0, 0.0], [4.0, 4.0]], 3, axis=0)
    work = parts.sum(axis=(1, 2))[:, None] * [1e3, 1e6, 1e6, 1e6]
    chosen = Design(Profiles(parts, work, statistics)).choose(2).tolist()
    assert {index // 3 for index in chosen} == {0, 1}
