/**
 * What makes an attempt a restart: the generation that serves is brought up once more, with new copies of the chosen
 * resources. Everything else (journal, gate, undo, commit) is the attempt's own. Pure but for what it reads.
 */
import type { Driver, Live, Step, Wanted } from "../drivers/driver.ts";
import type { AttemptRecord, Committed, JournalEntry } from "../store/attempts.ts";

/** The chosen resources; undefined: no restart, whatever differs from what is wanted is brought up. */
export type Chosen = ReadonlySet<string> | undefined;

export function chosenOf({ restart }: AttemptRecord): Chosen {
  return restart && new Set(restart.resources);
}

/** Another resource's restart touches this one only if it has to be told something new. */
export function staysAsIs(
  chosen: Chosen,
  committed: Committed | undefined,
  id: string,
  digest: string,
): boolean {
  return chosen !== undefined && !chosen.has(id) && isCommitted(committed, id, digest);
}

/** What the driver would do; of a chosen resource that is as it was, and was not begun yet, its restart. */
export function stepsFor(
  driver: Driver,
  plan: Readonly<{
    chosen: Chosen;
    committed: Committed | undefined;
    entries: readonly JournalEntry[];
    copies: readonly Live[];
    last: Wanted | undefined;
    wanted: Wanted;
    now: number;
  }>,
): readonly Step[] {
  const { chosen, committed, entries, copies, last, wanted, now } = plan;
  const { resourceId } = wanted.key;
  const isBegun = entries.some(({ step }) => step.resourceId === resourceId);
  const isDue = chosen?.has(resourceId) === true && !isBegun;
  return isDue && isCommitted(committed, resourceId, wanted.digest)
    ? driver.restart(copies, wanted)
    : driver.steps(copies, last, wanted, now);
}

function isCommitted(committed: Committed | undefined, id: string, digest: string): boolean {
  return committed?.resources.some((each) => each.id === id && each.digest === digest) === true;
}
