/* The network on a canvas: boxes coloured by their share of the time, only those that are in sight. */

import { select } from "d3-selection";
import { zoom, zoomIdentity, type ZoomTransform } from "d3-zoom";
import type { Explained } from "./api";
import { milliseconds, shape } from "./format";
import { HEIGHT, WIDTH, type Layout } from "./layout";

const RAMPS = {
  light: [[241, 245, 249], [254, 240, 180], [251, 146, 60], [200, 30, 30]],
  dark: [[38, 46, 62], [104, 62, 24], [214, 92, 20], [255, 176, 110]],
};
const FAR = 0.42; // zoom below which boxes have no text

export type Theme = "light" | "dark";

export function heat(share: number, theme: Theme): string {
  return `rgb(${mixed(share, theme).join(",")})`;
}

function mixed(share: number, theme: Theme): number[] {
  const ramp = RAMPS[theme];
  const at = Math.sqrt(Math.min(Math.max(share, 0), 1)) * (ramp.length - 1);
  const k = Math.min(Math.floor(at), ramp.length - 2);
  return ramp[k].map((low, c) => Math.round(low + (ramp[k + 1][c] - low) * (at - k)));
}

/* One finger and a wheel that passes scroll the page; two fingers, and a wheel where the graph was clicked, zoom. */
function isMeant(event: Event): boolean {
  if (event instanceof WheelEvent) return event.ctrlKey || event.metaKey || document.activeElement === event.currentTarget;
  if (typeof TouchEvent !== "undefined" && event instanceof TouchEvent) return event.touches.length > 1;
  return !(event as MouseEvent).button;
}

export class Drawing {
  private transform: ZoomTransform = zoomIdentity;
  private explained: Explained | null = null;
  private layout: Layout | null = null;
  private most = 1;
  private selected: number | null = null;
  private theme: Theme = "light";
  private frame = 0;
  private zoomed;

  constructor(private canvas: HTMLCanvasElement, onSelect: (node: number | null) => void) {
    this.zoomed = zoom<HTMLCanvasElement, unknown>().scaleExtent([0.02, 4]).filter(isMeant).on("zoom", ({ transform }) => {
      this.transform = transform;
      this.later();
    });
    select(canvas).call(this.zoomed).on("dblclick.zoom", null).on("click", (event: MouseEvent) => onSelect(this.at(event.offsetX, event.offsetY)));
    select(canvas).on("mousemove", (event: MouseEvent) => {
      canvas.style.cursor = this.at(event.offsetX, event.offsetY) === null ? "grab" : "pointer";
    });
    new ResizeObserver(() => this.later()).observe(canvas);
  }

  show(explained: Explained, layout: Layout, fresh: boolean) {
    this.explained = explained;
    this.layout = layout;
    this.most = explained.nodes.reduce((most, node) => Math.max(most, node.ms), 1e-12);
    if (fresh) this.fit();
    this.later();
  }

  set(selected: number | null, theme: Theme) {
    this.selected = selected;
    this.theme = theme;
    this.later();
  }

  fit() {
    if (!this.layout) return;
    const { clientWidth: w, clientHeight: h } = this.canvas;
    const whole = Math.min(w / (this.layout.width + 40), h / (this.layout.height + 40), 1);
    const k = Math.max(whole, Math.min(0.85, w / (this.layout.width + 40))); // tall networks begin at their top, readable
    select(this.canvas).call(this.zoomed.transform, zoomIdentity.translate((w - this.layout.width * k) / 2, 20).scale(k));
  }

  overview() {
    if (!this.layout) return;
    const { clientWidth: w, clientHeight: h } = this.canvas;
    const k = Math.min(w / (this.layout.width + 40), h / (this.layout.height + 40), 1);
    select(this.canvas).call(this.zoomed.transform, zoomIdentity.translate((w - this.layout.width * k) / 2, (h - this.layout.height * k) / 2).scale(k));
  }

  by(factor: number) {
    select(this.canvas).call(this.zoomed.scaleBy, factor);
  }

  /* Bring a node to the middle, near enough to be read. */
  reveal(node: number) {
    const box = this.layout?.boxes[node];
    if (!box) return;
    const k = Math.max(this.transform.k, 0.8);
    const { clientWidth: w, clientHeight: h } = this.canvas;
    select(this.canvas).call(this.zoomed.transform, zoomIdentity.translate(w / 2 - box.x * k, h / 2 - box.y * k).scale(k));
  }

