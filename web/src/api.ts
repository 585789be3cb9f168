/* The service's HTTP API, as /openapi.json describes it. */

export interface Target {
  target: string; title: string; description: string; source: string; headline: boolean; groups: string[];
  held_out: Record<string, number>; batch_sizes: number[];
}
export interface Estimate {
  model: string; hash: string; target: string; batch_size: number; latency_ms: number; low_ms: number; high_ms: number; source: string; level: number;
  held_out_mape: number | null; warnings: string[];
}
export interface Predicted { model: string; upload: string | null; estimates: Estimate[]; notes: string[] }
export interface Inspected {
  model: string; upload: string | null; hash: string; nodes: number; batch_size: number;
  inputs: Record<string, number[]>; dtypes: Record<string, string>;
  macs: number; parameters: number; weight_bytes: number; activation_bytes: number; peak_bytes: number;
  operators: Record<string, { count: number; macs: number }>; notes: string[];
}
export interface Kernel {
  name: string; operator: string; kind: string; ms: number; shape: number[]; dtype: string; macs: number;
  parameters: number; activation_bytes: number; takes_in: number; reads: number[];
}
export interface Explained {
  model: string; target: string; latency_ms: number; batch_size: number;
  inputs: { name: string; shape: number[]; dtype: string }[]; nodes: Kernel[]; notes: string[];
}
export interface Chosen {
  rank: number; network: string; img_size: number | null; top1: number; latency_ms: number; low_ms: number; high_ms: number;
  parameters_millions: number | null; source: string; frontier: boolean;
}
export interface Choices { target: string; batch_size: number; choices: Chosen[]; left_out: number }
export interface ZooNetwork { source: string; zoo: string; size: number | null }
export interface Sizes { batch_size?: number; input_shapes?: Record<string, (number | string)[]>; dims?: Record<string, number> }

/* A network that the service knows: one of its zoo, or one that was sent, by the hash that it answered. */
export type Known = { zoo: string; size?: number; source?: string } | { hash: string };

export class Problem extends Error {
  constructor(message: string, public status: number, public kind: string, public bind?: Required<Pick<Sizes, "dims" | "input_shapes">>) {
    super(message);
  }
}

const TOKEN = "narformer-token";
export const setToken = (token: string) => sessionStorage.setItem(TOKEN, token);

async function ask<Answer>(path: string, init: RequestInit = {}): Promise<Answer> {
  const headers = new Headers(init.headers);
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  let response: Response;
  for (let attempt = 0; ; attempt++) {
    try {
      response = await fetch(path, { ...init, headers });
    } catch (error) {
      if ((error as Error).name === "AbortError") throw error;
      throw new Problem("The service cannot be reached. Is it still running?", 0, "Unreachable");
    }
    const wait = Number(response.headers.get("Retry-After"));
    if (![429, 503].includes(response.status) || !wait || attempt > 3) break;
    await new Promise((resolve) => setTimeout(resolve, Math.min(wait, 30) * 1000));
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok || answer === null) {
    const told = answer?.error ?? { message: `status ${response.status}`, type: "Unknown" };
    throw new Problem(told.message, response.status, told.type, told.bind ?? undefined);
  }
  return answer;
}

export const targets = () => ask<{ predictor: string; targets: Target[]; choosable: string[] }>("/v1/targets");
export const zoo = () => ask<{ networks: ZooNetwork[] }>("/v1/zoo");

function post<Answer>(operation: string, options: object, signal?: AbortSignal): Promise<Answer> {
  const headers = { "Content-Type": "application/json" };
  return ask(`/v1/${operation}`, { method: "POST", headers, body: JSON.stringify(options), signal });
}

export const predict = (model: Known, targets: string[], sizes: Sizes, signal?: AbortSignal) =>
  post<Predicted>("predict", { model, targets, ...sizes }, signal);
export const inspect = (model: Known, sizes: Sizes, signal?: AbortSignal) =>
  post<Inspected>("inspect", { model, ...sizes }, signal);
export const explain = (model: Known, target: string, sizes: Sizes, signal?: AbortSignal) =>
  post<Explained>("explain", { model, target, ...sizes }, signal);

export const choose = (target: string, batch: number, signal?: AbortSignal) =>
  post<Choices>("choose", { target, batch_size: batch, every: true }, signal);

/* Send the structure of a network, compressed; the service knows it by its hash from then on. */
export async function send(name: string, structure: Uint8Array, sizes: Sizes): Promise<{ answer: Inspected; sent: number }> {
  const boundary = crypto.getRandomValues(new Uint32Array(4)).join("-");
  const called = encodeURIComponent(name).slice(0, 180);
  const part = (head: string) => `--${boundary}\r\nContent-Disposition: form-data; ${head}\r\n\r\n`;
  const form = new Blob([
    part('name="options"'), JSON.stringify(sizes), "\r\n",
    part(`name="model"; filename="${called}"`), structure as BlobPart, `\r\n--${boundary}--\r\n`,
  ]);
  const body = await new Response(form.stream().pipeThrough(new CompressionStream("gzip"))).blob();
  const headers = { "Content-Type": `multipart/form-data; boundary=${boundary}`, "Content-Encoding": "gzip" };
  const answer = await ask<Inspected>("/v1/inspect", { method: "POST", headers, body });
  return { answer: { ...answer, model: name }, sent: body.size };
}
