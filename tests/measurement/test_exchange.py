"""Into the store and out of it, and the commands that do so."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy: pip install 'narformer[measure]'")

from narformer.cli import main as cli
from narformer.datasets.nnlqp import load_nnlqp
from narformer.errors import DataError
from narformer.families.registry import build, sample
from narformer.frontends.canonical import network_hash
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph, Node, Operand, Tensor
from narformer.measurement.exchange import Imported, add, entries, export_csv, export_nnlqp
from narformer.measurement.measurement import Measurement
from narformer.measurement.store import Store

X = Tensor((4, 8))


def network(op: str = "Relu", **attributes: float) -> Graph:
    return Graph((Node("r", op, (Operand(X, ~0),), (X,), attributes),), (X,), ("x",), "net")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two networks in NNLQP's layout: three latencies, one of a second batch size, one not measured, one unreadable."""
    directory = tmp_path / "dataset"
    (directory / "onnx" / "squeezenet").mkdir(parents=True)
    for number, variant in enumerate(sample("squeezenet", 2)):
        content = build(variant.family, variant.config, variant.version).SerializeToString()
        (directory / f"onnx/squeezenet/{number}.onnx").write_bytes(content)
    (directory / "onnx" / "broken.onnx").write_text("no network")
    (directory / "gt.txt").write_text(
        "0 onnx/squeezenet/0.onnx 1 1.25 squeezenet gpu\n"
        "0 onnx/squeezenet/0.onnx 8 9.5 squeezenet gpu\n"
        "1 onnx/squeezenet/1.onnx 1 2.5 squeezenet cpu\n"
        "1 onnx/squeezenet/1.onnx 1 nan squeezenet gpu\n"
        "2 onnx/broken.onnx 1 3.0 other gpu\n"
    )
    return directory


def bring(store: Store, source: object) -> Imported:
    return add(store, entries(str(source), store)[1])


