/**
 * Compares what serves with what was applied, from the last look at everything that was taken anyway. Looks at nothing
 * itself; what was not looked at has not drifted, and is not as applied either.
 */
import type { Difference, Live, Wanted } from "../drivers/driver.ts";
import * as attempts from "../store/attempts.ts";
import { plannedOf } from "./rendering.ts";
import { driverOf, servingCopy, type Work } from "./work.ts";

/** One resource that serves and was looked at. */
export type Compared = Readonly<{
  id: string;
  kind: string;
  /** When the look began, monotonic ms. */
  lookedAt: number;
  live: Live;
  applied: Wanted;
  differences: readonly Difference[];
}>;

/** What the last comparison came to, so that the next one only looks at what was looked at anew. */
export type ComparedBefore = Map<string, Compared>;

/** By resource; none for one that no look has shown since it was applied. */
export function compareAll(work: Work, before: ComparedBefore = new Map()): readonly Compared[] {
  const committed = attempts.findCommitted(work.store, work.instanceId);
  if (committed?.isRunning !== true) return [];
  return committed.resources.flatMap(({ id, kind, digest }): readonly Compared[] => {
    const look = work.drivers.has(kind) ? work.snapshots.whole(kind) : undefined;
    const live = look && servingCopy(look.of(work.instanceId, id), digest);
    if (look === undefined || live === undefined) return [];
    const known = before.get(id);
    if (known?.live === live && known.applied.digest === digest) return [known];
    const rendering = attempts.findRendering(work.store, work.instanceId, digest);
    if (rendering === undefined) return [];
    const applied = plannedOf(rendering, work.instanceId, work.artefacts.pathOf);
    const differences = driverOf(work, kind).drift(live, applied);
    const compared = { id, kind, lookedAt: look.startedAt, live, applied, differences };
    before.set(id, compared);
    return [compared];
  });
}

/** From looks that begin now, for an order that must not act on what was seen before. */
export async function compareAnew(work: Work): Promise<readonly Compared[]> {
  const committed = attempts.findCommitted(work.store, work.instanceId);
  const kinds = new Set(committed?.resources.map(({ kind }) => kind));
  await Promise.all([...kinds].map((kind) => work.snapshots.fresh(kind)));
  return compareAll(work);
}
