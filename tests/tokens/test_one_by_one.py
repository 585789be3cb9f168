"""What is computed or fetched one by one, on hand-made nodes; nanoseconds as measured."""

from __future__ import annotations

import pytest

from narformer.graph import Attribute, Node, Operand, Tensor
from narformer.tokens.one_by_one import one_by_one

Shape = tuple[int, ...]


def _node(op: str, shapes: list[Shape], out: Shape, *values: tuple[int, ...] | None, **attributes: Attribute) -> Node:
    """A node of computed operands, then of constants with these values."""
    operands = [Operand(Tensor(shape, "float32"), source=-1) for shape in shapes]
    operands += [Operand(Tensor((len(v or ()),), "int64"), name="c", value=v) for v in values]
    return Node("node", op, tuple(operands), (Tensor(out, "float32"),), attributes)


@pytest.mark.parametrize(
    ("shape", "axis", "expected"),
    [((4, 10, 6), 1, 1), ((4, 10, 6), 2, 0), ((4, 10, 6), -1, 0), ((4, 10, 1), 1, 0), ((1, 21, 8, 8), 1, 10)],
)
def test_a_softmax_over_numbers_that_lie_apart_moves_them_first(shape: Shape, axis: int, expected: int) -> None:
    elements = Tensor(shape, "float32").elements
    calls = 400 if expected else 0
    assert one_by_one(_node("Softmax", [shape], shape, axis=axis)) == calls + expected * elements


def test_linear_samples_are_found_once_a_place() -> None:
    few = one_by_one(_node("GridSample", [(1, 1, 8, 8), (1, 8, 8, 2)], (1, 1, 8, 8), mode="bilinear"))
    many = one_by_one(_node("GridSample", [(1, 32, 8, 8), (1, 8, 8, 2)], (1, 32, 8, 8), mode="linear"))
    assert (few, many) == (15 * 64, 46 * 64)
    assert one_by_one(_node("GridSample", [(1, 2, 8, 8), (1, 8, 8, 2)], (1, 2, 8, 8), mode="cubic")) == 38 * 128


def test_a_gather_of_rows_is_quick_and_one_of_single_numbers_is_not() -> None:
    assert one_by_one(_node("Gather", [(9, 4), (3,)], (3, 4), axis=0)) == 0
    assert one_by_one(_node("Gather", [(4, 9), (3,)], (4, 3), axis=1)) == 3 * 12
    assert one_by_one(_node("Gather", [(4, 9), (3,)], (4, 3), axis=7)) == 0  # no such axis: nothing is known


def test_a_slice_with_steps_along_the_last_axis_takes_numbers_one_by_one() -> None:
    def sliced(axes: tuple[int, ...] | None, steps: tuple[int, ...] | None) -> float:
        return one_by_one(_node("Slice", [(1, 8, 8)], (1, 8, 4), (0,), (8,), axes, steps))

    assert sliced((2,), (2,)) == sliced((-1,), (2,)) == 32
    assert sliced((1,), (2,)) == sliced((2,), (1,)) == sliced(None, (2,)) == 0


def test_running_sums_along_the_last_axis_are_one_by_one() -> None:
    last, first, unknown = (_node("CumSum", [(3, 5)], (3, 5), axis) for axis in ((1,), (0,), None))
    assert [one_by_one(node) for node in (last, first, unknown)] == [3.5 * 15, 0, 0]


def test_powers_that_are_products_and_most_others_are_quick() -> None:
    assert one_by_one(_node("Pow", [(2, 3)], (2, 3), (2,))) == 0
    assert one_by_one(_node("Pow", [(2, 3)], (2, 3), None)) == 3.5 * 6
    assert one_by_one(_node("Relu", [(2, 3)], (2, 3))) == 0
    assert one_by_one(_node("Resize", [(1, 1, 2, 2)], (1, 1, 4, 4), mode="cubic")) == 110 * 16


@pytest.mark.parametrize(
    ("op", "shape", "axes", "expected"),
    [
        ("ReduceMean", (1, 8, 7, 7), (2, 3), 0),
        ("ReduceMean", (1, 8, 7, 7), (-1, -2), 0),
        ("ReduceMax", (1, 8, 49, 1), (2,), 0),  # an axis of one number lies behind
        ("ReduceSum", (1, 49, 8), (1,), 0.4),
        ("ReduceMean", (1, 7, 7, 8), (1, 2), 0.4),
        ("ReduceMin", (4, 8), None, 0),  # all of them
        ("ReduceL2", (1, 49, 8), (2,), 0.4),
    ],
)
def test_a_reduction_of_the_last_axes_alone_is_made_of_vectors(
    op: str, shape: Shape, axes: tuple[int, ...] | None, expected: float
) -> None:
    node = _node(op, [shape], (1,), **({} if axes is None else {"axes": axes}))
    assert one_by_one(node) == pytest.approx(expected * Tensor(shape, "float32").elements)


def test_comparisons_are_foreseen_where_trees_repeat_or_are_few() -> None:
    """Each tree asks twice, one after the other, of 1,000 rows."""

    def missed(trees: int, alike: bool) -> float:
        nodes = range(3 * trees)
        attributes: dict[str, Attribute] = {
            "nodes_treeids": tuple(n // 3 for n in nodes),
            "nodes_nodeids": tuple(n % 3 for n in nodes),
            "nodes_modes": tuple("LEAF" if n % 3 == 2 else "BRANCH_LEQ" for n in nodes),
            "nodes_truenodeids": tuple(n % 3 + 1 if n % 3 < 2 else 0 for n in nodes),
            "nodes_falsenodeids": tuple(2 if n % 3 < 2 else 0 for n in nodes),
            "nodes_featureids": tuple(n % 3 for n in nodes),
            "nodes_values": tuple(float(n % 3 if alike else n) for n in nodes),
        }
        return one_by_one(_node("TreeEnsembleRegressor", [(1000, 4)], (1000, 1), **attributes))

    assert [missed(10, False), missed(100, True)] == [0, 0]
    assert missed(100, False) == 7 * (100 * 2 * 1000 - 25_000)
