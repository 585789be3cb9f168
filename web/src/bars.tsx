/* A bar for each target: how long a run takes, and the interval that holds the truth nine times in ten. */

import { useState } from "preact/hooks";
import type { Estimate, Target } from "./api";
import { digits, milliseconds, ratio, tick } from "./format";
import type { Network } from "./network";

type Order = "given" | "latency";

interface Row { target: string; title: string; detail: string; estimates: (Estimate | undefined)[] }

export function Bars({ networks, targets, ticked, limit, setLimit }: {
  networks: Network[]; targets: Target[]; ticked: string[]; limit: number | null; setLimit: (limit: number | null) => void;
}) {
  const [order, setOrder] = useState<Order>("latency");
  const [scale, setScale] = useState<"auto" | "linear" | "log">("auto");
  const rows: Row[] = ticked.map((target) => {
    const known = targets.find((t) => t.target === target);
    return {
      target, title: known?.title ?? target, detail: known ? detailOf(known) : "",
      estimates: networks.map((n) => n.estimates?.find((e) => e.target === target)),
    };
  });
  if (order === "latency") rows.sort((a, b) => first(a) - first(b));
  const told = rows.flatMap((row) => row.estimates.filter((e) => e !== undefined));
  const most = Math.max(...told.map((e) => e.high_ms), limit ?? 0);
  const least = Math.min(...told.map((e) => e.low_ms), limit ?? Infinity);
  const log = scale === "log" || (scale === "auto" && most / least > 60);
  const from = log ? 10 ** Math.floor(Math.log10(least)) : 0;
  const place = (ms: number) => 100 * Math.min(Math.max(log ? Math.log(ms / from) / Math.log(most / from) : ms / most, 0), 1);
  const batch = networks.map((n) => n.inspected?.batch_size ?? 1);
  return (
    <section class="card results" aria-label="Latency">
      <div class="row wrap">
        <h2>Latency</h2>
        <span class="grow" />
        <label class="field">limit <input type="number" min="0" step="any" placeholder="none" value={limit ?? ""} aria-label="Limit in milliseconds"
          onInput={(e) => setLimit(e.currentTarget.value === "" ? null : Math.max(Number(e.currentTarget.value), 0) || null)} /> ms</label>
        <Switch label="order" value={order} values={{ latency: "fastest first", given: "as ticked" }} change={setOrder} />
        <Switch label="scale" value={scale === "auto" ? (log ? "log" : "linear") : scale} values={{ linear: "linear", log: "log" }} change={setScale} />
      </div>
      {told.length > 0 && (
        <>
          <div class="axis" aria-hidden="true">
            <span /><div class="ticksline">{ticks(from, most, log).map((ms) => <i key={ms} style={{ left: `${place(ms)}%` }}>{tick(ms)}</i>)}</div><span />
          </div>
          <ul class="bars">
            {rows.map((row) => (
              <li key={row.target} class={networks.some((n) => n.busy) ? "stale" : ""}>
                <div class="label"><b>{row.title}</b><small>{row.detail}</small></div>
                <div class="tracks">
                  {limit !== null && <i class="limit" style={{ left: `${place(limit)}%` }} />}
                  {row.estimates.map((e, k) => e && (
                    <div key={k} class={`track ${"ab"[k]}`} title={describe(e, batch[k])}>
                      <div class="bar" style={{ width: `${place(e.latency_ms)}%` }} />
                      <div class="interval" style={{ left: `${place(e.low_ms)}%`, width: `${Math.max(place(e.high_ms) - place(e.low_ms), 0.4)}%` }} />
                    </div>
                  ))}
                </div>
                <div class="numbers">
                  {row.estimates.map((e, k) => e && (
                    <div key={k} class={`number ${"ab"[k]}`}>
                      <b>{milliseconds(e.latency_ms)}</b>
                      {e.warnings.length > 0 && <span class="warn" role="img" aria-label={`Doubtful: ${e.warnings.join("; ")}`} title={e.warnings.join("\n")}>!</span>}
                      {limit !== null && <span class={e.high_ms <= limit ? "ok" : e.latency_ms <= limit ? "maybe" : "over"}>{e.high_ms <= limit ? "within" : e.latency_ms <= limit ? "unsure" : "over"}</span>}
                      <small class="dim">{networks.length < 2 ? `${digits(e.low_ms)} – ${milliseconds(e.high_ms)}` : k > 0 && row.estimates[0] && <Compared a={row.estimates[0]} b={e} />}</small>
                    </div>
                  ))}
                </div>
              </li>
            ))}
          </ul>
          <Warnings told={told} />
        </>
      )}
      {!told.length && <p class="dim">{ticked.length ? (networks.some((n) => n.problem) ? "Nothing to show." : "Predicting …") : "Tick at least one target."}</p>}
      <p class="dim small">A bar is one run of a batch; the whisker is the interval that holds the truth for 90 % of networks like those the predictor was tested on.
        {networks.length > 1 && " Open: the intervals do not tell which of the two is faster."}</p>
    </section>
  );
}

