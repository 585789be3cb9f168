/* Where the time goes: the network as a graph of kernels, what the chosen one costs, and the slowest as a list. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import * as api from "./api";
import { Switch } from "./bars";
import { Drawing, heat, type Theme } from "./drawing";
import { bytes, count, milliseconds, percent, shape } from "./format";
import type { Layout } from "./layout";
import type { Network } from "./network";
import { asked } from "./sizes";

const LISTED = 40;

export function Kernels({ networks, targets, ticked, target, setTarget, theme }: {
  networks: Network[]; targets: api.Target[]; ticked: string[]; target: string | null; setTarget: (target: string) => void; theme: Theme;
}) {
  const [shown, setShown] = useState(0);
  const network = networks[Math.min(shown, networks.length - 1)];
  const choices = targets.filter((t) => t.source === "predicted").sort((a, b) => Number(ticked.includes(b.target)) - Number(ticked.includes(a.target)));
  const chosen = choices.find((t) => t.target === target)?.target ?? choices[0]?.target ?? null;
  const { explained, problem } = useExplained(network, chosen);
  const [selected, select] = useState<number | null>(null);
  const drawing = useRef<Drawing | null>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const layout = useLayout(explained);
  const drawn = useRef<Layout | null>(null);

  useEffect(() => { drawing.current = new Drawing(canvas.current!, select); }, []);
  useEffect(() => {
    if (explained && layout) {
      drawing.current?.show(explained, layout, drawn.current !== layout);
      drawn.current = layout;
    }
  }, [explained, layout]);
  useEffect(() => drawing.current?.set(selected, theme), [selected, theme, explained]);
  useEffect(() => select(null), [layout]);

  const slowest = useMemo(() => explained ? explained.nodes.map((_, k) => k).filter((k) => explained.nodes[k].ms > 0).sort((a, b) => explained.nodes[b].ms - explained.nodes[a].ms) : [], [explained]);
  const pick = (node: number | null | undefined) => {
    if (node === undefined || node === null) return;
    select(node);
    drawing.current?.reveal(node);
  };
  const keys = (e: KeyboardEvent) => {
    if (!explained) return;
    const nodes = explained.nodes;
    const at = selected ?? -1;
    const moves: Record<string, () => void> = {
      ArrowDown: () => pick(selected === null ? 0 : nodes.findIndex((n, k) => k > at && n.reads.includes(at)) < 0 ? Math.min(at + 1, nodes.length - 1) : nodes.findIndex((n, k) => k > at && n.reads.includes(at))),
      ArrowUp: () => pick(selected === null ? 0 : nodes[at].reads.find((source) => source >= 0) ?? at),
      ArrowRight: () => pick(slowest[Math.min(slowest.indexOf(at) + 1, slowest.length - 1)]),
      ArrowLeft: () => pick(slowest[Math.max(slowest.indexOf(at) - 1, 0)]),
      "+": () => drawing.current?.by(1.3), "=": () => drawing.current?.by(1.3), "-": () => drawing.current?.by(1 / 1.3),
      "0": () => drawing.current?.overview(), Escape: () => select(null),
    };
    if (moves[e.key] && !e.ctrlKey && !e.metaKey) {
      e.preventDefault();
      moves[e.key]();
    }
  };
  return (
    <section class="card kernels" aria-label="Where the time goes">
      <div class="row wrap">
        <h2>Where the time goes</h2>
        <span class="grow" />
        {networks.length > 1 && <Switch label="network" value={String(shown)} values={Object.fromEntries(networks.map((n, k) => [String(k), n.name]))} change={(k) => setShown(Number(k))} />}
        <label class="field">on <select value={chosen ?? ""} onChange={(e) => setTarget(e.currentTarget.value)} aria-label="Target to explain">
          {choices.map((t) => <option key={t.target} value={t.target}>{t.title} – {t.target}</option>)}
        </select></label>
      </div>
      {problem && <p class="problem">{problem}</p>}
      {explained && <Kinds explained={explained} theme={theme} />}
      <div class="split">
        <div class="canvas">
          <canvas ref={canvas} tabIndex={0} onKeyDown={keys} role="application" aria-label="The network as a graph; arrow keys walk through it, left and right by time" />
          <div class="tools">
            <button onClick={() => drawing.current?.by(1.4)} aria-label="Zoom in">+</button>
            <button onClick={() => drawing.current?.by(1 / 1.4)} aria-label="Zoom out">−</button>
            <button onClick={() => drawing.current?.overview()} aria-label="All of it">⤢</button>
          </div>
          {explained && (
            <div class="legend" aria-hidden="true">
              <small>0</small>
              <i style={{ background: `linear-gradient(90deg, ${[0, 0.05, 0.2, 0.45, 1].map((s) => heat(s, theme)).join(",")})` }} />
              <small>{milliseconds(Math.max(...explained.nodes.map((n) => n.ms)))}</small>
            </div>
          )}
          {explained && !layout && <p class="over dim">Drawing …</p>}
        </div>
        <div class="aside">
          {explained && selected !== null && explained.nodes[selected] && <Details explained={explained} node={selected} pick={pick} />}
          {explained && (
            <table class="slowest">
              <thead><tr><th>Slowest kernels</th><th class="right">time</th><th class="right">share</th></tr></thead>
              <tbody>
                {slowest.slice(0, LISTED).map((k) => {
                  const node = explained.nodes[k];
                  return (
                    <tr key={k} aria-selected={k === selected} onClick={() => pick(k)}>
                      <td><button class="link" title={node.name}>{node.operator}</button> <small class="dim">{shape(node.shape)}</small></td>
                      <td class="right">{milliseconds(node.ms)}</td>
                      <td class="right share"><i style={{ width: `${(100 * node.ms) / explained.nodes[slowest[0]].ms}%`, background: heat(node.ms / explained.nodes[slowest[0]].ms, theme) }} />{percent(node.ms / explained.latency_ms)}</td>
                    </tr>
                  );
                })}
              </tbody>
            </table>
          )}
        </div>
      </div>
    </section>
  );
}

function Details({ explained, node: k, pick }: { explained: api.Explained; node: number; pick: (node: number) => void }) {
  const node = explained.nodes[k];
  const readers = explained.nodes.flatMap((n, i) => (n.reads.includes(k) ? [i] : []));
  const other = (i: number) => i < 0
    ? <span class="chip still">input {explained.inputs[~i]?.name}</span>
    : <button class="chip" onClick={() => pick(i)} title={explained.nodes[i].name}>{explained.nodes[i].operator}</button>;
  const read = node.reads.map((i) => (i < 0 ? explained.inputs[~i]?.shape : explained.nodes[i].shape)).filter(Boolean).map((s) => shape(s!));
  return (
    <div class="details">
      <h3>{node.operator} <small class="dim">{node.kind}</small></h3>
      <p class="name" title={node.name}>{node.name || "without a name"}</p>
      <dl>
        <dt>Time</dt><dd>{node.ms ? `${milliseconds(node.ms)} · ${percent(node.ms / explained.latency_ms)} of the whole` : "none: it runs within the kernel that it reads"}</dd>
        <dt>Reads</dt><dd>{read.join(", ") || "–"}</dd>
        <dt>Writes</dt><dd>{shape(node.shape)} {node.dtype}</dd>
        <dt>Costs</dt><dd>{count(node.macs)} MACs, {count(node.parameters)} parameters, {bytes(node.activation_bytes)} moved</dd>
        {node.takes_in > 0 && <><dt>Takes in</dt><dd>{node.takes_in} other {node.takes_in === 1 ? "node" : "nodes"} of the file</dd></>}
      </dl>
      <div class="chips"><small class="dim">from</small>{node.reads.slice(0, 8).map(other)}{readers.length > 0 && <small class="dim">to</small>}{readers.slice(0, 8).map(other)}</div>
    </div>
  );
}

/* The whole as one bar, by kind of kernel. */
function Kinds({ explained, theme }: { explained: api.Explained; theme: Theme }) {
  const sums = new Map<string, number>();
  for (const node of explained.nodes) sums.set(node.kind, (sums.get(node.kind) ?? 0) + node.ms);
  const kinds = [...sums].sort((a, b) => b[1] - a[1]).filter(([, ms]) => ms > 0.0005 * explained.latency_ms);
  const hue = (k: number) => `hsl(${(215 + k * 47) % 360} ${theme === "dark" ? "45% 52%" : "60% 55%"})`;
  return (
    <div class="kinds">
      <div class="stack" aria-hidden="true">{kinds.map(([kind, ms], k) => <i key={kind} title={kind} style={{ width: `${(100 * ms) / explained.latency_ms}%`, background: hue(k) }} />)}</div>
      <ul>{kinds.slice(0, 8).map(([kind, ms], k) => <li key={kind}><i style={{ background: hue(k) }} />{kind} <b>{percent(ms / explained.latency_ms)}</b></li>)}</ul>
    </div>
  );
}

