"""The store: what is added is found again, by many processes at once, after a kill, in SQLite and in PostgreSQL."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import select
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy: pip install 'narformer[measure]'")

from narformer.errors import MissingExtraError, StoreError
from narformer.frontends.canonical import network_hash
from narformer.graph import Graph, Node, Operand, Tensor
from narformer.measurement.measurement import Measurement
from narformer.measurement.store import Store, StoredDevice, default_store
from narformer.places import user_data

# Children start in a millisecond, with everything imported: also what opening a store would import only then.
with contextlib.suppress(ImportError):
    import psycopg  # noqa: F401
    import sqlalchemy.dialects.postgresql
    import sqlalchemy.dialects.sqlite  # noqa: F401

    import narformer.measurement.database  # noqa: F401
fork = multiprocessing.get_context("fork")


def network(width: int = 8, name: str = "net", node: str = "r") -> Graph:
    x = Tensor((1, width))
    return Graph((Node(node, "Relu", (Operand(x, ~0),), (x,)),), (x,), ("x",), name)


def measured(graph: Graph, latency: float | None = 1.5, device: str = "cpu", **fields: object) -> Measurement:
    failure = "" if latency is not None else "out of memory"
    return replace(Measurement(network_hash(graph), "net.onnx", device, latency, failure=failure), **fields)  # type: ignore[arg-type]


def test_a_record_comes_back_as_it_was(location: str) -> None:
    net = network()
    full = Measurement(
        network_hash(net),
        "a/ü.onnx",
        "cpu-ort-fp32",
        1 / 3,
        0.1,
        50,
        1.02,
        2**40,
        "",
        "session",
        "2026-01-02T03:04:05+00:00",
    )
    failed = measured(net, None, failure="runtime says: \0\udcff?\r\nand more")
    with Store.open(location) as store:
        store.add(full, net)
        store.add(failed, net)
    with Store.open(location) as store:
        assert store.find() == [full, replace(failed, failure="runtime says: \ufffd??\nand more")]
        assert store.graph(network_hash(net)) == net
        assert store.graph("0" * 64) is None


def test_latest_is_the_last_that_did_not_fail(location: str) -> None:
    net, other = network(), network(9)
    with Store.open(location) as store:
        assert store.latest(network_hash(net), "cpu") is None
        for latency, day, device in ((3.0, 2, "cpu"), (2.0, 1, "cpu"), (None, 3, "cpu"), (9.0, 4, "gpu")):
            store.add(measured(net, latency, device, measured_at=f"2026-01-0{day}"), net)
        store.add(measured(other, 7.0, measured_at="2026-01-05"), other)
        last = store.latest(network_hash(net), "cpu")
        assert last is not None
        assert last.latency_ms == 3.0
        many = [f"{i:064d}" for i in range(2000)]  # more than one query takes
        found = store.latest_of([*many, network_hash(net), network_hash(other)])
        assert {key: m.latency_ms for key, m in found.items()} == {
            (network_hash(net), "cpu"): 3.0,
            (network_hash(net), "gpu"): 9.0,
            (network_hash(other), "cpu"): 7.0,
        }
        assert store.latest_of([network_hash(net)], ["gpu"]).keys() == {(network_hash(net), "gpu")}


def test_find_takes_filters_together(location: str) -> None:
    net, other = network(), network(9)
    rows = [
        measured(net, 1.0, model="ResNet_18.onnx"),
        measured(net, None, "gpu", model="resnet_18.onnx"),
        measured(other, 2.0, "gpu", model="resnet518.onnx"),
    ]
    with Store.open(location) as store:
        store.add_all(zip(rows, (net, net, other), strict=True))
        assert store.find(graph=network_hash(net)) == rows[:2]
        assert store.find(device="gpu") == rows[1:]
        assert store.find(failed=True) == [rows[1]]
        assert store.find(device="gpu", failed=False) == [rows[2]]
        assert store.find(model="RESNET_18") == rows[:2]  # _ is no wildcard
        assert store.find(model="%") == []


def test_the_same_network_under_other_names_is_found(location: str) -> None:
    with Store.open(location) as store:
        store.add(measured(network()), network())
        store.add(measured(network(), 2.5), network(name="copy", node="other"))
        assert len(store.find(graph=network_hash(network(node="third")))) == 2
        assert store.graph(network_hash(network())) == network()


def test_the_same_record_twice_is_one_row(location: str) -> None:
    net = network()
    with Store.open(location) as store:
        assert store.add_all([(measured(net), net), (measured(net, 2.0), net)]) == 2
        assert store.add_all([(measured(net), net), (measured(net, 3.0), None)]) == 1
        assert [m.latency_ms for m in store.find()] == [1.5, 2.0, 3.0]


def test_all_or_none(location: str) -> None:
    net, unknown = network(), network(9)
    with Store.open(location) as store:
        with pytest.raises(StoreError, match="Graph is neither given nor in the store"):
            store.add_all([(measured(net), net), (measured(unknown), None)])
        assert store.find() == []
        assert store.devices() == []
        store.add(measured(net), net)  # and the store did not take the failed write for done
        assert len(store.find()) == 1


def test_a_network_that_could_not_be_read_is_a_row_without_a_graph(location: str) -> None:
    row = Measurement("", "broken.onnx", "cpu", None, failure="not an ONNX model")
    with Store.open(location) as store:
        store.add(row, None)
        assert store.find(failed=True) == [row]


def test_records_that_contradict_themselves_are_refused(location: str) -> None:
    net = network()
    with Store.open(location) as store:
        for wrong in (
            measured(net, None, failure=""),
            measured(net, 1.0, failure="out of memory"),
            measured(net, float("nan")),
            measured(net, 0.0),
            measured(network(9)),
        ):
            with pytest.raises(ValueError):
                store.add(wrong, net)
        assert store.find() == []


def test_devices_count_their_measurements(location: str) -> None:
    net, other = network(), network(9)
    with Store.open(location) as store:
        store.describe("gpu", "first text")
        store.describe("gpu", "a card")
        store.add_all([(measured(net), net), (measured(net, 2.0), net), (measured(net, None), net)])
        store.add(measured(other), other)
        assert store.devices() == [StoredDevice("cpu", "", 3, 1, 2), StoredDevice("gpu", "a card", 0, 0, 0)]


def write_some(location: str, number: int, start: object) -> None:
    """One of the two hundred: opens the store, which may be new, and writes a network of its own and one shared."""
    start.wait()  # type: ignore[attr-defined]
    networks = (network(1), network(number + 2))
    with Store.open(location) as store:
        store.add_all([(measured(net, session=str(number)), net) for net in networks])


def write_at_once(location: str) -> None:
    """Two hundred writers that begin at the same moment; exit code 0 if every one's is."""
    start = fork.Barrier(200)
    writers = [fork.Process(target=write_some, args=(location, number, start)) for number in range(200)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    sys.exit(int({writer.exitcode for writer in writers} != {0}))


def test_two_hundred_processes_write_at_once(location: str) -> None:
    # From a process that has imported nothing else: what pytest holds would be copied two hundred times.
    program = "import sys; sys.path.insert(0, sys.argv[1]); import test_store; test_store.write_at_once(sys.argv[2])"
    subprocess.run([sys.executable, "-c", program, str(Path(__file__).parent), location], check=True)
    with Store.open(location) as store:
        rows = store.find()
        assert len(rows) == 400
        assert len({row.graph for row in rows}) == 201
        assert all(len([r for r in rows if r.session == str(n)]) == 2 for n in range(200))


def write_until_killed(location: str, session: str, acknowledge: int) -> None:
    with Store.open(location) as store:
        for number in range(1, 100_000):
            net = network(number)
            store.add(measured(net, float(number), f"device {session} {number}", session=session), net)
            os.write(acknowledge, f"{number}\n".encode())


def test_kill_loses_nothing_acknowledged_and_leaves_no_half_row(location: str) -> None:
    chance = random.Random(5)
    acknowledged: dict[str, int] = {}
    for session in map(str, range(10)):
        reader, writer = os.pipe()
        child = fork.Process(target=write_until_killed, args=(location, session, writer))
        child.start()
        os.close(writer)
        # Early kills hit the making of the tables, however slow the machine is; late ones what has been written.
        if int(session) >= 5:
            assert select.select([reader], [], [], 60)[0]
        time.sleep(chance.uniform(0.0, 0.2))
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        with os.fdopen(reader) as lines:
            acknowledged[session] = len(lines.read().splitlines())
    assert sum(acknowledged.values()) > 0
    with Store.open(location) as store:
        for session, count in acknowledged.items():
            latencies = [row.latency_ms for row in store.find() if row.session == session]
            assert latencies in ([float(n) for n in range(1, count + extra + 1)] for extra in (0, 1))
        for row in store.find():
            graph = store.graph(row.graph)
            assert graph is not None
            assert network_hash(graph) == row.graph
        assert {d.id for d in store.devices()} == {row.device for row in store.find()}


def test_a_child_of_a_fork_gets_a_connection_of_its_own(location: str) -> None:
    net = network()
    with Store.open(location) as store:
        store.add(measured(net), net)
        child = fork.Process(target=store.add, args=(measured(net, 2.0), net))
        child.start()
        child.join()
        store.add(measured(net, 3.0), net)
        assert [m.latency_ms for m in store.find()] == [1.5, 2.0, 3.0]


def test_where_the_default_store_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("narformer.measurement.store.user_data", user_data)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_store() == str(tmp_path / "narformer" / "measurements.db")
    with Store.open() as store:  # its directory is made
        assert store.name == default_store()
    monkeypatch.setenv("NARFORMER_STORE", "postgresql://me@host/data")
    assert default_store() == "postgresql://me@host/data"


def test_without_sqlalchemy_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "narformer.measurement.database")
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[measure\]'"):
        Store.open("any.db")


def test_two_sessions_do_not_measure_the_same_network(location: str) -> None:
    with Store.open(location) as one, Store.open(location) as other:
        assert repr(one) == repr(other) == f"Store({one.name!r})"
        assert one.claim("a" * 64, "cpu", "one", 60)
        assert not other.claim("a" * 64, "cpu", "other", 60)
        assert other.claim("a" * 64, "gpu", "other", 60)
        assert one.claim("a" * 64, "cpu", "one", -1)  # again, and it has died since
        assert other.claim("a" * 64, "cpu", "other", 60)
        other.release("other")
        assert one.claim("a" * 64, "gpu", "one", 60)
