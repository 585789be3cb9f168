"""Accuracy against latency of pretrained networks on one target, with the frontier of those worth taking."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from narformer.plotting import new_figure, save_plot

if TYPE_CHECKING:
    from narformer.prediction.choice import Choice, Survey
    from narformer.prediction.estimate import Estimate

_LINE, _LIMIT, _MINE = "#0b6e4f", "#b23a48", "#1f4e9c"
_STYLES = ("-", "-.", (0, (1, 1)), (0, (6, 2, 1, 2, 1, 2)))  # of lines: one for each of the user's networks
# The frontier is drawn with this much room: percentage points below its least accurate network, and above.
_BELOW, _ABOVE = 8.0, 3.0
_ABOVE_POINT = (3.0, 14.0, 26.0, 38.0, 50.0)  # where a name may stand, in points of a font


def plot_frontier(
    survey: Survey,
    chosen: Sequence[Choice],
    path: Path,
    *,
    max_ms: float | None = None,
    top1: float | None = None,
    mine: Sequence[Estimate] = (),
) -> None:
    """Draw all networks of a survey and the chosen ones as a line, with the limits and the user's networks.

    Latencies are on a logarithmic axis; the names of the chosen stand where there is room for them.
    """
    figure, (axis,) = new_figure(9, 6, dpi=130)
    from matplotlib import ticker

    _points(axis, survey.networks)
    if chosen:
        order = sorted(chosen, key=lambda choice: choice.latency_ms)
        axis.plot(
            *_places(order), "o-", color=_LINE, ms=4.5, lw=1.4, drawstyle="steps-post", label="frontier", zorder=4
        )
    if max_ms is not None:
        axis.axvline(max_ms, color=_LIMIT, lw=1.2, ls="--", label=f"limit {max_ms:g} ms")
    if top1 is not None:
        axis.axhline(top1, color=_LIMIT, lw=1.2, ls=":", label=f"top-1 of {top1:g} %")
    for number, one in enumerate(mine):
        axis.axvspan(one.low, one.high, color=_MINE, alpha=0.1, lw=0)
        style = _STYLES[number % len(_STYLES)]
        axis.axvline(one.value, color=_MINE, lw=1.4, ls=style, label=f"{one.model}, {one.told}")
    axis.set_xscale("log")
    _limits(axis, survey.networks, chosen, [x for x in (max_ms, *(one.value for one in mine)) if x])
    axis.set(xlabel=f"latency of a batch of {survey.batch_size}, ms", ylabel="ImageNet top-1, %")
    axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5), numticks=30))
    axis.xaxis.set_major_formatter(lambda x, _: f"{x:,g}")
    axis.xaxis.set_minor_formatter(ticker.NullFormatter())
    axis.set_title(f"Pretrained networks on {survey.target}, batch size {survey.batch_size}", fontsize=11)
    axis.grid(color="0.92", which="both", lw=0.6)
    axis.set_axisbelow(True)
    axis.legend(loc="lower right", fontsize=8, framealpha=0.9)
    _labels(figure, axis, chosen)
    save_plot(figure, path)


def _points(axis: Any, networks: Iterable[Choice]) -> None:
    for source, filled in (("measured", True), ("predicted", False), ("adapted", False)):
        there = [choice for choice in networks if choice.estimate.source == source]
        if there:
            face = "0.6" if filled else "none"
            axis.scatter(*_places(there), s=9, facecolor=face, edgecolor="0.6", lw=0.6, label=source, zorder=2)


def _places(choices: Iterable[Choice]) -> tuple[list[float], list[float]]:
    pairs = [(choice.latency_ms, choice.top1 or 0.0) for choice in choices]
    return [x for x, _ in pairs], [y for _, y in pairs]


def _limits(axis: Any, networks: Sequence[Choice], chosen: Sequence[Choice], beside: Sequence[float]) -> None:
    """What is drawn: around the frontier, with room above it for names, and no more of the others than lies there."""
    times, accuracies = _places(chosen or networks)
    if not times:
        return
    low, high = min([*times, *beside]), max([*times, *beside])
    margin = max((high / low) ** 0.08, 1.05)
    axis.set_xlim(low / margin**3, high * margin)
    axis.set_ylim(max(min(accuracies) - _BELOW, 0), min(max(accuracies) + _ABOVE, 100))


def _labels(figure: Any, axis: Any, chosen: Sequence[Choice]) -> None:
    """Names to the upper left of their points, where nothing lies; those that would overlap another are left out."""
    if not chosen:
        return
    figure.canvas.draw()  # so that the sizes of texts are known
    renderer = figure.canvas.get_renderer()
    frame = axis.get_window_extent(renderer)
    points = axis.transData.transform(np.column_stack(_places(chosen)))
    taken: list[Any] = []
    # The ends of the frontier first, then those between them, so that the names spread over all of it.
    for place in _spread(len(chosen)):
        for above in _ABOVE_POINT:
            text = _label(axis, chosen[place], above)
            box = text.get_window_extent(renderer).padded(1.5)
            on_point = any(box.x0 < x < box.x1 and box.y0 < y < box.y1 for x, y in points)
            outside = box.x0 < frame.x0 or box.y1 > frame.y1
            if not (outside or on_point or any(box.overlaps(other) for other in taken)):
                taken.append(box)
                break
            text.remove()


def _label(axis: Any, choice: Choice, above: float) -> Any:
    """A name, so many points above the one it names; with a line to it where it is not beside it."""
    far = above > min(_ABOVE_POINT)
    return axis.annotate(
        f"{choice.network.partition('.')[0]} @ {choice.size}",
        (choice.latency_ms, choice.top1),
        xytext=(-6, above),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=7.5,
        zorder=5,
        arrowprops={"arrowstyle": "-", "color": "0.4", "lw": 0.6, "shrinkA": 0, "shrinkB": 2} if far else None,
    )


def _spread(count: int) -> list[int]:
    """0 to count - 1, the ends first, then ever again the middles of what lies between.

    >>> _spread(6)
    [0, 5, 2, 1, 3, 4]
    """
    order = [0, count - 1] if count > 1 else list(range(count))
    gaps = [(0, count - 1)]
    while gaps:
        low, high = gaps.pop(0)
        middle = (low + high) // 2
        if middle not in (low, high):
            order.append(middle)
            gaps += [(low, middle), (middle, high)]
    return order