  private at(x: number, y: number): number | null {
    const [px, py] = this.transform.invert([x, y]);
    const found = this.layout?.boxes.findIndex((b) => Math.abs(b.x - px) <= WIDTH / 2 && Math.abs(b.y - py) <= HEIGHT / 2) ?? -1;
    return found < 0 ? null : found;
  }

  private later() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.draw());
  }

  private draw() {
    const { canvas, layout, explained, transform: t } = this;
    const ratio = devicePixelRatio || 1;
    const { clientWidth: w, clientHeight: h } = canvas;
    if (!w || !h) return;
    if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) {
      canvas.width = Math.round(w * ratio);
      canvas.height = Math.round(h * ratio);
    }
    const c = canvas.getContext("2d")!;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, w, h);
    if (!layout || !explained) return;
    const style = getComputedStyle(canvas);
    const [line, text, strong] = ["--line-strong", "--text", "--accent"].map((name) => style.getPropertyValue(name).trim());
    c.translate(t.x, t.y);
    c.scale(t.k, t.k);
    const [left, top] = t.invert([0, 0]);
    const [right, bottom] = t.invert([w, h]);
    const near = (y: number) => y > top - HEIGHT && y < bottom + HEIGHT;
    c.lineWidth = Math.max(1.2, 0.6 / t.k);
    for (const { from, to, points } of layout.lines) {
      const a = layout.boxes[from], b = layout.boxes[to];
      if ((a.y < top - HEIGHT && b.y < top - HEIGHT) || (a.y > bottom + HEIGHT && b.y > bottom + HEIGHT)) continue;
      const touched = this.selected === from || this.selected === to;
      c.strokeStyle = touched ? strong : line;
      c.beginPath();
      c.moveTo(a.x, a.y + HEIGHT / 2);
      const inner = points.slice(1, -1);
      let last = { x: a.x, y: a.y + HEIGHT / 2 };
      for (const p of [...inner, { x: b.x, y: b.y - HEIGHT / 2 }]) {
        const middle = (last.y + p.y) / 2;
        c.bezierCurveTo(last.x, middle, p.x, middle, p.x, p.y);
        last = p;
      }
      c.stroke();
    }
    c.textBaseline = "middle";
    explained.nodes.forEach((node, k) => {
      const { x, y } = layout.boxes[k];
      if (!near(y) || x < left - WIDTH || x > right + WIDTH) return;
      const colour = mixed(node.ms / this.most, this.theme);
      c.fillStyle = `rgb(${colour.join(",")})`;
      c.beginPath();
      c.roundRect(x - WIDTH / 2, y - HEIGHT / 2, WIDTH, HEIGHT, 7);
      c.fill();
      c.strokeStyle = k === this.selected ? strong : line;
      c.lineWidth = k === this.selected ? 3 : 1;
      c.stroke();
      if (t.k < FAR) return;
      const bright = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] > 140;
      c.fillStyle = bright ? "#14181f" : "#f4f6fa";
      c.font = "600 12px system-ui, sans-serif";
      c.textAlign = "left";
      c.fillText(clipped(c, node.operator, WIDTH - 66), x - WIDTH / 2 + 9, y - 8);
      c.font = "11px system-ui, sans-serif";
      c.textAlign = "right";
      c.fillText(node.ms ? milliseconds(node.ms) : "fused", x + WIDTH / 2 - 9, y - 8);
      c.globalAlpha = 0.78;
      c.textAlign = "left";
      c.fillText(clipped(c, shape(node.shape), WIDTH - 18), x - WIDTH / 2 + 9, y + 9);
      c.globalAlpha = 1;
    });
    if (!explained.nodes.length) {
      c.fillStyle = text;
      c.fillText("no kernels", 20, 20);
    }
  }
}

function clipped(c: CanvasRenderingContext2D, text: string, width: number): string {
  if (c.measureText(text).width <= width) return text;
  let end = text.length;
  while (end > 1 && c.measureText(`${text.slice(0, end)}…`).width > width) end--;
  return `${text.slice(0, end)}…`;
}
