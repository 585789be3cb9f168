/* Where the kernels of a network stand in its drawing: rows from top to bottom, as the data flow. */

import dagre from "@dagrejs/dagre";

export interface Box { x: number; y: number }
export interface Layout { boxes: Box[]; lines: { from: number; to: number; points: Box[] }[]; width: number; height: number }
export interface Drawn { reads: number[] }

export const WIDTH = 148, HEIGHT = 38;
const GAP_X = 22, GAP_Y = 26;
const MOST_FOR_DAGRE = 700; // kernels; beyond, it takes seconds

export function layout(nodes: Drawn[]): Layout {
  return nodes.length <= MOST_FOR_DAGRE ? careful(nodes) : plain(nodes);
}

function careful(nodes: Drawn[]): Layout {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ rankdir: "TB", nodesep: GAP_X, ranksep: GAP_Y, edgesep: 12, ranker: "longest-path" });
  graph.setDefaultEdgeLabel(() => ({}));
  nodes.forEach((_, k) => graph.setNode(String(k), { width: WIDTH, height: HEIGHT }));
  nodes.forEach((node, k) => node.reads.filter((source) => source >= 0).forEach((source) => graph.setEdge(String(source), String(k))));
  dagre.layout(graph);
  const boxes = nodes.map((_, k) => { const { x, y } = graph.node(String(k)); return { x, y }; });
  const lines = graph.edges().map(({ v, w }) => ({ from: Number(v), to: Number(w), points: (graph.edge({ v, w }) as { points: Box[] }).points }));
  return sized(boxes, lines);
}

/* Each kernel below the last that it reads, as near below it as there is room. */
function plain(nodes: Drawn[]): Layout {
  const rank: number[] = [];
  const taken: Map<number, number>[] = [];
  const boxes: Box[] = [];
  nodes.forEach((node, k) => {
    const sources = node.reads.filter((source) => source >= 0);
    rank[k] = sources.reduce((most, source) => Math.max(most, rank[source] + 1), 0);
    const row = (taken[rank[k]] ??= new Map());
    const wanted = sources.length ? Math.round((Math.min(...sources.map((s) => boxes[s].x)) - WIDTH / 2) / (WIDTH + GAP_X)) : 0;
    let column = wanted;
    while (row.has(column)) column++;
    row.set(column, k);
    boxes[k] = { x: column * (WIDTH + GAP_X) + WIDTH / 2, y: rank[k] * (HEIGHT + GAP_Y) + HEIGHT / 2 };
  });
  const lines = nodes.flatMap((node, to) => node.reads.filter((from) => from >= 0).map((from) => ({ from, to, points: [boxes[from], boxes[to]] })));
  return sized(boxes, lines);
}

function sized(boxes: Box[], lines: Layout["lines"]): Layout {
  const most = (value: (box: Box) => number) => boxes.reduce((far, box) => Math.max(far, value(box)), 0);
  return { boxes, lines, width: most((b) => b.x) + WIDTH / 2, height: most((b) => b.y) + HEIGHT / 2 };
}
