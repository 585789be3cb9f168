"""How good a predictor is on held-out rows of a dataset, end to end: from the network to the interval as printed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from narformer.datasets.dataset import Dataset, Source
from narformer.metrics import acc, mape
from narformer.prediction.card import Card
from narformer.prediction.predictor import CANONICAL, Predictor
from narformer.prediction.target import canonical_id
from narformer.processes import in_order_with

Part: TypeAlias = npt.NDArray[np.float64]
# Hands on so many parts, and may show how many have come.
Watch: TypeAlias = Callable[[Iterable[Part], int], Iterable[Part]]


def predict_sources(
    name: str | None,
    sources: Sequence[Source],
    factors: Sequence[int] = (),
    jobs: int | None = None,
    watch: Watch = lambda parts, _: parts,
) -> npt.NDArray[np.float64]:
    """What is said of each source on each of a predictor's devices, (rows, devices, 4), by `jobs` processes.

    That is: value, low and high, in ms, and 1 where there is a warning.

    factors: at how many times its batch each is asked; () for once. jobs: all cores where it is not told. watch: is
        handed the answers in parts of 64 sources.
    """
    parts = np.array_split(np.arange(len(sources)), max(1, len(sources) // 64))
    asked = [([sources[k] for k in part], [factors[k] for k in part] if factors else []) for part in parts]
    return np.concatenate(
        list(watch(in_order_with(partial(Predictor.load, name), _estimates, asked, jobs), len(asked)))
    )


def _estimates(predictor: Predictor, asked: tuple[list[Source], list[int]]) -> npt.NDArray[np.float64]:
    """Value, low, high, and whether there is a warning, of each source on each device: (rows, devices, 4)."""
    sources, factors = asked
    graphs = [source.graph() for source in sources]
    if factors and predictor.card.tokenizer == CANONICAL:
        estimates = predictor.predict_batches(graphs, factors)
    else:
        times = factors or [1] * len(graphs)
        rebound = [g if f == 1 else g.with_batch(f * g.batch_size) for g, f in zip(graphs, times, strict=True)]
        estimates = predictor.predict(rebound)
    numbers = [[e.latency_ms, e.low_ms, e.high_ms, bool(e.warnings)] for e in estimates]
    return np.array(numbers).reshape(len(sources), len(predictor.devices), 4)


def held_out_scores(
    file: Path, dataset: Dataset, jobs: int | None = None, watch: Watch = lambda parts, _: parts
) -> dict[str, dict[str, float]]:
    """By target, the errors of the predictor at `file` (.onnx) on the dataset's test networks that it has never seen.

    `rows`: how many were measured there; where any were, in percent: `mape`, the mean error; `acc_10`, the share within
    10 %; `coverage`, the share inside the interval, which is that of the answer, wider where there is a warning.
    """
    rows = dataset.unseen()
    sources, factors = [dataset.sources[row] for row in rows], [dataset.batch[row] for row in rows if dataset.batch]
    told = predict_sources(str(file), sources, factors, jobs, watch) if len(rows) else np.zeros((0, 0, 4))
    columns = {target: column for column, target in enumerate(Predictor.load(file).devices)}
    scores: dict[str, dict[str, float]] = {}
    for device, truth in zip(dataset.devices, dataset.targets[rows].T, strict=True):
        there = np.isfinite(truth)
        target = canonical_id(device)
        scores[target] = {"rows": int(there.sum())}
        if there.any():
            value, low, high, _ = told[there, columns[target]].T
            scores[target] |= _percent(value, low, high, truth[there])
    return scores


def _percent(
    value: npt.NDArray[np.float64],
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
    truth: npt.NDArray[np.float64],
) -> Mapping[str, float]:
    inside = (low <= truth) & (truth <= high)
    return {
        "mape": round(mape(value, truth), 3),
        "acc_10": round(100 * acc(value, truth, 0.1), 2),
        "coverage": round(100 * float(np.mean(inside)), 2),
    }


def write_held_out(
    file: Path, dataset: Dataset, jobs: int | None = None, watch: Watch = lambda parts, _: parts
) -> Card:
    """Put `held_out_scores` into the card of the predictor at `file` (.onnx). Its weights stay as they are.

    A target that nothing was measured on keeps what its card says.
    """
    scores = held_out_scores(file, dataset, jobs, watch)
    card = Card.read(file.with_suffix(".json"))
    outputs = tuple(replace(o, held_out=scores.get(o.device, o.held_out)) for o in card.outputs)
    card = replace(card, outputs=outputs)
    card.save(file.with_suffix(".json"))
    return card
