/* Where a network comes from: a file that is dropped or chosen, or one of the zoo. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { ZooNetwork } from "./api";
import type { Slot } from "./network";
import { AS_IN_FILE } from "./sizes";

const EXAMPLES = ["resnet50", "mobilenetv3_large_100", "efficientnet_b0", "vit_base_patch16_224", "convnext_tiny", "swin_tiny_patch4_window7_224"];

export function Open({ slot, zoo, large }: { slot: Slot; zoo: ZooNetwork[]; large: boolean }) {
  const input = useRef<HTMLInputElement>(null);
  const examples = EXAMPLES.map((name) => zoo.find((n) => n.zoo === name && n.source === "timm")).filter((n) => n !== undefined);
  return (
    <div class={large ? "open large" : "open"}>
      <button class="drop" onClick={() => input.current!.click()}>
        <svg viewBox="0 0 24 24" aria-hidden="true"><path d="M12 16V4m0 0 5 5m-5-5-5 5M4 16v3a1 1 0 0 0 1 1h14a1 1 0 0 0 1-1v-3" /></svg>
        <b>{large ? "Drop an ONNX file here, or choose one" : "Drop or choose another to compare"}</b>
        {large && <small>Its weights stay in this browser: only the structure is sent, some tens of kilobytes, however large the file is.</small>}
      </button>
      <input ref={input} type="file" accept=".onnx" hidden onChange={(e) => { const file = e.currentTarget.files?.[0]; if (file) slot.open(file); e.currentTarget.value = ""; }} />
      <Zoo zoo={zoo} take={(n) => slot.take(linked(n))} />
      {large && <div class="chips"><small class="dim">for example</small>{examples.map((n) => <button key={n.zoo} class="chip" onClick={() => slot.take(linked(n))}>{n.zoo}</button>)}</div>}
    </div>
  );
}

export const linked = (n: ZooNetwork) => ({
  name: n.size ? `${n.zoo} at ${n.size}` : n.zoo,
  model: { zoo: n.zoo, source: n.source, ...(n.size ? { size: n.size } : {}) },
  chosen: AS_IN_FILE,
});

/* A search among the networks that the service knows. */
function Zoo({ zoo, take }: { zoo: ZooNetwork[]; take: (network: ZooNetwork) => void }) {
  const [words, setWords] = useState("");
  const [at, setAt] = useState(0);
  const found = useMemo(() => {
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    return wanted.length ? zoo.filter((n) => wanted.every((w) => `${n.zoo} ${n.source} ${n.size ?? ""}`.toLowerCase().includes(w))).slice(0, 40) : [];
  }, [zoo, words]);
  useEffect(() => setAt(0), [words]);
  const choose = (network: ZooNetwork | undefined) => {
    if (!network) return;
    take(network);
    setWords("");
  };
  const keys = (e: KeyboardEvent) => {
    if (e.key === "ArrowDown") setAt(Math.min(at + 1, found.length - 1));
    else if (e.key === "ArrowUp") setAt(Math.max(at - 1, 0));
    else if (e.key === "Enter") choose(found[at]);
    else if (e.key === "Escape") setWords("");
    else return;
    e.preventDefault();
  };
  return (
    <div class="zoo">
      <input type="text" placeholder={`or one of ${zoo.length.toLocaleString("en-US")} known networks …`} value={words} onInput={(e) => setWords(e.currentTarget.value)} onKeyDown={keys}
        role="combobox" list={undefined} aria-expanded={found.length > 0} aria-label="Search known networks" aria-controls="zoo-found" />
      {words && (
        <ul class="found" id="zoo-found" role="listbox">
          {found.map((n, k) => (
            <li key={`${n.source} ${n.zoo} ${n.size}`} role="option" aria-selected={k === at} onMouseDown={(e) => { e.preventDefault(); choose(n); }} onMouseEnter={() => setAt(k)}>
              {n.zoo} <small class="dim">{n.size ? `${n.size} × ${n.size}` : ""} {n.source}</small>
            </li>
          ))}
          {!found.length && <li class="dim">No known network is called so.</li>}
        </ul>
      )}
    </div>
  );
}
