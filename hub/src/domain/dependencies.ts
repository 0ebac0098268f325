/** Who needs whom among the instances of a cell. Pure. */

export type Needs = Readonly<{ id: string; needs: readonly string[] }>;

/** The way from `start` back to itself, both ends included; undefined where there is none. */
export function cycleThrough(start: string, all: readonly Needs[]): readonly string[] | undefined {
  const needsOf = new Map(all.map(({ id, needs }) => [id, needs]));
  const seen = new Set<string>();
  const ways: (readonly string[])[] = [[start]];
  for (let way = ways.pop(); way !== undefined; way = ways.pop()) {
    for (const next of needsOf.get(way.at(-1) ?? "") ?? []) {
      if (next === start) return [...way, start];
      if (seen.has(next)) continue;
      seen.add(next);
      ways.push([...way, next]);
    }
  }
  return undefined;
}

/** Those that need it, in the order given. */
export function needing<Each extends Needs>(id: string, all: readonly Each[]): readonly Each[] {
  return all.filter(({ needs }) => needs.includes(id));
}
