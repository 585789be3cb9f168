"""Prices of NPUs: what costs there, what does not, and that they are found from a few networks."""

from __future__ import annotations

import pytest
import torch

from narformer.models.npu_prices import TERMS, NpuPrices, amounts
from narformer.models.tally2 import Tally2, Tally2Config
from narformer.tokens import runtime_kernels as tokens


def _token(kind: str, **numbers: float) -> torch.Tensor:
    row = torch.zeros(tokens.WIDTH)
    row[tokens.FIRST_KIND + tokens.KINDS.index(kind)] = 1
    for name, value in numbers.items():
        row[tokens.COLUMN[name]] = value
    return row


def _amounts(kind: str, **numbers: float) -> dict[str, float]:
    return dict(zip(TERMS, amounts(_token(kind, **numbers)[None])[0].tolist(), strict=True))


def _prices(targets: int = 1) -> NpuPrices:
    return NpuPrices([(0, 1 + k) for k in range(targets)], [1e-3] * targets, [1e-4] * targets)


def test_putting_channels_last_is_no_transposition_of_heads() -> None:
    moved = 96 * 3136 * 4.0
    relaid = _amounts("transpose", channels=96, widest=3136, read=moved, written=moved)
    assert (relaid["channels last"], relaid["transposed"], relaid["spilled"]) == (2 * moved, 0, 0)
    heads = _amounts("transpose", channels=12, widest=197, read=moved, written=moved)
    assert (heads["channels last"], heads["transposed"]) == (0, 2 * moved)


def test_many_rows_hide_that_weights_are_read() -> None:
    one, many = (_amounts("linear", rows=rows, weights=4e6) for rows in (1.0, 1000.0))
    assert one["weights"] == many["weights"] == 4e6
    assert one["waited for"] == pytest.approx(4e6 * 255 / 256)
    assert many["waited for"] == 0


def test_an_image_of_three_channels_is_brought_in() -> None:
    assert _amounts("convolution", read=6e5, widest=3)["image"] == pytest.approx(6e5)
    assert _amounts("convolution", read=6e5, widest=64)["image"] == 0


def test_a_convolution_of_a_volume_is_none_of_an_image_with_odd_channels() -> None:
    video, odd, plain = (
        _amounts("convolution", macs=1e9, unblocked=unblocked, widest=widest)["volume"]
        for unblocked, widest in ((1e9, 64), (1e9, 18), (0, 64))
    )
    assert (video, odd, plain) == (pytest.approx(1e9), 0, 0)


def test_what_fills_a_batch_up_is_no_work() -> None:
    assert not amounts(torch.zeros(3, tokens.WIDTH)).any()


def test_prices_are_found_from_latencies_that_they_made() -> None:
    sizes = [(1e8, 3e5), (4e8, 1e5), (9e8, 8e6), (2e9, 1e6), (3e9, 6e6)]
    networks = [
        torch.stack([_token("run"), _token("convolution", macs=macs), _token("add", read=moved, written=moved)])
        for macs, moved in sizes
    ]
    work = torch.stack([amounts(network).sum(dim=0) for network in networks])
    factors = torch.ones(len(TERMS), 2)
    factors[TERMS.index("convolution")] = torch.tensor([3.0, 0.5])
    prices = _prices(2)
    truth = (work @ (prices.prices().detach() * factors)).clone()
    truth[4, 1] = torch.nan  # not measured
    *_, (_, _, loss) = prices.fit(work, truth)
    assert loss < 0.01
    told = work @ prices.prices().detach()
    torch.testing.assert_close(told[:4], truth[:4], rtol=0.1, atol=0)


def test_one_network_under_many_names_counts_as_one() -> None:
    sizes = [1e10] * 10 + [1.1e10, 1.2e10, 1.3e10]
    work = torch.stack([amounts(_token("convolution", macs=macs)[None])[0] for macs in sizes])
    truth = torch.tensor([100.0] * 10 + [1.1, 1.2, 1.3])[:, None]
    prices = _prices()
    for _ in prices.fit(work, truth):
        pass
    torch.testing.assert_close((work @ prices.prices().detach())[10:], truth[10:], rtol=0.2, atol=0)


def test_groups_with_the_same_targets_are_one() -> None:
    assert NpuPrices([(0, 1, 5), (0, 1, 6)], [1e-3] * 2, [1e-4] * 2).belongs.tolist() == [[1, 1, 0], [1, 0, 1]]


def test_npus_have_these_prices_and_other_targets_keep_theirs() -> None:
    groups = ((0, 1), (0, 2), (0, 3))
    plain = Tally2(Tally2Config(outputs=3, groups=groups, hardware=("cpu", "npu", "gpu"))).eval()
    model = Tally2(Tally2Config(outputs=3, groups=groups, hardware=("cpu", "npu", "gpu"), npus=(1,))).eval()
    network = torch.stack([_token("run"), _token("convolution", macs=1e9), _token("softmax", written=4e5)])
    each, before = model.priced(network), plain.priced(network)
    torch.testing.assert_close(each[:, 1:2], model.npu_prices(network))
    torch.testing.assert_close(each[:, [0, 2]], before[:, [0, 2]])


def test_an_npu_is_no_relative_by_terms_of_other_hardware() -> None:
    model = Tally2(Tally2Config(outputs=2, hardware=("cpu", "npu"), npus=(1,)))
    with pytest.raises(ValueError, match="prices of NPUs"):
        model.with_relative(1, {"inside": 2.0})
    assert model.with_relative(0, {"inside": 2.0}).config.outputs == 3
