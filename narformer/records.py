"""Answers as data: sequences of one kind of answer that turn into JSON, CSV, Markdown, pandas and a notebook's table.

An answer is a record: a mapping from names, the same for every command and from Python, to JSON's types.
"""

from __future__ import annotations

import csv
import io
import json
import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, overload

from narformer.errors import MissingExtraError
from narformer.tables import Column, Table

if TYPE_CHECKING:
    import pandas
    from typing_extensions import Self

Record = Mapping[str, Any]
SHOWN = 40  # rows of a sequence that its text shows


class Answer(Protocol):
    """One answer."""

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON's types."""


A = TypeVar("A", bound=Answer)


class Answers(Sequence[A], Generic[A]):
    """Answers of one kind, in order, as a tuple would hold them; equal to any sequence of equal ones."""

    def __init__(self, answers: Iterable[A] = ()) -> None:
        self._answers = tuple(answers)

    def __len__(self) -> int:
        return len(self._answers)

    @overload
    def __getitem__(self, index: int) -> A: ...

    @overload
    def __getitem__(self, index: slice) -> Self: ...

    def __getitem__(self, index: int | slice) -> A | Self:
        return type(self)(self._answers[index]) if isinstance(index, slice) else self._answers[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._answers == tuple(other)

    def __hash__(self) -> int:
        return hash(self._answers)

    def __add__(self, other: Iterable[A]) -> Self:
        return type(self)((*self._answers, *other))

    @abstractmethod
    def table(self) -> Table:
        """The answers as people read them."""

    def records(self) -> list[dict[str, Any]]:
        """A record an answer, as CSV, Markdown and pandas have them."""
        return [answer.to_dict() for answer in self._answers]

    def to_json(self) -> str:
        """A JSON array, an object an answer."""
        return json.dumps([answer.to_dict() for answer in self._answers], indent=2)

    def to_csv(self) -> str:
        """CSV with a line of names; lists are joined by "; "."""
        return csv_of(self.records())

    def to_markdown(self) -> str:
        """A table in GitHub's Markdown, under the same names; numbers have four digits."""
        return markdown_of(self.records())

    def to_pandas(self) -> pandas.DataFrame:
        """A DataFrame, a row an answer. Raises MissingExtraError without pandas."""
        try:
            import pandas
        except ImportError as error:
            raise MissingExtraError("to_pandas needs pandas: pip install pandas") from error
        return pandas.DataFrame(self.records())

    def __repr__(self) -> str:
        name = type(self).__name__
        if not self:
            return f"{name}([])"
        told = type(self)(self._answers[:SHOWN]).table().text()
        return told if len(self) <= SHOWN else f"{told}\n… {len(self)} in all"

    def _repr_html_(self) -> str:
        return self.table().html()


def csv_of(records: Sequence[Record]) -> str:
    """Records as CSV, a row each, under the names of all of them."""
    names = _names(records)
    lines: list[Iterable[object]] = [names, *([record.get(n) for n in names] for record in records)]
    return "".join(csv_line(line) for line in lines)


def csv_line(values: Iterable[object]) -> str:
    """One line of CSV, its end included."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([flat(value) for value in values])
    return text.getvalue()


def markdown_of(records: Sequence[Record]) -> str:
    """Records as a Markdown table; names that no record has a value for are left out."""
    names = [n for n in _names(records) if any(flat(record.get(n)) != "" for record in records)]
    columns = tuple(Column(n, right=any(_is_number(record.get(n)) for record in records)) for n in names)
    return Table(columns, tuple(tuple(rounded(record.get(n)) for n in names) for record in records)).markdown()


def _names(records: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(name for record in records for name in record))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def flat(value: object) -> object:
    """A value for one cell: nothing for None, lists joined, what has parts as JSON."""
    if value is None or value == {}:
        return ""
    if isinstance(value, Mapping):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return "; ".join(str(flat(part)) for part in value)
    return f"{value:.6g}" if isinstance(value, float) else value


def rounded(value: object) -> str:
    """A value as people read it: numbers that are not whole have four significant digits."""
    if not isinstance(value, float):
        return str(flat(value))
    if not math.isfinite(value):
        return str(value)
    exponent = int(f"{value:.3e}".partition("e")[2])
    text = f"{value:.{max(3 - exponent, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
