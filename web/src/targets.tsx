/* Which targets are looked at: searched by words, narrowed by groups, ticked one by one. */

import { useMemo, useState } from "preact/hooks";
import type { Target } from "./api";

export function matching(targets: Target[], words: string, groups: string[]): Target[] {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  return targets.filter((t) => {
    const text = `${t.target} ${t.title} ${t.description} ${t.groups.join(" ")}`.toLowerCase();
    return wanted.every((word) => text.includes(word)) && groups.every((group) => t.groups.includes(group));
  });
}

export function Targets({ all, ticked, tick }: { all: Target[]; ticked: string[]; tick: (targets: string[]) => void }) {
  const [words, setWords] = useState("");
  const [groups, setGroups] = useState<string[]>([]);
  const shown = useMemo(() => matching(all, words, groups), [all, words, groups]);
  const chips = useMemo(() => {
    const counts = new Map<string, number>();
    for (const t of matching(all, words, [])) for (const group of t.groups) counts.set(group, (counts.get(group) ?? 0) + 1);
    return [...counts].filter(([group, count]) => groups.includes(group) || (count > 1 && count < all.length)).sort((a, b) => b[1] - a[1]).slice(0, 14);
  }, [all, words, groups]);
  const ids = shown.map((t) => t.target);
  const toggle = (list: string[], one: string) => (list.includes(one) ? list.filter((x) => x !== one) : [...list, one]);
  const allTicked = ids.length > 0 && ids.every((id) => ticked.includes(id));
  return (
    <section class="card targets" aria-label="Targets">
      <div class="row">
        <h2>Targets</h2>
        <span class="dim">{ticked.length} of {all.length}</span>
      </div>
      <input
        id="search" type="search" placeholder="Search: gpu, int8, snapdragon …   ( / )" value={words} aria-label="Search targets"
        onInput={(e) => setWords(e.currentTarget.value)}
      />
      <div class="chips" role="group" aria-label="Groups">
        {chips.map(([group, count]) => (
          <button key={group} class="chip" aria-pressed={groups.includes(group)} onClick={() => setGroups(toggle(groups, group))}>
            {group} <span class="dim">{count}</span>
          </button>
        ))}
      </div>
      <label class="tick all">
        <input type="checkbox" checked={allTicked} ref={(e) => { if (e) e.indeterminate = !allTicked && ids.some((id) => ticked.includes(id)); }}
          onChange={() => tick(allTicked ? ticked.filter((id) => !ids.includes(id)) : [...new Set([...ticked, ...ids])])} />
        <span>All {words || groups.length ? "shown" : ""}</span>
        {(words || groups.length > 0) && <button class="link only" onClick={(e) => { e.preventDefault(); tick(ids); }}>only these</button>}
      </label>
      <ul class="ticks">
        {shown.map((t) => (
          <li key={t.target}>
            <label class="tick" title={t.description}>
              <input type="checkbox" checked={ticked.includes(t.target)} onChange={() => tick(toggle(ticked, t.target))} />
              <span class="two"><b>{t.title}</b><small>{t.target}</small></span>
              {t.held_out.mape !== undefined && <small class="dim" title="Error on networks held out from training">±{t.held_out.mape.toFixed(0)} %</small>}
            </label>
          </li>
        ))}
        {!shown.length && <li class="dim">No target matches.</li>}
      </ul>
    </section>
  );
}
