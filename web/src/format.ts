/* Numbers as people read them. */

export function milliseconds(ms: number): string {
  if (ms === 0) return "0";
  if (ms >= 9995) return `${digits(ms / 1000)} s`;
  if (ms < 0.0995) return `${digits(ms * 1000)} µs`;
  return `${digits(ms)} ms`;
}

/* A round number of milliseconds, as on an axis. */
export function tick(ms: number): string {
  const [value, unit] = ms >= 1000 ? [ms / 1000, "s"] : ms < 0.1 ? [ms * 1000, "µs"] : [ms, "ms"];
  return `${Number(value.toPrecision(3)).toLocaleString("en-US")} ${unit}`;
}

export function digits(value: number): string {
  const size = Math.abs(value);
  if (size >= 99.95) return Math.round(value).toLocaleString("en-US");
  return value.toFixed(size >= 9.995 ? 1 : size >= 0.9995 ? 2 : 3);
}

export function count(value: number): string {
  const prefixes = ["", " k", " M", " G", " T", " P"];
  let k = 0;
  while (value >= 999.5 && k < prefixes.length - 1) {
    value /= 1000;
    k++;
  }
  return `${k ? digits(value).replace(/\.?0+$/, "") : Math.round(value)}${prefixes[k]}`;
}

export const bytes = (value: number) => `${count(value)}${value < 999.5 ? " " : ""}B`;
export const shape = (sizes: number[]) => (sizes.length ? sizes.join(" × ") : "one number");
export const percent = (share: number) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
export const ratio = (value: number) => (value < 10 ? value.toFixed(2) : value.toFixed(0));
