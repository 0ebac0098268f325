/**
 * What is to be done about one resource whose copies run beside each other: processes, containers. Pure: the same copies
 * and wishes give the same steps with the same names, so that a journal written before a crash finds again what was
 * begun.
 *
 *   nothing runs               start
 *   the wanted digest runs     nothing; whatever else runs is stopped after the commit
 *   another digest runs        start the new, commit, drain, stop the old; with a fixed port in both:
 *                              stop the old, start the new, since both cannot have it at once
 *   the wanted digest exited   start again, later with each exit
 *   the liveness probe failed  stop it as if it had exited; the next look starts it again
 *
 * A restart that was asked for: a program with ports that the agent chooses runs twice for a moment: start the new,
 * wait until it is ready, stop the old. A fixed port can be had once, and a program without ports (a worker on a queue)
 * may not bear a second one beside it: stop the old, start the new.
 */
import type { JsonObject, Live, Step, StepOrder, Wanted } from "./driver.ts";
import { type CopyKind, handleOf, nextNumber, stemOf } from "./handles.ts";

/** What the plan needs to know of a rendered spec. */
export type CopyFacts = Readonly<{
  /** Name to the fixed port of the host; undefined: a free one for each start. */
  ports: ReadonlyMap<string, number | undefined>;
  stop: Readonly<{ signal: string; graceMs: number; drainMs: number }>;
  restart: Readonly<{ baseMs: number; capMs: number }>;
}>;

/** What differs between the kinds. */
export type CopyRules = Readonly<{
  kind: CopyKind;
  startMsMax: number;
  factsOf(spec: JsonObject): CopyFacts;
}>;

/** How to stop a copy whose spec is not known any more. */
export const STOP_UNKNOWN = { signal: "SIGTERM", graceMs: 10_000 } as const;
/** Beyond drain and grace a stop looks again, kills, and waits for the kernel. */
const STOP_MORE_MS = 30_000;
/** A copy that ran this long was fine: its next exit is the first of a new series. */
export const STABLE_RUN_MS = 600_000;
/** Keeps the power within what a number holds exactly. */
const DOUBLINGS_MAX = 30;

export function planCopies(
  its: CopyRules,
  live: readonly Live[],
  last: Wanted | undefined,
  wanted: Wanted | undefined,
  now: number,
): readonly Step[] {
  const known = (digest: string) => [wanted, last].find((each) => each?.digest === digest);
  const isMine = ({ key }: Live) => {
    const own = wanted?.key ?? last?.key ?? key;
    return key.instanceId === own.instanceId && key.resourceId === own.resourceId;
  };
  const copies = live.filter(isMine);
  if (wanted === undefined)
    return copies.map((copy) => stopLater(its, copy, known(copy.digest), 0));
  return stepsTowards(its, wanted, copies, known, now);
}

type Known = (digest: string) => Wanted | undefined;

function stepsTowards(
  its: CopyRules,
  wanted: Wanted,
  copies: readonly Live[],
  known: Known,
  now: number,
): readonly Step[] {
  const stopOther = (copy: Live) =>
    stopLater(its, copy, known(copy.digest), its.factsOf(wanted.spec).stop.drainMs);
  const same = copies.filter(({ digest }) => digest === wanted.digest);
  const kept = same.findLast((copy) => isAlive(copy));
  if (kept?.failing === true) return [stopFailing(its, kept, wanted)];
  const exited = same.filter(({ phase }) => phase === "exited");
  const others = copies.filter(
    (copy) => copy !== kept && (kept !== undefined || !exited.includes(copy)),
  );
  if (kept !== undefined) return others.map(stopOther);
  const inTheWay = others.filter(
    (copy) => copy.phase !== "exited" && needsSamePort(its, copy, wanted),
  );
  const later = others.filter((copy) => !inTheWay.includes(copy));
  return [
    ...inTheWay.map((copy) => stopFirst(its, copy, known(copy.digest), wanted, copies)),
    start(its, wanted, exited, copies, now),
    ...later.map(stopOther),
  ];
}

function isAlive({ phase }: Live): boolean {
  return phase === "starting" || phase === "running";
}

function needsSamePort(its: CopyRules, copy: Live, wanted: Wanted): boolean {
  const held = copy.outputs["ports"];
  const heldPorts = new Set(typeof held === "object" && held !== null ? Object.values(held) : []);
  return [...its.factsOf(wanted.spec).ports.values()].some(
    (fixed) => fixed !== undefined && heldPorts.has(fixed),
  );
}

