"""Are real files that a target calls foreign predicted worse there, and how many does it call so?

    python benchmarks/foreign_files.py [--target epyc-milan:onnxruntime-1.32:fp32:1t] [--every]

Real files were measured on one core alone (`onnxruntime-wide`, an EPYC Turin). Another processor is no multiple of it:
what multiplies matrices differs by another factor than what a call costs. So a prediction for another target is
compared with the measured latency times a factor of its own, the median of predicted to measured over the 60 files next
to it in measured latency. What is left is by how much the target knows some files worse than others of like size.
--every: a line for each target, how many of the files it warns of, without errors.
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np
import numpy.typing as npt

import narformer
from narformer.datasets.onnxruntime_wide import load_onnxruntime_wide
from narformer.prediction.card import Output
from narformer.prediction.trust import Unfamiliar, beyond, is_foreign

MEASURED = "epyc-turin:onnxruntime-1.32:fp32:1t"
MILAN = "epyc-milan:onnxruntime-1.32:fp32:1t"
NEXT = 60
EDGES = (0.0, 0.8, 0.93, 0.97, 1.01)
Array = npt.NDArray[np.float64]


def beside_neighbours(predicted: Array, measured: Array) -> Array:
    """|ln| of each ratio of predicted to measured over the median ratio of the files next to it in measured latency."""
    order = np.argsort(measured)
    ratio = np.log(predicted / measured)[order]
    left = np.empty(len(ratio))
    for k in range(len(ratio)):
        first = min(max(k - NEXT // 2, 0), max(len(ratio) - NEXT - 1, 0))
        others = np.delete(ratio[first : first + NEXT + 1], k - first)
        left[order[k]] = abs(ratio[k] - np.median(others))
    return left


def told(error: Array, rows: npt.NDArray[np.bool_]) -> str:
    """How many of the files these are, and their median error, in percent."""
    median = f"{100 * np.median(np.expm1(error[rows])):5.1f} %" if rows.any() else "–"
    return f"{100 * rows.mean():5.1f} % of the files, median error {median}"


def foreign(found: Unfamiliar, column: int, output: Output) -> npt.NDArray[np.bool_]:
    """Which files a target calls foreign."""
    return is_foreign(found.share[:, column], found.novelty[:, column], output.usual, output.away)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default=MILAN)
    parser.add_argument("--every", action="store_true")
    chosen = parser.parse_args()
    dataset = load_onnxruntime_wide()
    latency = dataset.targets[:, dataset.devices.index(MEASURED)]
    rows = [r for r, family in enumerate(dataset.family) if family.startswith("file:") and np.isfinite(latency[r])]
    predictor = narformer.load()
    networks = [predictor.read(dataset.sources[row].graph()) for row in rows]
    outputs = predictor.card.outputs
    values, found = predictor._values(networks, range(len(outputs)))
    if chosen.every:
        for column, output in enumerate(outputs):
            print(f"{output.device:46s} {100 * foreign(found, column, output).mean():5.1f} %")
        return
    (target,) = predictor.select(chosen.target)
    column = predictor.own_targets.index(target)
    output = outputs[column]
    error = beside_neighbours(values[:, column], latency[rows])
    far, flagged = beyond(found.novelty[:, column], output.usual), foreign(found, column, output)
    print(f"{len(rows)} real files on {target}\n  flagged  {told(error, flagged)}\n  others   {told(error, ~flagged)}")
    for low, high in itertools.pairwise(EDGES):
        print(f"  novelty from {low:.2f} to {min(high, 1):.2f} of the way: {told(error, (far >= low) & (far < high))}")


if __name__ == "__main__":
    main()
