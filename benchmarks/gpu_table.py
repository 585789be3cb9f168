"""Writes what `measure_gpu.py` measured as the table that the package ships, narformer/datasets/pytorch-gpu.csv.

    python benchmarks/gpu_table.py eager.csv compiled.csv --hardware h100 --data DIRECTORY

Families, folds and the split are those of timm's table and of Qualcomm's, below DIRECTORY. Of a cell that was measured
twice the first measurement is written. The version of PyTorch is read from the file beside each table (eager.json).
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

from narformer.datasets import qai_hub
from narformer.datasets.dataset import data_root
from narformer.datasets.pytorch_gpu import COLUMNS, TABLE
from narformer.datasets.table import Row, read_table

_CELL = ("source", "name", "size", "precision", "layout", "compiled", "batch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--hardware", required=True, help="its name in narformer/prediction/hardware.csv")
    parser.add_argument("--data", type=Path, help="Root of the public datasets. Default: $NARFORMER_DATA.")
    parser.add_argument("--out", type=Path, default=TABLE)
    options = parser.parse_args()
    known = places(data_root(options.data))
    rows = [row for path in options.results for row in shipped(path, options.hardware, known)]
    with options.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{options.out}: {len(rows)} measurements of {len({row['name'] for row in rows})} networks")


def places(root: Path) -> dict[tuple[str, str], tuple[str, int, str]]:
    """Family, fold and split of each network, by its source and name."""
    found = {
        ("timm", row["model"]): (row["family"], int(row["fold"]), row["split"])
        for row in read_table(root / "timm" / "infer.csv", ("model", "family", "fold", "split"))
    }
    for row in read_table(root / "qai_hub" / "perf.csv", ("model", "component", "split")):
        for name in (row["model"], f"{row['model']}:{row['component']}"):
            found["qai_hub", name] = (qai_hub.family(name), qai_hub.fold(name), row["split"])
    return found


def shipped(path: Path, hardware: str, known: dict[tuple[str, str], tuple[str, int, str]]) -> list[Row]:
    """Rows of one table of results as the package has them."""
    version = json.loads(path.with_suffix(".json").read_text())["versions"]["torch"]
    rows: dict[tuple[str, ...], Row] = {}
    for row in read_table(path, (*_CELL, "ms", "spread_ms", "min_ms", "steps")):
        family, fold, split = known[row["source"], row["name"]]
        more = {"family": family, "fold": str(fold), "split": split, "hardware": hardware, "pytorch": version}
        rows.setdefault(tuple(row[c] for c in _CELL), {c: {**row, **more}[c] for c in COLUMNS})
    return list(rows.values())


if __name__ == "__main__":
    main()
