/**
 * Ends all workloads of an agent that does not run. Nothing is forgotten: the next run starts them again, goes on with
 * jobs that were cut off, and finds the times of schedules that have passed. Refuses where an agent runs, and where another
 * one looks after these workloads.
 */
import { join } from "node:path";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import type { Driver, DriverContext, Live } from "../drivers/driver.ts";
import { bounded } from "../reconcile/snapshots.ts";
import { isOutbid } from "../store/claims.ts";
import { openStoreToRead } from "../store/database.ts";
import * as identities from "../store/identity.ts";
import { STORE_FILE, type StateHost, takeLock } from "../store/state-directory.ts";
import { workplaceAt } from "./commands.ts";

/** The longest grace that a spec may ask for, and what the kernel and an engine take after it. */
const HALT_STEP_MS_MAX = 660_000;
/** Ended side by side: each has its own grace. */
const RESOURCES_AT_ONCE_MAX = 8;

/** `all`: also runs of jobs that nobody can take back. */
export type HaltWish = Readonly<{ all: boolean }>;

type Halted = Readonly<{ ended: number; left: readonly Live[]; failed: readonly string[] }>;

/** What is to be printed. Throws UNAVAILABLE `NOT_HALTED` with what could not be ended, once all else is. */
export async function haltWorkloads(
  stateDir: string,
  host: StateHost,
  drivers: readonly Driver[],
  context: DriverContext,
  { all }: HaltWish,
): Promise<string> {
  const lock = takeLock(stateDir, host);
  try {
    refuseFenced(stateDir);
    const done: Halted[] = [];
    for (const driver of drivers) done.push(await haltKind(driver, context, all));
    return textOf(done);
  } finally {
    lock.release();
  }
}

async function haltKind(driver: Driver, context: DriverContext, isAll: boolean): Promise<Halted> {
  try {
    const lives = await driver.observe(context);
    const groups = [
      ...Map.groupBy(lives, ({ key }) => `${key.instanceId}/${key.resourceId}`).values(),
    ];
    const done: Halted[] = [];
    for (let from = 0; from < groups.length; from += RESOURCES_AT_ONCE_MAX) {
      const part = groups.slice(from, from + RESOURCES_AT_ONCE_MAX);
      done.push(...(await Promise.all(part.map((each) => haltOne(driver, each, context, isAll)))));
    }
    return joined(done);
  } catch (error) {
    return { ended: 0, left: [], failed: [`${driver.kind}: ${causeChain(error)}`] };
  }
}

async function haltOne(
  driver: Driver,
  copies: readonly Live[],
  context: DriverContext,
  isAll: boolean,
): Promise<Halted> {
  const orders = driver.halts?.(copies, isAll) ?? [];
  const failed: string[] = [];
  for (const { resourceId, kind, verb, input } of orders) {
    const order = { resourceId, kind, verb, input };
    await bounded(context.clock, HALT_STEP_MS_MAX, `${resourceId} ${verb}`, (signal) =>
      driver.run(order, { ...context, signal, wanted: noRendering }),
    ).catch((error: unknown) => failed.push(causeChain(error)));
  }
  const isLeft = ({ phase, handle }: Live) =>
    (phase === "starting" || phase === "running" || phase === "stopping") &&
    !orders.some(({ input }) => input["handle"] === handle);
  const left = copies.filter(isLeft);
  return { ended: orders.length - failed.length, left, failed };
}

function joined(all: readonly Halted[]): Halted {
  return {
    ended: all.reduce((sum, { ended }) => sum + ended, 0),
    left: all.flatMap(({ left }) => left),
    failed: all.flatMap(({ failed }) => failed),
  };
}

function textOf(all: readonly Halted[]): string {
  const { ended, left, failed } = joined(all);
  const lines = [
    `${ended} workloads ended; data is kept`,
    ...left.map(({ key }) => {
      return `${key.resourceId} of ${key.instanceId} goes on to its end: nothing takes it back; halt --all ends it too`;
    }),
  ];
  if (failed.length === 0) return `${lines.join("\n")}\n`;
  const message = `${lines.join("; ")}; not ended: ${failed.join("; ")}`;
  throw new Fault("UNAVAILABLE", "NOT_HALTED", message);
}

/** Whoever has the claim now decides what ends here. */
function refuseFenced(stateDir: string): void {
  const store = openStoreToRead(join(stateDir, STORE_FILE));
  const held = store && identities.find(store);
  store?.close();
  if (held === undefined || !isOutbid(workplaceAt(stateDir), held.fencing)) return;
  throw new Fault(
    "PERMISSION_DENIED",
    "AGENT_FENCED",
    `${stateDir}: another agent of this host looks after these workloads`,
    { next: "holdfast-agent halt --state DIR_OF_THAT_AGENT" },
  );
}

function noRendering(digest: string): never {
  throw new Fault("INTERNAL", "RENDERING_LOST", `no rendering with digest ${digest}`);
}
