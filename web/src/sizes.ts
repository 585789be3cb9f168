/* Which sizes of a network's inputs can be slid, and what a choice of them asks the service for. */

import type { Inspected, Sizes } from "./api";

/* What was chosen; null for what the file says. dims: sizes by the names that the file gives them. shapes: of inputs that
   the file leaves open, as the service proposed them. */
export interface Chosen {
  batch: number | null; side: number | null; length: number | null;
  dims: Record<string, number>; shapes: Record<string, (number | string)[]>;
}
export const AS_IN_FILE: Chosen = { batch: null, side: null, length: null, dims: {}, shapes: {} };

/* Of each input, its shape and type. */
export type Inputs = Record<string, { shape: number[]; dtype: string }>;

export const inputsOf = ({ inputs, dtypes }: Inspected): Inputs =>
  Object.fromEntries(Object.entries(inputs).map(([name, shape]) => [name, { shape, dtype: dtypes[name] }]));

/* The input that is a square image: its name, its axes of height and width, and their size. */
export function image(inputs: Inputs): { name: string; axes: number[]; side: number; rank: number } | null {
  for (const [name, { shape }] of Object.entries(inputs)) {
    if (shape.length !== 4) continue;
    const last = shape[3] <= 4 && shape[1] > 4;
    const axes = last ? [1, 2] : [2, 3];
    if (shape[axes[0]] === shape[axes[1]] && shape[axes[0]] >= 8) return { name, axes, side: shape[axes[0]], rank: 4 };
  }
  return null;
}

/* Inputs of whole numbers with a row of them for each sample, as of a language model: their common length. */
export function sequence(inputs: Inputs): { names: string[]; length: number } | null {
  const found = Object.entries(inputs).filter(([, { shape, dtype }]) => shape.length === 2 && /^int(32|64)$/.test(dtype));
  if (!found.length || found.length < Object.keys(inputs).length) return null;
  const length = found[0][1].shape[1];
  return found.every(([, { shape }]) => shape[1] === length) && length > 1 ? { names: found.map(([name]) => name), length } : null;
}

export function asked(chosen: Chosen, inputs: Inputs | null): Sizes {
  const sizes: Sizes = {};
  if (chosen.batch !== null) sizes.batch_size = chosen.batch;
  const shapes: Record<string, (number | string)[]> = { ...chosen.shapes };
  const square = inputs && image(inputs);
  if (chosen.side !== null && square)
    shapes[square.name] = Array.from({ length: 4 }, (_, axis) => (square.axes.includes(axis) ? chosen.side! : -1));
  const words = inputs && sequence(inputs);
  if (chosen.length !== null && words) for (const name of words.names) shapes[name] = [-1, chosen.length];
  if (Object.keys(shapes).length) sizes.input_shapes = shapes;
  if (Object.keys(chosen.dims).length) sizes.dims = chosen.dims;
  return sizes;
}
