"""Tables in Markdown, and what several tables of results share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from narformer.evaluation.results import Result

Best = Callable[[Iterable[float]], float]
Key = tuple[str, str, str | None]  # device, metric, task (None: the mean of all)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Header and rows of cells as a table."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def by_model(results: Iterable[Result]) -> list[Result]:
    """Results in the order in which tables have them."""
    return sorted(results, key=lambda result: result.model)


def best_table(
    header: list[str],
    results: Sequence[Result],
    keys: Sequence[Key],
    best: Best,
    digits: int = 2,
    draws: bool = False,
) -> str:
    """A row a result, a column a key, the best of each column in bold; draws: how many there were, as first column."""
    means = {(r.model, k): float(np.mean(v)) for r in results for k in keys if (v := r.values(*k))}
    rows = []
    for r in by_model(results):
        row = [r.model, *([str(len(r.runs))] if draws else [])]
        for k in keys:
            text = r.spread(*k, digits=digits)
            column = [m for (_, key), m in means.items() if key == k]
            row.append(f"**{text}**" if column and means.get((r.model, k)) == best(column) else text)
        rows.append(row)
    return table(header, rows)


def training_settings(results: Sequence[Result]) -> str:
    """Epochs, seeds and what is not usual of results that were trained, as the end of a sentence."""
    epochs = sorted({r.epochs for r in results if r.epochs})
    seeds = sorted({len(r.runs) for r in results if r.epochs})
    if not epochs:
        return "."
    told = [f"epochs {', '.join(map(str, epochs))}"]
    told += [f"batches of {size}" for size in sorted({r.batch_size for r in results if r.batch_size})]
    told += [f"rate {rate:g}" for rate in sorted({r.learning_rate for r in results if r.learning_rate})]
    told += [f"on {name}" for name in sorted({r.processor for r in results if r.processor not in (None, "cpu")})]
    told.append(f"seeds {', '.join(map(str, seeds))}")
    return f" ({'; '.join(told)})."
