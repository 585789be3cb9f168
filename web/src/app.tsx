/* The page: networks on the left, what is predicted of them on the right. */

import { render } from "preact";
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import * as api from "./api";
import { Bars } from "./bars";
import { Card } from "./card";
import type { Theme } from "./drawing";
import { Frontier } from "./frontier";
import { Kernels } from "./kernels";
import { read, written } from "./link";
import { useNetwork, type Network } from "./network";
import { linked, Open } from "./open";
import { Targets } from "./targets";

function App() {
  const [targets, setTargets] = useState<api.Target[]>([]);
  const [choosable, setChoosable] = useState<string[]>([]);
  const [zoo, setZoo] = useState<api.ZooNetwork[]>([]);
  const [predictor, setPredictor] = useState("");
  const [ticked, tick] = useState<string[]>([]);
  const [explained, setExplained] = useState<string | null>(null);
  const [limit, setLimit] = useState<number | null>(null);
  const [asking, askToken] = useState(false);
  const [broken, setBroken] = useState<string | null>(null);
  const [theme, switchTheme] = useTheme();
  const onToken = useCallback(() => askToken(true), []);
  const slots = [useNetwork(ticked, targets.length > 0, onToken), useNetwork(ticked, targets.length > 0, onToken)];
  const networks = slots.map((slot) => slot.network).filter((n): n is Network => n !== null);

  const start = useCallback(async () => {
    try {
      const [known, found] = await Promise.all([api.targets(), api.zoo()]);
      const view = read(location.hash);
      const ids = known.targets.map((t) => t.target);
      setTargets(known.targets);
      setChoosable(known.choosable);
      setPredictor(known.predictor);
      setZoo(found.networks);
      tick(view?.targets?.filter((t) => ids.includes(t)) ?? spread(known.targets));
      setExplained(view?.explained ?? null);
      view?.networks.forEach((one, k) => one && slots[k].take(one));
      setBroken(null);
    } catch (error) {
      if (error instanceof api.Problem && error.status === 401) askToken(true);
      else setBroken((error as Error).message);
    }
  }, []);
  useEffect(() => { start(); }, []);

  const link = useMemo(() => written({
    networks: slots.map(({ network: n }) => (n?.known ? { model: n.known, name: n.name, chosen: n.chosen } : null)), targets: ticked, explained,
  }), [slots[0].network, slots[1].network, ticked, explained]);
  useEffect(() => { if (networks.some((n) => n.known)) history.replaceState(null, "", link); }, [link]);

  const next = () => slots.find((slot) => !slot.network) ?? slots[1];
  const dragging = useDrop((files) => files.slice(0, 2).forEach((file, k) => (files.length > 1 ? slots[k] : next()).open(file)));
  useEffect(() => {
    const keys = (e: KeyboardEvent) => {
      if (e.key === "/" && !(e.target instanceof HTMLInputElement)) {
        e.preventDefault();
        document.getElementById("search")?.focus();
      }
    };
    addEventListener("keydown", keys);
    return () => removeEventListener("keydown", keys);
  }, []);

  const marks = slots.map((_, k) => (k === 0 || !slots[0].network ? "a" : "b"));
  return (
    <>
      <header>
        <a class="brand" href="./" onClick={() => { location.hash = ""; }}><img src="icon.svg" alt="" />narformer</a>
        {networks.length > 0 && <span class="dim tagline">How fast will this network run there?</span>}
        <span class="grow" />
        {networks.length > 0 && <Share link={link} networks={networks} predictor={predictor} />}
        <button class="icon" onClick={switchTheme} aria-label={theme === "dark" ? "Light colours" : "Dark colours"} title="Light or dark">{theme === "dark" ? "☀" : "☾"}</button>
      </header>
      {broken && <p class="problem wide" role="alert">{broken} <button class="link" onClick={start}>Try again</button></p>}
      {networks.length === 0 ? (
        <main class="empty">
          <h1>How fast will this network run there?</h1>
          <p class="dim">Latency on {targets.length || "many"} targets, with intervals, in milliseconds and without running it.</p>
          <Open slot={slots[0]} zoo={zoo} large />
        </main>
      ) : (
        <main class="page">
          <div class="side">
            {slots.map((slot, k) => slot.network && <Card key={k} slot={slot} mark={marks[k]} />)}
            {networks.length < 2 && <Open slot={next()} zoo={zoo} large={false} />}
            <Targets all={targets} ticked={ticked} tick={tick} />
          </div>
          <div class="main">
            <Bars networks={networks} targets={targets} ticked={ticked} limit={limit} setLimit={setLimit} />
            <Kernels networks={networks} targets={targets} ticked={ticked} target={explained} setTarget={setExplained} theme={theme} />
            <Frontier networks={networks} targets={targets} choosable={choosable} ticked={ticked} limit={limit} compare={(name, size) => {
              const found = zoo.find((n) => n.zoo === name && n.source === "timm" && (n.size ?? size) === size);
              if (found) next().take(linked(found));
            }} />
          </div>
        </main>
      )}
      <footer class="dim small">predictor {predictor || "…"} · <a href="openapi.json">HTTP API</a> · keys: / searches targets; in the graph arrows walk, + − 0 zoom; a wheel zooms it once it was clicked</footer>
      {dragging && <div class="dragging"><b>Drop it: its weights stay here</b></div>}
      {asking && <Token done={(token) => { api.setToken(token); askToken(false); start(); }} />}
    </>
  );
}

