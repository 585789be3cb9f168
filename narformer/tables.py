"""Tables of text: one look for everything that is printed, in a terminal, in Markdown and in a notebook.

In a terminal no word is broken. Where a table is wider than the screen, its columns move together, and those that may
be shortened are, as far as they must; if that does not do, the first column gets lines of its own, and the others stand
below it.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

GAPS = (2, 1)  # spaces between columns; the second where it is narrow
INDENT = 2  # of the other columns, where the first one has lines of its own
NARROWEST = 12  # characters to which a column may be shortened, and more where its cells would look alike


class Column(NamedTuple):
    """A column. right: set to the right, as numbers are. short: may lose its beginning where the screen is narrow."""

    title: str
    right: bool = False
    short: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of text below titles; every row has a cell a column."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{len(row)} cells in a table of {len(self.columns)} columns: {row}")

    def layout(self, width: int | None = None) -> tuple[list[str], list[list[str]]]:
        """Lines of the titles, and of each row; of at most `width` characters where that can be.

        A row has one line, or two where its first cell stands on a line of its own.
        """
        return self._layout(width, stack=True)

    def _layout(self, width: int | None, stack: bool) -> tuple[list[str], list[list[str]]]:
        cells = [max((_width(row[k]) for row in self.rows), default=0) for k in range(len(self.columns))]
        titles = [_broken(column, width) for column, width in zip(self.columns, cells, strict=True)]
        widths = [max(width, *map(_width, title)) for width, title in zip(cells, titles, strict=True)]
        rows = [list(row) for row in self.rows]
        gap = GAPS[0]
        if width is not None:
            gap = next((g for g in GAPS if sum(widths) + g * (len(widths) - 1) <= width), GAPS[-1])
            for k in sorted(range(len(widths)), key=lambda k: -widths[k]):
                over = sum(widths) + gap * (len(widths) - 1) - width
                if over > 0 and self.columns[k].short:
                    least = max(NARROWEST, *map(_width, titles[k]))
                    widths[k] = max(widths[k] - over, min(least, widths[k]))
                    while not _told_apart([row[k] for row in rows], widths[k]):
                        widths[k] += 1
                    for row in rows:
                        row[k] = shortened(row[k], widths[k])
            if stack and len(widths) > 1 and sum(widths) + gap * (len(widths) - 1) > width:
                return self._stacked(width)
        height = max(map(len, titles))
        head = [
            [title[n - height + len(title)] if n >= height - len(title) else "" for title in titles]
            for n in range(height)
        ]
        lines = [self._line(row, widths, gap) for row in (*head, *rows)]
        return lines[:height], [[line] for line in lines[height:]]

    def _stacked(self, width: int) -> tuple[list[str], list[list[str]]]:
        """The first column on lines of its own; the others below each of its cells, under titles told once."""
        others = Table(self.columns[1:], tuple(row[1:] for row in self.rows))
        titles, lines = others._layout(width - INDENT, stack=False)
        head = [self.columns[0].title, *(" " * INDENT + line for line in titles)]
        below = [[" " * INDENT + line for line in each] for each in lines]
        return head, [[row[0], *each] if row[0] else each for row, each in zip(self.rows, below, strict=True)]

    def _line(self, cells: Sequence[str], widths: Sequence[int], gap: int) -> str:
        placed = []
        for column, cell, width in zip(self.columns, cells, widths, strict=True):
            space = " " * (width - _width(cell))
            placed.append(space + cell if column.right else cell + space)
        return (" " * gap).join(placed).rstrip()

    def text(self, width: int | None = None) -> str:
        """The table as one text, without a line break at its end.

        >>> table = Table((Column("target"), Column("held-out error", right=True)), (("rtx4090", "6.8 %"),))
        >>> print(table.text())
                 held-out
        target      error
        rtx4090     6.8 %
        """
        head, rows = self.layout(width)
        return "\n".join([*head, *(line for row in rows for line in row)])

    def markdown(self) -> str:
        """The table in GitHub's Markdown."""
        rule = ["---:" if column.right else "---" for column in self.columns]
        lines = [[column.title for column in self.columns], rule, *self.rows]
        return "\n".join("| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in lines)

    def html(self) -> str:
        """The table as an HTML element, for notebooks."""

        def line(cells: Sequence[str], tag: str) -> str:
            sides = [
                f'<{tag} style="text-align:{"right" if column.right else "left"}">{html.escape(cell)}</{tag}>'
                for column, cell in zip(self.columns, cells, strict=True)
            ]
            return "<tr>" + "".join(sides) + "</tr>"

        head = line([column.title for column in self.columns], "th")
        body = "\n".join(line(row, "td") for row in self.rows)
        return f"<table>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def shortened(text: str, width: int) -> str:
    """A text of at most `width` characters; what it loses is its beginning, for the end of a name tells more.

    Of several words the first is lost whole, where that leaves half of the width or more.

    >>> shortened("/backbone/layer4/conv1/Conv", 12)
    '…/conv1/Conv'
    >>> shortened("NVIDIA GeForce RTX 3090", 21)
    '…GeForce RTX 3090'
    """
    if _width(text) <= width:
        return text
    cut = text
    while _width(cut) > width - 1:
        cut = cut[1:]
    begun, _, words = cut.partition(" ")
    if words and 2 * _width(words) >= width and not text.endswith(f" {begun} {words}"):
        cut = words
    return f"…{cut}"


def _told_apart(texts: Sequence[str], width: int) -> bool:
    """Whether texts that differ still do when they are shortened."""
    return len({shortened(text, width) for text in texts}) == len(set(texts))


def _broken(column: Column, width: int) -> list[str]:
    """The title of a column of numbers in two lines, where it has two words and asks for more room than they do."""
    first, _, rest = column.title.partition(" ")
    return [first, rest] if rest and column.right and _width(column.title) > width else [column.title]


def _width(text: str) -> int:
    """Columns of a terminal that a text takes: two for each wide character of East Asian scripts."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
