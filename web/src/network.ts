/* One network that is looked at: from a file or the zoo to what the service says of it. */

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import * as api from "./api";
import type { Linked } from "./link";
import { AS_IN_FILE, asked, inputsOf, type Chosen, type Inputs } from "./sizes";
import { sourceOf, strip } from "./strip";

export interface Network {
  name: string;
  known: api.Known | null;
  chosen: Chosen;
  file: { size: number; structure: Uint8Array; sent: number } | null;
  inputs: Inputs | null; // as the file has them, with what it leaves open bound
  inspected: api.Inspected | null;
  estimates: api.Estimate[] | null;
  notes: string[];
  progress: number | null; // of reading the file
  busy: boolean;
  problem: string | null;
}

const EMPTY: Omit<Network, "name"> = {
  known: null, chosen: AS_IN_FILE, file: null, inputs: null, inspected: null, estimates: null, notes: [], progress: null,
  busy: true, problem: null,
};
const PAUSE = 120; // ms after the last move of a slider

export interface Slot {
  network: Network | null;
  open(file: File): void;
  take(linked: Linked): void;
  choose(chosen: Partial<Chosen>): void;
  close(): void;
}

/* onToken: called where the service wants its token. */
export function useNetwork(targets: string[], ready: boolean, onToken: () => void): Slot {
  const [network, set] = useState<Network | null>(null);
  const turn = useRef(0); // grows with every network that is opened, so that what belongs to an earlier one is dropped
  const change = useCallback((of: number, part: Partial<Network>) => {
    if (of === turn.current) set((now) => now && { ...now, ...part });
  }, []);
  const fail = useCallback((of: number, error: unknown) => {
    if ((error as Error).name === "AbortError") return;
    if (error instanceof api.Problem && error.status === 401) onToken();
    change(of, { problem: (error as Error).message, busy: false, progress: null });
  }, [onToken]);

  const open = useCallback(async (file: File) => {
    const mine = ++turn.current;
    set({ name: file.name, ...EMPTY, progress: 0 });
    try {
      const stripped = await strip(sourceOf(file), (progress) => change(mine, { progress }));
      change(mine, { progress: null });
      const { answer, sent, chosen } = await sendBound(file.name, stripped.bytes);
      change(mine, {
        known: { hash: answer.upload! }, chosen, inputs: inputsOf(answer), inspected: answer,
        file: { size: file.size, structure: stripped.bytes, sent },
      });
    } catch (error) {
      fail(mine, error);
    }
  }, []);

  const take = useCallback(async (linked: Linked) => {
    const mine = ++turn.current;
    set({ name: linked.name, ...EMPTY, known: null, chosen: linked.chosen });
    try {
      const { dims, shapes } = linked.chosen;
      const inspected = await api.inspect(linked.model, asked({ ...AS_IN_FILE, dims, shapes }, null));
      change(mine, { known: linked.model, inputs: inputsOf(inspected), inspected });
    } catch (error) {
      const gone = error instanceof api.Problem && error.status === 404;
      fail(mine, gone ? new Error("The service does not remember this network any more: drop its file here again.") : error);
    }
  }, []);

  const choose = useCallback((chosen: Partial<Chosen>) => set((now) => now && { ...now, chosen: { ...now.chosen, ...chosen } }), []);
  const close = useCallback(() => { turn.current++; set(null); }, []);

  const { known, chosen, inputs, file, name } = network ?? {};
  const question = known && JSON.stringify([known, chosen, targets]);
  useEffect(() => {
    if (!known || !ready) return;
    const mine = turn.current;
    const leaving = new AbortController();
    change(mine, { busy: true });
    const timer = setTimeout(async () => {
      const sizes = asked(chosen!, inputs!);
      const all = () => Promise.all([
        targets.length ? api.predict(known, targets, sizes, leaving.signal) : null, api.inspect(known, sizes, leaving.signal),
      ]);
      try {
        const [predicted, inspected] = await all().catch(async (error) => {
          if (!(error instanceof api.Problem) || error.status !== 404 || !file) throw error;
          await api.send(name!, file.structure, sizes); // forgotten meanwhile
          return all();
        });
        change(mine, { estimates: predicted?.estimates ?? [], notes: inspected.notes, inspected, busy: false, problem: null });
      } catch (error) {
        fail(mine, error);
      }
    }, PAUSE);
    return () => { clearTimeout(timer); leaving.abort(); };
  }, [question, ready]);

  return { network, open, take, choose, close };
}

/* Send a network; sizes that its file leaves open are bound as the service proposes. */
async function sendBound(name: string, structure: Uint8Array) {
  let chosen = AS_IN_FILE;
  for (;;) {
    try {
      return { ...(await api.send(name, structure, asked(chosen, null))), chosen };
    } catch (error) {
      if (!(error instanceof api.Problem) || !error.bind || chosen !== AS_IN_FILE) throw error;
      chosen = { ...AS_IN_FILE, dims: error.bind.dims, shapes: error.bind.input_shapes };
    }
  }
}
