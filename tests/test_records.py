"""Answers as data: the same names in JSON, CSV, Markdown and pandas."""

from __future__ import annotations

import csv
import io
import json
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from narformer.errors import MissingExtraError
from narformer.records import Answers, csv_of, markdown_of
from narformer.tables import Column, Table


@dataclass(frozen=True)
class Weight:
    animal: str
    kg: float
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {"animal": self.animal, "kg": self.kg, "notes": list(self.notes), "colour": None}


class Weights(Answers[Weight]):
    def table(self) -> Table:
        return Table((Column("animal"), Column("kg", right=True)), tuple((w.animal, f"{w.kg:.0f}") for w in self))


SOME = Weights([Weight("cat", 4.123456), Weight("cow", 700.0, ("big", "a, b"))])


def test_it_is_a_sequence() -> None:
    assert [w.animal for w in SOME] == ["cat", "cow"]
    assert SOME[1].kg == 700
    assert isinstance(SOME[:1], Weights)
    assert SOME[:1] == [Weight("cat", 4.123456)]
    assert SOME + SOME[:0] == SOME
    assert Weights() == []
    assert not Weights()


def test_csv_reads_back_under_the_same_names_as_json() -> None:
    rows = list(csv.DictReader(io.StringIO(SOME.to_csv())))
    assert rows == [
        {"animal": "cat", "kg": "4.12346", "notes": "", "colour": ""},
        {"animal": "cow", "kg": "700", "notes": "big; a, b", "colour": ""},
    ]
    assert [list(row) for row in json.loads(SOME.to_json())] == [list(row) for row in rows]


def test_markdown_leaves_out_what_nobody_has_and_rounds() -> None:
    assert SOME.to_markdown().splitlines() == [
        "| animal | kg | notes |",
        "| --- | ---: | --- |",
        "| cat | 4.123 |  |",
        "| cow | 700 | big; a, b |",
    ]


def test_records_with_different_names_share_a_table() -> None:
    assert csv_of([{"a": 1}, {"b": 2.5}]) == "a,b\n1,\n,2.5\n"
    assert markdown_of([{"a": {"x": [1, 2]}}]).splitlines()[2] == '| {"x": [1, 2]} |'
    assert markdown_of([{"a": 123456.0, "b": 1e-7}]).splitlines()[2] == "| 123456 | 0.0000001 |"


def test_what_a_terminal_and_a_notebook_show() -> None:
    assert repr(SOME).splitlines() == ["animal   kg", "cat       4", "cow     700"]
    assert repr(Weights()) == "Weights([])"
    assert SOME._repr_html_().count("<tr>") == 3
    assert repr(Weights([Weight("ant", 0.0)] * 100)).splitlines()[-1] == "… 100 in all"


def test_pandas_is_asked_for_only_where_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="pip install pandas"):
        SOME.to_pandas()


def test_pandas_gets_a_row_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fake:
        @staticmethod
        def DataFrame(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return records

    monkeypatch.setitem(sys.modules, "pandas", Fake)  # type: ignore[arg-type]
    assert SOME.to_pandas() == [w.to_dict() for w in SOME]  # type: ignore[comparison-overlap]
