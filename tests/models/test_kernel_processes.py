"""Processes over kernels: near kernels are told alike, others are left alone, and profiles tell what sums cannot."""

from __future__ import annotations

import numpy as np
import torch

from narformer.models.gaussian_process import alike
from narformer.models.kernel_processes import FEWEST, LENGTH, KernelProcesses, Kernels, coordinates, fit_kernels
from narformer.models.price_fit import Shares
from narformer.models.tally2 import Tally2, Tally2Config
from narformer.tokens import runtime_kernels as tokens


def _kernel(kind: str, size: float) -> torch.Tensor:
    row = torch.zeros(tokens.WIDTH)
    row[tokens.FIRST_KIND + tokens.KINDS.index(kind)] = 1
    for name in ("rows", "columns", "depth", "macs", "read", "written"):
        row[tokens.COLUMN[name]] = size
    return row


def _single(kind: str, sizes: np.ndarray) -> Kernels:
    """Networks of a kernel each, of 1 ms by prices."""
    features = torch.stack([_kernel(kind, float(size)) for size in sizes])
    return Kernels(features, torch.ones(len(sizes), 1), torch.arange(len(sizes)))


SIZES = np.geomspace(16, 4096, 24)


def test_what_kernels_in_between_are_missed_by_is_told() -> None:
    kernels = _single("convolution", SIZES)
    truth = torch.from_numpy(0.3 * np.sin(np.log(SIZES))).float()[:, None]
    process = KernelProcesses(1)
    *_, last = fit_kernels(process, kernels, truth)
    assert last[2] < 0.03
    between = np.sqrt(SIZES[1:] * SIZES[:-1])
    said = process(_single("convolution", between).features)[:, 0]
    assert float((said - torch.from_numpy(0.3 * np.sin(np.log(between))).float()).abs().max()) < 0.1


def test_kernels_of_another_kind_or_far_away_are_left_alone() -> None:
    process = KernelProcesses(1)
    list(fit_kernels(process, _single("convolution", SIZES), torch.full((len(SIZES), 1), 0.5)))
    assert process(_single("depthwise", SIZES).features).abs().max() == 0
    far = process(_single("convolution", np.array([1e30])).features)
    assert float(far.abs()) < 1e-3
    assert float(process(_single("convolution", SIZES[:1]).features)) > 0.3


def test_of_few_kernels_nothing_is_said() -> None:
    process = KernelProcesses(1)
    few = SIZES[: FEWEST - 1]
    assert list(fit_kernels(process, _single("convolution", few), torch.full((len(few), 1), 0.5))) == []
    assert process(_single("convolution", few).features).abs().max() == 0


def test_an_output_with_few_measurements_has_what_others_say() -> None:
    kernels = _single("convolution", SIZES)
    kernels = kernels._replace(ms=torch.ones(len(SIZES), 2))
    truth = torch.full((len(SIZES), 2), 0.5)
    truth[1:, 1] = torch.nan
    process = KernelProcesses(2)
    list(fit_kernels(process, kernels, truth))
    said = process(kernels.features)
    assert bool((said[:, 1] > 0.15).all())
    assert bool((said[:, 0] > said[:, 1]).all())


def test_shares_tell_apart_what_latencies_tell_together() -> None:
    # Each network is a convolution and a depthwise one of 1 ms each by prices, and takes 2 ms, but three quarters of
    # it are the first one's.
    dense, depthwise = (_single(kind, SIZES).features for kind in ("convolution", "depthwise"))
    features = torch.stack([dense, depthwise], dim=1).flatten(0, 1)
    kernels = Kernels(features, torch.ones(len(features), 1), torch.arange(len(SIZES)).repeat_interleave(2))
    truth = torch.full((len(SIZES), 1), float(np.log(2)))
    networks = np.arange(len(SIZES))
    shares = Shares(
        0, networks, [np.array([0.75, 0.25], dtype=np.float32)] * len(SIZES), [np.array([0, 1])] * len(SIZES)
    )
    process = KernelProcesses(1)
    *_, last = fit_kernels(process, kernels, truth, shares)
    factor = torch.exp(process(features)).view(-1, 2)
    assert last[2] < 0.05
    torch.testing.assert_close(factor.mean(dim=0), torch.tensor([1.5, 0.5]), atol=0.1, rtol=0)


def test_a_saved_process_says_the_same() -> None:
    process = KernelProcesses(1)
    list(fit_kernels(process, _single("convolution", SIZES), torch.full((len(SIZES), 1), 0.5)))
    again = KernelProcesses(1)
    again.load_state_dict(process.state_dict())
    features = _single("convolution", SIZES).features
    torch.testing.assert_close(again(features), process(features))


def test_kernels_have_most_in_common_with_themselves() -> None:
    where = coordinates(_single("convolution", SIZES).features)
    common = alike(where, where, LENGTH)
    torch.testing.assert_close(common.diagonal(), torch.ones(len(SIZES)), atol=5e-3, rtol=0)
    assert bool((common.diff(dim=1)[0] < 0).all())  # the less the further


def test_processes_of_kernels_are_on_cpus_alone_where_no_factors_of_tiles_are() -> None:
    config = Tally2Config(outputs=4, hardware=("gpu", "cpu", "cpu", "cpu"), views=("a", "b", "b", "c"), tiled=(3,))
    model = Tally2(config).eval()
    assert [model.views[place] for place in model.by_kernel] == [[1, 2]]
    process = model.kernel_processes[0]
    assert isinstance(process, KernelProcesses)
    features = _single("convolution", SIZES).features
    before = model.priced(features)
    kind = np.array([tokens.KINDS.index("convolution")])
    process.hold(coordinates(features[:1]).double().numpy(), kind, np.array([[0.5, 0.0]]))
    ratio = model.priced(features) / before
    torch.testing.assert_close(ratio[0], torch.tensor([1.0, float(np.exp(0.5)), 1.0, 1.0]), atol=1e-3, rtol=0)
    wider = model.with_relative(1, {"others": 2.0})
    factor = wider.priced(features) / wider.roofline(features, wider.prices.prices(), wider.prices.oddity())
    torch.testing.assert_close(factor[:, 4], factor[:, 1])  # a target that nothing was measured on has its relative's
