"""What a store exports it can import, and what is exported again is the same: any names, any failures, any networks."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy: pip install 'narformer[measure]'")

from narformer.errors import DataError
from narformer.families.registry import build
from narformer.frontends.canonical import network_hash
from narformer.frontends.onnx import read_onnx
from narformer.graph import Attribute, Graph, Node, Operand, Tensor
from narformer.measurement.exchange import add, entries, export_csv, export_nnlqp, export_store
from narformer.measurement.measurement import Measurement
from narformer.measurement.store import Store

QUICK = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TEXT = st.text(max_size=12) | st.sampled_from(
    ['a,b "c".onnx', "two\nlines", "r\r\nn", "\u2028\x85\x1c", "nul\0", " blank ", "\udcff", "日本/é.onnx", "x" * 300]
)
NUMBER = st.floats(min_value=1e-9, max_value=1e9)
FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
ATTRIBUTE: st.SearchStrategy[Attribute] = st.one_of(
    st.integers(-9, 9),
    FLOAT32,
    st.text(max_size=3),
    st.lists(st.integers(-9, 9), max_size=3).map(tuple),
    st.lists(FLOAT32, min_size=1, max_size=3).map(tuple),
    st.lists(st.text(max_size=3), min_size=1, max_size=3).map(tuple),
)


@st.composite
def networks(draw: st.DrawFn) -> Graph:
    """A few nodes after each other that read weights and constants, of any dtype, at any batch size."""
    dtype = draw(st.sampled_from(["float32", "int8", "uint8", "float16", "bfloat16", "int64", "int4"]))
    x = Tensor((draw(st.integers(1, 9)), 4), dtype)
    nodes: list[Node] = []
    for index in range(draw(st.integers(1, 3))):
        before = Operand(x, index - 1) if index else Operand(x, ~0)
        held = draw(st.none() | st.just((1.0, 2.0, 3.0, 4.0)))
        weight = Operand(Tensor((4,), dtype), name=draw(st.sampled_from(["w", "", "v"])), value=held)
        attributes = draw(st.dictionaries(st.sampled_from(["alpha", "axes", "mode"]), ATTRIBUTE, max_size=2))
        op, domain = draw(st.sampled_from([("Add", ""), ("Mul", ""), ("QLinearAdd", "com.microsoft"), ("Own", "mine")]))
        nodes.append(Node(f"n{index}", op, (before, weight), (x,), attributes, domain))
    return Graph(tuple(nodes), (x,), ("x",), draw(TEXT))


@st.composite
def records(draw: st.DrawFn) -> list[tuple[Measurement, Graph | None]]:
    """Measurements of some networks, and failures, also of networks that could not be read."""
    known = draw(st.lists(networks(), min_size=1, max_size=3))
    rows: list[tuple[Measurement, Graph | None]] = []
    for _ in range(draw(st.integers(1, 6))):
        graph = draw(st.none() | st.sampled_from(known))
        latency = None if graph is None else draw(st.none() | NUMBER | st.integers(1, 9) | NUMBER.map(np.float64))
        row = Measurement(
            "" if graph is None else network_hash(graph),
            draw(TEXT),
            draw(st.sampled_from(["cpu", "my gpu", "my_gpu", "Gerät", "tpu, v1", "rtx4090:pytorch-2.9:fp16"])),
            latency,
            draw(st.none() | st.just(0) | NUMBER),
            draw(st.integers(0, 9)),
            draw(st.just(1) | NUMBER),
            draw(st.none() | st.integers(0, 2**50)),
            "" if latency is not None else draw(TEXT.filter(bool)),
            draw(TEXT),
            draw(st.sampled_from(["", "2026-01-01", "2026-01-02"])),
            draw(st.integers(1, 9)) if graph is None else graph.batch_size,
            draw(st.sampled_from(["", "fp32", "int8"])),
        )
        rows.append((row, graph))
    return rows


@contextmanager
def stores(rows: list[tuple[Measurement, Graph | None]]) -> Iterator[tuple[Store, Store, Path]]:
    """A store with these rows, an empty one, and a directory."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with Store.open(directory / "one.db") as one, Store.open(directory / "two.db") as two:
            one.add_all(rows)
            yield one, two, directory


def bring(store: Store, source: Path) -> tuple[int, tuple[str, ...]]:
    done = add(store, entries(str(source), store)[1])
    return done.added, done.skipped


