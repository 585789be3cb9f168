/* Takes the weights out of an ONNX file without ever holding them: a walk over the protobuf wire format.

   The file is read in small windows, so that one of two gigabytes costs no memory. What is kept is a list of fields
   that are known to be structure; everything else, also what a later version of ONNX may add, stays behind. Of
   constants are kept: single numbers, one number over and over, short integers that shapes are made of, and factors of
   a Resize. The Python client keeps the same (narformer/frontends/structure.py). Field numbers are those of onnx.proto. */

const VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5;
const SMALL = 1024; // bytes of a constant that may be structure
const LONGEST_TEXT = 256;
const WINDOW = 1 << 16;
const DEEPEST = 64;
const FACTORS = new Set(["scales", "activation_params", "activation_alpha", "activation_beta"]);
const enum Type { INT32 = 6, INT64 = 7, BOOL = 9 }

type Kind = "model" | "graph" | "function" | "node" | "attribute" | "tensor" | "sparse" | "info" | "plain";

/* The fields of each message that are kept, and what they hold. */
const KEPT: Record<Exclude<Kind, "plain" | "tensor">, Record<number, Kind>> = {
  model: { 1: "plain", 7: "graph", 8: "plain", 25: "function" },
  graph: { 1: "node", 5: "tensor", 11: "info", 12: "info", 13: "info", 15: "sparse" },
  function: {
    1: "plain", 4: "plain", 5: "plain", 6: "plain", 7: "node", 9: "plain", 10: "plain", 11: "attribute", 12: "info",
    13: "plain",
  },
  node: { 1: "plain", 2: "plain", 3: "plain", 4: "plain", 5: "attribute", 7: "plain", 8: "plain" },
  attribute: {
    1: "plain", 2: "plain", 3: "plain", 4: "plain", 5: "tensor", 6: "graph", 7: "plain", 8: "plain", 9: "plain",
    10: "tensor", 11: "graph", 14: "plain", 15: "plain", 20: "plain", 21: "plain", 22: "sparse", 23: "sparse",
  },
  sparse: { 1: "tensor", 2: "tensor", 3: "plain" },
  info: { 1: "plain", 2: "plain" },
};

/* A message on its way out: bytes, a field that holds a message, or a tensor of which it is not known yet whether its
   contents are structure, since that depends on the nodes that read it. */
type Part = Uint8Array | { field: number; parts: Part[] } | { field: number; name: string; type: number; full: Uint8Array; bare: Uint8Array };

interface Field { number: number; wire: number; start: number; value: number; end: number }
interface Context { op: string; domain: string; attribute: string; output: string }

export class NotOnnx extends Error {}

/* Where bytes come from: a file, or bytes in memory. */
export interface Source { size: number; slice(start: number, end: number): Promise<Uint8Array> }

export function sourceOf(file: Blob): Source {
  return { size: file.size, slice: async (start, end) => new Uint8Array(await file.slice(start, end).arrayBuffer()) };
}

class Reader {
  private from = 0;
  private window: Uint8Array = new Uint8Array(0);
  bytesRead = 0;

  constructor(private source: Source) {}

  get size() { return this.source.size; }

  async bytes(start: number, end: number): Promise<Uint8Array> {
    if (start < this.from || end > this.from + this.window.length) {
      const until = Math.min(Math.max(end, start + WINDOW), this.size);
      this.window = await this.source.slice(start, until);
      this.bytesRead += this.window.length;
      this.from = start;
      if (end > start + this.window.length) throw new NotOnnx("the file is cut short");
    }
    return this.window.subarray(start - this.from, end - this.from);
  }

  async varint(at: number, end: number): Promise<[number, number]> {
    const bytes = await this.bytes(at, Math.min(at + 10, end));
    let value = 0;
    for (let k = 0; k < bytes.length; k++) {
      value += (bytes[k] & 0x7f) * 2 ** (7 * k); // above 2^53 inexact, and then larger than any file
      if (bytes[k] < 0x80) return [value, at + k + 1];
    }
    throw new NotOnnx(`no number at byte ${at}`);
  }

