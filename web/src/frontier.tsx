/* Accuracy against latency: pretrained networks on a target, those worth taking, and where one's own network stands. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import * as api from "./api";
import { milliseconds, tick } from "./format";
import type { Network } from "./network";

const WIDTH = 860, LEFT = 76, RIGHT = 14, TOP = 12, BOTTOM = 34;
const PHONE = matchMedia("(max-width: 760px)");

export function Frontier({ networks, targets, choosable, ticked, limit, compare }: {
  networks: Network[]; targets: api.Target[]; choosable: string[]; ticked: string[]; limit: number | null;
  compare: (name: string, size: number | null) => void;
}) {
  const [wanted, setWanted] = useState<string | null>(null);
  const [at, setAt] = useState<number | null>(null);
  const section = useRef<HTMLElement>(null);
  const seen = useSeen(section);
  const order = [...choosable].sort((a, b) => Number(ticked.includes(b)) - Number(ticked.includes(a)));
  const target = wanted && choosable.includes(wanted) ? wanted : order[0] ?? null;
  const batch = networks[0]?.inspected?.batch_size ?? 1;
  const { choices, problem } = useChoices(seen ? target : null, batch);
  const title = (id: string) => targets.find((t) => t.target === id)?.title;
  const mine = networks.map((n) => n.estimates?.find((e) => e.target === target && e.batch_size === batch));
  const narrow = useNarrow();
  const [height, line] = narrow ? [700, 28] : [380, 16];
  const chart = useMemo(() => choices && scales(choices.choices, height), [choices, height]);
  const best = useMemo(() => choices?.choices.filter((c) => c.frontier).sort((a, b) => a.latency_ms - b.latency_ms) ?? [], [choices]);
  const shownBest = best.filter((c) => chart && c.top1 >= chart.least);
  const within = (ms: number | null | undefined) => (ms ? best.filter((c) => c.latency_ms <= ms).at(-1) : undefined);
  const shown = at === null ? null : choices?.choices[at] ?? null;
  const hover = (e: MouseEvent) => {
    if (!chart || !choices) return;
    const box = (e.currentTarget as SVGElement).getBoundingClientRect();
    const x = ((e.clientX - box.left) * WIDTH) / box.width, y = ((e.clientY - box.top) * height) / box.height;
    let near = -1, distance = 900;
    choices.choices.forEach((c, k) => {
      const d = (chart.x(c.latency_ms) - x) ** 2 + (chart.y(c.top1) - y) ** 2 - (c.frontier ? 60 : 0);
      if (d < distance) [near, distance] = [k, d];
    });
    setAt(near < 0 ? null : near);
  };
  const step = (by: number) => {
    if (!choices || !best.length) return;
    const place = shown?.frontier ? best.indexOf(shown) : -1;
    setAt(choices.choices.indexOf(best[Math.min(Math.max(place + by, 0), best.length - 1)]));
  };
  return (
    <section class="card frontier" aria-label="Accuracy against latency" ref={section}>
      <div class="row wrap">
        <h2>Accuracy against latency</h2>
        <span class="dim small">pretrained networks on ImageNet, batch {batch}</span>
        <span class="grow" />
        <label class="field">on <select value={target ?? ""} onChange={(e) => setWanted(e.currentTarget.value)} aria-label="Target to choose for">
          {order.map((id) => <option key={id} value={id}>{title(id) ? `${title(id)} – ${id}` : id}</option>)}
        </select></label>
      </div>
      {problem && <p class="problem">{problem}</p>}
      {!choices && !problem && <p class="dim waiting">Asking for a thousand networks, which takes a moment the first time …</p>}
      {chart && choices && (
        <>
          <svg viewBox={`0 0 ${WIDTH} ${height}`} onMouseMove={hover} onMouseLeave={() => setAt(null)} tabIndex={0} role="application"
            aria-label="Accuracy against latency; left and right walk along the frontier, Enter opens"
            onClick={() => shown && compare(shown.network.split(".")[0], shown.img_size)}
            onKeyDown={(e) => {
              if (e.key === "ArrowRight" || e.key === "ArrowLeft") { e.preventDefault(); step(e.key === "ArrowRight" ? 1 : -1); }
              if (e.key === "Enter" && shown) compare(shown.network.split(".")[0], shown.img_size);
            }}>
            {chart.xs.map((ms) => <g key={ms}><line class="grid" x1={chart.x(ms)} x2={chart.x(ms)} y1={TOP} y2={height - BOTTOM} /><text x={chart.x(ms)} y={height - 10} text-anchor="middle">{tick(ms)}</text></g>)}
            {chart.ys.map((top1) => <g key={top1}><line class="grid" x1={LEFT} x2={WIDTH - RIGHT} y1={chart.y(top1)} y2={chart.y(top1)} /><text x={LEFT - 8} y={chart.y(top1) + 4} text-anchor="end">{top1} %</text></g>)}
            {limit !== null && <g><line class="bound" x1={chart.x(limit)} x2={chart.x(limit)} y1={TOP} y2={height - BOTTOM} /><text class="limit-name" x={chart.x(limit) - 6} y={TOP + line - 4} text-anchor="end">limit</text></g>}
            {mine.map((e, k) => e && (
              <g key={k} class={`mine ${"ab"[k]}`}>
                <rect x={chart.x(e.low_ms)} width={Math.max(chart.x(e.high_ms) - chart.x(e.low_ms), 1)} y={TOP} height={height - BOTTOM - TOP} />
                <line x1={chart.x(e.latency_ms)} x2={chart.x(e.latency_ms)} y1={TOP} y2={height - BOTTOM} />
                <text x={chart.x(e.latency_ms) + 6} y={height - BOTTOM - 8 - line * k}>{networks[k].name}</text>
              </g>
            ))}
            <g class="others">{choices.choices.map((c, k) => !c.frontier && c.top1 >= chart.least && <circle key={k} cx={chart.x(c.latency_ms)} cy={chart.y(c.top1)} r="2.4" />)}</g>
            <polyline class="best" points={shownBest.map((c, k) => `${k ? `${chart.x(c.latency_ms)},${chart.y(shownBest[k - 1].top1)} ` : ""}${chart.x(c.latency_ms)},${chart.y(c.top1)}`).join(" ")} />
            <g class="bests">{shownBest.map((c) => <circle key={c.network + c.img_size} cx={chart.x(c.latency_ms)} cy={chart.y(c.top1)} r="4" />)}</g>
            {shown && <circle class="shown" cx={chart.x(shown.latency_ms)} cy={chart.y(shown.top1)} r="7" />}
          </svg>
          <p class="told">
            {shown ? (
              <><b>{shown.network}</b> at {shown.img_size}: {shown.top1.toFixed(1)} % in {milliseconds(shown.latency_ms)} ({shown.source}
                {shown.low_ms < shown.high_ms && <>, {milliseconds(shown.low_ms)} – {milliseconds(shown.high_ms)}</>}) <span class="dim">click to compare</span></>
            ) : (
              <span class="dim">Point at a network, or walk along the frontier with the arrow keys.</span>
            )}
          </p>
          <ul class="advice">
            {mine.map((e, k) => e && within(e.latency_ms) && (
              <li key={k}>As fast as <b>{networks[k].name}</b> ({milliseconds(e.latency_ms)}), the most accurate is <Known choice={within(e.latency_ms)!} compare={compare} />.</li>
            ))}
            {limit !== null && within(limit) && <li>Within {milliseconds(limit)}, the most accurate is <Known choice={within(limit)!} compare={compare} />.</li>}
          </ul>
        </>
      )}
    </section>
  );
}

/** Whether the page is as narrow as a phone, where the drawing has to be taller to be read. */
function useNarrow(): boolean {
  const [narrow, setNarrow] = useState(PHONE.matches);
  useEffect(() => {
    const changed = () => setNarrow(PHONE.matches);
    PHONE.addEventListener("change", changed);
    return () => PHONE.removeEventListener("change", changed);
  }, []);
  return narrow;
}

