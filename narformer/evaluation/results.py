"""Results of protocols as data and as JSON, one file a protocol, form and model."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from narformer.errors import DataError
from narformer.prediction.target import canonical_id

_INNERMOST = re.compile(r"\{[^{}]*\}")  # objects that hold none: written on one line
SETTINGS = ("draws", "batch_size", "learning_rate", "huber", "published_settings", "processor")
ALL = "all"  # the name, among those of families, of all rows together


@dataclass(frozen=True)
class Scores:
    """How some rows were predicted; in percent where nothing else is said, None where a figure was not calculated.

    rows: how many. mape, rmspe: mean, and root of the mean square, of relative errors; mape_deviation: the standard
    deviation of mape over draws; median_error: the median. acc_10, acc_5, acc_1: rows within 10, 5 and 1 %.
    kendall, spearman: rank correlations, -1 to 1. coverage, interval_covers: rows within the 90 % interval; width: its
    mean width relative to the estimate; ratio: the median of its upper over its lower end; interval_factor: the median
    of its upper end over the estimate. flagged: rows that carry a warning; error_flagged, error_others: median errors
    of these and of the others.
    """

    rows: int
    mape: float | None = None
    mape_deviation: float | None = None
    rmspe: float | None = None
    acc_10: float | None = None
    acc_5: float | None = None
    acc_1: float | None = None
    kendall: float | None = None
    spearman: float | None = None
    coverage: float | None = None
    width: float | None = None
    ratio: float | None = None
    median_error: float | None = None
    flagged: float | None = None
    error_flagged: float | None = None
    error_others: float | None = None
    interval_covers: float | None = None
    interval_factor: float | None = None

    def figure(self, metric: str) -> float | None:
        """A figure by its name."""
        value: float | None = getattr(self, metric)
        return value

    def told(self, metric: str) -> float:
        """A figure by its name, which must have been calculated; LookupError where it was not."""
        value = self.figure(metric)
        if value is None:
            raise LookupError(f"these scores have no {metric}")
        return value

    def to_json(self) -> dict[str, float]:
        """The figures that were calculated, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


ByFamily = Mapping[str, Scores]
ByDevice = Mapping[str, ByFamily]


@dataclass(frozen=True)
class Choice:
    """Scores of the weights after so many epochs of a training."""

    epochs: int
    scores: Scores


