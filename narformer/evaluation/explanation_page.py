"""Where the milliseconds go, as one HTML file that needs no other: the graph coloured by time, and tables beside it.

No script, font or picture from anywhere: it can be sent, kept, and opened without a network.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

from narformer import __version__
from narformer.evaluation.explanation_plot import KIND_COLOURS
from narformer.figures import milliseconds, sizes
from narformer.operators import kernel_kind
from narformer.prediction.explanation import Explanation, described

WIDTH, HEIGHT = 290, 30  # of a node, in pixels
STEP_X, STEP_Y = 316, 46  # from one to the next
TEXT = 37  # characters that fit into a node, beside its share of the time
_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --line: #c8c8c8; --faint: #666; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --paper: #16181c; --line: #444; --faint: #9a9a9a; } }
body { font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 1.5rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
p, footer { color: var(--faint); max-width: 60rem; }
.parts { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; align-items: flex-start; }
table { border-collapse: collapse; margin: 0.5rem 0; } th, td { padding: 0.15rem 0.7rem 0.15rem 0; }
th { border-bottom: 1px solid var(--line); font-weight: 600; } a { color: inherit; }
.graph { overflow: auto; border: 1px solid var(--line); border-radius: 6px; margin-top: 1rem; max-height: 90vh; }
footer { margin-top: 1rem; } .node rect:first-of-type { stroke: var(--line); } .share { text-anchor: end; }
svg text { font: 11px system-ui, sans-serif; fill: #111; } .edge { fill: none; stroke: #999; }
.node:target rect:first-of-type { stroke: #000; stroke-width: 3; } @media (prefers-color-scheme: dark) {
.node:target rect:first-of-type { stroke: #fff; } }
.key { display: inline-block; width: 0.8em; height: 0.8em; border-radius: 2px; margin-right: 0.4em; }
"""


class Place(NamedTuple):
    """Where a node stands: which row, which column."""

    row: int
    lane: int


def explanation_page(explanations: Sequence[Explanation]) -> str:
    """The page, with a section for each network and target."""
    parts = "\n".join(_section(number, each) for number, each in enumerate(explanations))
    networks = ", ".join(dict.fromkeys(each.model for each in explanations))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(networks)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>Where the milliseconds go</h1>\n{parts}\n"
        f"<footer>narformer {__version__}. Shares are learned from whole networks; where a runtime runs several nodes "
        "in one kernel, one of them has its time.</footer>\n</body>\n</html>\n"
    )


def _section(number: int, explanation: Explanation) -> str:
    batch = "" if explanation.batch_size == 1 else f", batch size {explanation.batch_size}"
    head = f"{explanation.model} on {explanation.target}{batch}: {milliseconds(explanation.latency_ms)} ms"
    kinds = "".join(
        f'<tr><td><span class="key" style="background:{KIND_COLOURS[name]}"></span>{html.escape(name)}</td>'
        f'<td align="right">{nodes}</td><td align="right">{milliseconds(ms)}</td>'
        f'<td align="right">{explanation.share(ms)}</td></tr>'
        for name, nodes, ms in explanation.kinds
    )
    return (
        f'<section>\n<h2>{html.escape(head)}</h2>\n<div class="parts">\n<table><tr><th align="left">kind of kernel</th>'
        f"<th>kernels</th><th>ms</th><th>share</th></tr>{kinds}</table>\n{_slowest(number, explanation)}\n</div>\n"
        f'<div class="graph">{_drawing(number, explanation)}</div>\n</section>'
    )


def _slowest(number: int, explanation: Explanation) -> str:
    """The slowest nodes; their numbers lead to them in the graph."""
    order = sorted(range(len(explanation.milliseconds)), key=lambda k: -explanation.milliseconds[k])[:15]
    rows = "".join(
        f'<tr><td align="right"><a href="#n{number}-{k}">{k}</a></td><td>{html.escape(node.name)}</td>'
        f"<td>{html.escape(described(node))}</td>"
        f'<td align="right">{milliseconds(ms)}</td><td align="right">{explanation.share(ms)}</td></tr>'
        for k in order
        for node, ms in ((explanation.graph.nodes[k], explanation.milliseconds[k]),)
    )
    return (
        '<table><tr><th>#</th><th align="left">slowest nodes</th><th align="left">what it does</th><th>ms</th>'
        f"<th>share</th></tr>{rows}</table>"
    )


