"""Measuring on a real cluster: machines die, the database is restarted, a run is interrupted; each result is once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import far_away
import numpy as np
import onnx
import pytest
from fleets import Fleet
from postgresql import Server, running

from narformer.errors import ConfigError, StoreError
from narformer.fleet import measuring
from narformer.fleet.agent import Wish
from narformer.fleet.measuring import measure
from narformer.measurement.drift import REFERENCE_NAME
from narformer.measurement.jobs import Job
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
        if len(seen) == 6:
            server.stop()
            starting.start()

    with Store.open(server.emptied()) as store:
        outcomes = measure(networks(6), wishes=WISHES, store=store, settings=SETTINGS, report=report, tell=told.append)
        starting.join()
        assert {o.measurement.failure for o in outcomes} == {""}
        assert {o.source for o in outcomes} == {"measured"}
        assert [o.name for o in outcomes] == [f"net{k}" for k in range(6)] * 2
        assert len(seen) == 12
        rows = measured(store)
        assert len(rows) == 12
        assert set(rows.values()) == {1}
        assert {device.partition(":")[0] for _, device in rows} == {"alpha", "beta"}
        references = [m.device for m in store.find() if m.model == REFERENCE_NAME]
        assert len(references) == len(set(references)) == 2
        assert any("was lost" in line for line in told)
        assert any("trying again" in line for line in told)
        again = measure(networks(6), wishes=WISHES, store=store, settings=SETTINGS)
        assert {o.source for o in again} == {"stored"}
        assert measured(store) == rows


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "Agent", far_away.QuickAgent)
    monkeypatch.setattr(measuring, "LOOK_S", 0.2)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store.db") as opened:
        yield opened


def test_an_interrupted_run_goes_on_where_it_stopped(fleet: Fleet, quick: None, store: Store) -> None:
    before = []

    def report(outcome: Outcome) -> None:
        before.append(outcome)
        if len(before) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(networks(8), wishes=[Wish("alpha")], store=store, settings=SETTINGS, report=report)
    outcomes = measure(networks(8), wishes=[Wish("alpha")], store=store, settings=SETTINGS)
    assert Counter(o.source for o in outcomes) == {"stored": 3, "measured": 5}
    assert list(measured(store).values()) == [1] * 8


def test_a_database_that_stays_away_ends_the_run_and_what_was_in_it_is_not_measured_again(
    fleet: Fleet, quick: None, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "STORE_PATIENCE_S", 0.2)
    seen: list[Outcome] = []
    told: list[str] = []

    def report(outcome: Outcome) -> None:
        seen.append(outcome)
        if len(seen) == 2:
            server.stop()

    def measuring_all(store: Store) -> list[Outcome]:
        return measure(networks(4), wishes=WISHES[:1], store=store, settings=SETTINGS, report=report, tell=told.append)

    with Store.open(server.emptied()) as store, pytest.raises(StoreError, match="postgresql"):
        measuring_all(store)
    assert len(seen) == 2
    assert "trying again" in told[0]
    server.start()
    with Store.open(server.url) as store:
        assert Counter(outcome.source for outcome in measuring_all(store)) == {"stored": 2, "measured": 2}
        assert list(measured(store).values()) == [1] * 4


def test_one_network_under_two_names_is_measured_once(fleet: Fleet, quick: None, store: Store) -> None:
    (network,) = networks(1)
    twins = [network, replace(network, name="twin")]
    outcomes = measure(twins, wishes=[Wish("alpha")], store=store, settings=SETTINGS)
    assert sorted(o.source for o in outcomes) == ["measured", "stored"]


def test_a_network_that_kills_every_machine_is_a_failure_and_the_others_are_measured(
    fleet: Fleet, quick: None, store: Store
) -> None:
    first, second, third = networks(3)
    told: list[str] = []
    given = [first, replace(second, name="killer"), third]
    outcomes = measure(given, wishes=[Wish("beta")], store=store, settings=SETTINGS, tell=told.append)
    assert [o.source for o in outcomes] == ["measured", "failed", "measured"]
    assert outcomes[1].measurement.failure == "crashed: the machine that measured it was lost, 3 times"
    assert len([line for line in told if "killer, which is measured again" in line]) == 2


def test_a_file_that_cannot_be_read_is_a_failure_of_each_target(
    fleet: Fleet, quick: None, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "broken.onnx").write_text("not ONNX")
    given = [
        *networks(1),
        Network("broken.onnx", tmp_path / "broken.onnx"),
        Network("absent.onnx", Path("absent.onnx")),
    ]
    outcomes = measure(given, wishes=WISHES, store=store, settings=SETTINGS)
    assert [o.source for o in outcomes] == ["measured", "failed", "failed"] * 2
    assert all("not an ONNX model" in o.measurement.failure for o in outcomes[1::3])


def test_what_no_machine_can_measure_ends_the_run_where_it_was_asked_for(
    fleet: Fleet, quick: None, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish = Wish.of("beta:onnxruntime-1.0:fp32:1t")
    with pytest.raises(ConfigError, match=r"no machine can measure it: .*: this machine has "):
        measure(networks(1), wishes=[wish], store=store, settings=SETTINGS)
    unasked = [Wish("alpha"), replace(wish, asked=False)]
    assert [o.source for o in measure(networks(1), wishes=unasked, store=store, settings=SETTINGS)] == ["measured"]
    monkeypatch.setattr(measuring, "Agent", far_away.UnableAgent)
    with pytest.raises(ConfigError, match=r"no machine can measure it: .* does not start: no disk"):
        measure(networks(2), wishes=[Wish("beta")], store=store, settings=SETTINGS)


def test_where_no_machine_is_left_the_run_ends_and_says_how_to_go_on(
    fleet: Fleet, quick: None, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "PATIENCE_S", 0.0)
    with pytest.raises(ConfigError, match="1 of 1 networks are not measured; give the same command again"):
        measure(networks(1), wishes=[Wish("gamma")], store=store, settings=SETTINGS)


def test_weights_stay_and_shapes_and_indices_go(tmp_path: Path) -> None:
    weight = onnx.numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    indices = onnx.numpy_helper.from_array(np.arange(1000), "i")
    nodes = [onnx.helper.make_node("MatMul", ["x", "w"], ["a"]), onnx.helper.make_node("Gather", ["a", "i"], ["y"])]
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2000, 64])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1000, 64])
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "net", [x], [y], [weight, indices]))
    onnx.save(model, tmp_path / "net.onnx")
    for source in (tmp_path / "net.onnx", model.SerializeToString()):
        sent = measuring.sendable(Job("net", source, 2000))
        assert isinstance(sent.source, bytes)
        kept = {tensor.name: tensor for tensor in onnx.load_from_string(sent.source).graph.initializer}
        assert not kept["w"].raw_data
        assert kept["i"].raw_data == indices.raw_data
        assert (list(kept["w"].dims), sent.batch_size) == ([64, 64], 2000)
