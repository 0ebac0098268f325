/**
 * What is to be done about one process resource. Pure: the same copies and wishes give the same steps with the
 * same names, so that a journal written before a crash finds again what was begun.
 *
 *   nothing runs               start
 *   the wanted digest runs     nothing; whatever else runs is stopped after the commit
 *   another digest runs        start the new, commit, drain, stop the old; with a fixed port in both:
 *                              stop the old, start the new, since both cannot have it at once
 *   the wanted digest exited   start again, later with each exit
 *   the liveness probe failed  stop it as if it had exited; the next look starts it again
 */
import type { JsonObject, Live, Step, StepOrder, Wanted } from "../driver.ts";
import { handleOf, nextNumber, stemOf } from "../handles.ts";
import { STOP_UNKNOWN } from "../host-process/record.ts";
import { DRIVER_KIND } from "./host.ts";
import { portsOf, START_MS_MAX, specOf, stopMsMax } from "./spec.ts";

/** A copy that ran this long was fine: its next exit is the first of a new series. */
export const STABLE_RUN_MS = 600_000;
/** Keeps the power within what a number holds exactly. */
const DOUBLINGS_MAX = 30;

export function stepsFor(
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
  if (wanted === undefined) return copies.map((copy) => stopLater(copy, known(copy.digest), 0));
  return stepsTowards(wanted, copies, known, now);
}

type Known = (digest: string) => Wanted | undefined;

function stepsTowards(
  wanted: Wanted,
  copies: readonly Live[],
  known: Known,
  now: number,
): readonly Step[] {
  const stopOther = (copy: Live) =>
    stopLater(copy, known(copy.digest), specOf(wanted.spec).stop.drainMs);
  const same = copies.filter(({ digest }) => digest === wanted.digest);
  const kept = same.findLast((copy) => isAlive(copy));
  if (kept?.failing === true) return [stopFailing(kept, wanted)];
  const exited = same.filter(({ phase }) => phase === "exited");
  const others = copies.filter(
    (copy) => copy !== kept && (kept !== undefined || !exited.includes(copy)),
  );
  if (kept !== undefined) return others.map(stopOther);
  const inTheWay = others.filter((copy) => copy.phase !== "exited" && needsSamePort(copy, wanted));
  const later = others.filter((copy) => !inTheWay.includes(copy));
  return [
    ...inTheWay.map((copy) => stopFirst(copy, known(copy.digest), wanted, copies)),
    start(wanted, exited, copies, now),
    ...later.map(stopOther),
  ];
}

export function isAlive({ phase }: Live): boolean {
  return phase === "starting" || phase === "running";
}

function needsSamePort(copy: Live, wanted: Wanted): boolean {
  const held = copy.outputs["ports"];
  const heldPorts = new Set(typeof held === "object" && held !== null ? Object.values(held) : []);
  return [...portsOf(specOf(wanted.spec)).values()].some(
    (fixed) => fixed !== undefined && heldPorts.has(fixed),
  );
}

function start(
  wanted: Wanted,
  exited: readonly Live[],
  copies: readonly Live[],
  now: number,
): Step {
  const previous = exited.at(-1);
  const restarts = previous === undefined ? 0 : previous.restarts + 1;
  const order = startOrder(wanted, restarts, exited, copies);
  const undo = stopOrder(wanted, String(order.input["handle"]), wanted, {});
  const what = `${wanted.key.resourceId} of ${wanted.releaseVersion}`;
  const step: Step = {
    ...order,
    id: `${wanted.key.resourceId}/start`,
    class: "reversible",
    when: "before-commit",
    summary: previous === undefined ? `start ${what}` : `start ${what} again (${previous.message})`,
    msMax: START_MS_MAX,
    undo: { ...undo, summary: `stop the new ${what}`, msMax: stopTime(wanted, 0) },
  };
  const notBefore = previous === undefined ? 0 : restartTime(previous, wanted);
  return notBefore > now ? { ...step, notBefore } : step;
}

