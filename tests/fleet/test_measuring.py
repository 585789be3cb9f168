"""Measuring on a real cluster: machines die, the database is restarted, a run is interrupted; each result is once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator

import onnx
import pytest
from fleets import Fleet
from postgresql import Server, running

from narformer.fleet.agent import Wish
from narformer.fleet.measuring import measure
from narformer.measurement.drift import REFERENCE_NAME
from narformer.measurement.session import Network, Outcome, Settings
from narformer.measurement.store import Store
from narformer.measurement.timing import Plan

SETTINGS = Settings(plan=Plan(budget_s=0.05, min_s=0.0, warmup_s=0.0))
WISHES = (Wish("alpha"), Wish("beta"))


def networks(count: int) -> list[Network]:
    """Different ones, of one convolution each."""

    def made(channels: int) -> Callable[[], onnx.ModelProto]:
        shape = [1, channels, 8, 8]
        x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in "xy")
        weight = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[channels, channels, 3, 3])
        node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
        graph = onnx.helper.make_graph([node], "net", [x], [y], [weight])
        return lambda: onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)

    return [Network(f"net{k}", made(k + 1)) for k in range(count)]


def measured(store: Store) -> Counter[tuple[str, str]]:
    return Counter((m.graph, m.device) for m in store.find() if m.model != REFERENCE_NAME)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as server:
        yield server


def test_a_machine_is_killed_and_the_database_restarted_and_nothing_is_lost_nor_twice(
    fleet: Fleet, server: Server
) -> None:
    told: list[str] = []
    seen: list[Outcome] = []
    starting = threading.Timer(1.0, server.start)

    def report(outcome: Outcome) -> None:
        seen.append(outcome)
        if len(seen) == 3:
            fleet.kill_alpha()
        if len(seen) == 8:
            server.stop()
            starting.start()

    with Store.open(server.emptied()) as store:
        outcomes = measure(networks(8), wishes=WISHES, store=store, settings=SETTINGS, report=report, tell=told.append)
        starting.join()
        assert {o.measurement.failure for o in outcomes} == {""}
        assert {o.source for o in outcomes} == {"measured"}
        assert [o.name for o in outcomes] == [f"net{k}" for k in range(8)] * 2
        assert len(seen) == 16
        rows = measured(store)
        assert len(rows) == 16
        assert set(rows.values()) == {1}
        assert {device.partition(":")[0] for _, device in rows} == {"alpha", "beta"}
        references = [m.device for m in store.find() if m.model == REFERENCE_NAME]
        assert len(references) == len(set(references)) == 2
        assert any("was lost" in line for line in told)
        assert any("trying again" in line for line in told)
        again = measure(networks(8), wishes=WISHES, store=store, settings=SETTINGS)
        assert {o.source for o in again} == {"stored"}
        assert measured(store) == rows