  async *fields(start: number, end: number): AsyncGenerator<Field> {
    for (let at = start; at < end; ) {
      const [tag, after] = await this.varint(at, end);
      const wire = tag % 8;
      let value = after;
      let size = wire === FIXED64 ? 8 : wire === FIXED32 ? 4 : 0;
      if (wire === LENGTH) [size, value] = await this.varint(after, end);
      else if (wire === VARINT) size = (await this.varint(after, end))[1] - after;
      else if (wire !== FIXED64 && wire !== FIXED32) throw new NotOnnx(`not an ONNX model: byte ${at}`);
      if (value + size > end) throw new NotOnnx("not an ONNX model, or cut short");
      yield { number: Math.floor(tag / 8), wire, start: at, value, end: value + size };
      at = value + size;
    }
  }
}

export interface Stripped { bytes: Uint8Array; read: number }

/* The structure of the ONNX model in a file. Throws NotOnnx for what is no such file. */
export async function strip(source: Source, progress: (share: number) => void = () => {}): Promise<Stripped> {
  const reader = new Reader(source);
  if (!source.size) throw new NotOnnx("the file is empty");
  const first = await reader.bytes(0, Math.min(4, source.size));
  if (first[0] === 0x50 && first[1] === 0x4b) throw new NotOnnx("a zip archive, perhaps a PyTorch checkpoint; export it with torch.onnx.export");
  const walk = new Walk(reader, progress);
  const parts = await walk.message("model", 0, source.size, 0, { op: "", domain: "", attribute: "", output: "" });
  if (!walk.graphs) throw new NotOnnx("not an ONNX model: it holds no graph");
  return { bytes: joined(walk.settled(parts)), read: reader.bytesRead };
}

class Walk {
  graphs = 0;
  private scaled = new Set<string>(); // names of what Resize and Upsample read
  private quantised = new Set<string>(); // names of what quantised operators read

  constructor(private reader: Reader, private progress: (share: number) => void) {}

  async message(kind: Exclude<Kind, "plain" | "tensor">, start: number, end: number, depth: number, context: Context): Promise<Part[]> {
    if (depth > DEEPEST) throw new NotOnnx("messages nested too deep");
    if (kind === "graph") this.graphs++;
    if (kind === "node") context = await this.node(start, end);
    if (kind === "attribute") context = { ...context, attribute: await this.name(start, end) };
    const parts: Part[] = [];
    let keptFrom = -1, keptTo = -1; // fields side by side are copied together
    const flush = async () => {
      if (keptFrom >= 0) parts.push((await this.reader.bytes(keptFrom, keptTo)).slice());
      keptFrom = -1;
    };
    for await (const f of this.reader.fields(start, end)) {
      const inner = KEPT[kind][f.number];
      if (inner === undefined) continue;
      if (depth < 2) this.progress(f.end / this.reader.size);
      const other = kind === "attribute" && inner === "plain" ? await this.attributeField(f, context) : null;
      if (inner === "plain" && other === null) {
        if (f.start !== keptTo) await flush();
        if (keptFrom < 0) keptFrom = f.start;
        keptTo = f.end;
        continue;
      }
      await flush();
      if (other !== null) parts.push(other);
      else if (f.wire !== LENGTH) throw new NotOnnx(`not an ONNX model: byte ${f.start}`);
      else if (inner === "tensor") parts.push(await this.tensor(f, kind === "sparse" ? null : context));
      else parts.push({ field: f.number, parts: await this.message(inner as "graph", f.value, f.end, depth + 1, context) });
    }
    await flush();
    return parts;
  }

  /* Operator and domain of a node, and what it reads, noted where that decides what else is kept. */
  private async node(start: number, end: number): Promise<Context> {
    const context: Context = { op: "", domain: "", attribute: "", output: "" };
    const reads: string[] = [];
    for await (const f of this.reader.fields(start, end)) {
      if (f.wire !== LENGTH) continue;
      if (f.number === 1) reads.push(await this.text(f));
      else if (f.number === 2 && !context.output) context.output = await this.text(f);
      else if (f.number === 4) context.op = await this.text(f);
      else if (f.number === 7) context.domain = await this.text(f);
    }
    if (context.op === "Resize" || context.op === "Upsample") reads.forEach((name) => this.scaled.add(name));
    if (/Linear|Integer|QGemm|NBits/.test(context.op)) reads.forEach((name) => this.quantised.add(name));
    return context;
  }

  private async text(f: Field): Promise<string> {
    return new TextDecoder().decode(await this.reader.bytes(f.value, Math.min(f.end, f.value + 4096)));
  }

