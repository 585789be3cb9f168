"""Operands that do not fit each other are refused, as runtimes refuse them; whatever fits is read."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from narformer.errors import ShapeError
from narformer.frontends.onnx import read_onnx

Shape = tuple[int, ...]


def network(op: str, *shapes: Shape | None, opset: int = 21, **attributes: int | str) -> onnx.ModelProto:
    """One node; its first operand is an input, others are weights, None is left out."""
    names = ["" if shape is None else f"v{k}" for k, shape in enumerate(shapes)]
    node = helper.make_node(op, names, ["y"], **attributes)
    data = shapes[0]
    weights = []
    for name, shape in list(zip(names, shapes, strict=True))[1:]:
        if shape is not None:
            weights.append(onnx.TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape))
    x = helper.make_tensor_value_info("v0", TensorProto.FLOAT, data)
    graph = helper.make_graph([node], "g", [x], [helper.make_empty_tensor_value_info("y")], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


IMAGE, WORDS = (2, 6, 4, 4), (2, 5, 8)
FITTING: list[tuple[str, tuple[Shape | None, ...], dict[str, int | str]]] = [
    ("BatchNormalization", (IMAGE, (6,), (6,), (6,), (6,)), {}),
    ("InstanceNormalization", (IMAGE, (6,), (6,)), {}),
    ("GroupNormalization", (IMAGE, (6,), (6,)), {"num_groups": 3}),
    ("GroupNormalization", (IMAGE, (3,), (3,)), {"num_groups": 3}),
    ("LayerNormalization", (WORDS, (8,), (8,)), {}),
    ("LayerNormalization", (WORDS, (5, 8)), {"axis": 1}),
    ("LayerNormalization", (WORDS, (40,)), {"axis": 1}),
    ("LayerNormalization", (WORDS, (1,)), {}),
    ("PRelu", (IMAGE, (6, 1, 1)), {}),
    ("PRelu", (IMAGE, (6,)), {}),
    ("PRelu", (IMAGE, ()), {}),
    ("LSTM", ((3, 2, 8), (1, 16, 8), (1, 16, 4), (1, 32), None, (1, 2, 4), (1, 2, 4)), {"hidden_size": 4}),
    ("GRU", ((3, 2, 8), (2, 12, 8), (2, 12, 4), (2, 24)), {"hidden_size": 4, "direction": "bidirectional"}),
    ("GRU", ((2, 3, 8), (1, 12, 8), (1, 12, 4), None, None, (2, 1, 4)), {"hidden_size": 4, "layout": 1}),
    ("Gemm", ((4, 8), (8, 6), (6,)), {}),
    ("Gemm", ((4, 8), (8, 6), (4, 1)), {}),
    ("Add", (WORDS, (5, 1)), {}),
    ("Concat", (WORDS, (2, 3, 8)), {"axis": 1}),
]
OTHERS: list[tuple[str, tuple[Shape | None, ...], dict[str, int | str]]] = [
    ("BatchNormalization", (IMAGE, (5,), (6,), (6,), (6,)), {}),
    ("BatchNormalization", (IMAGE, (6,), (6,), (6,), (4,)), {}),
    ("InstanceNormalization", (IMAGE, (6,), (2,)), {}),
    ("GroupNormalization", (IMAGE, (2,), (2,)), {"num_groups": 3}),
    ("LayerNormalization", (WORDS, (5,)), {}),
    ("LayerNormalization", (WORDS, (8,), (4,)), {}),
    ("PRelu", (IMAGE, (5, 1, 1)), {}),
    ("PRelu", ((1, 4), (3, 4)), {}),
    ("LSTM", ((3, 2, 8), (1, 16, 8), (1, 16, 4), None, None, (1, 2, 6)), {"hidden_size": 4}),
    ("GRU", ((3, 2, 8), (1, 12, 8), (1, 12, 4), (1, 20)), {"hidden_size": 4}),
    ("Gemm", ((4, 8), (8, 6), (5,)), {}),
    ("Gemm", ((4, 8), (7, 6)), {}),
    ("Gemm", ((4, 8), (8, 6), (2, 4, 6)), {}),
    ("Add", (WORDS, (4, 8)), {}),
    ("Concat", (WORDS, (2, 3, 7)), {"axis": 1}),
]


@pytest.mark.parametrize(("op", "shapes", "attributes"), FITTING)
def test_what_fits_is_read(op: str, shapes: tuple[Shape | None, ...], attributes: dict[str, int | str]) -> None:
    (node,) = read_onnx(network(op, *shapes, **attributes)).nodes
    assert node.op == op


@pytest.mark.parametrize(("op", "shapes", "attributes"), OTHERS)
def test_what_does_not_fit_is_refused(
    op: str, shapes: tuple[Shape | None, ...], attributes: dict[str, int | str]
) -> None:
    with pytest.raises(
        ShapeError, match=r"operand \d is|operand \d has|slopes|do not fit together|is added|cannot be joined"
    ):
        read_onnx(network(op, *shapes, **attributes))


# Recurrent cells whose shapes are stated are read, and refused where their costs are reckoned.
STATED = [case for case in OTHERS if case[0] not in ("LSTM", "GRU")]


@pytest.mark.parametrize(("op", "shapes", "attributes"), [*STATED, ("Split", (WORDS,), {"axis": 1})])
def test_what_does_not_fit_is_refused_whatever_shape_the_file_states(
    op: str, shapes: tuple[Shape | None, ...], attributes: dict[str, int | str]
) -> None:
    model = network(op, *shapes, **attributes)
    stated = helper.make_tensor_value_info("y", TensorProto.FLOAT, shapes[0])
    model.graph.output[0].CopyFrom(stated)
    if op == "Split":
        model.graph.node[0].input.append("sizes")
        model.graph.node[0].output.append("z")
        model.graph.initializer.append(helper.make_tensor("sizes", TensorProto.INT64, [2], [2, 4]))
    with pytest.raises(ShapeError, match="node 'y'"):
        read_onnx(model)
