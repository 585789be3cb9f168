"""A store whose ids of devices said batch size and precision: they are columns now, and no measurement is lost."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy: pip install 'narformer[measure]'")

from narformer.frontends.canonical import network_hash
from narformer.graph import Graph, Node, Operand, Tensor
from narformer.measurement.measurement import Measurement
from narformer.measurement.store import Store

spec = importlib.util.spec_from_file_location("old_stores", Path(__file__).with_name("test_rehashing.py"))
assert spec is not None
assert spec.loader is not None
old_stores = importlib.util.module_from_spec(spec)
spec.loader.exec_module(old_stores)


def net(batch: int) -> Graph:
    x = Tensor((batch, 8))
    return Graph((Node("r", "Relu", (Operand(x, ~0),), (x,)),), (x,), ("x",), "net")


ONE, FOUR = net(1), net(4)
FORMER = "amd-epyc-milan-onnxruntime1.32-cpu-fp32-t1-b{}"
TARGET = "epyc-milan:onnxruntime-1.32:fp32:1t"
ROWS: list[tuple[Measurement, Graph | None]] = [
    (Measurement(ONE.hash, "net.onnx", FORMER.format(1), 1.0, session="s"), ONE),
    (Measurement(FOUR.hash, "net.onnx", FORMER.format(4), 3.0, session="s"), FOUR),
    (Measurement(FOUR.hash, "net.onnx", FORMER.format(4), None, failure="timeout", session="t"), FOUR),
    (Measurement("", "broken.onnx", FORMER.format(4), None, failure="unreadable: x"), None),
    (Measurement(ONE.hash, "net.onnx", "amd-epyc-milan-onnxruntime1.32-cpu-int8-t1-b1", 0.5), ONE),
    (Measurement(ONE.hash, "net.onnx", "cortexA76cpu", 8.0), ONE),
    (Measurement(FOUR.hash, "net.onnx", "my gpu", 2.0), FOUR),
]
DEVICES = (*[TARGET] * 4, TARGET.replace("fp32", "int8"), "cortex-a76:tflite-2.1:fp32", "my gpu")
BATCHES = (1, 4, 4, 4, 1, 1, 4)
PRECISIONS = ("fp32", "fp32", "fp32", "fp32", "int8", "fp32", "fp32")
EXPECTED = [
    replace(row, graph=network_hash(graph) if graph else "", device=device, batch_size=batch, precision=precision)
    for (row, graph), device, batch, precision in zip(ROWS, DEVICES, BATCHES, PRECISIONS, strict=True)
]


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_every_row_of_an_old_store_has_its_target_batch_size_and_precision(location: str, revision: str) -> None:
    old_stores.write_old(location, ROWS, revision)
    for _ in range(2):
        with Store.open(location) as store:
            assert store.find() == EXPECTED
            assert [(d.id, d.description, d.measured, d.failed) for d in store.devices()] == [
                ("cortex-a76:tflite-2.1:fp32", "a machine", 1, 0),
                (TARGET, "a machine", 2, 2),
                (TARGET.replace("fp32", "int8"), "a machine", 1, 0),
                ("my gpu", "a machine", 1, 0),
            ]


def test_a_network_is_answered_at_its_own_batch_and_under_a_former_id_too(location: str) -> None:
    old_stores.write_old(location, ROWS)
    with Store.open(location) as store:
        for graph, latency in ((ONE, 1.0), (FOUR, 3.0)):
            for device in (TARGET, FORMER.format(1)):
                found = store.latest(network_hash(graph), device)
                assert found is not None
                assert (found.latency_ms, found.batch_size, found.device) == (latency, graph.batch_size, TARGET)
        assert store.find(device="cortexA76cpu") == EXPECTED[5:6]


def test_what_an_old_store_has_is_not_added_again(location: str) -> None:
    old_stores.write_old(location, ROWS)
    graphs = [graph for _, graph in ROWS]
    with Store.open(location) as store:
        assert store.add_all(zip(EXPECTED, graphs, strict=True)) == 0
        # Nor under the ids that they had.
        assert store.add(replace(EXPECTED[0], device=FORMER.format(1)), ONE) is None
        assert len(store.find()) == len(ROWS)


def test_a_measurement_at_another_batch_size_than_its_network_s_is_refused(tmp_path: Path) -> None:
    with (
        Store.open(tmp_path / "s.db") as store,
        pytest.raises(ValueError, match="batch size 1, given with a Graph of 4"),
    ):
        store.add(Measurement(network_hash(FOUR), "net.onnx", TARGET, 1.0), FOUR)
