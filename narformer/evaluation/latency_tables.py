"""Tables of protocols of latency: of shipped predictors, of each protocol, and one overview."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from narformer.evaluation.interval_tables import MANY
from narformer.evaluation.markdown import Best, Key, best_table, by_model, table, training_settings
from narformer.evaluation.results import ALL, Result

ERRORS: tuple[tuple[str, str, Best], ...] = (("mape", "MAPE %", min), ("acc_10", "Acc(10 %)", max))
SHIPPED = (
    ("rows", "test rows"),
    ("mape", "MAPE %"),
    ("acc_10", "Acc(10 %)"),
    ("acc_5", "Acc(5 %)"),
    ("kendall", "Kendall"),
    ("coverage", "90 % interval covers %"),
    ("width", "its width %"),
)


def is_shipped(result: Result) -> bool:
    """Whether it is of a finished predictor, the only ones of which coverage is told."""
    tables = [table for run in result.runs for task in run.tasks.values() for table in task.devices.values()]
    return any(table[ALL].coverage is not None for table in tables)


def shipped_tables(result: Result) -> Iterable[str]:
    """What a finished predictor came to, by target and, where these are few, by family."""
    quick = " --quick" if result.form == "quick" else ""
    yield (
        f"Made by `narformer evaluate {result.protocol}{quick} --predictor {result.model}`, from the network to the "
        "interval."
    )
    devices = result.devices
    (run,) = result.runs
    tables = next(iter(run.tasks.values())).devices
    rows = [[d, *(_plain(tables[d][ALL].figure(key)) for key, _ in SHIPPED)] for d in devices]
    yield table(["device", *(title for _, title in SHIPPED)], rows)
    families = sorted({f for d in devices for f in tables[d]} - {ALL})
    if len(devices) > MANY:
        return
    for metric, title, _ in ERRORS:
        yield f"{title} by family:"
        rows = [
            [f, *(_plain(tables[d][f].figure(metric)) if f in tables[d] else "–" for d in devices)] for f in families
        ]
        yield table(["family", *devices], rows)


def overview_tables(results: Sequence[Result]) -> Iterable[str]:
    """The mean error of each model under each protocol, a table a form."""
    yield "MAPE in percent, mean over all devices and tasks; best in bold."
    for form in ("full", "quick"):
        group = [r for r in results if r.form == form]
        if not group:
            continue
        protocols = sorted({r.protocol for r in group})
        models = list(dict.fromkeys(r.model for r in by_model(group)))
        cells: dict[tuple[str, str], float] = {}
        for r in group:
            cells[r.model, r.protocol] = float(np.mean([np.mean(r.values(d, "mape")) for d in r.devices]))
        rows = []
        for model in models:
            row = [model]
            for p in protocols:
                best = min(value for (_, name), value in cells.items() if name == p)
                value = cells.get((model, p))
                text = "–" if value is None else f"{value:.2f}"
                row.append(f"**{text}**" if value == best else text)
            rows.append(row)
        yield f"{form.capitalize()} form:"
        yield table(["model", *protocols], rows)


def protocol_tables(protocol: str, form: str, results: Sequence[Result]) -> Iterable[str]:
    """All models under a protocol in a form: by target, by task where there are several."""
    quick, *only = form.split("-")
    option = " --quick" * (quick == "quick") + "".join(f" --task {task}" for task in only)
    shipped = ", shipped ones with `--predictor NAME`" if any(r.model.endswith("(shipped)") for r in results) else ""
    yield f"Made by `narformer evaluate {protocol}{option} --model NAME`{shipped}" + training_settings(results)
    devices = list(dict.fromkeys(d for r in results for d in r.devices))
    tasks = list(dict.fromkeys(t for r in results for t in r.tasks))
    if len(devices) > MANY:
        for metric, title, best in ERRORS:
            yield f"{title}, means over the targets of each precision, then each target:"
            yield _by_target(results, devices, metric, best)
        return
    if len(tasks) == 1:
        for metric, title, best in ERRORS:
            yield f"{title}:"
            yield best_table(["model", *devices], results, [(d, metric, None) for d in devices], best)
        return
    for device in devices:
        present = [t for t in tasks if any(r.values(device, "mape", t) for r in results)]
        yield f"MAPE % on {device}, by task:"
        keys: list[Key] = [(device, "mape", t) for t in [*present, None]]
        yield best_table(["model", *present, "mean"], results, keys, min)


def _by_target(results: Sequence[Result], devices: Sequence[str], metric: str, best: Best) -> str:
    """A column a model, a row a target: for protocols with more targets than a page has columns."""
    results = by_model(results)
    found = {d: [r.values(d, metric) for r in results] for d in devices}
    means = {d: [float(np.mean(v)) if v else np.nan for v in row] for d, row in found.items()}
    rows = []
    for precision in dict.fromkeys(d.rpartition(":")[2] for d in devices):
        mine = [means[d] for d in devices if d.endswith(f":{precision}")]
        rows.append((f"**{precision}**, {len(mine)} targets", np.mean(mine, axis=0)))
    rows += [(f"`{device}`", np.array(row)) for device, row in means.items()]
    shown = []
    for name, row in rows:
        top = best(v for v in row if np.isfinite(v))
        shown.append([name, *("–" if np.isnan(v) else f"**{v:.2f}**" if v == top else f"{v:.2f}" for v in row)])
    return table(["target", *(r.model for r in results)], shown)


def _plain(value: float | None) -> str:
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.2f}"
