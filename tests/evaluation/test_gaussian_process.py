"""The process over profiles: known answers on hand-made networks."""

from __future__ import annotations

import numpy as np

from narformer.evaluation.gaussian_process import (
    KINDS,
    Adaptation,
    Profiles,
    choose,
    covariance,
    half_width,
    kinds,
)
from narformer.graph import Graph, Node, Operand, Tensor
from narformer.tokens.physical import tokenize


def profiles(count: int, seed: int = 0, devices: int = 2) -> Profiles:
    random = np.random.default_rng(seed)
    parts = np.full((count, KINDS, devices), 1e-9)
    parts[:, :3] = random.lognormal(sigma=1.0, size=(count, 3, devices))
    macs = np.zeros((count, KINDS))
    macs[:, :3] = parts[:, :3, 0] * 1e6
    return Profiles(parts, macs, np.log(parts[:, :3].sum(axis=2)))


def test_a_device_that_is_another_times_a_factor_is_learned_from_three_networks() -> None:
    networks = profiles(40, devices=1)
    truth = 7 * networks.parts.sum(axis=(1, 2))
    value, deviation = Adaptation(networks.rows([0, 1, 2]), truth[:3]).predict(networks.rows(range(3, 40)))
    assert np.abs(value / truth[3:] - 1).max() < 0.1
    assert (np.abs(np.log(value / truth[3:])) < half_width(deviation)).all()


def test_more_measurements_of_a_device_of_its_own_bring_smaller_errors_and_intervals_that_hold() -> None:
    """A device that is bad at the second kind of work, which none of the known ones is."""
    networks = profiles(300)
    truth = networks.parts[:, 0].mean(axis=1) + 6 * networks.parts[:, 1].mean(axis=1)
    test = networks.rows(range(100, 300))
    errors, widths = [], []
    for count in (5, 20, 80):
        value, deviation = Adaptation(networks.rows(range(count)), truth[:count]).predict(test)
        errors.append(np.abs(value / truth[100:] - 1).mean())
        widths.append(deviation.mean())
        assert 0.85 < (np.abs(np.log(value / truth[100:])) < half_width(deviation)).mean() <= 1
    assert errors[0] > errors[1] > errors[2]
    assert widths[0] > widths[1] > widths[2]


def test_measured_networks_are_reproduced_up_to_noise() -> None:
    networks = profiles(30)
    latencies = np.random.default_rng(1).lognormal(size=30)
    value, _ = Adaptation(networks, networks.parts.sum(axis=(1, 2)) * latencies**0.1).predict(networks)
    assert np.abs(np.log(value / (networks.parts.sum(axis=(1, 2)) * latencies**0.1))).mean() < 0.05


def test_covariance_is_symmetric_and_positive() -> None:
    networks = profiles(25)
    matrix = covariance(networks, networks)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    assert np.linalg.eigvalsh(matrix).min() > -1e-9


def test_the_first_choice_stands_for_most_and_the_second_for_the_rest() -> None:
    """Two groups of networks that tell nothing of each other, the first of three, the second of two."""
    groups = np.array([0, 0, 0, 1, 1])
    within = (groups[:, None] == groups).astype(float)
    assert groups[choose(within, within, noise=0.1, count=2)].tolist() == [0, 1]
    assert sorted(choose(within, within, noise=0.1, count=9).tolist()) == [0, 1, 2, 3, 4]
    cost = np.array([9.0, 9.0, 1.0, 1.0, 1.0])
    assert choose(within, within, noise=0.1, count=1, cost=cost).tolist() == [2]


def _conv(kernel: int, group: int = 1) -> Graph:
    x, y = Tensor((1, 8, 16, 16)), Tensor((1, 8, 16, 16))
    weight = Operand(Tensor((8, 8 // group, kernel, kernel)), name="w")
    attributes = {"kernel_shape": (kernel, kernel), "group": group}
    return Graph((Node("c", "Conv", (Operand(x, source=-1), weight), (y,), attributes),), (x,))


def test_convolutions_are_told_apart_by_window_and_depth() -> None:
    cases = [(1, 1), (3, 1), (5, 1), (3, 8), (5, 8)]
    found = [int(kinds(tokenize(_conv(*case)).features)[-1]) for case in cases]
    assert len(set(found)) == len(cases)
    assert all(kind < KINDS for kind in found)