const first = (row: Row) => row.estimates.find((e) => e !== undefined)?.latency_ms ?? Infinity;
const detailOf = (t: Target) => t.description.startsWith(t.title) ? t.description.slice(t.title.length).replace(/^, /, "") : t.description;

/* In words, as `narformer compare` has it: open where the interval of the ratio has both outcomes in it. */
function Compared({ a, b }: { a: Estimate; b: Estimate }) {
  if (a.hash === b.hash) return <>the same</>;
  const factor = b.latency_ms / a.latency_ms;
  const told = factor > 1 ? `${ratio(factor)}× slower` : `${ratio(1 / factor)}× faster`;
  const spread = factor < 1
    ? Math.hypot(Math.log(b.high_ms / b.latency_ms), Math.log(a.latency_ms / a.low_ms))
    : Math.hypot(Math.log(b.latency_ms / b.low_ms), Math.log(a.high_ms / a.latency_ms));
  if (Math.abs(Math.log(factor)) > spread) return <>{told}</>;
  return <span title={`${told} by the estimates; the intervals leave open which of the two is faster`}>open</span>;
}

function describe(e: Estimate, batch: number): string {
  const error = e.held_out_mape === null ? "" : `\nerror on held-out networks of this target: ${e.held_out_mape.toFixed(1)} %`;
  return `${e.model} on ${e.target}: ${milliseconds(e.latency_ms)}, from ${milliseconds(e.low_ms)} to ${milliseconds(e.high_ms)} (${e.source})\n` +
    `${digits((1000 * batch) / e.latency_ms)} samples a second at batch ${batch}${error}`;
}

function ticks(from: number, to: number, log: boolean): number[] {
  if (log) {
    const found: number[] = [];
    for (let ms = from; ms <= to; ms *= 10) found.push(ms);
    return found;
  }
  const step = 10 ** Math.floor(Math.log10(to / 2));
  const wide = [1, 2, 5, 10].map((k) => k * step).find((s) => to / s <= 4.5) ?? to;
  return Array.from({ length: Math.floor(to / wide) + 1 }, (_, k) => k * wide).filter((ms) => ms > 0);
}

function Warnings({ told }: { told: Estimate[] }) {
  const warnings = new Map<string, Set<string>>();
  for (const e of told) for (const warning of e.warnings) warnings.set(warning, (warnings.get(warning) ?? new Set()).add(e.target));
  if (!warnings.size) return null;
  return (
    <details class="warnings">
      <summary><span class="warn">!</span> {warnings.size === 1 ? "One thing" : `${warnings.size} things`} not to trust</summary>
      <ul>{[...warnings].map(([warning, devices]) => <li key={warning}>{warning} <span class="dim">({devices.size === 1 ? [...devices][0] : `${devices.size} targets`})</span></li>)}</ul>
    </details>
  );
}

export function Switch<Value extends string>({ label, value, values, change }: {
  label: string; value: Value; values: Partial<Record<Value, string>>; change: (value: Value) => void;
}) {
  return (
    <div class="switch" role="group" aria-label={label}>
      {(Object.entries(values) as [Value, string][]).map(([key, text]) => (
        <button key={key} aria-pressed={key === value} onClick={() => change(key)}>{text}</button>
      ))}
    </div>
  );
}