function start(
  its: CopyRules,
  wanted: Wanted,
  exited: readonly Live[],
  copies: readonly Live[],
  now: number,
): Step {
  const previous = exited.at(-1);
  const restarts = previous === undefined ? 0 : previous.restarts + 1;
  const order = startOrder(its, wanted, restarts, exited, copies);
  const undo = stopOrder(its, wanted, String(order.input["handle"]), wanted, {});
  const what = `${wanted.key.resourceId} of ${wanted.releaseVersion}`;
  const step: Step = {
    ...order,
    id: `${wanted.key.resourceId}/start`,
    class: "reversible",
    when: "before-commit",
    summary: previous === undefined ? `start ${what}` : `start ${what} again (${previous.message})`,
    msMax: its.startMsMax,
    undo: { ...undo, summary: `stop the new ${what}`, msMax: stopTime(its, wanted, 0) },
  };
  const notBefore = previous === undefined ? 0 : restartTime(its, previous, wanted, now);
  return notBefore > now ? { ...step, notBefore } : step;
}

/**
 * Doubles with each exit, from the moment of the exit. Exact: one host's processes need no jitter. An exit that is yet
 * to come was seen before the clock was set back: nobody waits for that moment.
 */
function restartTime(its: CopyRules, previous: Live, wanted: Wanted, now: number): number {
  const { baseMs, capMs } = its.factsOf(wanted.spec).restart;
  const endedAt = previous.exitedAt ?? previous.startedAt;
  if (endedAt > now) return now;
  const wasStable = endedAt - previous.startedAt >= STABLE_RUN_MS;
  const doublings = wasStable ? 0 : Math.min(previous.restarts, DOUBLINGS_MAX);
  return endedAt + Math.min(capMs, baseMs * 2 ** doublings);
}

function startOrder(
  its: CopyRules,
  wanted: Wanted,
  restarts: number,
  replaced: readonly Live[],
  copies: readonly Live[],
): StepOrder {
  const { key, digest } = wanted;
  return {
    resourceId: key.resourceId,
    kind: its.kind,
    verb: "start",
    input: {
      instance: key.instanceId,
      handle: newHandle(its, wanted, restarts, copies),
      digest,
      restarts,
      replaces: replaced.map(({ handle }) => handle),
    },
  };
}

/**
 * Resource, generation, digest, and a number that no copy in sight has: what was begun under this name and then
 * forgotten is found by it. A name comes back only once nothing is left of the copy that had it.
 */
function newHandle(
  its: CopyRules,
  wanted: Wanted,
  restarts: number,
  copies: readonly Live[],
): string {
  const stem = stemOf(wanted);
  const handles = copies.map(({ handle }) => handle);
  return handleOf(its.kind, stem, nextNumber(stem, handles), restarts);
}

/** Both cannot have the port: the service is away between the two steps, and says so. */
function stopFirst(
  its: CopyRules,
  copy: Live,
  rendering: Wanted | undefined,
  wanted: Wanted,
  copies: readonly Live[],
): Step {
  const { resourceId } = copy.key;
  const ports = [...its.factsOf(wanted.spec).ports.values()]
    .filter((port) => port !== undefined)
    .join(", ");
  const step: Step = {
    ...stopOrder(its, copy, copy.handle, rendering, {}),
    id: `${resourceId}/stop/${copy.handle}`,
    class: "compensable",
    when: "before-commit",
    summary: `stop the old ${resourceId} first, since the new one needs its port ${ports}: no service until the new one is ready`,
    msMax: stopTime(its, rendering, 0),
  };
  if (rendering === undefined) return step;
  const again = startOrder(its, rendering, copy.restarts, [], copies);
  const summary = `start the old ${resourceId} again`;
  return { ...step, undo: { ...again, summary, msMax: its.startMsMax } };
}

function stopLater(its: CopyRules, copy: Live, rendering: Wanted | undefined, drain: number): Step {
  const { resourceId } = copy.key;
  const drainMs = isAlive(copy) ? drain : 0;
  const what = copy.phase === "exited" ? "remove what is left of" : "stop";
  const wait = drainMs > 0 ? ` ${drainMs} ms after the switch` : "";
  return {
    ...stopOrder(its, copy, copy.handle, rendering, { drainMs }),
    id: `${resourceId}/stop/${copy.handle}`,
    class: "reversible",
    when: "after-commit",
    summary: `${what} the old ${resourceId} (${copy.handle})${wait}`,
    msMax: stopTime(its, rendering, drainMs),
  };
}

