/* A network on a card: what it is, what of it was sent, and sliders for its sizes. */

import { bytes, count, shape } from "./format";
import type { Slot } from "./network";
import { image, inputsOf, sequence } from "./sizes";

const BATCHES = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const SIDES = [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 384, 448, 512, 640, 768, 1024];
const LENGTHS = [1, 8, 16, 32, 64, 128, 256, 384, 512, 1024, 2048, 4096];

export function Card({ slot, mark }: { slot: Slot; mark: string }) {
  const network = slot.network!;
  const { inspected, inputs, chosen, file } = network;
  const square = inputs && image(inputs);
  const words = inputs && sequence(inputs);
  const batch = inputs ? Object.values(inputs)[0]?.shape[0] ?? 1 : 1;
  return (
    <section class={`card network ${mark}`} aria-label={`Network ${network.name}`}>
      <div class="row">
        <i class="mark" aria-hidden="true" />
        <h2 class="grow clip" title={network.name}>{network.name}</h2>
        <button class="icon" onClick={slot.close} aria-label={`Close ${network.name}`}>×</button>
      </div>
      {network.progress !== null && <><progress value={network.progress} max={1} /><small class="dim">Reading its structure …</small></>}
      {network.problem && <p class="problem" role="alert">{network.problem}</p>}
      {inspected && (
        <>
          <p class="facts">
            <b>{count(inspected.macs)}</b> MACs · <b>{count(inspected.parameters)}</b> parameters · <b>{count(inspected.nodes)}</b> nodes
          </p>
          {Object.entries(inputsOf(inspected)).slice(0, 4).map(([name, input]) => <p key={name} class="dim small clip">{name}: {shape(input.shape)} {input.dtype}</p>)}
          {Object.keys(inspected.inputs).length > 4 && <p class="dim small">and {Object.keys(inspected.inputs).length - 4} inputs more</p>}
          <Slider label="batch" values={BATCHES} inFile={batch} value={chosen.batch} change={(batch) => slot.choose({ batch })} />
          {square && <Slider label="image" values={SIDES} inFile={square.side} value={chosen.side} change={(side) => slot.choose({ side })} />}
          {words && !Object.keys(chosen.dims).length && <Slider label="length" values={LENGTHS} inFile={words.length} value={chosen.length} change={(length) => slot.choose({ length })} />}
          {Object.entries(chosen.dims).map(([name, size]) => (
            <Slider key={name} label={name} values={LENGTHS} inFile={size} value={size} change={(value) => slot.choose({ dims: { ...chosen.dims, [name]: value ?? size } })} />
          ))}
        </>
      )}
      {file && <p class="dim small">{bytes(file.size)} on disk, {bytes(file.sent)} sent: no weights.</p>}
      {network.notes.map((note) => <p key={note} class="dim small">{note}</p>)}
    </section>
  );
}

function Slider({ label, values, inFile, value, change }: {
  label: string; values: number[]; inFile: number; value: number | null; change: (value: number | null) => void;
}) {
  const all = [...new Set([...values, inFile, ...(value === null ? [] : [value])])].sort((a, b) => a - b);
  const now = value ?? inFile;
  return (
    <label class="slider">
      <span class="clip" title={label}>{label}</span>
      <input type="range" min={0} max={all.length - 1} value={all.indexOf(now)} aria-valuetext={String(now)}
        onInput={(e) => { const size = all[Number(e.currentTarget.value)]; change(size === inFile && value !== inFile ? null : size); }} />
      <output>{now}</output>
    </label>
  );
}