/** Doubles with each exit, from the moment of the exit. Exact: one host's processes need no jitter. */
function restartTime(previous: Live, wanted: Wanted): number {
  const { baseMs, capMs } = specOf(wanted.spec).restart;
  const endedAt = previous.exitedAt ?? previous.startedAt;
  const wasStable = endedAt - previous.startedAt >= STABLE_RUN_MS;
  const doublings = wasStable ? 0 : Math.min(previous.restarts, DOUBLINGS_MAX);
  return endedAt + Math.min(capMs, baseMs * 2 ** doublings);
}

export function startOrder(
  wanted: Wanted,
  restarts: number,
  replaced: readonly Live[],
  copies: readonly Live[],
): StepOrder {
  const { key, digest } = wanted;
  return {
    resourceId: key.resourceId,
    kind: DRIVER_KIND,
    verb: "start",
    input: {
      instance: key.instanceId,
      handle: newHandle(wanted, restarts, copies),
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
function newHandle(wanted: Wanted, restarts: number, copies: readonly Live[]): string {
  const stem = stemOf(wanted);
  const handles = copies.map(({ handle }) => handle);
  return handleOf("process", stem, nextNumber(stem, handles), restarts);
}

/** Both cannot have the port: the service is away between the two steps, and says so. */
function stopFirst(
  copy: Live,
  rendering: Wanted | undefined,
  wanted: Wanted,
  copies: readonly Live[],
): Step {
  const { resourceId } = copy.key;
  const ports = [...portsOf(specOf(wanted.spec)).values()]
    .filter((port) => port !== undefined)
    .join(", ");
  const step: Step = {
    ...stopOrder(copy, copy.handle, rendering, {}),
    id: `${resourceId}/stop/${copy.handle}`,
    class: "compensable",
    when: "before-commit",
    summary: `stop the old ${resourceId} first, since the new one needs its port ${ports}: no service until the new one is ready`,
    msMax: stopTime(rendering, 0),
  };
  if (rendering === undefined) return step;
  const again = startOrder(rendering, copy.restarts, [], copies);
  const summary = `start the old ${resourceId} again`;
  return { ...step, undo: { ...again, summary, msMax: START_MS_MAX } };
}

export function stopLater(copy: Live, rendering: Wanted | undefined, drain: number): Step {
  const { resourceId } = copy.key;
  const drainMs = isAlive(copy) ? drain : 0;
  const what = copy.phase === "exited" ? "remove what is left of" : "stop";
  const wait = drainMs > 0 ? ` ${drainMs} ms after the switch` : "";
  return {
    ...stopOrder(copy, copy.handle, rendering, { drainMs }),
    id: `${resourceId}/stop/${copy.handle}`,
    class: "reversible",
    when: "after-commit",
    summary: `${what} the old ${resourceId} (${copy.handle})${wait}`,
    msMax: stopTime(rendering, drainMs),
  };
}

/** Its record stays, so that the restart counts. */
function stopFailing(copy: Live, wanted: Wanted): Step {
  const { resourceId } = copy.key;
  return {
    ...stopOrder(copy, copy.handle, wanted, { keep: true }),
    id: `${resourceId}/stop/${copy.handle}`,
    class: "reversible",
    when: "before-commit",
    summary: `stop ${resourceId}, which fails its liveness probe or its limits (${copy.message}); it is started again`,
    msMax: stopTime(wanted, 0),
  };
}

export function stopTime(rendering: Wanted | undefined, drainMs: number): number {
  const { graceMs } = rendering === undefined ? STOP_UNKNOWN : specOf(rendering.spec).stop;
  return stopMsMax(graceMs, drainMs);
}

export function stopOrder(
  { key }: Pick<Live, "key">,
  handle: string,
  rendering: Wanted | undefined,
  more: JsonObject,
): StepOrder {
  const input = { instance: key.instanceId, handle, ...more };
  if (rendering === undefined) return { ...orderOf(key.resourceId, "stop"), input };
  const { signal, graceMs } = specOf(rendering.spec).stop;
  return { ...orderOf(key.resourceId, "stop"), input: { ...input, signal, graceMs } };
}

function orderOf(resourceId: string, verb: string) {
  return { resourceId, kind: DRIVER_KIND, verb };
}
