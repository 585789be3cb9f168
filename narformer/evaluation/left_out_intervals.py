"""Intervals on left-out tasks: do nine in ten networks of a family that no training saw lie within theirs?

Two rules are tried on every test row. `stated`: as a predictor exported from that training would state it
(prediction/trust.py): the errors of known rows by how many kernels share the time, and a wider interval, its width from
the other tasks, where a warning says that no network like it was measured. `other tasks`: one width for all rows of a
target, the conformal quantile of the errors on all other tasks. No width is fitted to the rows it is tried on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from narformer.datasets.cache import TokenCache
from narformer.datasets.dataset import Dataset
from narformer.datasets.kernel_cache import KernelCache
from narformer.evaluation.results import Scores
from narformer.evaluation.scores import with_warnings
from narformer.models.interface import LatencyModel
from narformer.prediction.trust import beyond, doubted_widths, is_foreign, known_widths, network_sums
from narformer.training.batching import to_tensors
from narformer.training.export import (
    SMALL,
    WIDER,
    answers_of,
    beside_novelty,
    conformal_quantile,
    narrowest,
    observe,
    usual_novelty,
)

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
FILE = "kernels.npz"
NEEDED = ("node_latency", "node_strange")  # of what a model answers, to state an interval
FEWEST = 20  # errors on other tasks, below which they tell no width


def keep_kernels(
    network: LatencyModel,
    tokens: TokenCache | KernelCache,
    dataset: Dataset,
    fit: Indices,
    validation: Indices,
    test: Indices,
    home: Path,
) -> None:
    """Write what intervals are made of: kernels that share the time and the share of unlike ones, (rows, devices)."""
    observe(network, tokens, fit, np.isfinite(dataset.targets))
    said = answers_of(network, tokens, validation)
    tested = answers_of(network, tokens, test)
    partial = home / f"partial-{FILE}"
    np.savez_compressed(
        partial,
        validation=np.log(said.latency / dataset.targets[validation]),
        validation_kernels=said.kernels,
        kernels=tested.kernels,
        strange=strange_shares(network, tokens, test),
        validation_novelty=said.novelty,
        novelty=tested.novelty,
    )
    partial.replace(home / FILE)


@torch.inference_mode()
def strange_shares(network: LatencyModel, tokens: TokenCache | KernelCache, rows: Indices) -> Array:
    """Share of each row's time in kernels unlike any measured on a target, (rows, outputs)."""
    network.eval()
    latency, strange = (2 + network.extra_outputs.index(name) for name in NEEDED)
    found = []
    for start in range(0, len(rows), 64):
        batch = tokens.batch(rows[start : start + 64])
        answers, count = network.answers(*to_tensors(batch, torch.device("cpu"))), len(batch.features)
        each, unlike = (answers[place][:count].double().numpy() for place in (latency, strange))
        graph, networks = batch.graph.astype(np.int64), len(batch.static)
        found.append(network_sums(each * unlike, graph, networks) / network_sums(each, graph, networks))
    return np.concatenate(found)


def left_out_intervals(
    devices: Sequence[str], truths: Sequence[Array], homes: Sequence[Path]
) -> dict[str, dict[str, Scores]]:
    """By rule and device: rows, median error, what the interval covers (percent), and the median of high over low.

    The `stated` ones also say how many rows would carry a warning that nothing alike was measured, and whether rightly.
    truths: of each task's test rows, (rows, devices), NaN where not measured. homes: where each task's `prediction.npy`
    and `kernels.npz` are; tasks without the latter have no `stated` interval.
    """
    predictions = [np.load(home / "prediction.npy") for home in homes]
    found: dict[str, dict[str, Scores]] = {}
    for column, device in enumerate(devices):
        with np.errstate(invalid="ignore", divide="ignore"):  # a model that knows no floor may predict 0 or less
            errors = [np.abs(np.log(p[:, column] / t[:, column])) for p, t in zip(predictions, truths, strict=True)]
        few = sum(int(np.isfinite(each).sum()) for each in errors) < SMALL
        tried: dict[str, list[Array]] = {}
        for number, (home, mine) in enumerate(zip(homes, errors, strict=True)):
            others = np.concatenate([np.zeros(0), *(each for k, each in enumerate(errors) if k != number)])
            others = others[np.isfinite(others)]
            width = conformal_quantile(np.exp(others), np.ones(len(others))) if len(others) >= FEWEST else None
            relative = np.abs(predictions[number][:, column] / truths[number][:, column] - 1)
            halves = {"other tasks": None if width is None else np.full(len(mine), width)}
            halves["stated"], foreign = _stated(home, column, width, few, len(mine))
            for rule, half in halves.items():
                if half is not None:
                    rows = np.isfinite(relative)
                    tried.setdefault(rule, []).append(np.stack([relative, mine, half, foreign])[:, rows])
        for rule, parts in tried.items():
            relative, mine, half, foreign = np.concatenate(parts, axis=1)
            if len(mine):
                scores = Scores(
                    rows=len(mine),
                    median_error=round(100 * float(np.median(relative)), 2),
                    coverage=round(100 * float(np.mean(mine <= half)), 2),
                    ratio=round(float(np.median(np.exp(2 * half))), 3),
                )
                if rule == "stated":
                    scores = with_warnings(scores, 100 * relative, foreign > 0)
                found.setdefault(rule, {})[device] = scores
    return found


def _stated(home: Path, column: int, novel: float | None, few: bool, rows: int) -> tuple[Array | None, Array]:
    """Of a task's test rows on a device, half widths in ln(ms), None where they cannot be told, and what is foreign.

    novel: the width of families left out. few: whether all rows have it, as a target of so few networks has.
    """
    if not (home / FILE).exists():
        return None, np.zeros(rows)
    with np.load(home / FILE) as arrays:
        residuals = np.abs(arrays["validation"][:, column])
        kernels, mine = arrays["validation_kernels"][:, column], arrays["kernels"][:, column]
        share = arrays["strange"][:, column]
        far, mine_far = arrays["validation_novelty"][:, column], arrays["novelty"][:, column]
    there = np.isfinite(residuals)
    if not there.any():
        return None, np.zeros(rows)
    if few and novel is not None:
        half, nothing = np.full(rows, novel), np.zeros(rows)
        foreign = is_foreign(share, mine_far, nothing, nothing)
        return np.where(foreign, doubted_widths(half), half), foreign.astype(float)
    away, usual = WIDER if novel is None else novel, usual_novelty(far, residuals)
    foreign = is_foreign(share, mine_far, usual, away)
    averaged, known = narrowest(beside_novelty(residuals[there], beyond(far[there], usual), away), kernels[there])
    half = known_widths(known, averaged, away, usual, mine, mine_far)
    wide = doubted_widths(np.maximum(half, away))
    return np.where(foreign, wide, half), foreign.astype(float)
