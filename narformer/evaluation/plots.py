"""Pictures beside the tables: predicted against measured, error by family, learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from narformer.evaluation.results import Result
from narformer.plotting import new_figure, readable_axis, save_plot

Array = npt.NDArray[np.float64]
_NAMED = 6  # of the points that are furthest off


def predicted_against_measured(
    prediction: Array,
    target: Array,
    devices: Sequence[str],
    families: Sequence[str],
    path: Path,
    *,
    interval: tuple[Array, Array] | None = None,
    names: Sequence[str] = (),
    title: str = "",
) -> None:
    """A panel a device, both axes in ms and logarithmic, a colour a family: prediction, target (rows, devices).

    interval: low and high ends, as prediction, drawn as thin lines. names: of the rows, told beside the few that are
    furthest off. title: above all panels.
    """
    size = (max(5.4, 4.2 * len(devices)), 5.2 if len(devices) == 1 else 4.6)
    figure, axes = new_figure(*size, columns=len(devices))
    from matplotlib import colormaps

    of_family = np.asarray(families)
    colours = colormaps["tab20"]
    for column, (axis, device) in enumerate(zip(axes, devices, strict=True)):
        for number, family in enumerate(sorted(set(families))):
            rows = (of_family == family) & np.isfinite(target[:, column])
            x, y = target[rows, column], prediction[rows, column]
            if interval is not None:
                low, high = (end[rows, column] for end in interval)
                axis.vlines(x, low, high, color=colours(number % 20), lw=0.7, alpha=0.5, zorder=2)
            axis.plot(x, y, ".", ms=3 if interval is None else 6, color=colours(number % 20), label=family, zorder=3)
        ends = [np.nanmin(target[:, column]), np.nanmax(target[:, column])]
        axis.plot(ends, ends, color="0.3", lw=0.8, zorder=1)  # behind the dots
        axis.fill_between(ends, np.multiply(ends, 0.9), np.multiply(ends, 1.1), color="grey", alpha=0.2, lw=0, zorder=0)
        axis.set(xscale="log", yscale="log", xlabel="measured, ms")
        readable_axis(axis.xaxis)
        readable_axis(axis.yaxis)
        axis.grid(color="0.93", lw=0.6)
        axis.set_axisbelow(True)
        _name_furthest(axis, prediction[:, column], target[:, column], names)
        axis.set_title(device, fontsize=9 if len(device) > 30 else 11)
    axes[0].set_ylabel("predicted, ms (grey: ±10 %)")
    handles, labels = axes[0].get_legend_handles_labels()
    columns = min(7, 4 * len(devices))
    scale = 4.0 if interval is None else 1.5
    if len(labels) > 1:
        figure.legend(
            handles, labels, loc="outside lower center", ncols=columns, markerscale=scale, frameon=False, fontsize=8
        )
    if title:
        figure.suptitle(title, fontsize=11)
    figure.set_dpi(110)
    save_plot(figure, path)


def _name_furthest(axis: Any, prediction: Array, target: Array, names: Sequence[str]) -> None:
    """Names beside the points that are furthest off, of those that are off by more than the grey band is wide."""
    off = np.abs(prediction / target - 1)
    apart = 0.04 * np.log(np.nanmax(prediction) / np.nanmin(prediction))  # between two lines of text
    named: list[float] = []
    for row in np.argsort(-off)[: min(len(names), _NAMED)]:
        height = float(np.log(prediction[row]))
        if off[row] > 0.1 and all(abs(height - other) > apart for other in named):
            named.append(height)
            right = np.log(target[row] / np.nanmin(target)) > 0.5 * np.log(np.nanmax(target) / np.nanmin(target))
            axis.annotate(
                names[row],
                (target[row], prediction[row]),
                xytext=(-5 if right else 5, 0),
                textcoords="offset points",
                ha="right" if right else "left",
                va="center",
                fontsize=7,
                color="0.3",
            )


def error_by_family(results: Sequence[Result], device: str, path: Path) -> None:
    """MAPE of each left-out family on one device, a bar a model."""
    tasks = list(dict.fromkeys(t for r in results for t in r.tasks))
    tasks = [t for t in tasks if any(r.values(device, "mape", t) for r in results)]
    figure, (axis,) = new_figure(11, 4)
    width = 0.8 / len(results)
    for number, result in enumerate(results):
        heights = [float(np.mean(result.values(device, "mape", t) or [np.nan])) for t in tasks]
        axis.bar(np.arange(len(tasks)) + number * width, heights, width, label=result.model)
    axis.set_xticks(np.arange(len(tasks)) + 0.4 - width / 2, tasks, rotation=30, ha="right")
    axis.set(ylabel="MAPE on the left-out family, %", yscale="log")
    readable_axis(axis.yaxis)
    axis.set_title(f"Families left out of training, on {device}", fontsize=11)
    axis.grid(axis="y", color="0.9")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, title="model")
    save_plot(figure, path)


def learning_curves(results: Sequence[Result], path: Path) -> None:
    """MAPE, mean over the devices, against the number of training networks, a line a model."""
    figure, (axis,) = new_figure(7.5, 4)
    for result in results:
        tasks = list(result.runs[0].tasks)
        sizes = [int(t.split()[0]) for t in tasks]
        errors = [np.mean([np.mean(result.values(d, "mape", t)) for d in result.devices]) for t in tasks]
        axis.plot(sizes, errors, "o-", label=result.model)
    axis.set(xscale="log", yscale="log", xlabel="training networks", ylabel="MAPE, %, mean over devices")
    readable_axis(axis.xaxis)
    readable_axis(axis.yaxis)
    axis.set_title("Error by the number of training networks", fontsize=11)
    axis.grid(color="0.92", lw=0.6)
    axis.set_axisbelow(True)
    figure.legend(loc="outside right upper", frameon=False, title="model")
    save_plot(figure, path)
