"""Where the milliseconds go, as a picture: a bar a node, coloured by its kind of kernel, the slowest ones named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from narformer.figures import milliseconds
from narformer.operators import KINDS, kernel_kind
from narformer.plotting import new_figure, save_plot
from narformer.prediction.explanation import Explanation

# Of kinds of kernels, the same in every picture: blues and greens multiply, reds and oranges go over each element once,
# purples and browns move data.
KIND_COLOURS = {
    "convolution": "#1f77b4",
    "pointwise": "#6baed6",
    "depthwise": "#08519c",
    "grouped convolution": "#3182bd",
    "transposed convolution": "#9ecae1",
    "fully connected": "#2ca02c",
    "matrix product": "#74c476",
    "attention": "#006d2c",
    "recurrent": "#a1d99b",
    "rectifier": "#fdae6b",
    "clip": "#fdd0a2",
    "add": "#d62728",
    "multiply": "#fb6a4a",
    "smooth activation": "#ff7f0e",
    "softmax": "#a50f15",
    "normalization": "#e6550d",
    "quantize": "#fcae91",
    "other": "#969696",
    "concatenate": "#9467bd",
    "split": "#c5b0d5",
    "transpose": "#6a51a3",
    "gather": "#8c564b",
    "resize": "#c49c94",
    "move": "#bcbddc",
    "pool": "#bcbd22",
    "global pool": "#dbdb8d",
    "reduction": "#8c8d1f",
    "view": "#d9d9d9",
    "sort": "#17becf",
    "trees": "#9edae5",
    "input": "#636363",
}
NAMED = 8  # of the slowest nodes, where there is room
LEAST = 0.02  # of the whole, below which a node is not named
APART = 1 / 60  # of all nodes between two that are named


def plot_explanation(explanation: Explanation, path: Path) -> None:
    """Draw the nodes in their order; the number of a node is that in the table of slowest nodes."""
    figure, (axis,) = new_figure(11, 4.4, dpi=110)
    times = np.array(explanation.milliseconds)
    kinds = [kernel_kind(node) for node in explanation.graph.nodes]
    for kind in sorted(set(kinds), key=lambda kind: -sum(t for t, k in zip(times, kinds, strict=True) if k == kind)):
        rows = [k for k, of in enumerate(kinds) if of == kind and times[k] > 0]
        if rows:
            share = explanation.share(float(times[rows].sum()))
            axis.bar(rows, times[rows], width=0.9, color=KIND_COLOURS[kind], label=f"{kind}  {share}", zorder=2)
    _name(axis, explanation, times)
    batch = "" if explanation.batch_size == 1 else f", batch size {explanation.batch_size}"
    axis.set_title(
        f"{Path(explanation.model).name} on {explanation.target}{batch}: {milliseconds(explanation.latency_ms)} ms",
        fontsize=11,
    )
    axis.set(xlabel="node, by its number (in topological order)", ylabel="ms")
    axis.set_xlim(-1, len(times))
    axis.set_ylim(0, max(float(times.max()), 1e-9) * 1.35)  # with room for names
    axis.grid(axis="y", color="0.9", zorder=0)
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8, title="kind of kernel", title_fontsize=8)
    save_plot(figure, path)


def _name(axis: Any, explanation: Explanation, times: Any) -> None:
    """Number and operator above the slowest nodes that are not too near another one that is named."""
    named: list[int] = []
    for k in np.argsort(-times, kind="stable")[: 4 * NAMED]:
        near = any(abs(k - other) < max(1, APART * len(times)) for other in named)
        if near or len(named) == NAMED or times[k] < LEAST * explanation.latency_ms:
            continue
        named.append(int(k))
        text = f" {k} {explanation.graph.nodes[k].op}"
        axis.text(k, times[k], text, rotation=90, ha="center", va="bottom", fontsize=7)


assert KIND_COLOURS.keys() == KINDS.keys()