/* Few enough to look at: those that stand for all. */
function spread(targets: api.Target[]): string[] {
  return targets.filter((t) => t.headline).map((t) => t.target);
}

function Share({ link, networks, predictor }: { link: string; networks: Network[]; predictor: string }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    const url = location.origin + location.pathname + link;
    try {
      await navigator.clipboard.writeText(url);
      setCopied(true);
      setTimeout(() => setCopied(false), 1500);
    } catch {
      prompt("Copy this link", url);
    }
  };
  const save = () => {
    const told = networks.map(({ name, known, chosen, inspected, estimates }) => ({ name, model: known, sizes: chosen, cost: inspected, estimates }));
    const url = URL.createObjectURL(new Blob([JSON.stringify({ predictor, networks: told }, null, 1)], { type: "application/json" }));
    const anchor = Object.assign(document.createElement("a"), { href: url, download: `${networks.map((n) => n.name.replace(/\.onnx$/, "")).join("-")}.json` });
    anchor.click();
    URL.revokeObjectURL(url);
  };
  return <><button onClick={copy}>{copied ? "Copied" : "Copy link"}</button><button onClick={save}>Save JSON</button></>;
}

function Token({ done }: { done: (token: string) => void }) {
  const input = useRef<HTMLInputElement>(null);
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current!.showModal(), []);
  return (
    <dialog ref={dialog} onCancel={(e) => e.preventDefault()}>
      <form onSubmit={(e) => { e.preventDefault(); done(input.current!.value.trim()); }}>
        <h2>This service wants its token</h2>
        <p class="dim">Whoever runs it has it. It is kept until this tab is closed.</p>
        <input ref={input} type="password" autocomplete="off" aria-label="Token" autofocus />
        <button class="primary">Go on</button>
      </form>
    </dialog>
  );
}

function useTheme(): [Theme, () => void] {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const [chosen, choose] = useState<Theme | null>(localStorage.getItem("theme") as Theme | null);
  const [dark, setDark] = useState(system.matches);
  useEffect(() => {
    const changed = () => setDark(system.matches);
    system.addEventListener("change", changed);
    return () => system.removeEventListener("change", changed);
  }, []);
  const theme = chosen ?? (dark ? "dark" : "light");
  useEffect(() => { document.documentElement.dataset.theme = theme; }, [theme]);
  return [theme, () => {
    const other = theme === "dark" ? "light" : "dark";
    localStorage.setItem("theme", other);
    choose(other);
  }];
}

/* Files may be dropped anywhere on the page. */
function useDrop(take: (files: File[]) => void): boolean {
  const [over, setOver] = useState(false);
  const now = useRef(take);
  now.current = take;
  useEffect(() => {
    let deep = 0;
    const isFile = (e: DragEvent) => e.dataTransfer?.types.includes("Files") ?? false;
    const listeners: Record<string, (e: DragEvent) => void> = {
      dragenter: (e) => { if (isFile(e)) { deep++; setOver(true); } },
      dragleave: (e) => { if (isFile(e) && --deep <= 0) setOver(false); },
      dragover: (e) => { if (isFile(e)) e.preventDefault(); },
      drop: (e) => {
        if (!isFile(e)) return;
        e.preventDefault();
        deep = 0;
        setOver(false);
        now.current([...e.dataTransfer!.files]);
      },
    };
    for (const [name, listener] of Object.entries(listeners)) addEventListener(name as "drop", listener);
    return () => { for (const [name, listener] of Object.entries(listeners)) removeEventListener(name as "drop", listener); };
  }, []);
  return over;
}

render(<App />, document.getElementById("app")!);