def test_nnlqp_comes_in_once(dataset: Path, tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.db") as store:
        result = bring(store, dataset)
        assert (result.added, result.present) == (3, 0)
        assert len(result.skipped) == 1
        assert "broken.onnx" in result.skipped[0]
        rows = [(m.model, m.device, m.latency_ms) for m in store.find()]
        assert rows == [
            ("onnx/squeezenet/0.onnx", "gpu", 1.25),
            ("onnx/squeezenet/0.onnx", "gpu", 9.5),
            ("onnx/squeezenet/1.onnx", "cpu", 2.5),
        ]
        assert store.find()[1].graph == network_hash(read_onnx(dataset / "onnx/squeezenet/0.onnx", batch_size=8))
        again = bring(store, dataset)
        assert (again.added, again.present) == (0, 3)
        assert len(store.find()) == 3


def test_an_interrupted_import_goes_on(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("narformer.measurement.exchange.TOGETHER", 1)
    with Store.open(tmp_path / "s.db") as store:
        items = entries(str(dataset), store)[1]

        def interrupted() -> object:
            yield next(items)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            add(store, interrupted())  # type: ignore[arg-type]
        assert len(store.find()) == 1
        result = bring(store, dataset)
        assert (result.added, result.present) == (2, 1)


def test_nnlqp_comes_out_as_a_dataset_of_the_same_networks(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Store.open(tmp_path / "s.db") as store:
        bring(store, dataset)
        assert list(export_nnlqp(store.find(), store, out)) == [None] * 3
        hashes = {row.graph: row.latency_ms for row in store.find()}
        with pytest.raises(DataError, match="holds a dataset already"):
            next(export_nnlqp(store.find(), store, out))
    again = load_nnlqp(out)
    assert set(again.devices) == {"cpu", "gpu"}
    assert again.family == ("squeezenet",) * 3
    latencies = {
        network_hash(s.graph()): max(row[row == row]) for s, row in zip(again.sources, again.targets, strict=True)
    }
    assert latencies == hashes


def test_only_the_last_latency_comes_out_and_no_failure(tmp_path: Path) -> None:
    net, odd = network(), network("LeakyRelu", alpha=0.1)  # 0.1 is no float32: ONNX cannot hold it
    rows = [
        Measurement(
            network_hash(net), "../../else where/../net.onnx", "my device", 2.0, measured_at="2026-01-02", batch_size=4
        ),
        Measurement(network_hash(net), "net.onnx", "my device", 1.0, measured_at="2026-01-01", batch_size=4),
        Measurement(network_hash(net), "net.onnx", "other", None, failure="timeout", batch_size=4),
        Measurement(network_hash(odd), "odd.onnx", "other", 1.0, batch_size=4),
    ]
    with Store.open(tmp_path / "s.db") as store:
        store.add_all([(row, odd if row.graph == network_hash(odd) else net) for row in rows])
        steps = list(export_nnlqp(store.find(), store, tmp_path / "out"))
    assert [step is None for step in steps] == [False, True]
    written = (tmp_path / "out" / "gt.txt").read_text().split()
    assert written[1:] == [f"onnx/unknown/{network_hash(net)[:16]}.onnx", "4", "2.0", "unknown", "my_device"]
    assert {p.name for p in tmp_path.iterdir()} == {"s.db", "out"}


def test_csv_gives_back_every_row(tmp_path: Path) -> None:
    net = network()
    rows = [
        Measurement(
            network_hash(net),
            'a "quoted", name.onnx',
            "gpu",
            1 / 3,
            0.1,
            9,
            1.1,
            5,
            "",
            "s",
            "2026-01-01",
            batch_size=4,
        ),
        Measurement(network_hash(net), "net.onnx", "gpu", None, failure="first line\nsecond, \u2028line", batch_size=4),
        Measurement("", "broken.onnx", "gpu", None, failure="not an ONNX model"),
    ]
    with Store.open(tmp_path / "s.db") as store:
        store.add_all([(rows[0], net), (rows[1], net), (rows[2], None)])
        export_csv(store.find(), tmp_path / "out.csv")
        (tmp_path / "broken.onnx").write_text("no network")  # is still what it was when it could not be measured
        result = bring(store, tmp_path / "out.csv")
        assert (result.added, result.present, result.skipped) == (0, 3, ())
    with Store.open(tmp_path / "new.db") as store:  # which does not have the networks
        result = bring(store, tmp_path / "out.csv")
        assert (result.added, len(result.skipped)) == (1, 2)
        assert "no such file, and its network is not in the store" in result.skipped[1]
        store.add(replace(rows[0], latency_ms=9.0), net)
        assert bring(store, tmp_path / "out.csv").added == 2
        assert [m for m in store.find() if m.latency_ms != 9.0] == [rows[2], *rows[:2]]


def test_a_csv_of_ones_own_needs_three_columns(dataset: Path, tmp_path: Path) -> None:
    table = tmp_path / "dataset" / "mine.csv"
    table.write_text("model,device,latency_ms\nonnx/squeezenet/0.onnx,phone,4.5\nonnx/broken.onnx,phone,1\n")
    with Store.open(tmp_path / "s.db") as store:
        result = bring(store, table)
        assert (result.added, len(result.skipped)) == (1, 1)
        assert store.latest(network_hash(read_onnx(dataset / "onnx/squeezenet/0.onnx")), "phone") is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,device\na,b\n", "no column latency_ms"),
        ("model,device,latency_ms,ms\na,b,1,1\n", "unknown columns ms"),
        ("model,device,latency_ms\na,b,1\na,b,fast\n", "row 3, latency_ms: 'fast'"),
        ("model,device,latency_ms,repeats\na,b,1,2.5\n", "row 2, repeats: '2.5' is not a number"),
        ("model,device,latency_ms\na,b,\n", "row 2: needs either latency_ms or a failure"),
        ("model,device,latency_ms\na,,1\n", "row 2: no device"),
        ("model,device,latency_ms\n", "no rows"),
    ],
)
def test_a_malformed_csv_is_refused_as_a_whole(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with Store.open(tmp_path / "s.db") as store:
        with pytest.raises(DataError, match=message):
            bring(store, tmp_path / "t.csv")
        assert store.find() == []


def test_a_file_that_is_another_network_by_now_is_left_out(dataset: Path, tmp_path: Path) -> None:
    table = dataset / "t.csv"
    table.write_text(f"graph,model,device,latency_ms\n{'0' * 64},onnx/squeezenet/0.onnx,phone,4.5\n")
    with Store.open(tmp_path / "s.db") as store:
        assert "its hash differs" in bring(store, table).skipped[0]


def test_a_file_whose_sizes_a_csv_does_not_say_is_left_out_with_what_would_say_them(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, "n"]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "d.onnx")
    (tmp_path / "t.csv").write_text(f"graph,model,device,latency_ms\n{'0' * 64},d.onnx,phone,4.5\n")
    with Store.open(tmp_path / "s.db") as store:
        (told,) = bring(store, tmp_path / "t.csv").skipped
    assert "t.csv, row 2: " in told
    assert "d.onnx: input 'x' has dynamic sizes [1, n]; a CSV does not say them: export the store as a .db" in told


def test_stores_are_merged(tmp_path: Path) -> None:
    net, other = network(), network("Tanh")
    rows = [
        Measurement(network_hash(net), "a", "gpu", 1.0, batch_size=4),
        Measurement(network_hash(other), "b", "gpu", None, failure="timeout", batch_size=4),
    ]
    with Store.open(tmp_path / "one.db") as one, Store.open(tmp_path / "two.db") as two:
        one.add_all(zip(rows, (net, other), strict=True))
        one.describe("gpu", "a card")
        two.add(rows[0], net)
        result = bring(two, tmp_path / "one.db")
        assert (result.added, result.present) == (1, 1)
        assert two.find() == rows
        assert two.graph(network_hash(other)) == other
        assert two.devices()[0].description == "a card"


def test_a_store_whose_hashes_are_of_another_version_comes_in_with_ours(tmp_path: Path) -> None:
    net = network()
    with Store.open(tmp_path / "old.db") as store:
        store.add_all(
            [(Measurement(network_hash(net), "a", "gpu", latency, batch_size=4), net) for latency in (1.0, 2.0)],
        )
    with contextlib.closing(sqlite3.connect(tmp_path / "old.db", isolation_level=None)) as connection:
        connection.execute(f"UPDATE graphs SET hash = '{'0' * 64}'")
        connection.execute(f"UPDATE measurements SET graph = '{'0' * 64}'")
    with Store.open(tmp_path / "new.db") as store:
        assert bring(store, tmp_path / "old.db").added == 2
        assert {row.graph for row in store.find()} == {network_hash(net)}


# --- the commands


class Shell:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys
        monkeypatch.setenv("COLUMNS", "200")

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        self.monkeypatch.setattr(sys, "argv", ["narformer", "store", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        captured = self.capsys.readouterr()
        return code, captured.out, captured.err


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(monkeypatch, capsys)


def test_the_commands(shell: Shell, dataset: Path, tmp_path: Path) -> None:
    code, out, err = shell("import", dataset)
    assert code == 2
    assert "3 added, 0 already there, 1 left out" in out
    assert "broken.onnx" in err

    code, out, _ = shell("list", "--device", "gpu", "--json")
    assert code == 0
    assert [row["latency_ms"] for row in json.loads(out)] == [1.25, 9.5]
    code, out, err = shell("list", "--model", "1.onnx")
    assert "2.500 ms" in out
    assert "1.250 ms" not in out
    assert err.startswith("1 measurements")
    assert json.loads(shell("list", "--failed", "--json")[1]) == []

    code, out, _ = shell("show", dataset / "onnx/squeezenet/0.onnx", "--json")
    shown = json.loads(out)
    assert [m["latency_ms"] for m in shown["measurements"]] == [1.25]
    assert "1.250 ms" in shell("show", shown["graph"][:10])[1]
    assert shell("show", "ffffffffff")[0] == 2

    assert [d["id"] for d in json.loads(shell("devices", "--json")[1])] == ["cpu", "gpu"]
    assert "gpu" in shell("devices")[1]

    assert shell("export", tmp_path / "out", "--device", "gpu")[0] == 0
    assert len(load_nnlqp(tmp_path / "out")) == 2
    assert shell("export", tmp_path / "out.csv")[1].startswith("3 measurements")
    assert shell("export", tmp_path / "all.db")[1].startswith("3 measurements")
    assert shell("export", tmp_path / "all.db")[0] == 2
    with Store.open(tmp_path / "all.db", create=False) as copy:
        assert len(copy.find()) == 3
    assert shell("export", tmp_path / "none.csv", "--device", "tpu")[0] == 2
    code, out, _ = shell("import", tmp_path / "out.csv", tmp_path / "missing.db", "--json")
    assert code == 2
    assert [(r["added"], r["present"], len(r["skipped"])) for r in json.loads(out)] == [(0, 3, 0), (0, 0, 1)]


def test_without_a_store_one_line_says_so(shell: Shell) -> None:
    for command in (["list"], ["devices"], ["show", "abc"], ["export", "out.csv"]):
        code, out, err = shell(*command)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "no such store" in err
