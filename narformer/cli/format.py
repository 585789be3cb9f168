"""`--format table|json|csv|markdown`, the same for every command, and `--json`, its short form."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

import typer

from narformer.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from narformer.tables import Table


class Format(str, Enum):
    """How an answer is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"


FORMAT = typer.Option(None, "--format", help="How to print: a table to read (default), or data under the same names.")
JSON = typer.Option(False, "--json", help="The same as --format json.")


def chosen(form: Format | None, as_json: bool) -> Format:
    """What --format and --json ask for. Raises ConfigError where they contradict each other."""
    if as_json and form not in (None, Format.JSON):
        raise ConfigError(f"--json and --format {form.value} exclude each other")
    return Format.JSON if as_json else form or Format.TABLE


class Records:
    """Records printed as they come: a JSON array, or the lines of a CSV or Markdown table.

    names: those of a Markdown table, so that its first row can be printed before the last is known.
    """

    def __init__(self, form: Format, names: Sequence[str]) -> None:
        self.form = form
        self.names = list(names)
        self.shown = 0

    def add(self, record: Mapping[str, Any]) -> None:
        """Print one more record."""
        from narformer.records import csv_line

        if self.form is Format.JSON:
            text = textwrap.indent(json.dumps(record, indent=2), "  ")
            print(("[\n" if not self.shown else ",\n") + text, end="")
        elif self.form is Format.CSV:
            if not self.shown:
                self.csv_names = list(record)
                print(csv_line(self.csv_names), end="")
            print(csv_line(record.get(name) for name in self.csv_names), end="")
        else:
            for line in self._markdown(record)[0 if not self.shown else 2 :]:
                print(line)
        self.shown += 1

    def _markdown(self, record: Mapping[str, Any]) -> list[str]:
        from narformer.records import rounded
        from narformer.tables import Column, Table

        numbers = (int, float)
        columns = tuple(Column(name, right=isinstance(record.get(name), numbers)) for name in self.names)
        return Table(columns, (tuple(rounded(record.get(name)) for name in self.names),)).markdown().splitlines()

    def end(self) -> None:
        """Print what closes them all."""
        if self.form is Format.JSON:
            print("\n]" if self.shown else "[]")


def print_records(form: Format, records: Sequence[Mapping[str, Any]], data: object = None) -> None:
    """Print records in a form that is data. data: what JSON has in their place, where it has more than rows."""
    from narformer.records import csv_of, markdown_of

    if form is Format.JSON:
        print(json.dumps(records if data is None else data, indent=2))
    elif records:
        print((csv_of if form is Format.CSV else markdown_of)(records).rstrip("\n"))


def table_of(records: Sequence[Mapping[str, Any]]) -> Table:
    """Records that need no other form to be read, as a table: a column a name, lists with blanks between."""
    from narformer.records import flat
    from narformer.tables import Column, Table

    def text(value: object) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        return " ".join(map(str, value)) if isinstance(value, list) else str(flat(value))

    names = list(records[0]) if records else []
    rows = tuple(tuple(text(record[name]) for name in names) for record in records)
    return Table(tuple(Column(name.replace("_", " ")) for name in names), rows)


def print_text(text: str, style: str = "", indent: int = 0) -> None:
    """Print a line, broken between words where the terminal is narrower."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    wide = _width(console)
    space = " " * indent
    lines = [space + text] if wide is None else _wrapped(text, wide, space)
    for line in lines:
        console.print(Text(line, style=style), soft_wrap=True)


def _wrapped(text: str, width: int, space: str) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=space, subsequent_indent=space, break_long_words=False, break_on_hyphens=False
    )


def _width(console: Console) -> int | None:
    """Of the terminal; a file or a pipe has none, unless the user says so."""
    return console.width if console.is_terminal or "COLUMNS" in os.environ else None


def print_table(
    table: Table, styles: Mapping[str, str] | None = None, notes: Sequence[str] = (), groups: Sequence[str] = ()
) -> None:
    """Print a table no wider than the terminal.

    styles: words, and how rich shows them. notes: a line below each row, or an empty text; groups: one above it.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    head, rows = table.layout(_width(console))
    for line in head:
        console.print(Text(line, style="bold"), soft_wrap=True)
    for number, lines in enumerate(rows):
        if groups and groups[number]:
            print_text(groups[number], "bold")
        for line in lines:
            text = Text(line)
            for word, style in (styles or {}).items():
                text.highlight_words([word], style)
            console.print(text, soft_wrap=True)
        if notes and notes[number]:
            print_text(notes[number], "dim", indent=2)