  private async name(start: number, end: number): Promise<string> {
    for await (const f of this.reader.fields(start, end)) if (f.number === 1 && f.wire === LENGTH) return this.text(f);
    return "";
  }

  /* What stands for a list or a text that was learnt, of the same length; null for what is kept as it is. */
  private async attributeField(f: Field, context: Context): Promise<Part | null> {
    const named = context.attribute;
    const learning = context.domain === "ai.onnx.ml" && named !== "nodes_modes";
    if (f.number === 4 && f.wire === LENGTH && f.end - f.value > LONGEST_TEXT) return bytesField(4, new Uint8Array(0));
    if (f.number === 7 && !FACTORS.has(named)) {
      if (f.wire === FIXED32) return Uint8Array.of(0x3d, 0, 0, 0, 0); // floats are not packed; a single one is field 2
      if (f.wire === LENGTH) return bytesField(7, new Uint8Array(f.end - f.value));
    }
    if (learning && f.number === 9 && f.wire === LENGTH) return bytesField(9, new Uint8Array(0));
    if (learning && f.number === 8 && !context.op.startsWith("TreeEnsemble")) {
      if (f.wire === VARINT) return Uint8Array.of(0x40, 0);
      if (f.wire === LENGTH) return bytesField(8, new Uint8Array(0));
    }
    return null;
  }

  /* context: null where the contents are left behind whatever they are. */
  private async tensor(f: Field, context: Context | null): Promise<Part> {
    const kept: Uint8Array[] = [], all: Uint8Array[] = [];
    let name = "", type = 0, elements = 1, size = 0, external = false;
    let uniform = true;
    for await (const t of this.reader.fields(f.value, f.end)) {
      const take = async () => (await this.reader.bytes(t.start, t.end)).slice();
      if (t.number === 1 || t.number === 2 || t.number === 8) {
        const bytes = await take();
        kept.push(bytes);
        all.push(bytes);
        if (t.number === 8) name = await this.text(t);
        else if (t.number === 2) type = (await this.reader.varint(t.value, t.end))[0];
        else for (let at = t.value; at < t.end; ) {
          const [dim, after] = await this.reader.varint(at, t.end);
          elements *= dim;
          at = after;
        }
      } else if (t.number === 13 || t.number === 14) external = true;
      else if ([4, 5, 6, 7, 9, 10, 11].includes(t.number)) {
        size += t.end - t.value;
        if (size > SMALL) continue;
        const bytes = await take();
        all.push(bytes);
        uniform &&= t.number !== 6 && isUniform(bytes.subarray(t.value - t.start), t.number, elements);
      }
    }
    const bare = joined(kept);
    const field = f.number;
    if (context === null || external || size > SMALL || !size) return { field, parts: [bare] };
    const full = joined(all);
    if (elements <= 1 || uniform) return { field, parts: [full] };
    return { field, name: name && !context.output ? name : context.output || name, type, full, bare };
  }

  /* The parts with every doubt resolved. */
  settled(parts: Part[]): Uint8Array[] {
    return parts.flatMap((part) => {
      if (part instanceof Uint8Array) return [part];
      const content = "parts" in part ? joined(this.settled(part.parts)) : this.isStructure(part.type, part.name) ? part.full : part.bare;
      return [bytesField(part.field, content)];
    });
  }

  private isStructure(type: number, name: string): boolean {
    if (type === Type.INT64 || type === Type.BOOL) return true;
    if (type === Type.INT32) return !this.quantised.has(name);
    return this.scaled.has(name);
  }
}

/* Whether the contents are one number over and over. */
function isUniform(bytes: Uint8Array, field: number, elements: number): boolean {
  const width = bytes.length / Math.max(elements, 1);
  if (!Number.isInteger(width) || (field !== 9 && field !== 4 && field !== 10)) return false;
  for (let k = width; k < bytes.length; k++) if (bytes[k] !== bytes[k % width]) return false;
  return true;
}

function bytesField(field: number, content: Uint8Array): Uint8Array {
  return joined([Uint8Array.from([...varint(field * 8 + LENGTH), ...varint(content.length)]), content]);
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value > 0x7f; value = Math.floor(value / 128)) bytes.push((value % 128) | 0x80);
  bytes.push(value);
  return bytes;
}

function joined(chunks: Uint8Array[]): Uint8Array {
  const all = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}