/** Its record stays, so that the restart counts. */
function stopFailing(its: CopyRules, copy: Live, wanted: Wanted): Step {
  const { resourceId } = copy.key;
  return {
    ...stopOrder(its, copy, copy.handle, wanted, { keep: true }),
    id: `${resourceId}/stop/${copy.handle}`,
    class: "reversible",
    when: "before-commit",
    summary: `stop ${resourceId}, which fails its liveness probe or its limits (${copy.message}); it is started again`,
    msMax: stopTime(its, wanted, 0),
  };
}

function stopTime(its: CopyRules, rendering: Wanted | undefined, drainMs: number): number {
  const { graceMs } = rendering === undefined ? STOP_UNKNOWN : its.factsOf(rendering.spec).stop;
  return drainMs + graceMs + STOP_MORE_MS;
}

function stopOrder(
  its: CopyRules,
  { key }: Pick<Live, "key">,
  handle: string,
  rendering: Wanted | undefined,
  more: JsonObject,
): StepOrder {
  const input = { instance: key.instanceId, handle, ...more };
  if (rendering === undefined) return { ...orderOf(its, key.resourceId, "stop"), input };
  const { signal, graceMs } = its.factsOf(rendering.spec).stop;
  return { ...orderOf(its, key.resourceId, "stop"), input: { ...input, signal, graceMs } };
}

function orderOf(its: CopyRules, resourceId: string, verb: string) {
  return { resourceId, kind: its.kind, verb };
}

export function planRestart(
  its: CopyRules,
  live: readonly Live[],
  wanted: Wanted,
): readonly Step[] {
  const { key, digest } = wanted;
  const copies = live.filter(
    (copy) => copy.key.instanceId === key.instanceId && copy.key.resourceId === key.resourceId,
  );
  const running = copies.filter((copy) => isAlive(copy) && copy.digest === digest);
  // What it replaces is what no plan would look at any more; the count of restarts begins anew.
  const exited = copies.filter((copy) => copy.phase === "exited" && copy.digest === digest);
  const start = startAnother(its, wanted, exited, copies);
  const { drainMs } = its.factsOf(wanted.spec).stop;
  if (canRunTwice(its, wanted)) {
    return [start, ...running.map((copy) => stopLater(its, copy, wanted, drainMs))];
  }
  return [...running.map((copy) => stopForAnother(its, copy, wanted, start, copies)), start];
}

function canRunTwice(its: CopyRules, wanted: Wanted): boolean {
  const ports = [...its.factsOf(wanted.spec).ports.values()];
  return ports.length > 0 && ports.every((fixed) => fixed === undefined);
}

function startAnother(
  its: CopyRules,
  wanted: Wanted,
  exited: readonly Live[],
  copies: readonly Live[],
): Step {
  const order = startOrder(its, wanted, 0, exited, copies);
  const what = `${wanted.key.resourceId} of ${wanted.releaseVersion}`;
  const undo = stopOrder(its, wanted, String(order.input["handle"]), wanted, {});
  return {
    ...order,
    id: `${wanted.key.resourceId}/start`,
    class: "reversible",
    when: "before-commit",
    summary: `start another ${what}, as was asked for`,
    msMax: its.startMsMax,
    undo: { ...undo, summary: `stop the new ${what}`, msMax: stopTime(its, wanted, 0) },
  };
}

function stopForAnother(
  its: CopyRules,
  copy: Live,
  wanted: Wanted,
  start: Step,
  copies: readonly Live[],
): Step {
  const { resourceId } = copy.key;
  // The undo has a name of its own, since the start that it follows has had its one.
  const begun = { ...copy, handle: String(start.input["handle"]) };
  const again = startOrder(its, wanted, copy.restarts, [], [...copies, begun]);
  return {
    ...stopOrder(its, copy, copy.handle, wanted, {}),
    id: `${resourceId}/stop/${copy.handle}`,
    class: "compensable",
    when: "before-commit",
    summary: `stop ${resourceId} first, since two of it cannot run at once: no service until the new one is ready`,
    msMax: stopTime(its, wanted, 0),
    undo: { ...again, summary: `start ${resourceId} again`, msMax: its.startMsMax },
  };
}
