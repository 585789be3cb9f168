"""The canonical form of any network: it is read without error, keeps what there is to compute, and is its own form."""

from __future__ import annotations

import gc
import runpy
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from narformer.cost import graph_cost
from narformer.errors import NarformerError
from narformer.frontends.canonical import canonical, rule
from narformer.frontends.canonical.draft import Draft
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph, Node

Read = Callable[[str], Graph]

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """No error of a rule is taken for a pattern that does not fit."""

    def changed(draft: Draft, index: int, node: Node, rules: Any) -> bool:
        return any(rule(draft, index, node) for rule in rules)

    monkeypatch.setattr(rule, "_changed", changed)


@pytest.fixture(scope="module")
def corpus() -> Iterator[dict[str, Any]]:
    sys.path.insert(0, str(BENCHMARKS))
    yield runpy.run_path(str(BENCHMARKS / "corpus.py"))
    sys.path.remove(str(BENCHMARKS))


def again(graph: Graph) -> Graph:
    """The canonical form of the same Graph, computed anew."""
    return canonical(Graph(graph.nodes, graph.inputs, graph.input_names, graph.name))


def test_a_form_is_computed_once_is_its_own_and_goes_with_the_graph(resnet18: Path) -> None:
    graph = read_onnx(resnet18)
    form = canonical(graph)
    assert canonical(graph) is canonical(form) is form
    gone = weakref.ref(form)
    gc.disable()  # it finds circles of references, of which there are none
    try:
        del graph, form
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.filterwarnings("ignore")
def test_models_of_the_wheel_have_a_form_that_is_its_own(strict: None, corpus: dict[str, Any]) -> None:
    count = 0
    for case in corpus["backend_files"]():
        try:
            graph = read_onnx(case.model, name=case.name)
        except NarformerError:
            continue
        found = canonical(graph)
        count += 1
        assert again(found) == found, case.name
        assert graph_cost(found).macs == graph_cost(graph).macs, case.name
    assert count > 100


def test_a_form_is_computed_once(resnet18: Path) -> None:
    graph = read_onnx(resnet18)
    found = canonical(graph)
    assert canonical(graph) is found
    assert canonical(found) is found
    assert [node.op for node in found.nodes].count("Conv") == 20
    assert len(found) == 48
    assert graph_cost(found).macs == graph_cost(graph).macs


def test_every_node_of_the_file_that_runs_is_told(resnet18: Path) -> None:
    graph = read_onnx(resnet18)
    told = {name for node in canonical(graph).nodes for name in (node.name, *node.origin)}
    views = {node.name for node in graph.nodes if node.op == "Flatten"}
    assert {node.name for node in graph.nodes} == told | views


def test_what_was_computed_twice_is_part_of_a_pattern_once_it_is_not(canon: Read) -> None:
    """Of two GELUs in five nodes each, whose error function is read by both, one is left, and found."""
    numbers = " ".join(f"{k} = Constant<value_float = {v}>()" for k, v in (("r", 1.4142135), ("o", 1.0), ("h", 0.5)))
    twice = " ".join(f"a{k} = Add(e, o) m{k} = Mul(x, a{k}) g{k} = Mul(m{k}, h)" for k in (1, 2))
    found = canon(
        f"g (float[2,8] x) => (float[2,8] y) {{ {numbers} d = Div(x, r) e = Erf(d) {twice} y = Sub(g1, g2) }}"
    )
    assert [node.op for node in found.nodes] == ["Gelu", "Sub"]
