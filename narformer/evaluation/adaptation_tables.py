"""Lines and tables of protocols of adaptation: a column a device, a table a number of samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from narformer.evaluation.markdown import Best, by_model, table
from narformer.evaluation.protocol import Protocol, Section
from narformer.evaluation.results import Result, file_stem


class Metric(NamedTuple):
    """A figure that tables show; best: which of several is, None where none is."""

    name: str
    title: str
    best: Best | None
    digits: int


class AdaptationProtocol(Protocol):
    """A protocol in which devices play a new one. metrics: what its tables show; its lines show the first."""

    metrics: ClassVar[tuple[Metric, ...]]

    def lines(self, result: Result) -> Iterable[str]:
        """A line a number of samples, means over devices and draws."""
        name = self.metrics[0].name
        for task in result.tasks:
            means = {d: float(np.mean(result.values(d, name, task))) for d in result.devices}
            listed = "  ".join(f"{d} {mean:.4g}" for d, mean in means.items())
            yield f"{task:12s} {name} {np.mean(list(means.values())):.4g}   ({listed})"

    def sections(self, results: Sequence[Result]) -> Iterable[Section]:
        """One a form."""
        for form in sorted({r.form for r in results}):
            tables = list(self._tables(form, [r for r in results if r.form == form]))
            yield Section(f"{self.name}, {form} form", tables, f"{file_stem(self.name, form)}.svg")

    def _tables(self, form: str, results: Sequence[Result]) -> Iterable[str]:
        option = " --quick" if form == "quick" else ""
        draws = max(len(r.runs) for r in results)
        command = f"narformer evaluate {self.name}{option} --model all --seeds {draws}"
        yield f"Made by `{command}`; mean ± deviation over draws."
        devices = list(dict.fromkeys(d for r in results for d in r.devices))
        tasks = list(dict.fromkeys(t for r in results for t in r.tasks))
        for metric in self.metrics:
            for task in tasks:
                yield f"{metric.title}, {task}:"
                rows, means = [], []
                for r in by_model(results):
                    mean = float(np.mean([np.mean(r.values(d, metric.name, task)) for d in devices]))
                    means.append(mean)
                    cells = [r.spread(d, metric.name, task, digits=metric.digits) for d in devices]
                    rows.append([r.model, *cells, f"{mean:.{metric.digits}f}"])
                if metric.best is not None:
                    row = rows[means.index(metric.best(means))]
                    row[-1] = f"**{row[-1]}**"
                yield table(["model", *devices, "mean"], rows)
