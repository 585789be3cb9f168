"""Tally's second generation: sums, floors, relatives, and what it has not seen the like of."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import torch

from narformer.models.tally2 import WORK, Tally2, Tally2Config, amounts, work
from narformer.prediction.target_groups import groups
from narformer.tokens import runtime_kernels as tokens


def _token(kind: str, **numbers: float) -> torch.Tensor:
    row = torch.zeros(tokens.WIDTH)
    row[tokens.FIRST_KIND + tokens.KINDS.index(kind)] = 1
    for size in ("rows", "columns", "depth"):
        row[tokens.COLUMN[size]] = 64  # whole tiles
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
        model.prices.by_kind[WORK.index("inside"), tokens.KINDS.index("convolution"), shared] = 0.75
    latency = model(*_network(_token("run"), _token("convolution", macs=1e9)))[0]
    torch.testing.assert_close(latency[0], latency[1])
    assert latency[0] > 2 * latency[2]


def test_a_target_that_nothing_was_measured_on_has_a_relatives_prices_times_factors() -> None:
    model = Tally2(Tally2Config(outputs=2, least_run=(0.002, 0.001), least_call=(0.0003, 0.0002))).eval()
    with torch.no_grad():
        model.prices.target[WORK.index("read"), 1] = 0.3
    wider = model.with_relative(1, {"inside": 2.0, "others": 1.5})
    convolution, addition = _token("convolution", macs=1e9), _token("add", read=1e9)
    for kernel, factor in ((convolution, 2.0), (addition, 1.5)):
        latency = wider(*_network(_token("run"), kernel))[0].detach()
        torch.testing.assert_close(latency[:2], model(*_network(_token("run"), kernel))[0].detach())
        assert float(latency[2] / latency[1]) == pytest.approx(factor, rel=0.01)


def test_integers_have_prices_of_their_own() -> None:
    model = Tally2(Tally2Config(outputs=1))
    integers = _token("convolution", macs=1e9)
    integers[tokens.FLAG["integer data"]] = 1
    with torch.no_grad():
        model.prices.by_numbers[1, WORK.index("inside"), tokens.KINDS.index("convolution"), 0] = 0.9
    model.eval()
    with torch.no_grad():
        kernels = (_token("convolution", macs=1e9), integers)
        latency = [float(model(*_network(_token("run"), kernel))) for kernel in kernels]
    assert latency[1] > 1.5 * latency[0]


def test_the_work_of_networks_times_the_table_of_prices_is_their_latency() -> None:
    torch.manual_seed(0)
    model = Tally2(Tally2Config(outputs=3, groups=((0, 1), (0, 2), (0, 3)), hardware=("cpu", "gpu", "npu"))).eval()
    with torch.no_grad():
        for parameter in model.prices.parameters():
            parameter.normal_(0, 0.05)
    odd = _token("convolution", macs=1e8, widest=30.0, channels=24.0, height=14.0)
    few = _token("attention", macs=1e7, rows=50.0, columns=50.0, depth=24.0, products=12.0, read=1e7)
    integers = _token("multiply", macs=1e6)
    integers[tokens.FLAG["integer data"]] = 1
    network = _network(_token("run"), odd, few, integers)
    torch.testing.assert_close(work(network[0], network[2], 1) @ model.prices.table(), model(*network))


def test_prices_fitted_to_all_networks_at_once_are_those_that_made_their_latencies() -> None:
    torch.manual_seed(0)
    model = Tally2(Tally2Config(outputs=2, hardware=("npu", "npu")))
    networks = [
        _network(_token("run"), *[_token("add", read=10.0 ** (4 + k % 3), written=10.0 ** (4 + k // 3))] * (1 + k))
        for k in range(9)
    ]

    def batch(rows: npt.NDArray[np.int64]) -> tuple[torch.Tensor, ...]:
        graph = torch.cat([torch.full((len(networks[row][0]),), k) for k, row in enumerate(rows.tolist())])
        features = torch.cat([networks[row][0] for row in rows.tolist()])
        return features, torch.zeros(2, 0, dtype=torch.int64), graph, torch.ones(len(rows), 1)

    truth = model(*batch(np.arange(9))).detach() * torch.tensor([3.0, 0.5])
    truth[0, 1] = torch.nan  # one that was not measured
    *_, last = model.begin(batch, truth, torch.ones(2))
    assert last[2] < 0.002
    fitted = model(*batch(np.arange(9))).detach()
    torch.testing.assert_close(fitted[1:], truth[1:], rtol=0.03, atol=0)


def test_a_gpu_takes_what_it_computes_or_what_its_host_takes_to_launch_kernels_whichever_is_more() -> None:
    model = Tally2(Tally2Config(outputs=2, hardware=("gpu", "cpu"))).eval()
    launching = float(model.prices.launching().detach()[0])
    assert model.prices.launching()[1] == 0
    tiny, large = _token("add", read=4.0, written=4.0), _token("convolution", macs=1e12)
    waiting = model(*_network(_token("run"), *[tiny] * 5))[0].detach()
    assert float(waiting[0]) == pytest.approx(5 * launching)
    assert waiting[1] < waiting[0]
    computing = _network(_token("run"), *[tiny] * 4, large)
    torch.testing.assert_close(model(*computing), model.priced(computing[0]).sum(dim=0)[None])
    _, each = model.parts(*_network(_token("run"), *[tiny] * 5))
    assert float(each.detach().sum(dim=0)[0]) == pytest.approx(5 * launching)  # kernels share what the GPU waits


def test_what_a_host_takes_is_learned_from_networks_that_wait_for_it() -> None:
    # 40 us a kernel, or what ten times as much work takes.
    model = Tally2(Tally2Config(outputs=1, hardware=("gpu",)))
    work_of = [10.0 ** (3 + k % 7) for k in range(14)]
    networks = [
        _network(_token("run"), *[_token("add", read=w, written=w)] * (2 + k % 3)) for k, w in enumerate(work_of)
    ]

    def batch(rows: npt.NDArray[np.int64]) -> tuple[torch.Tensor, ...]:
        graph = torch.cat([torch.full((len(networks[row][0]),), k) for k, row in enumerate(rows.tolist())])
        features = torch.cat([networks[row][0] for row in rows.tolist()])
        return features, torch.zeros(2, 0, dtype=torch.int64), graph, torch.ones(len(rows), 1)

    truth = torch.tensor([[max(0.04, 3e-7 * w) * (2 + k % 3)] for k, w in enumerate(work_of)])
    list(model.begin(batch, truth, torch.ones(1)))
    assert float(model.prices.launching().detach()[0]) == pytest.approx(0.04, rel=0.1)


def _amounts(kind: str, **numbers: float) -> dict[str, float]:
    return dict(zip(WORK, amounts(_token(kind, **numbers)[None])[0].tolist(), strict=True))


def test_a_convolution_of_24_channels_reads_and_writes_blocks_of_16() -> None:
    # 3x3 over 8 x 8 places, 24 channels to 24: two blocks are read and two written, a third of each of them blank.
    sizes = {"rows": 64.0, "height": 8.0, "window": 3.0, "stride": 1.0, "widest": 24.0, "channels": 24.0}
    done = _amounts("convolution", macs=9e5, idle=3e5, columns=24.0, depth=216.0, read=6e3, written=3e3, **sizes)
    assert done["idle inputs"] == pytest.approx(12e5 / 3)
    assert done["blank"] == pytest.approx(2e3 + 1e3)
    assert done["narrow"] == 0  # two blocks go together
    assert done["first blocks"] == 0
    # Of the eight places of a row, one at either end is on padding, and six go together.
    assert done["single"] == pytest.approx(12e5 * 2 / 8)


def test_a_block_that_none_is_left_to_go_with_is_narrow() -> None:
    sizes = {"rows": 600.0, "height": 20.0, "window": 1.0, "stride": 1.0, "widest": 32.0, "channels": 80.0}
    done = _amounts("pointwise", macs=1e6, columns=80.0, depth=32.0, **sizes)
    assert done["narrow"] == pytest.approx(1e6 / 5)  # the last of five
    assert done["single"] == 0  # six divides 600 places
    assert _amounts("fully connected", macs=1e6, columns=80.0, depth=32.0, **sizes)["narrow"] == 0


def test_the_first_convolution_reads_an_image_that_is_in_no_blocks() -> None:
    sizes = {"rows": 100.0, "height": 10.0, "window": 3.0, "stride": 2.0, "widest": 3.0, "channels": 32.0}
    done = _amounts("convolution", macs=86400.0, columns=32.0, depth=27.0, read=4800.0, written=12800.0, **sizes)
    assert done["first blocks"] == 2 * 100
    assert done["blank"] == done["idle inputs"] == 0


def test_weights_are_far_as_far_as_caches_do_not_hold_them() -> None:
    assert _amounts("convolution", weights=1e6, held=2.0**27)["far weights"] == pytest.approx(0.75e6)
    assert _amounts("convolution", weights=1e6, held=2.0**25)["far weights"] == 0


def test_a_gpu_has_no_work_that_vector_units_of_cpus_have() -> None:
    model = Tally2(Tally2Config(outputs=2, hardware=("cpu", "gpu"))).eval()
    convolution = _token("convolution", macs=1e6)
    unblocked = _token("convolution", macs=1e6, unblocked=1e6)
    each = [model(*_network(_token("run"), kernel))[0].detach() for kernel in (convolution, unblocked)]
    assert each[1][0] > each[0][0]
    assert each[1][1] == each[0][1]


def test_what_runs_node_by_node_has_work_that_compiled_kernels_have_not() -> None:
    config = Tally2Config(
        outputs=4,
        hardware=("gpu", "gpu", "gpu", "cpu"),
        runtimes=("pytorch eager", "pytorch compiled", "", "onnxruntime"),
    )
    model = Tally2(config).eval()

    def latency(kind: str, **numbers: float) -> torch.Tensor:
        return model(*_network(_token("run"), _token(kind, **numbers)))[0]

    def more(kind: str, **numbers: float) -> list[bool]:
        return (latency(kind, **numbers) > latency(kind)).tolist()

    assert more("resize", planes=1e6) == [True, False, True, False]
    assert more("add", apart=1e9) == [True, False, True, False]
    assert more("attention", unfused=1e9) == [True, True, True, False]
    assert more("depthwise", window=9, macs=1e9) == [True] * 4
    windows = [latency("depthwise", macs=1e9, window=window) for window in (5, 7, 9)]
    assert [(wide > small).tolist() for small, wide in pairwise(windows)] == [[True, True, True, False]] * 2
    assert model.with_relative(1, {}).config.runtimes == (*config.runtimes, "pytorch compiled")


def test_kernels_unlike_any_measured_on_a_target_are_strange_there_alone() -> None:
    model = Tally2(Tally2Config(outputs=2)).eval()
    seen = _network(_token("run"), _token("convolution", macs=1e6, rows=100.0, columns=16.0))
    model.observe(seen[0], seen[2], torch.tensor([[True, False]]))
    near = _token("convolution", macs=1.2e6, rows=110.0, columns=16.0)
    large = _token("convolution", macs=1e9, rows=1e5, columns=16.0)
    other = _token("softmax", read=100.0)
    strange = model.unfamiliar(torch.stack([_token("run"), near, large, other]))
    assert strange.tolist() == [[0, 0], [0, 1], [1, 1], [1, 1]]
