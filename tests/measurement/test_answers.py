"""A network that was measured is answered from the store; everything else is predicted as before."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from dummies import relu_graph

pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy: pip install 'narformer[measure]'")

import narformer
from narformer.cli import main as cli
from narformer.errors import StoreError, UnknownDeviceError
from narformer.frontends.canonical import network_hash
from narformer.graph import Node, Operand
from narformer.measurement.answers import answer, existing_store
from narformer.measurement.measurement import Measurement
from narformer.measurement.store import Store
from narformer.prediction.predictor import Predictor

NET, OTHER = relu_graph(), relu_graph("Tanh")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """The default store of the test: NET measured on q and on "here", OTHER nowhere."""
    with Store.open(tmp_path / "measurements.db") as opened:
        opened.add(Measurement(network_hash(NET), "a", "q", 7.0, 0.5), NET)
        opened.add(Measurement(network_hash(NET), "a", "here", 3.0), NET)
        opened.add(Measurement(network_hash(OTHER), "b", "here", None, failure="out of memory"), OTHER)
        yield opened


def test_measured_where_it_was_and_predicted_elsewhere(dummy: Path, store: Store) -> None:
    first, second = answer([NET, OTHER], Predictor.load(dummy), None, store)
    assert [(e.device, e.latency_ms, e.source) for e in first] == [
        ("p", 10.0, "predicted"),
        ("q", 7.0, "measured"),
        ("here", 3.0, "measured"),
    ]
    assert [(e.device, e.latency_ms, e.source) for e in second] == [("p", 10.0, "predicted"), ("q", 20.0, "predicted")]
    q, here = first[1:]
    assert (q.low_ms, q.high_ms) == (pytest.approx(7 - 2.44 / 2), pytest.approx(7 + 2.44 / 2))
    assert (here.low_ms, here.high_ms) == (3.0, 3.0)


def test_devices_come_in_the_order_asked_for(dummy: Path, store: Store) -> None:
    first, second = answer([NET, OTHER], Predictor.load(dummy), ["here", "q", "p"], store)
    assert [e.device for e in first] == ["here", "q", "p"]
    assert [e.device for e in second] == ["q", "p"]  # OTHER failed here: no answer


def test_an_interval_never_reaches_below_zero(dummy: Path, store: Store) -> None:
    store.add(Measurement(network_hash(NET), "a", "noisy", 1.0, 5.0), NET)
    [[estimate]] = answer([NET], Predictor.load(dummy), ["noisy"], store)
    assert estimate.low_ms == 0.0


def test_predict_from_python(dummy: Path, store: Store) -> None:
    path = str(dummy)
    assert [e.source for e in narformer.predict(NET, predictor=path)] == ["predicted", "measured", "measured"]
    assert [e.source for e in narformer.predict(NET, predictor=path, measured=False)] == ["predicted"] * 2
    assert narformer.predict(NET, devices="here", predictor=path)[0].latency_ms == 3.0
    with pytest.raises(UnknownDeviceError, match="net: not measured on here; the predictor knows p, q"):
        narformer.predict(OTHER, devices="here", predictor=path)


def test_a_network_is_found_whichever_exporter_wrote_its_file(dummy: Path, store: Store) -> None:
    """Another one writes an Identity behind each node, which no runtime runs."""
    nodes: list[Node] = []
    place: dict[int, int] = {}
    for index, node in enumerate(NET.nodes):
        operands = [
            o if o.source is None or o.source < 0 else o._replace(source=place[o.source]) for o in node.operands
        ]
        nodes.append(node._replace(operands=tuple(operands)))
        nodes.append(Node(f"i{index}", "Identity", (Operand(node.outputs[0], len(nodes) - 1),), node.outputs))
        place[index] = len(nodes) - 1
    padded = replace(NET, nodes=tuple(nodes), name="padded")
    assert padded.hash != NET.hash
    (estimates,) = answer([padded], Predictor.load(dummy), store=store)
    assert {e.device: e.source for e in estimates} == {"p": "predicted", "q": "measured", "here": "measured"}
    assert {e.model for e in estimates} == {"padded"}


def test_without_a_store_nothing_changes(dummy: Path, tmp_path: Path) -> None:
    assert existing_store() is None
    assert [e.source for e in narformer.predict(NET, predictor=str(dummy))] == ["predicted"] * 2
    with pytest.raises(StoreError, match="no such store"):
        existing_store(tmp_path / "missing.db")


def test_a_broken_default_store_tells_how_to_do_without(dummy: Path, tmp_path: Path) -> None:
    (tmp_path / "measurements.db").write_text("no database\n" * 100)
    with pytest.raises(StoreError, match="--no-store"):
        narformer.predict(NET, predictor=str(dummy))


def test_without_a_store_sqlalchemy_is_not_imported(dummy: Path, resnet18: Path) -> None:
    code = (
        "import sys; from narformer.cli.main import main\n"
        f"sys.argv = ['narformer', 'predict', {str(resnet18)!r}, '--predictor', {str(dummy)!r}]\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print({'sqlalchemy', 'alembic', 'torch'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "set()"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["narformer", "predict", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_command(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    dummy: Path,
    store: Store,
    resnet18: Path,
    tmp_path: Path,
) -> None:
    net = narformer.read_onnx(resnet18)
    store.add(Measurement(network_hash(net), "x", "here", 4.0, 0.1), net)
    common = ("--predictor", dummy)

    assert run(monkeypatch, resnet18, *common, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(r["device"], r["source"]) for r in rows] == [("p", "predicted"), ("q", "predicted"), ("here", "measured")]

    assert run(monkeypatch, resnet18, *common, "--no-store", "--json") == 0
    assert {r["source"] for r in json.loads(capsys.readouterr().out)} == {"predicted"}

    monkeypatch.setenv("COLUMNS", "160")
    assert run(monkeypatch, resnet18, *common, "--device", "here", "--store", tmp_path / "measurements.db") == 0
    out = capsys.readouterr().out
    assert "4.00 ms" in out
    assert "measured" in out

    assert run(monkeypatch, resnet18, *common, "--device", "here", "--device", "p", "--batch-size", 2) == 2
    captured = capsys.readouterr()
    assert "not measured on here" in captured.err
    assert "10.0 ms" in captured.out

    assert run(monkeypatch, resnet18, *common, "--device", "nowhere") == 2
    assert run(monkeypatch, resnet18, *common, "--store", tmp_path / "missing.db") == 2
    assert run(monkeypatch, resnet18, *common, "--store", "x.db", "--no-store") == 2
