"""Make the tables of pretrained networks that `narformer choose` reads (narformer/datasets/pretrained.py).

    python benchmarks/make_pretrained_tables.py --data DIRECTORY

DIRECTORY has timm/imagenet.csv and timm/infer.csv, which are timm's own results joined into one file each
(huggingface/pytorch-image-models, `results/`, Apache-2.0). Kept are all weights, and the step times of their networks.
"""

from __future__ import annotations

import argparse
import csv
import io
import lzma
from collections.abc import Iterable, Sequence
from pathlib import Path

from narformer.datasets import pretrained
from narformer.datasets.dataset import data_root
from narformer.datasets.table import read_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="Root of the public datasets. Default: $NARFORMER_DATA.")
    parser.add_argument("--out", type=Path, default=pretrained.ACCURACY.parent, help="directory of the two tables")
    options = parser.parse_args()
    root = data_root(options.data) / "timm"
    accuracies = read_table(root / "imagenet.csv", pretrained.ACCURACY_COLUMNS)
    for row in accuracies:
        row["param_count"] = row["param_count"].replace(",", "")
    with_weights = {(row["model"].partition(".")[0], row["img_size"]) for row in accuracies}
    latencies = [
        row
        for row in read_table(root / "infer.csv", pretrained.LATENCY_COLUMNS)
        if (row["model"], row["img_size"]) in with_weights
    ]
    write(options.out / pretrained.ACCURACY.name, pretrained.ACCURACY_COLUMNS, accuracies)
    write(options.out / pretrained.LATENCY.name, pretrained.LATENCY_COLUMNS, latencies)


def write(path: Path, columns: Sequence[str], rows: Iterable[dict[str, str]]) -> None:
    """Rows in an order of their own, so that the same results are the same file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    kept = sorted([row[column] for column in columns] for row in rows)
    writer.writerows(kept)
    path.write_bytes(lzma.compress(text.getvalue().encode(), preset=9))
    print(f"{path}: {len(kept)} rows, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
