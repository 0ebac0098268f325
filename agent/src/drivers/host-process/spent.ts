/**
 * Processor time of a copy from one sample to the next. Pure. With a control group it is the kernel's own sum, which
 * knows every process that ever was in it. Without one it is added up from the processes that are seen, so that what
 * a process has used stays when it ends; never counted twice, and never less than before.
 */

/** A process as seen in one sample, in ms: its own time, and that of children that it waited for. */
export type SeenProcess = Readonly<{ id: string; ownMs: number; childrenMs: number }>;
export type Basis =
  | Readonly<{ kind: "group"; ms: number }>
  | Readonly<{ kind: "processes"; seen: readonly SeenProcess[] }>;

/** More would make the meter's file too large; then only sums are compared. */
export const SEEN_PROCESSES_MAX = 500;

/** `before`: undefined for the first sample, or where what was seen before is not known any more. */
export function spentMs(sumMs: number, before: Basis | undefined, now: Basis): number {
  if (now.kind === "group") {
    if (before?.kind !== "group") return Math.max(sumMs, now.ms);
    return sumMs + Math.max(0, now.ms - before.ms);
  }
  const total = now.seen.reduce((sum, { ownMs, childrenMs }) => sum + ownMs + childrenMs, 0);
  const isComparable =
    before?.kind === "processes" &&
    before.seen.length > 0 &&
    before.seen.length <= SEEN_PROCESSES_MAX &&
    now.seen.length <= SEEN_PROCESSES_MAX;
  return isComparable ? sumMs + grown(before.seen, now.seen) : Math.max(sumMs, total);
}

/**
 * A parent that waited for a child has the child's whole time from then on, of which what was seen before is already
 * counted. How much of what vanished was waited for is not said; at most what the parents' sums have grown by.
 */
function grown(before: readonly SeenProcess[], now: readonly SeenProcess[]): number {
  const known = new Map(before.map((each) => [each.id, each]));
  const living = new Set(now.map(({ id }) => id));
  let own = 0;
  let inherited = 0;
  for (const { id, ownMs, childrenMs } of now) {
    const old = known.get(id) ?? { ownMs: 0, childrenMs: 0 };
    own += Math.max(0, ownMs - old.ownMs);
    inherited += Math.max(0, childrenMs - old.childrenMs);
  }
  const vanished = before
    .filter(({ id }) => !living.has(id))
    .reduce((sum, { ownMs, childrenMs }) => sum + ownMs + childrenMs, 0);
  return own + inherited - Math.min(vanished, inherited);
}