function Known({ choice, compare }: { choice: api.Chosen; compare: (name: string, size: number | null) => void }) {
  return <><button class="link" onClick={() => compare(choice.network.split(".")[0], choice.img_size)}>{choice.network}</button> at {choice.img_size} with {choice.top1.toFixed(1)} %</>;
}

function scales(choices: api.Chosen[], height: number) {
  if (!choices.length) return null;
  const times = choices.map((c) => c.latency_ms), tops = choices.map((c) => c.top1).sort((a, b) => a - b);
  const low = Math.log10(Math.min(...times)) - 0.04, high = Math.log10(Math.max(...times)) + 0.04;
  // The few far below the others would press all of them together.
  const least = Math.floor((tops[Math.floor(tops.length * 0.02)] - 1) / 5) * 5, most = Math.ceil(tops[tops.length - 1] + 0.5);
  const clamp = (value: number, a: number, b: number) => Math.min(Math.max(value, a), b);
  const x = (ms: number) => LEFT + ((WIDTH - LEFT - RIGHT) * clamp((Math.log10(Math.max(ms, 1e-9)) - low) / (high - low), 0, 1));
  const y = (top1: number) => TOP + (height - TOP - BOTTOM) * (1 - clamp((top1 - least) / (most - least), 0, 1));
  const decades = Array.from({ length: Math.ceil(high) - Math.floor(low) + 1 }, (_, k) => 10 ** (Math.floor(low) + k));
  const steps = high - low < 1.6 ? [1, 2, 5] : [1];
  const xs = decades.flatMap((ten) => steps.map((s) => s * ten)).filter((ms) => Math.log10(ms) >= low && Math.log10(ms) <= high);
  const ys = Array.from({ length: Math.floor((most - least) / 5) + 1 }, (_, k) => least + 5 * k);
  return { x, y, xs, ys, least };
}

function useSeen(element: { current: HTMLElement | null }): boolean {
  const [seen, set] = useState(false);
  useEffect(() => {
    const watching = new IntersectionObserver((entries) => { if (entries.some((e) => e.isIntersecting)) set(true); }, { rootMargin: "150px" });
    watching.observe(element.current!);
    return () => watching.disconnect();
  }, []);
  return seen;
}

function useChoices(target: string | null, batch: number) {
  const [state, set] = useState<{ choices: api.Choices | null; problem: string | null }>({ choices: null, problem: null });
  useEffect(() => {
    if (!target) return;
    const leaving = new AbortController();
    set({ choices: null, problem: null });
    const timer = setTimeout(() => {
      api.choose(target, batch, leaving.signal)
        .then((choices) => set({ choices: { ...choices, choices: choices.choices.filter((c) => c.top1 !== null) }, problem: null }))
        .catch((error) => { if (error.name !== "AbortError") set({ choices: null, problem: error.message }); });
    }, 300);
    return () => { clearTimeout(timer); leaving.abort(); };
  }, [target, batch]);
  return state;
}