@dataclass(frozen=True)
class TaskResult:
    """Scores by device, then by family (`all` for all rows). train: rows learned from. seconds: that it took.

    chosen: of a trained model of cells, what each choice of the epoch would have given. threads: of PyTorch, or the
    name of the gpu, on which it was trained.
    """

    devices: ByDevice
    train: int | None = None
    seconds: float | None = None
    threads: int | None = None
    gpu: str | None = None
    chosen: Mapping[str, Choice] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As it is kept once the task is finished, and within a result."""
        plain = {"train": self.train, "seconds": self.seconds, "threads": self.threads, "gpu": self.gpu}
        chosen = {name: {"epochs": each.epochs, **each.scores.to_json()} for name, each in self.chosen.items()}
        return {
            "devices": {device: _families(scores) for device, scores in self.devices.items()},
            **{key: value for key, value in plain.items() if value is not None},
            **({"chosen": chosen} if chosen else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TaskResult:
        """Targets by the ids that they have now. Raises KeyError, TypeError and the like for anything else."""
        return cls(
            {canonical_id(device): _scores_by_name(scores) for device, scores in data["devices"].items()},
            data.get("train"),
            data.get("seconds"),
            data.get("threads"),
            data.get("gpu"),
            {name: Choice(each["epochs"], _scores(each)) for name, each in data.get("chosen", {}).items()},
        )


LOG_ERRORS = ("log_error_90", "log_error_90_long")  # of a Run


@dataclass(frozen=True)
class Run:
    """One seed, or draw: a result a task.

    log_error_90: by device, the 90 % quantile of |ln(prediction / truth)| over all tasks. log_error_90_long: of
    networks that take LONG_MS and more, as predicted, where there are enough of both.
    intervals: scores of 90 % intervals on left-out tasks, by rule and device.
    """

    seed: int | None
    tasks: Mapping[str, TaskResult]
    log_error_90: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, Mapping[str, Scores]] = field(default_factory=dict)
    log_error_90_long: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What a model came to under a protocol; form: `full`, `quick`, or settings of a training of cells.

    epochs: of the training, None where there was none. draws: of samples, where these are not a run each.
    batch_size, learning_rate, huber: of a training that had settings of its own; published_settings: whether they are
    those that the model was published with. processor: cpu or cuda, on which models were trained.
    """

    protocol: str
    form: str
    model: str
    epochs: int | None
    runs: tuple[Run, ...]
    draws: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    huber: float | None = None
    published_settings: bool | None = None
    processor: str | None = None

    @property
    def devices(self) -> list[str]:
        """The devices that there are scores of, in their order."""
        return list(dict.fromkeys(d for run in self.runs for task in run.tasks.values() for d in task.devices))

    @property
    def tasks(self) -> list[str]:
        """The names of all tasks, in their order."""
        return list(dict.fromkeys(name for run in self.runs for name in run.tasks))

    def values(self, device: str, metric: str, task: str | None = None, family: str = ALL) -> list[float]:
        """A figure of each seed that has it: of one task, or its mean over all tasks that have it."""
        found = []
        for run in self.runs:
            tables = [each.devices.get(device, {}) for name, each in run.tasks.items() if task in (None, name)]
            figures = [table[family].figure(metric) for table in tables if family in table]
            numbers = [figure for figure in figures if figure is not None]
            if numbers:
                found.append(float(np.mean(numbers)))
        return found

    def spread(self, device: str, metric: str, task: str | None = None, family: str = ALL, digits: int = 2) -> str:
        """Those values as text, as `spread` has it."""
        return spread(self.values(device, metric, task, family), digits)

    def to_json(self) -> dict[str, Any]:
        """As `narformer evaluate` writes it."""
        settings = {key: getattr(self, key) for key in SETTINGS}
        return {
            "protocol": self.protocol,
            "form": self.form,
            "model": self.model,
            "epochs": self.epochs,
            **{key: value for key, value in settings.items() if value is not None},
            "runs": [_run_json(run) for run in self.runs],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Result:
        """The inverse; targets by the ids that they have now. Raises KeyError, TypeError and the like."""
        settings = {key: data.get(key) for key in SETTINGS}
        runs = tuple(_run(run) for run in data["runs"])
        return cls(data["protocol"], data["form"], data["model"], data["epochs"], runs, **settings)


def spread(values: list[float], digits: int = 2) -> str:
    """The mean, ± the standard deviation where there are several values; a dash where there are none.

    >>> spread([1.0, 2.0]), spread([3.14159]), spread([])
    ('1.50 ± 0.71', '3.14', '–')
    """
    if not values:
        return "–"
    mean = f"{np.mean(values):.{digits}f}"
    return f"{mean} ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else mean


def file_stem(protocol: str, form: str) -> str:
    """Name of the file of a result, without the model and the ending."""
    return f"{protocol.replace('/', '-')}.{form}"


def write_result(result: Result, out: Path) -> Path:
    """Write a result below a directory, which is made. Raises DataError where it cannot.

    Of a file that is there, with the same settings, it keeps the sizes of training sets that were not asked for this
    time: `--cells 85` and then `--cells 172` are two rows of one table.
    """
    path = out / f"{file_stem(result.protocol, result.form)}.{result.model}.json"
    text = json.dumps(_joined(result, path).to_json(), indent=1)
    try:
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(_INNERMOST.sub(lambda found: " ".join(found[0].split()), text) + "\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error
    return path


def _joined(result: Result, path: Path) -> Result:
    """A result of training sets of some sizes, and those of other sizes that a file has."""
    if not result.protocol.endswith("/accuracy"):
        return result
    try:
        before = _load(path)
    except DataError:
        return result
    if replace(before, runs=()) != replace(result, runs=()):
        return result
    tasks = {run.seed: dict(run.tasks) for run in before.runs}
    for run in result.runs:
        tasks[run.seed] = tasks.get(run.seed, {}) | dict(run.tasks)

    def cells(task: str) -> int:
        return int(task.split()[0])

    runs = [Run(seed, {task: of[task] for task in sorted(of, key=cells)}) for seed, of in sorted(tasks.items())]
    return replace(result, runs=tuple(runs))


def load_results(directory: Path) -> list[Result]:
    """All results in a directory, by name of their files. Raises DataError for a file that is not one."""
    return [_load(path) for path in sorted(directory.glob("*.json"))]


def _load(path: Path) -> Result:
    try:
        return Result.from_json(json.loads(path.read_text()))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not a result of narformer evaluate") from error


def _run(data: Mapping[str, Any]) -> Run:
    tasks = {name: TaskResult.from_json(task) for name, task in data["tasks"].items()}
    every, long = ({canonical_id(device): error for device, error in data.get(name, {}).items()} for name in LOG_ERRORS)
    rules = data.get("intervals", {})
    intervals = {
        rule: {canonical_id(device): _scores(figures) for device, figures in devices.items()}
        for rule, devices in rules.items()
    }
    return Run(data["seed"], tasks, every, intervals, long)


def _run_json(run: Run) -> dict[str, Any]:
    told: dict[str, Any] = {"seed": run.seed, "tasks": {name: task.to_json() for name, task in run.tasks.items()}}
    told |= {name: dict(errors) for name in LOG_ERRORS if (errors := getattr(run, name))}
    if run.intervals:
        told["intervals"] = {rule: _families(devices) for rule, devices in run.intervals.items()}
    return told


_FIGURES = tuple(each.name for each in fields(Scores))


def _scores(data: Mapping[str, Any]) -> Scores:
    return Scores(**{name: data[name] for name in _FIGURES if name == "rows" or name in data})


def _scores_by_name(data: Mapping[str, Mapping[str, Any]]) -> dict[str, Scores]:
    return {name: _scores(each) for name, each in data.items()}


def _families(scores: Mapping[str, Scores]) -> dict[str, dict[str, float]]:
    return {name: each.to_json() for name, each in scores.items()}
