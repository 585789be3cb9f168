"""Tables as text: nothing breaks a word, whatever the width."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narformer.tables import Column, Table, shortened

ID = "amd-epyc-milan-onnxruntime1.32-cpu-fp32-t1-b1"
TABLE = Table(
    (Column("target"), Column("latency", right=True), Column("held-out error", right=True)),
    (("adreno640", "36.2 ms", "0.9 %"), (ID, "44.0 ms", "6.1 %")),
)


def test_columns_stand_below_their_titles_which_break_between_words() -> None:
    assert TABLE.text().splitlines() == [
        "                                                        held-out",
        "target                                         latency     error",
        "adreno640                                      36.2 ms     0.9 %",
        f"{ID}  44.0 ms     6.1 %",
    ]


def test_columns_move_together_before_anything_else() -> None:
    assert [len(line) for line in TABLE.text(62).splitlines()] == [62, 62, 62, 62]


def test_where_it_is_narrow_the_first_column_has_lines_of_its_own() -> None:
    assert TABLE.text(50).splitlines() == [
        "target",
        "           held-out",
        "  latency     error",
        "adreno640",
        "  36.2 ms     0.9 %",
        ID,
        "  44.0 ms     6.1 %",
    ]


def test_columns_that_may_are_shortened_first_and_keep_their_ends() -> None:
    table = Table((Column("node", short=True), Column("ms", right=True)), (("/backbone/layer4/conv1/Conv", "1.2"),))
    lines = table.text(20).splitlines()
    assert lines[1].startswith("…")
    assert lines[1].endswith("conv1/Conv 1.2")
    assert max(map(len, lines)) == 20
    assert shortened("short", 12) == "short"


WORDS = st.text("abc:-.", min_size=1, max_size=30)


@given(st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=5), st.integers(1, 100))
def test_whatever_the_width_every_cell_is_whole_on_one_line(rows: list[tuple[str, str, str]], width: int) -> None:
    table = Table((Column("one"), Column("two words", right=True), Column("three")), tuple(rows))
    head, lines = table.layout(width)
    for row, mine in zip(rows, lines, strict=True):
        assert " ".join(mine).split() == list(row)
    assert {"one", "two", "words", "three"} <= set(" ".join(head).split())


def test_wide_characters_count_twice() -> None:
    table = Table((Column("model"), Column("ms")), (("網路", "1"), ("abcd", "2")))
    assert table.text().splitlines() == ["model  ms", "網路   1", "abcd   2"]


def test_markdown_and_html_escape_what_would_end_a_cell() -> None:
    table = Table((Column("a"), Column("n", right=True)), (("x|y <b>", "1"),))
    assert table.markdown().splitlines() == ["| a | n |", "| --- | ---: |", "| x\\|y <b> | 1 |"]
    assert re.search(r"<td[^>]*>x\|y &lt;b&gt;</td>", table.html())


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="2 cells in a table of 1 columns"):
        Table((Column("a"),), (("1", "2"),))


def test_an_empty_first_cell_takes_no_line_of_its_own() -> None:
    table = Table((Column("network"), Column("target")), (("a" * 20, "b" * 20), ("", "c" * 20)))
    assert table.text(30).splitlines() == ["network", "  target", "a" * 20, "  " + "b" * 20, "  " + "c" * 20]
