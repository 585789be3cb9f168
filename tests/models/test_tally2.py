"""Tally's second generation: sums, floors, relatives, and what it has not seen the like of."""

from __future__ import annotations

import torch

from narformer.models.tally2 import WORK, Tally2, Tally2Config
from narformer.prediction.target_groups import groups
from narformer.tokens import runtime_kernels as tokens


def _token(kind: str, **numbers: float) -> torch.Tensor:
    row = torch.zeros(tokens.WIDTH)
    row[tokens.FIRST_KIND + tokens.KINDS.index(kind)] = 1
    for name, value in numbers.items():
        row[tokens.COLUMN[name]] = value
    return row


def _network(*rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    edges = torch.tensor([[k, k + 1] for k in range(len(rows) - 1)]).T.reshape(2, -1)
    return torch.stack(rows), edges, torch.zeros(len(rows), dtype=torch.int64), torch.ones(1, 1)


def test_latency_is_the_sum_of_run_and_kernels() -> None:
    model = Tally2(Tally2Config(outputs=2)).eval()
    network = _network(_token("run"), _token("convolution", macs=1e6), _token("add", read=1e5, written=1e5))
    vector, each = model.parts(*network)
    torch.testing.assert_close(model.from_embedding(vector)[0], each.sum(dim=0))


def test_nothing_is_free() -> None:
    model = Tally2(Tally2Config(outputs=1, least_run=(0.002,), least_call=(0.0003,))).eval()
    with torch.no_grad():
        model.prices.target.fill_(-10.0)  # as cheap as prices get
    rows = [_token("run"), *[_token("add", read=4.0, written=4.0)] * 5]
    torch.testing.assert_close(model(*_network(*rows)), torch.tensor([[0.002 + 5 * 0.0003]]))


def test_a_target_without_measurements_has_the_prices_of_its_relatives() -> None:
    devices = ("rtx3090:pytorch-2.4:fp16", "rtx4090:pytorch-2.4:fp16", "i7-12700h:pytorch-2.4-compiled:fp32")
    model = Tally2(Tally2Config(outputs=3, groups=groups(devices))).eval()
    shared = (model.prices.belongs[0] * model.prices.belongs[1] * (1 - model.prices.belongs[2])).argmax()
    with torch.no_grad():
        model.prices.by_kind[WORK.index("macs"), tokens.KINDS.index("convolution"), shared] = 0.1
    latency = model(*_network(_token("run"), _token("convolution", macs=1e9)))[0]
    torch.testing.assert_close(latency[0], latency[1])
    assert latency[0] > 2 * latency[2]


def test_kernels_unlike_any_measured_on_a_target_are_strange_there_alone() -> None:
    model = Tally2(Tally2Config(outputs=2)).eval()
    seen = _network(_token("run"), _token("convolution", macs=1e6, rows=100.0, columns=16.0))
    model.observe(seen[0], seen[2], torch.tensor([[True, False]]))
    near = _token("convolution", macs=1.2e6, rows=110.0, columns=16.0)
    large = _token("convolution", macs=1e9, rows=1e5, columns=16.0)
    other = _token("softmax", read=100.0)
    strange = model.unfamiliar(torch.stack([_token("run"), near, large, other]))
    assert strange.tolist() == [[0, 0], [0, 1], [1, 1], [1, 1]]
