"""Processes over compositions: the known posterior, nothing far away, and no process where none helps."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from narformer.models.gaussian_process import (
    DEVIATION,
    LENGTH,
    NOISES,
    SIZE,
    Processes,
    _subset,
    coordinates,
    covariance,
    fit,
    told,
)


def _networks(count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    shares = random.dirichlet(np.ones(6), count)
    return np.sqrt(shares), np.exp(random.normal(0, 1, count))


def _said(process: Processes, compositions: np.ndarray, ms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    where = coordinates(
        [process], torch.from_numpy(compositions).float()[:, None], torch.from_numpy(ms).float()[:, None]
    )
    added, novelty = process(where[0])
    return added.numpy(), novelty.numpy()


def test_what_a_process_says_is_the_posterior_mean_of_another_implementation() -> None:
    compositions, ms = _networks(60)
    residuals = 0.2 * compositions[:, :1] - 0.1  # told well: the least noise is chosen
    process = Processes(6, 1)
    process.hold(fit(compositions[:50], ms[:50], residuals[:50]))
    added, _ = _said(process, compositions[50:], ms[50:])
    points = np.column_stack([compositions, SIZE * np.log(ms)])
    kernel = ConstantKernel(DEVIATION**2, "fixed") * Matern(LENGTH, "fixed", nu=0.5)
    other = GaussianProcessRegressor(kernel, alpha=NOISES[0] ** 2, optimizer=None).fit(points[:50], residuals[:50, 0])
    np.testing.assert_allclose(added[:, 0], other.predict(points[50:]), atol=1e-4)


def test_a_subset_of_all_networks_says_what_all_of_them_say() -> None:
    points = np.random.default_rng(1).normal(size=(40, 3))
    residuals = np.sin(points[:, 0])
    exact = np.linalg.solve(covariance(points, points) + 0.01 * np.eye(40), residuals)
    np.testing.assert_allclose(_subset(points, points, residuals, 0.1), exact, rtol=1e-3, atol=1e-3)


def test_far_from_all_networks_nothing_is_added_and_novelty_is_one() -> None:
    compositions, ms = _networks(40)
    process = Processes(6, 2)
    residuals = np.column_stack([compositions[:, 0], np.where(np.arange(40) < 20, compositions[:, 1], np.nan)])
    process.hold(fit(compositions, ms, residuals))
    added, novelty = _said(process, compositions[30:31], np.array([1e30]))
    np.testing.assert_allclose(added, 0, atol=1e-6)
    np.testing.assert_allclose(novelty, 1, atol=1e-6)
    _, novelty = _said(process, compositions[30:31], ms[30:31])
    assert novelty[0, 0] < 0.01  # measured there
    assert novelty[0, 1] > 0.1  # measured on the first output alone


def test_where_errors_have_nothing_to_do_with_compositions_there_is_no_process() -> None:
    compositions, ms = (np.repeat(each, 2, axis=0) for each in _networks(30))
    residuals = np.tile([-0.2, 0.2], 30)[:, None]  # networks that are the same err oppositely
    assert not fit(compositions, ms, residuals).weights.any()


def test_processes_are_restored_whatever_their_number_of_references() -> None:
    compositions, ms = _networks(30)
    process = Processes(6, 1)
    process.hold(fit(compositions, ms, compositions[:, :1]))
    other = Processes(6, 1)
    other.load_state_dict(process.state_dict())
    np.testing.assert_array_equal(_said(other, compositions, ms)[0], _said(process, compositions, ms)[0])


def test_one_network_under_several_names_does_not_tell_itself() -> None:
    compositions, ms = (np.repeat(each, 6, axis=0) for each in _networks(20))
    residuals = np.repeat(np.random.default_rng(2).choice([-0.2, 0.2], 20), 6)[:, None]  # by chance, alike for a name
    assert not fit(compositions, ms, residuals).weights.any()


def test_processes_together_say_what_each_says_alone() -> None:
    compositions, ms = _networks(40)
    processes = [Processes(6, 2), Processes(6, 1)]
    for process, rows, weights in zip(processes, (slice(0, 30), slice(10, 25)), ([1.0, -0.5], [0.3]), strict=True):
        process.hold(fit(compositions[rows], ms[rows], compositions[rows, :1] * weights))
    points = torch.from_numpy(compositions[30:]).float()[:, None].expand(-1, 2, -1)
    added, novelty = told(
        processes, coordinates(processes, points, torch.from_numpy(ms[30:]).float()[:, None].expand(-1, 2))
    )
    alone = [_said(process, compositions[30:], ms[30:]) for process in processes]
    np.testing.assert_allclose(added.numpy(), np.hstack([one for one, _ in alone]), atol=1e-6)
    np.testing.assert_allclose(novelty.numpy(), np.hstack([one for _, one in alone]), atol=1e-6)
