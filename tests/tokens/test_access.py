"""How kernels walk through memory: known counts of cases made by hand, and padding counted tap by tap."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narformer.graph import Attribute, Node, Operand, Tensor
from narformer.tokens.access import copies, padding_share, pieces


def _node(op: str, operands: list[tuple[int, ...]], out: tuple[int, ...], **attributes: Attribute) -> Node:
    read = tuple(Operand(Tensor(shape, "float32"), source=-1) for shape in operands)
    return Node("n", op, read, (Tensor(out, "float32"),), attributes)


def _pieces(kind: str, op: str, operands: list[tuple[int, ...]], out: tuple[int, ...], **attributes: Attribute) -> int:
    node = _node(op, operands, out, **attributes)
    return pieces(node, kind, list(node.operands))


def test_a_transposition_that_moves_one_axis_goes_by_tiles_and_any_other_number_by_number() -> None:
    assert _pieces("transpose", "Transpose", [(1, 64, 32)], (1, 32, 64), perm=(0, 2, 1)) == 64 * 32 // 16
    assert _pieces("transpose", "Transpose", [(8, 3, 5)], (5, 3, 8), perm=(2, 1, 0)) == 120
    # Nothing is known of an order that is none.
    assert _pieces("transpose", "Transpose", [(8, 3, 5)], (5, 3, 8), perm=(2, 1, 1 << 20)) == 120
    # Rows of seven numbers stay together.
    shape = (2, 3, 4, 7)
    assert _pieces("transpose", "Transpose", [shape], (4, 3, 2, 7), perm=(2, 1, 0, 3)) == math.prod(shape) // 7


@pytest.mark.parametrize(
    ("kind", "op", "operands", "out", "attributes", "expected"),
    [
        ("concatenate", "Concat", [(2, 3, 8), (2, 5, 8)], (2, 8, 8), {"axis": 1}, 4),
        ("concatenate", "Concat", [(2, 8, 3), (2, 8, 5)], (2, 8, 8), {"axis": -1}, 32),
        ("gather", "Gather", [(100, 64), (7,)], (7, 64), {"axis": 0}, 7),
        ("gather", "Gather", [(100, 64), (7,)], (100, 7), {"axis": 1}, 700),
        ("move", "Slice", [(4, 10, 6)], (4, 5, 6), {}, 4),
        ("move", "Slice", [(4, 10, 6)], (4, 10, 3), {}, 40),
        ("move", "Pad", [(4, 10, 6)], (4, 12, 6), {}, 48),
        ("softmax", "Softmax", [(4, 10)], (4, 10), {"axis": -1}, 4),
        ("softmax", "Softmax", [(4, 10, 6)], (4, 10, 6), {"axis": 1}, 24),
        ("normalization", "LayerNormalization", [(4, 10, 6)], (4, 10, 6), {"axis": -1}, 40),
        ("reduction", "ReduceMean", [(4, 10, 6)], (4, 10), {}, 40),
        ("add", "Add", [(4, 10), (4, 10)], (4, 10), {}, 4),
        ("multiply", "Mul", [(2, 8, 5, 5), (2, 8, 1, 1)], (2, 8, 5, 5), {}, 16),
        ("multiply", "Mul", [(2, 8, 64), (64,)], (2, 8, 64), {}, 16),
        ("convolution", "Conv", [(1, 3, 8, 8)], (1, 3, 8, 8), {}, 0),
    ],
)
def test_pieces_of_cases_counted_by_hand(
    kind: str,
    op: str,
    operands: list[tuple[int, ...]],
    out: tuple[int, ...],
    attributes: dict[str, Attribute],
    expected: int,
) -> None:
    assert _pieces(kind, op, operands, out, **attributes) == expected


def test_a_window_is_copied_row_by_row_for_each_tap_and_channel() -> None:
    # 9 taps x 6 channels x 5 rows of the result, of each of two images.
    assert copies(_node("Conv", [(2, 6, 10, 12), (6, 1, 3, 3)], (2, 6, 5, 6), group=6, strides=(2, 2))) == 2 * 270
    # Transposed: 4 taps x 3 channels of the result x 5 rows of the data.
    assert copies(_node("ConvTranspose", [(1, 8, 5, 6), (8, 3, 2, 2)], (1, 3, 10, 12), strides=(2, 2))) == 60


@given(
    size=st.integers(1, 9),
    taps=st.integers(1, 5),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    begin=st.integers(0, 4),
    end=st.integers(0, 4),
)
def test_padding_is_what_counting_every_tap_finds(
    size: int, taps: int, stride: int, dilation: int, begin: int, end: int
) -> None:
    out = (size + begin + end - (taps - 1) * dilation - 1) // stride + 1
    if out < 1:
        return
    node = _node(
        "Conv",
        [(1, 1, size), (1, 1, taps)],
        (1, 1, out),
        pads=(begin, end),
        strides=(stride,),
        dilations=(dilation,),
    )
    read = [place * stride + tap * dilation - begin for place, tap in itertools.product(range(out), range(taps))]
    outside = sum(not 0 <= where < size for where in read) / len(read)
    expected = 0.0 if taps == 1 else outside  # a window of one is never charged for padding
    assert padding_share(node) == pytest.approx(expected)