def _drawing(number: int, explanation: Explanation) -> str:
    """The graph from top to bottom: a node's ground is the redder the longer it takes, its left edge tells its kind."""
    nodes, times = explanation.graph.nodes, explanation.milliseconds
    places = layout([[o.source for o in n.operands if o.source is not None and o.source >= 0] for n in nodes])
    most = max(times, default=0.0) or 1.0
    width = STEP_X * (1 + max((place.lane for place in places), default=0)) + 40
    height = STEP_Y * (1 + max((place.row for place in places), default=0)) + 20
    edges, boxes = [], []
    for k, node in enumerate(nodes):
        x, y = 20 + STEP_X * places[k].lane, 10 + STEP_Y * places[k].row
        read = dict.fromkeys(o.source for o in node.operands if o.source is not None and o.source >= 0)
        edges += [_edge(places[source], places[k]) for source in read]
        told = f"{k} {described(node)}"
        short = told if len(told) <= TEXT else f"{told[: TEXT - 1]}…"
        title = f"{node.name}\n{kernel_kind(node)}, {node.op}, output {sizes(node.output_shape)}\n" + (
            f"{milliseconds(times[k])} ms, {explanation.share(times[k])}" if times[k] > 0 else "within another's kernel"
        )
        share = ""
        if times[k] > 0:
            told_share = explanation.share(times[k])
            share = f'<text class="share" x="{x + WIDTH - 8}" y="{y + 19}">{told_share}</text>'
        boxes.append(
            f'<g class="node" id="n{number}-{k}"><title>{html.escape(title)}</title>'
            f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="4" fill="{_heat(times[k] / most)}"/>'
            f'<rect x="{x}" y="{y}" width="6" height="{HEIGHT}" rx="2" fill="{KIND_COLOURS[kernel_kind(node)]}"/>'
            f'<text x="{x + 12}" y="{y + 19}">{html.escape(short)}</text>{share}</g>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img" '
        f'aria-label="the network\'s graph">{"".join(edges)}{"".join(boxes)}</svg>'
    )


def _edge(start: Place, end: Place) -> str:
    """A line from the foot of one node to the head of another; past those between them it goes along their side."""
    x0, y0 = 20 + STEP_X * start.lane + WIDTH // 2, 10 + STEP_Y * start.row + HEIGHT
    x1, y1 = 20 + STEP_X * end.lane + WIDTH // 2, 10 + STEP_Y * end.row
    if end.row - start.row > 1 and start.lane == end.lane:
        side = x0 + WIDTH // 2 + 14
        down, up = f"C{side} {y0 + 14} {side} {y0} {side} {y0 + 30}", f"C{side} {y1} {side} {y1 - 14} {x1} {y1}"
        return f'<path class="edge" d="M{x0} {y0}{down}V{y1 - 30}{up}"/>'
    middle = (y0 + y1) // 2
    return f'<path class="edge" d="M{x0} {y0}C{x0} {middle} {x1} {middle} {x1} {y1}"/>'


def layout(sources: Sequence[Sequence[int]]) -> list[Place]:
    """Rows by the longest way from an input, so that every line goes down; lanes so that a chain stays in its own.

    sources: for each node, in topological order, those that it reads.

    >>> layout([[], [0], [0], [1, 2]])
    [Place(row=0, lane=0), Place(row=1, lane=0), Place(row=1, lane=1), Place(row=2, lane=0)]
    """
    places: list[Place] = []
    taken: dict[int, set[int]] = {}
    for read in sources:
        row = 1 + max((places[k].row for k in read), default=-1)
        wanted = min((places[k].lane for k in read), default=0)
        there = taken.setdefault(row, set())
        lane = wanted
        while lane in there:
            lane += 1
        there.add(lane)
        places.append(Place(row, lane))
    return places


def _heat(share: float) -> str:
    """A ground from white to red, for a share of the slowest node's time."""
    strength = max(0.0, min(share, 1.0)) ** 0.6
    red, green, blue = (round(255 + (end - 255) * strength) for end in (240, 80, 60))
    return f"#{red:02x}{green:02x}{blue:02x}"
