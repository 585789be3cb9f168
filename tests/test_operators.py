"""The table of operators: every operator of ONNX has a row, and kinds of kernels are told apart by what nodes read."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import onnx
import onnx.defs
import pytest
from onnx import helper

from narformer.cost import graph_cost, without_cost_rule
from narformer.errors import ModelError, ShapeError
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph, Node, Operand, Tensor, forget_nodes
from narformer.operators import CLASSES, KINDS, kernel_kind, lookup, operator_of, register
from narformer.operators.lookup import find
from narformer.operators.table import TABLE


def node(op: str, *operands: tuple[int, ...], out: tuple[int, ...], domain: str = "", **a: object) -> Node:
    """A node of one computed operand and further constants."""
    read = tuple(Operand(Tensor(s), None if k else ~0, name=f"w{k}" if k else "") for k, s in enumerate(operands))
    return Node("n", op, read, (Tensor(out),), a, domain)  # type: ignore[arg-type]


def test_every_operator_of_onnx_has_a_row() -> None:
    schemas = {(s.domain, s.name) for s in onnx.defs.get_all_schemas() if "training" not in s.domain}
    assert [key for key in sorted(schemas) if not find(key[1], key[0]).known] == []


def test_every_row_is_of_a_kind_and_every_kind_of_a_class() -> None:
    assert {row.kind for row in TABLE.values()} <= KINDS.keys()
    assert set(KINDS.values()) == set(CLASSES)
    assert all((row.domain, row.name) == key for key, row in TABLE.items())


DATA = (1, 16, 8, 8)
MS, BLOCKED, INTERNAL = "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        (node("Conv", DATA, (32, 16, 3, 3), out=(1, 32, 8, 8)), "convolution"),
        (node("Conv", DATA, (32, 16, 1, 1), out=(1, 32, 8, 8)), "pointwise"),
        (node("Conv", (1, 16, 1, 1), (32, 16, 1, 1), out=(1, 32, 1, 1)), "fully connected"),
        (node("Conv", DATA, (16, 1, 3, 3), out=DATA, group=16), "depthwise"),
        (node("Conv", DATA, (32, 4, 3, 3), out=(1, 32, 8, 8), group=4), "grouped convolution"),
        (node("Conv", (1, 16, 9), (8, 16, 1), out=(1, 8, 9)), "pointwise"),
        (node("FusedConv", DATA, (32, 16, 1, 1), out=(1, 32, 8, 8), domain=MS), "pointwise"),
        (node("Conv", DATA, (16, 1, 3, 3), out=DATA, domain=BLOCKED, group=16), "depthwise"),
        (node("NhwcConv", (1, 8, 8, 16), (32, 1, 1, 16), out=(1, 8, 8, 32), domain=MS), "pointwise"),
        (node("NhwcConv", (1, 8, 8, 16), (16, 3, 3, 1), out=(1, 8, 8, 16), domain=MS, group=16), "depthwise"),
        (node("NhwcConv", (1, 8, 8, 16), (32, 3, 3, 16), out=(1, 8, 8, 32), domain=MS), "convolution"),
        (node("NhwcFusedConv", (1, 8, 8, 16), (32, 16, 3, 3), out=(1, 8, 8, 32), domain=MS), "convolution"),
        (node("Conv", (1, 8, 8, 16), (32, 16, 1, 1), out=(1, 8, 8, 32), domain=INTERNAL), "pointwise"),
        (node("QLinearConv", DATA, (), (), (16, 1, 3, 3), (), (), (), (), out=DATA, group=16), "depthwise"),
        (node("ConvTranspose", DATA, (16, 8, 2, 2), out=(1, 8, 16, 16)), "transposed convolution"),
        (node("Gemm", (1, 16), (16, 8), out=(1, 8)), "fully connected"),
        (node("MatMul", (4, 16), (16, 8), out=(4, 8)), "fully connected"),
        (node("MatMulNBits", (4, 16), (8, 1, 8), (8,), out=(4, 8), domain=MS, K=16, N=8), "fully connected"),
        (node("Gelu", (4, 16), out=(4, 16), domain=MS), "smooth activation"),
        (node("Reshape", (4, 16), (1,), out=(64,)), "view"),
        (node("GlobalAveragePool", DATA, out=(1, 16, 1, 1)), "global pool"),
        (node("TreeEnsembleRegressor", (9, 4), out=(9, 1), domain="ai.onnx.ml"), "trees"),
        (node("Relu", (4,), out=(4,), domain="of.somebody"), "other"),
    ],
    ids=lambda v: f"{v.domain}.{v.op}" if isinstance(v, Node) else "",
)
def test_kinds_of_kernels(case: Node, kind: str) -> None:
    assert kernel_kind(case) == kind


def test_a_product_of_two_computed_operands_is_no_layer() -> None:
    both = (Operand(Tensor((2, 4, 8)), ~0), Operand(Tensor((2, 8, 4)), ~1))
    for op in ("MatMul", "FusedMatMul", "MatMulInteger"):
        assert kernel_kind(Node("n", op, both, (Tensor((2, 4, 4)),))) == "matrix product"


def test_an_operator_that_nobody_knows_has_a_row_that_says_so() -> None:
    row = operator_of(node("Relu", (4,), out=(4,), domain="of.somebody"))
    assert (row.known, row.kind, row.macs, row.free) == (False, "other", None, False)
    assert operator_of(node("Relu", (4,), out=(4,), domain="com.microsoft")).known


@pytest.fixture
def no_rows_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(lookup, "_added", {})
    forget_nodes()
    yield
    forget_nodes()


def bilinear_layer() -> onnx.ModelProto:
    """A custom operator: x (N, a), y (N, b) and W (k, a, b); the file says neither what comes out nor what it does."""
    nodes = [
        helper.make_node("Bilinear", ["x", "y", "w"], ["h"], domain="of.mine"),
        helper.make_node("Relu", ["h"], ["z"]),
    ]
    values = [helper.make_tensor_value_info(n, 1, shape) for n, shape in (("x", [2, 3]), ("y", [2, 4]), ("z", None))]
    weight = helper.make_tensor("w", 1, [5, 3, 4], [0.0] * 60)
    graph = helper.make_graph(nodes, "g", values[:2], values[2:], [weight])
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("of.mine", 1)]
    return helper.make_model(graph, opset_imports=sets, ir_version=9)


def register_bilinear() -> None:
    """As the manual does it."""
    page = (Path(__file__).resolve().parents[1] / "docs" / "reference" / "operators.md").read_text()
    exec(page.split("```python\n")[1].split("```")[0], {})


@pytest.mark.usefixtures("no_rows_kept")
def test_a_custom_operator_is_read_and_counted_by_the_row_that_it_is_given() -> None:
    with pytest.raises(ShapeError, match="Bilinear"):
        read_onnx(bilinear_layer())
    register_bilinear()
    graph = read_onnx(bilinear_layer())
    assert [n.output_shape for n in graph.nodes] == [(2, 5), (2, 5)]
    assert (graph_cost(graph).macs, graph_cost(graph).parameters) == (2 * 60, 60)
    assert kernel_kind(graph.nodes[0]) == "fully connected"
    assert without_cost_rule(graph) == {}


@pytest.mark.usefixtures("no_rows_kept")
def test_a_row_that_comes_after_a_network_was_read_counts_for_the_next() -> None:
    def layer() -> Graph:
        return Graph((node("Mine", (4,), out=(4,), domain="of.mine"),), (Tensor((4,)),))

    register("Mine", "of.mine", macs=lambda node: 5)
    assert graph_cost(layer()).macs == 5
    register("Mine", "of.mine", macs=lambda node: 7)
    assert graph_cost(layer()).macs == 7


@pytest.mark.usefixtures("no_rows_kept")
def test_packages_bring_rows_by_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        name = "mine"

        def load(self) -> object:
            return register_bilinear

    monkeypatch.setattr(lookup, "_loaded", [])
    monkeypatch.setattr(metadata, "entry_points", lambda group: [Entry()] if group == "narformer.operators" else [])
    assert graph_cost(read_onnx(bilinear_layer())).macs == 120


@pytest.mark.usefixtures("no_rows_kept")
def test_a_kind_that_there_is_not_is_refused() -> None:
    with pytest.raises(ModelError, match="'convolutional' is no kind of kernel; choose one of input, convolution"):
        register("Mine", kind="convolutional")
