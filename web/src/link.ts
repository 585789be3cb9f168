/* What is looked at, in the part of the address behind #, so that a link shows the same. */

import type { Known } from "./api";
import { AS_IN_FILE, type Chosen } from "./sizes";

export interface Linked { model: Known; name: string; chosen: Chosen }
export interface View { networks: (Linked | null)[]; targets: string[] | null; explained: string | null }

export function written(view: View): string {
  return `#${encodeURIComponent(JSON.stringify(view))}`;
}

export function read(hash: string): View | null {
  try {
    const view = JSON.parse(decodeURIComponent(hash.slice(1)));
    if (!Array.isArray(view.networks)) return null;
    const networks = view.networks.slice(0, 2).map((n: Linked | null) =>
      n && typeof n.name === "string" && (("zoo" in n.model && typeof n.model.zoo === "string") || "hash" in n.model)
        ? { ...n, chosen: { ...AS_IN_FILE, ...n.chosen } } : null);
    const targets = Array.isArray(view.targets) ? view.targets.filter((t: unknown) => typeof t === "string") : null;
    return { networks, targets, explained: typeof view.explained === "string" ? view.explained : null };
  } catch {
    return null;
  }
}
