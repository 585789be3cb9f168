"""Results on disk, one JSON file a protocol, form and model; and the page of tables made of them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from narformer.errors import DataError
from narformer.evaluation.cell_tables import TRAINING_HEADER, training_rows
from narformer.evaluation.hardware_tables import HARDWARE_PROTOCOLS, hardware_tables
from narformer.evaluation.interval_tables import HEADER, MANY, REAL_FILES, interval_rows
from narformer.evaluation.markdown import table as _table
from narformer.prediction.target import canonical_id

Result = dict[str, Any]
_INNERMOST = re.compile(r"\{[^{}]*\}")  # objects that hold none: written on one line


def file_stem(protocol: str, form: str) -> str:
    """Name of the file of a result, without its ending."""
    return f"{protocol.replace('/', '-')}.{form}"


def save_result(result: Result, out: Path) -> str:
    """Write one result as JSON below `out`; returns a line a device to print. Raises DataError where it cannot."""
    path = _written(result, out)
    lines = [f"{result['protocol']} ({result['form']}), {result['model']}:"]
    lines += [
        f"  {d:24s} MAPE {spread(result, d, 'mape')} %   Acc(10 %) {spread(result, d, 'acc_10')} %"
        for d in devices_of(result)
    ]
    return "\n".join([*lines, f"  {path}"])


def save_cell_result(result: Result, out: Path) -> str:
    """As `save_result`, for a protocol of accuracy: a line a number of training cells."""
    path = _written(result, out)
    tasks = list(dict.fromkeys(t for run in result["runs"] for t in run["tasks"]))
    lines = [f"  {t:12s} Kendall's tau {spread(result, 'accuracy', 'kendall', t, digits=4)}" for t in tasks]
    return "\n".join([f"{result['protocol']}, {result['model']}:", *lines, f"  {path}"])


def save_adaptation(result: Result, out: Path) -> str:
    """As `save_result`, for a protocol of adaptation: a line a number of samples, means over devices and draws."""
    path = _written(result, out)
    metric = "spearman" if result["protocol"].startswith("help/") else "mape"
    lines = []
    for task in dict.fromkeys(t for run in result["runs"] for t in run["tasks"]):
        means = {d: float(np.mean(values(result, d, metric, task))) for d in devices_of(result)}
        listed = "  ".join(f"{d} {mean:.4g}" for d, mean in means.items())
        lines.append(f"  {task:12s} {metric} {np.mean(list(means.values())):.4g}   ({listed})")
    return "\n".join([f"{result['protocol']} ({result['form']}), {result['model']}:", *lines, f"  {path}"])


def save_new_hardware(result: Result, out: Path) -> str:
    """As `save_result`, for a protocol of new hardware: a line a number of samples, the mean over all targets."""
    path = _written(result, out)
    lines = []
    for count, task in result["runs"][0]["tasks"].items():
        errors = [scores["all"]["mape"] for scores in task["devices"].values()]
        lines.append(f"  {count:12s} MAPE {np.mean(errors):.2f} %, mean over {len(errors)} targets")
    return "\n".join([f"{result['protocol']}, {result['model']}:", *lines, f"  {path}"])


def _written(result: Result, out: Path) -> Path:
    path = out / f"{file_stem(result['protocol'], result['form'])}.{result['model']}.json"
    try:
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(_INNERMOST.sub(lambda found: " ".join(found[0].split()), json.dumps(result, indent=1)) + "\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error
    return path


def load_results(directory: Path) -> list[Result]:
    """All results below a directory. Raises DataError for a file that is not one."""
    results = []
    for path in sorted(directory.glob("*.json")):
        try:
            result = json.loads(path.read_text())
            result["protocol"], result["form"], result["model"], result["runs"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: not a result of narformer evaluate") from error
        results.append(_present(result))
    return results


def _present(result: Result) -> Result:
    """A result by the ids that its targets have now, whatever they were called when it was written."""
    runs = []
    for run in result["runs"]:
        tasks = {
            name: {**task, "devices": {canonical_id(device): scores for device, scores in task["devices"].items()}}
            for name, task in run["tasks"].items()
        }
        runs.append({**run, "tasks": tasks})
    return {**result, "runs": runs}


def devices_of(result: Result) -> list[str]:
    """The devices that a result has scores of, in their order."""
    return list(dict.fromkeys(d for run in result["runs"] for task in run["tasks"].values() for d in task["devices"]))


def values(result: Result, device: str, metric: str, task: str | None = None, family: str = "all") -> list[float]:
    """The metric of each seed: of one task, or its mean over all tasks that have it."""
    found = []
    for run in result["runs"]:
        tables = [t["devices"] for name, t in run["tasks"].items() if task in (None, name)]
        scores = [t[device][family] for t in tables if family in t.get(device, {})]
        numbers = [s[metric] for s in scores if metric in s]
        if numbers:
            found.append(float(np.mean(numbers)))
    return found


def spread(
    result: Result, device: str, metric: str, task: str | None = None, family: str = "all", digits: int = 2
) -> str:
    """Mean over seeds, ± their standard deviation where there are several; a dash where there is nothing."""
    numbers = values(result, device, metric, task, family)
    if not numbers:
        return "–"
    mean = f"{np.mean(numbers):.{digits}f}"
    return f"{mean} ± {np.std(numbers, ddof=1):.{digits}f}" if len(numbers) > 1 else mean


def page(results: Sequence[Result], files: Collection[str] = ()) -> str:
    """The page of all tables, in Markdown; `files` are those beside it, whose plots it shows."""
    parts = [
        "# Results",
        "Every figure here was made by `narformer evaluate`; this page by `narformer report`, from the JSON files "
        "beside it. MAPE is the mean absolute percentage error, Acc(10 %) the share of networks predicted within "
        "10 %. A test row is never trained or tuned on; the best epoch is chosen on 5 % of the train rows. Where "
        "several seeds were run, mean ± standard deviation. Full and quick forms (150 train and 50 test rows a "
        "family) are never mixed.",
    ]
    if intervals := interval_rows(results):
        parts += [
            "## Intervals",
            "Of the 90 % intervals, on rows that nothing was fitted to: of shipped predictors on test rows drawn at "
            "random; of models trained without the tested families, the interval as a predictor of that training "
            "would state it, and one of the width that the other left-out families tell; and on real files "
            "(`benchmarks/wild.py`).",
            _table(HEADER, intervals),
        ]
    results = [r for r in results if r["protocol"] != REAL_FILES]
    shipped = [r for r in results if _is_predictor(r)]
    for result in shipped:
        parts += [f"## Shipped predictor `{result['model']}`", *_shipped(result)]
        parts += _picture(f"{file_stem(result['protocol'], result['form'])}.{result['model']}.png", files)
    cells = [r for r in results if r["protocol"].endswith("/accuracy")]
    adapted = [r for r in results if _is_adaptation(r)]
    new_hardware = [r for r in results if _is_new_hardware(r)]
    apart = [*cells, *adapted, *new_hardware]
    trained = [r for r in results if not _is_predictor(r) and r not in apart]
    # Shipped predictors were trained on the train rows alone, so they stand beside the models trained for a protocol.
    trained += [{**r, "model": f"{r['model']} (shipped)"} for r in shipped]
    if trained:
        parts += ["## All protocols", *_overview(trained)]
    for protocol, form in sorted({(r["protocol"], r["form"]) for r in trained}):
        group = [r for r in trained if (r["protocol"], r["form"]) == (protocol, form)]
        parts += [f"## {protocol}, {form} form", *_protocol_tables(protocol, form, group)]
        parts += _picture(f"{file_stem(protocol, form)}.svg", files)
    for protocol in sorted({r["protocol"] for r in cells}):
        parts += [f"## {protocol}", *_cell_tables(protocol, [r for r in cells if r["protocol"] == protocol])]
    for protocol, form in sorted({(r["protocol"], r["form"]) for r in adapted}):
        group = [r for r in adapted if (r["protocol"], r["form"]) == (protocol, form)]
        parts += [f"## {protocol}, {form} form", *_adaptation_tables(protocol, form, group)]
    for protocol in sorted({r["protocol"] for r in new_hardware}):
        parts += [f"## {protocol}", *_new_hardware([r for r in new_hardware if r["protocol"] == protocol])]
    parts += ["Published figures beside ours: [published](published.md)."]
    return "\n\n".join(parts) + "\n"


def _picture(file: str, files: Collection[str]) -> list[str]:
    return [f"![{file}]({file})"] if file in files else []


def _is_predictor(result: Result) -> bool:
    if _is_new_hardware(result):
        return False
    tables = [table for run in result["runs"] for task in run["tasks"].values() for table in task["devices"].values()]
    return any("coverage" in table["all"] for table in tables)


def _is_adaptation(result: Result) -> bool:
    return bool(result["protocol"].startswith("help/") or result["protocol"].endswith("leave-one-device-out"))


def _is_new_hardware(result: Result) -> bool:
    return result["protocol"] in HARDWARE_PROTOCOLS


def _new_hardware(results: Sequence[Result]) -> Iterable[str]:
    draws = max(r["draws"] for r in results)
    yield (
        f"Each hardware in turn is unknown: no model or fit has seen a label of it but for so many samples, drawn "
        f"{draws} times. Made by `narformer evaluate {results[0]['protocol']} --model NAME --seeds {draws}`, `all` for "
        f"what needs no training{_settings(results)} What the names say is told in [protocols](../how-to/evaluate.md)."
    )
    for title, header, rows in hardware_tables(results):
        yield title
        yield _table(header, rows)


def _shipped(result: Result) -> Iterable[str]:
    command = f"narformer evaluate {result['protocol']} --predictor {result['model']}"
    yield f"Made by `{command}`, from the network to the interval."
    devices = devices_of(result)
    columns = (
        ("rows", "test rows"),
        ("mape", "MAPE %"),
        ("acc_10", "Acc(10 %)"),
        ("acc_5", "Acc(5 %)"),
        ("kendall", "Kendall"),
        ("coverage", "90 % interval covers %"),
        ("width", "its width %"),
    )
    (run,) = result["runs"]
    tables = next(iter(run["tasks"].values()))["devices"]
    rows = [[d, *(_plain(tables[d]["all"][key]) for key, _ in columns)] for d in devices]
    yield _table(["device", *(title for _, title in columns)], rows)
    families = sorted({f for d in devices for f in tables[d]} - {"all"})
    if len(devices) > MANY:
        return
    for metric, title in (("mape", "MAPE %"), ("acc_10", "Acc(10 %)")):
        yield f"{title} by family:"
        rows = [[f, *(_plain(tables[d][f][metric]) if f in tables[d] else "–" for d in devices)] for f in families]
        yield _table(["family", *devices], rows)


def _overview(results: Sequence[Result]) -> Iterable[str]:
    yield "MAPE in percent, mean over all devices and tasks; best in bold."
    for form in ("full", "quick"):
        group = [r for r in results if r["form"] == form]
        if not group:
            continue
        protocols = sorted({r["protocol"] for r in group})
        models = list(dict.fromkeys(r["model"] for r in sorted(group, key=lambda r: r["model"])))
        cells: dict[tuple[str, str], float] = {}
        for r in group:
            cells[r["model"], r["protocol"]] = float(np.mean([np.mean(values(r, d, "mape")) for d in devices_of(r)]))
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
        yield _table(["model", *protocols], rows)


def _protocol_tables(protocol: str, form: str, group: Sequence[Result]) -> Iterable[str]:
    option = " --quick" if form == "quick" else ""
    shipped = ", shipped ones with `--predictor NAME`" if any(r["model"].endswith("(shipped)") for r in group) else ""
    yield f"Made by `narformer evaluate {protocol}{option} --model NAME`{shipped}" + _settings(group)
    devices = list(dict.fromkeys(d for r in group for d in devices_of(r)))
    tasks = list(dict.fromkeys(t for r in group for run in r["runs"] for t in run["tasks"]))
    if len(devices) > MANY:
        for metric, title, best in (("mape", "MAPE %", min), ("acc_10", "Acc(10 %)", max)):
            yield f"{title}, means over the targets of each precision, then each target:"
            yield _by_target(group, devices, metric, best)
        return
    if len(tasks) == 1:
        for metric, title, best in (("mape", "MAPE %", min), ("acc_10", "Acc(10 %)", max)):
            yield f"{title}:"
            yield _best_table(["model", *devices], group, [(d, metric, None) for d in devices], best)
        return
    for device in devices:
        present = [t for t in tasks if any(values(r, device, "mape", t) for r in group)]
        yield f"MAPE % on {device}, by task:"
        keys: list[tuple[str, str, str | None]] = [(device, "mape", t) for t in [*present, None]]
        yield _best_table(["model", *present, "mean"], group, keys, min)


def _by_target(group: Sequence[Result], devices: Sequence[str], metric: str, best: Any) -> str:
    """A column a model, a row a target: for protocols with more targets than a page has columns."""
    group = sorted(group, key=lambda r: r["model"])
    found = {d: [values(r, d, metric) for r in group] for d in devices}
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
    return _table(["target", *(r["model"] for r in group)], shown)


def _cell_tables(protocol: str, results: Sequence[Result]) -> Iterable[str]:
    yield (
        "Kendall's tau on every cell not trained on, by number of training cells; made by "
        f"`narformer evaluate {protocol} --model NAME --seeds 3`. Models that are trained see 30,000 cells in all "
        "(epochs times cells); the paper's settings come to 781,000."
    )
    group = [r for r in results if r["form"] == "full"]
    tasks = list(dict.fromkeys(t for r in group for run in r["runs"] for t in run["tasks"]))
    tasks.sort(key=lambda t: int(t.split()[0]))
    keys: list[tuple[str, str, str | None]] = [("accuracy", "kendall", t) for t in tasks]
    yield _best_table(["model", "draws", *tasks], group, keys, max, digits=3, draws=True)
    if longer := training_rows([r for r in results if r["form"] != "full"]):
        yield (
            "Trainings of other settings, with the option `--cells` and those of the table. The epochs whose weights "
            "count: the last; the best of every tenth on 200 validation cells, which are neither trained on nor "
            "tested; the best on 2,000 test cells, as NN-Former's code has it and nobody may; and the second choice "
            "scored on every cell, training cells included, as NAR-Former V2's code does."
        )
        yield _table(TRAINING_HEADER, longer)


def _adaptation_tables(protocol: str, form: str, group: Sequence[Result]) -> Iterable[str]:
    option = " --quick" if form == "quick" else ""
    draws = max(len(r["runs"]) for r in group)
    yield f"Made by `narformer evaluate {protocol}{option} --model all --seeds {draws}`; mean ± deviation over draws."
    devices = list(dict.fromkeys(d for r in group for d in devices_of(r)))
    tasks = list(dict.fromkeys(t for r in group for run in r["runs"] for t in run["tasks"]))
    ranked = protocol.startswith("help/")
    metrics = (
        (("spearman", "Spearman's rank correlation on all networks that were not measured", max, 3),)
        if ranked
        else (("mape", "MAPE %", min, 2), ("interval_covers", "The 90 % interval covers %", None, 1))
    )
    for metric, title, best, digits in metrics:
        for task in tasks:
            yield f"{title}, {task}:"
            rows, means = [], []
            for r in sorted(group, key=lambda r: r["model"]):
                mean = float(np.mean([np.mean(values(r, d, metric, task)) for d in devices]))
                means.append(mean)
                cells = [spread(r, d, metric, task, digits=digits) for d in devices]
                rows.append([r["model"], *cells, f"{mean:.{digits}f}"])
            if best is not None:
                row = rows[means.index(best(means))]
                row[-1] = f"**{row[-1]}**"
            yield _table(["model", *devices, "mean"], rows)


def _settings(group: Sequence[Result]) -> str:
    epochs = sorted({r["epochs"] for r in group if r["epochs"]})
    seeds = sorted({len(r["runs"]) for r in group if r["epochs"]})
    if not epochs:
        return "."
    return f" (epochs {', '.join(map(str, epochs))}; seeds {', '.join(map(str, seeds))})."


def _best_table(
    header: list[str],
    group: Sequence[Result],
    keys: Sequence[tuple[str, str, str | None]],
    best: Any,
    digits: int = 2,
    draws: bool = False,
) -> str:
    means = {(r["model"], k): np.mean(v) for r in group for k in keys if (v := values(r, *k))}
    rows = []
    for r in sorted(group, key=lambda r: r["model"]):
        row = [r["model"], *([str(len(r["runs"]))] if draws else [])]
        for k in keys:
            text = spread(r, *k, digits=digits)
            column = [m for (_, key), m in means.items() if key == k]
            row.append(f"**{text}**" if column and means.get((r["model"], k)) == best(column) else text)
        rows.append(row)
    return _table(header, rows)


def _plain(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.2f}"
