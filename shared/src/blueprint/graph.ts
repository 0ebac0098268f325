/** Which node comes before which. Pure; finds a cycle with its whole path instead of only saying there is one. */

export type Edges = ReadonlyMap<string, readonly string[]>;

/** Nodes in an order in which each comes after those that it needs, or a cycle: `[a, b, a]`. */
export type Ordering =
  | Readonly<{ order: readonly string[]; depth: number }>
  | Readonly<{ cycle: readonly string[] }>;

/**
 * `needs` names for each node those that must come before it; names that are no node are left out. Nodes that
 * could stand in either order keep the one they were given in. `depth` is the length of the longest chain.
 */
export function orderOf(needs: Edges): Ordering {
  const depths = new Map<string, number>();
  const order: string[] = [];
  let waiting = [...needs.keys()];
  while (waiting.length > 0) {
    const before = order.length;
    const later: string[] = [];
    for (const node of waiting) {
      const before = (needs.get(node) ?? []).filter((each) => needs.has(each));
      if (!before.every((each) => depths.has(each))) {
        later.push(node);
        continue;
      }
      depths.set(node, 1 + Math.max(0, ...before.map((each) => depths.get(each) ?? 0)));
      order.push(node);
    }
    if (order.length === before) return { cycle: cycleAmong(later, needs) };
    waiting = later;
  }
  return { order, depth: Math.max(0, ...depths.values()) };
}

/** Every node in `left` needs another one of them, so walking along the needs comes back to where it was. */
function cycleAmong(left: readonly string[], needs: Edges): readonly string[] {
  const among = new Set(left);
  const path: string[] = [];
  const seen = new Map<string, number>();
  let at = left[0];
  while (at !== undefined && !seen.has(at)) {
    seen.set(at, path.length);
    path.push(at);
    at = needs.get(at)?.find((each) => among.has(each));
  }
  const start = at === undefined ? 0 : (seen.get(at) ?? 0);
  const cycle = path.slice(start);
  return [...cycle, cycle[0] ?? ""];
}
