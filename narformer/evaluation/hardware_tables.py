"""Lines and tables of protocols of new hardware: by number of samples, then by hardware."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from narformer.evaluation.markdown import by_model, table, training_settings
from narformer.evaluation.results import ALL, ByDevice, Result


def hardware_of(device: str) -> str:
    """The hardware in a target's id."""
    return device.partition(":")[0]


def hardware_lines(result: Result) -> Iterable[str]:
    """A line a number of samples, the mean over all targets."""
    for count, task in result.runs[0].tasks.items():
        errors = [scores[ALL].told("mape") for scores in task.devices.values()]
        yield f"{count:12s} MAPE {np.mean(errors):.2f} %, mean over {len(errors)} targets"


def hardware_tables(protocol: str, results: Sequence[Result]) -> Iterable[str]:
    """What the results are and how they were made, then each table under its title."""
    draws = max(r.draws or 1 for r in results)
    yield (
        f"Each hardware in turn is unknown: no model or fit has seen a label of it but for so many samples, drawn "
        f"{draws} times. Made by `narformer evaluate {protocol} --model NAME --seeds {draws}`, `all` for "
        f"what needs no training{training_settings(results)} What the names say is told in "
        "[protocols](../how-to/evaluate.md)."
    )
    for title, header, rows in tables_of(results):
        yield title
        yield table(header, rows)


def tables_of(results: Sequence[Result]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, header and rows of each table of one protocol's results: by samples, then by hardware."""
    scores = {r.model: r.runs[0].tasks for r in by_model(results)}
    counts = sorted({int(count.split()[0]) for tasks in scores.values() for count in tasks})
    names = sorted({hardware_of(d) for tasks in scores.values() for each in tasks.values() for d in each.devices})

    def devices(model: str, count: int) -> ByDevice:
        task = scores[model].get(f"{count} samples")
        return {} if task is None else task.devices

    def mean(model: str, count: int, metric: str, hardware: str | None = None) -> str:
        mine = [s[ALL] for d, s in devices(model, count).items() if hardware in (None, hardware_of(d))]
        values = [figure for each in mine if (figure := each.figure(metric)) is not None]
        return f"{np.mean(values):.1f}" if values else "–"

    def targets(count: int) -> str:
        return str(max(len(devices(model, count)) for model in scores))

    header = ["", *(f"{count} samples" for count in counts)]
    tables = [
        (
            "MAPE %, mean over all targets of all hardware that have so many networks:",
            header,
            [
                *([model, *(mean(model, count, "mape") for count in counts)] for model in scores),
                ["targets", *map(targets, counts)],
            ],
        )
    ]
    for count in counts:
        if count in (0, 20):
            rows = [[model, *(mean(model, count, "mape", name) for name in names)] for model in scores]
            tables.append((f"MAPE %, {count} samples, by hardware:", ["", *names], rows))
    told = [model for model in scores if mean(model, counts[-1], "coverage") != "–"]
    for metric, title in (("coverage", "The 90 % interval covers %:"), ("width", "Its width, % of the estimate:")):
        if told:
            tables.append((title, header, [[m, *(mean(m, count, metric) for count in counts)] for m in told]))
    return tables
