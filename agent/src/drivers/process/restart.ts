/**
 * What a restart that was asked for does to one process resource. Pure. A program with ports that the agent chooses
 * runs twice for a moment: start the new, wait until it is ready, stop the old. A fixed port can be had once, and a
 * program without ports (a worker on a queue) may not bear a second one beside it: stop the old, start the new.
 */
import type { Live, Step, Wanted } from "../driver.ts";
import { portsOf, START_MS_MAX, specOf } from "./spec.ts";
import { isAlive, startOrder, stopLater, stopOrder, stopTime } from "./steps.ts";

export function restartSteps(live: readonly Live[], wanted: Wanted): readonly Step[] {
  const { key, digest } = wanted;
  const copies = live.filter(
    (copy) => copy.key.instanceId === key.instanceId && copy.key.resourceId === key.resourceId,
  );
  const running = copies.filter((copy) => isAlive(copy) && copy.digest === digest);
  // What it replaces is what no plan would look at any more; the count of restarts begins anew.
  const exited = copies.filter((copy) => copy.phase === "exited" && copy.digest === digest);
  const start = startOf(wanted, exited, copies);
  const { drainMs } = specOf(wanted.spec).stop;
  if (canRunTwice(wanted)) {
    return [start, ...running.map((copy) => stopLater(copy, wanted, drainMs))];
  }
  return [...running.map((copy) => stopFirst(copy, wanted, start, copies)), start];
}

function canRunTwice(wanted: Wanted): boolean {
  const ports = [...portsOf(specOf(wanted.spec)).values()];
  return ports.length > 0 && ports.every((fixed) => fixed === undefined);
}

function startOf(wanted: Wanted, exited: readonly Live[], copies: readonly Live[]): Step {
  const order = startOrder(wanted, 0, exited, copies);
  const what = `${wanted.key.resourceId} of ${wanted.releaseVersion}`;
  const undo = stopOrder(wanted, String(order.input["handle"]), wanted, {});
  return {
    ...order,
    id: `${wanted.key.resourceId}/start`,
    class: "reversible",
    when: "before-commit",
    summary: `start another ${what}, as was asked for`,
    msMax: START_MS_MAX,
    undo: { ...undo, summary: `stop the new ${what}`, msMax: stopTime(wanted, 0) },
  };
}

function stopFirst(copy: Live, wanted: Wanted, start: Step, copies: readonly Live[]): Step {
  const { resourceId } = copy.key;
  // The undo has a name of its own, since the start that it follows has had its one.
  const begun = { ...copy, handle: String(start.input["handle"]) };
  const again = startOrder(wanted, copy.restarts, [], [...copies, begun]);
  return {
    ...stopOrder(copy, copy.handle, wanted, {}),
    id: `${resourceId}/stop/${copy.handle}`,
    class: "compensable",
    when: "before-commit",
    summary: `stop ${resourceId} first, since two of it cannot run at once: no service until the new one is ready`,
    msMax: stopTime(wanted, 0),
    undo: { ...again, summary: `start ${resourceId} again`, msMax: START_MS_MAX },
  };
}
