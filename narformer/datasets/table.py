"""Reading the CSV tables of public datasets: rows as dictionaries, numbers checked, errors with file and line."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from narformer.datasets.dataset import read_lines
from narformer.errors import DataError

Row = dict[str, str]
# Reasons of failures can be long.
csv.field_size_limit(1 << 26)


def read_table(path: Path, columns: Sequence[str]) -> list[Row]:
    """All rows of a CSV file. Raises DataError where a column is missing, a row is short, or the file is empty."""
    reader = csv.DictReader(read_lines(path, keep_ends=True))  # a value in quotes may go on in the next line
    missing = [c for c in columns if c not in (reader.fieldnames or ())]
    if missing:
        first = ",".join(reader.fieldnames or ())
        hint = "its columns are separated otherwise; write commas" if _only_commas_lack(first, columns) else ""
        raise DataError(f"{path}: no column {', '.join(missing)}; {hint or 'is it the right file?'}")
    rows = []
    try:
        for row in reader:
            if None in row or any(value is None for value in row.values()):
                raise DataError(f"{path}, line {reader.line_num}: {len(reader.fieldnames or ())} values expected")
            rows.append(row)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not a CSV file ({error})") from error
    if not rows:
        raise DataError(f"{path}: no rows")
    return rows


def _only_commas_lack(first: str, columns: Sequence[str]) -> bool:
    """Whether a first line has all columns, between semicolons or tabs."""
    return any(set(columns) <= set(first.split(separator)) for separator in (";", "\t"))


def milliseconds(path: Path, rows: Sequence[Row], columns: Sequence[str]) -> npt.NDArray[np.float64]:
    """Latencies (rows, columns), NaN where empty. Raises DataError for what is not a positive number."""
    values = np.full((len(rows), len(columns)), np.nan)
    for r, row in enumerate(rows):
        for c, column in enumerate(columns):
            if row[column]:
                values[r, c] = positive(row[column], f"{path}, row {r + 2}, {column}")
    return values


def positive(text: str, where: str) -> float:
    """A positive, finite number. Raises DataError naming `where` for anything else."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise DataError(f"{where}: {text!r} is not a positive number of milliseconds")
    return value