def files(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


@QUICK
@given(records())
def test_a_csv(rows: list[tuple[Measurement, Graph | None]]) -> None:
    with stores(rows) as (one, two, directory):
        export_csv(one.find(), directory / "one.csv")
        assert bring(one, directory / "one.csv") == (0, ())
        # The other store has the networks, by measurements on another device.
        here = [(replace(row, device="here", latency_ms=1.0, failure=""), graph) for row, graph in rows if graph]
        two.add_all(here)
        assert bring(two, directory / "one.csv") == (len(one.find()), ())
        export_csv([row for row in two.find() if row.device != "here"], directory / "two.csv")
        assert (directory / "one.csv").read_bytes() == (directory / "two.csv").read_bytes()


@QUICK
@given(records(), TEXT)
def test_a_store(rows: list[tuple[Measurement, Graph | None]], note: str) -> None:
    with stores(rows) as (one, two, directory):
        one.describe(rows[0][0].device, note)
        assert export_store(one.find(), one, directory / "out.db") == len(one.find())
        assert bring(one, directory / "out.db") == (0, ())
        assert bring(two, directory / "out.db") == (len(one.find()), ())
        assert two.find() == one.find()
        assert two.devices() == one.devices()
        for row in one.find():
            assert not row.graph or two.graph(row.graph) == one.graph(row.graph)


@QUICK
@given(records())
def test_a_dataset(rows: list[tuple[Measurement, Graph | None]]) -> None:
    with stores(rows) as (one, two, directory):
        first, second = directory / "first", directory / "second"
        if all(row.latency_ms is None for row in one.find()):
            return
        reasons = [reason for reason in export_nnlqp(one.find(), one, first) if reason]
        if not (first / "gt.txt").exists():
            assert reasons
            return
        added, skipped = bring(two, first)
        assert skipped == ()
        assert added == len((first / "gt.txt").read_text(encoding="utf-8").splitlines())
        assert list(filter(None, export_nnlqp(two.find(), two, second))) == []
        assert files(second) == files(first)


@given(networks())
def test_a_network_as_json(graph: Graph) -> None:
    assert Graph.from_json(graph.to_json()) == graph


def test_numbers_of_any_type_are_one_record(tmp_path: Path) -> None:
    graph = Graph((Node("r", "Relu", (Operand(Tensor((1, 8)), ~0),), (Tensor((1, 8)),)),), (Tensor((1, 8)),))
    row = Measurement(network_hash(graph), "net.onnx", "cpu", 3, 1, np.int64(5), 1, np.int64(7))  # type: ignore[arg-type]
    with Store.open(tmp_path / "s.db") as store:
        store.add(row, graph)
        export_csv(store.find(), tmp_path / "out.csv")
        assert bring(store, tmp_path / "out.csv") == (0, ())


def test_a_csv_of_several_batch_sizes_finds_them_in_one_file(tmp_path: Path) -> None:
    """What `measure --batch-size` has measured, taken to a store that does not have the networks."""
    cell = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    (tmp_path / "cell.onnx").write_bytes(build("nasbench201", cell).SerializeToString())
    rows = []
    for batch in (1, 4):
        graph = read_onnx(tmp_path / "cell.onnx", batch_size=batch)
        row = Measurement(network_hash(graph), "cell.onnx", "desk:onnxruntime-1.32:fp32:1t", float(batch))
        rows.append((replace(row, batch_size=batch, precision="fp32"), graph))
    with Store.open(tmp_path / "one.db") as one, Store.open(tmp_path / "two.db") as two:
        one.add_all(rows)
        export_csv(one.find(), tmp_path / "out.csv")
        assert bring(two, tmp_path / "out.csv") == (2, ())
        assert two.find() == one.find()
        # As narformer wrote it before: the ids of devices said the batch sizes.
        table = (tmp_path / "out.csv").read_text().replace(',"batch_size","precision"', "")
        for batch in (1, 4):
            table = table.replace(f',{batch},"fp32"', "").replace(
                f'"desk:onnxruntime-1.32:fp32:1t",{batch}.0', f'"desk-onnxruntime1.32-cpu-fp32-t1-b{batch}",{batch}.0'
            )
        assert table.count("-b1") == table.count("-b4") == 1
        (tmp_path / "before.csv").write_text(table)
        with Store.open(tmp_path / "three.db") as three:
            assert bring(three, tmp_path / "before.csv") == (2, ())
            assert three.find() == one.find()
        assert bring(two, tmp_path / "before.csv") == (0, ())
        stranger = [replace(row, graph="0" * 64) for row, _ in rows]
        export_csv(stranger, tmp_path / "strange.csv")
        added, reasons = bring(two, tmp_path / "strange.csv")
        assert added == 0
        assert all("its hash differs" in reason for reason in reasons)


def test_devices_whose_words_would_be_the_same_stay_two(tmp_path: Path) -> None:
    x = Tensor((1, 8))
    graph = Graph((Node("r", "Relu", (Operand(x, ~0),), (x,)),), (x,))
    rows = [
        Measurement(network_hash(graph), "a/net.onnx", device, ms) for device, ms in (("my gpu", 1.0), ("my_gpu", 2.0))
    ]
    with Store.open(tmp_path / "one.db") as one, Store.open(tmp_path / "two.db") as two:
        one.add_all([(row, graph) for row in rows])
        assert list(export_nnlqp(one.find(), one, tmp_path / "first")) == [None]
        bring(two, tmp_path / "first")
        assert {row.device: row.latency_ms for row in two.find()} == {"my_gpu": 2.0, "my_gpu_2": 1.0}
        assert list(export_nnlqp(two.find(), two, tmp_path / "second")) == [None]
    assert files(tmp_path / "second") == files(tmp_path / "first")


def test_nothing_that_has_a_latency_makes_no_dataset(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.db") as store:
        store.add(Measurement("", "a", "cpu", None, failure="unreadable"), None)
        with pytest.raises(DataError, match="none of these measurements has a latency"):
            list(export_nnlqp(store.find(), store, tmp_path / "out"))
        assert not (tmp_path / "out").exists()
        export_store(store.find(), store, tmp_path / "out.db")
        with pytest.raises(DataError, match="exists already"):
            export_store(store.find(), store, tmp_path / "out.db")


def test_a_very_long_failure_is_read_again(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.db") as store:
        store.add(Measurement("", "a", "cpu", None, failure="no " * 100_000), None)
        export_csv(store.find(), tmp_path / "out.csv")
        assert bring(store, tmp_path / "out.csv") == (0, ())
