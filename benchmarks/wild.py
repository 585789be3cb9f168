"""How well are real networks predicted that nobody here wrote: ONNX files from public packages, measured elsewhere?

    python benchmarks/wild.py measured.csv FILES --json results.json

The table has a row a file: model (its name below FILES), sha256, kind, family, shapes ("NAME=1,3,224,224 …") and
ms_measured; package, version and path say where it is from. A file that is absent, has another sha256 or is refused
counts as not answered. The processor that measured need not be the one predicted for (an EPYC Genoa is no Turin), so
errors and coverage are given twice: as they are, and with all predictions times one factor, the median over all files
of measured to predicted.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from narformer.cli.inputs import parse_input_shapes
from narformer.errors import NarformerError
from narformer.evaluation.interval_tables import REAL_FILES
from narformer.evaluation.results import ALL, Result, Run, Scores, TaskResult, write_result
from narformer.frontends.onnx import read_onnx
from narformer.prediction.predictor import Predictor

DEVICE = "epyc-genoa:onnxruntime-1.32:fp32:1t"
QUANTISED = "quantised"
LEAST_MS = 1.0
WORST = 10


@dataclass(frozen=True)
class Row:
    """One file, as measured and as predicted; milliseconds. refused: why there is no prediction."""

    model: str
    kind: str
    measured: float
    predicted: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    warnings: tuple[str, ...] = ()
    refused: str = ""


@dataclass(frozen=True)
class Figures:
    """Of some files, in percent, but for `files`, `width` (the median of high over low) and `factor`.

    flagged: by a warning; `error_flagged` and `error_others`: their median errors, NaN where there are none.
    """

    files: int
    factor: float
    median_error: float
    within_10: float
    within_25: float
    covers: float
    width: float
    flagged: float
    error_flagged: float
    error_others: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("files", type=Path)
    parser.add_argument("--device", default=DEVICE)
    parser.add_argument("--json", type=Path, help="write everything, a row a file included, as JSON")
    parser.add_argument("--out", type=Path, help="write what `narformer report` shows of intervals into this directory")
    chosen = parser.parse_args()
    predictor = Predictor.load()
    with chosen.table.open(newline="", encoding="utf-8") as text:
        rows = [predict(row, chosen.files, predictor, chosen.device) for row in csv.DictReader(text)]
    answered = [row for row in rows if not row.refused]
    factor = float(np.median([row.measured / row.predicted for row in answered]))
    groups = {
        "all": answered,
        f"float, at least {LEAST_MS:g} ms": [r for r in answered if r.kind != QUANTISED and r.measured >= LEAST_MS],
        **{kind: [r for r in answered if r.kind == kind] for kind in sorted({r.kind for r in answered})},
    }
    result = {
        scaled: {name: figures(group, times) for name, group in groups.items()}
        for scaled, times in (("as predicted", 1.0), (f"times {factor:.3f}", factor))
    }
    print(f"{len(answered)} of {len(rows)} files answered on {chosen.device}\n")
    for scaled, by_group in result.items():
        print_table(scaled, by_group)
    print(f"| the worst | measured ms | predicted ms times {factor:.3f} | flagged |\n| --- | --- | --- | --- |")
    for row in sorted(answered, key=lambda row: -abs(np.log(row.measured / (factor * row.predicted))))[:WORST]:
        flagged = "yes" if row.warnings else "no"
        print(f"| {row.model} | {row.measured:.4g} | {factor * row.predicted:.4g} | {flagged} |")
    for row in rows:
        if row.refused:
            print(f"not answered: {row.model}: {row.refused}")
    if chosen.json:
        told = {scaled: {name: asdict(f) for name, f in by_group.items()} for scaled, by_group in result.items()}
        whole = {"device": chosen.device, "factor": factor, **told, "files": [asdict(row) for row in rows]}
        chosen.json.write_text(json.dumps(whole, indent=1) + "\n")
    if chosen.out:
        both = {f"{name}, {scaled}": f for scaled, by_group in result.items() for name, f in by_group.items()}
        print(write_result(as_result(both, predictor.card.name, chosen.device), chosen.out))


def as_result(by_group: Mapping[str, Figures], predictor: str, device: str) -> Result:
    """What `narformer report` reads: figures of each group of files, without the files."""
    tasks = {
        name: TaskResult(
            {
                device: {
                    ALL: Scores(
                        rows=f.files,
                        median_error=round(f.median_error, 2),
                        acc_10=round(f.within_10, 2),
                        coverage=round(f.covers, 2),
                        ratio=round(f.width, 3),
                        flagged=round(f.flagged, 2),
                        error_flagged=None if np.isnan(f.error_flagged) else round(f.error_flagged, 2),
                        error_others=round(f.error_others, 2),
                    )
                }
            }
        )
        for name, f in by_group.items()
    }
    return Result(REAL_FILES, "full", predictor, None, (Run(0, tasks),))


def predict(row: Mapping[str, str], files: Path, predictor: Predictor, device: str) -> Row:
    """The file of a row of the table, predicted; or the reason why it is not."""
    found = Row(row["model"], row["kind"], float(row["ms_measured"]))
    path = files / row["model"]
    if not path.is_file():
        return Row(*known(found), refused="no such file")
    if hashlib.sha256(path.read_bytes()).hexdigest() != row["sha256"]:
        return Row(*known(found), refused="another file than the one measured: its sha256 differs")
    try:
        graph = read_onnx(path, input_shapes=parse_input_shapes(row["shapes"].split()))
        estimate = predictor.predict([graph], [device])[0]
    except NarformerError as error:
        return Row(*known(found), refused=str(error))
    return Row(*known(found), estimate.latency_ms, estimate.low_ms, estimate.high_ms, tuple(estimate.warnings))


def known(row: Row) -> tuple[str, str, float]:
    """What the table says."""
    return row.model, row.kind, row.measured


def figures(rows: Sequence[Row], factor: float) -> Figures:
    """What becomes of these files when their predictions are multiplied by a factor."""
    measured, predicted, low, high = (
        np.array([getattr(row, name) for row in rows]) for name in ("measured", "predicted", "low", "high")
    )
    error = 100 * np.abs(factor * predicted / measured - 1)
    flagged = np.array([bool(row.warnings) for row in rows])
    return Figures(
        files=len(rows),
        factor=factor,
        median_error=median(error),
        within_10=100 * float(np.mean(error <= 10)),
        within_25=100 * float(np.mean(error <= 25)),
        covers=100 * float(np.mean((factor * low <= measured) & (measured <= factor * high))),
        width=median(high / low),
        flagged=100 * float(np.mean(flagged)),
        error_flagged=median(error[flagged]),
        error_others=median(error[~flagged]),
    )


def median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def print_table(title: str, by_group: Mapping[str, Figures]) -> None:
    """A row a group of files, as Markdown."""
    columns = ("files", "median error %", "within 10 %", "within 25 %", "90 % interval covers %", "median high/low")
    columns += ("flagged %", "their error %", "others' error %")
    print(f"| {' | '.join((title, *columns))} |\n|{' --- |' * (1 + len(columns))}")
    for name, f in by_group.items():
        shown = (f.median_error, f.within_10, f.within_25, f.covers)
        told = [f"{f.files}", *(f"{value:.1f}" for value in shown), f"{f.width:.2f}", f"{f.flagged:.1f}"]
        told += ["–" if np.isnan(value) else f"{value:.1f}" for value in (f.error_flagged, f.error_others)]
        print(f"| {' | '.join((name, *told))} |")
    print()


if __name__ == "__main__":
    main()