function useExplained(network: Network | undefined, target: string | null) {
  const [state, set] = useState<{ explained: api.Explained | null; problem: string | null }>({ explained: null, problem: null });
  const ready = network?.known && target && !network.busy;
  const question = ready && JSON.stringify([network.known, network.chosen, target]);
  useEffect(() => {
    if (!ready) return;
    const leaving = new AbortController();
    api.explain(network.known!, target, asked(network.chosen, network.inputs), leaving.signal)
      .then((explained) => set({ explained, problem: null }))
      .catch((error) => { if (error.name !== "AbortError") set({ explained: null, problem: error.message }); });
    return () => leaving.abort();
  }, [question]);
  return state;
}

/* The layout of a network, which stays where it is when only times or sizes change. */
function useLayout(explained: api.Explained | null): Layout | null {
  const [layout, set] = useState<Layout | null>(null);
  const worker = useRef<Worker | null>(null);
  const job = useRef(0);
  const structure = explained && JSON.stringify(explained.nodes.map((n) => n.reads));
  useEffect(() => {
    if (!structure) return;
    set(null);
    const mine = ++job.current;
    worker.current ??= new Worker("layout-worker.js", { type: "module" });
    worker.current.onmessage = ({ data }) => { if (data.job === job.current) set(data.layout); };
    worker.current.postMessage({ job: mine, nodes: JSON.parse(structure).map((reads: number[]) => ({ reads })) });
  }, [structure]);
  return layout;
}
