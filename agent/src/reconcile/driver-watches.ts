/**
 * Hears of drivers that something of their kind was changed by others, looks, and rings the instances of which something
 * else was found than before. A driver's watch that ends is begun again; until then the looks in time find it.
 */
import { isDeepStrictEqual } from "node:util";
import { fullJitter } from "@holdfast/shared/backoff.ts";
import type { Clock, Random } from "@holdfast/shared/clock.ts";
import { Doorbell } from "@holdfast/shared/doorbell.ts";
import { causeChain } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import type { Driver, DriverContext, Live } from "../drivers/driver.ts";
import type { Snapshots } from "./snapshots.ts";

/** At least, between two looks because of events: a busy host tells of hundreds a second. */
const EVENT_LOOK_MS_MIN = 1_000;
/** A look that nobody rang for. */
const IDLE_MS = 86_400_000;
const WATCH_BACKOFF = { baseMs: 1_000, capMs: 60_000 };

export type WatchDeps = Readonly<{
  drivers: ReadonlyMap<string, Driver>;
  context: DriverContext;
  clock: Clock;
  random: Random;
  log: Log;
}>;

/** Until `signal` aborts. `ring` is called for each instance of which something is otherwise. */
export async function watchDrivers(
  deps: WatchDeps,
  snapshots: Snapshots,
  ring: (instanceId: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const watched = [...deps.drivers.values()].filter(({ watch }) => watch !== undefined);
  await Promise.all(
    watched.map(async (driver) => {
      const bell = new Doorbell(deps.clock);
      signal.addEventListener("abort", () => bell.ring(), { once: true });
      await Promise.all([
        listen(deps, driver, bell, signal),
        lookWhenTold(deps, driver.kind, snapshots, bell, ring, signal),
      ]);
    }),
  );
}

async function listen(
  { context, clock, random, log }: WatchDeps,
  driver: Driver,
  bell: Doorbell,
  signal: AbortSignal,
): Promise<void> {
  for (let failures = 0; !signal.aborted; failures += 1) {
    try {
      await driver.watch?.({ ...context, signal }, () => {
        failures = 0;
        bell.ring();
      });
    } catch (error) {
      log.debug({ kind: driver.kind, error: causeChain(error) }, "watch ended");
    }
    // What happened while nobody listened.
    bell.ring();
    if (!signal.aborted) await clock.sleep(fullJitter(WATCH_BACKOFF, failures, random), signal);
  }
}

async function lookWhenTold(
  { clock, log }: WatchDeps,
  kind: string,
  snapshots: Snapshots,
  bell: Doorbell,
  ring: (instanceId: string) => void,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await bell.wait(IDLE_MS);
    if (signal.aborted) return;
    try {
      const before = snapshots.whole(kind)?.all ?? [];
      const now = await snapshots.fresh(kind);
      for (const instanceId of changedInstances(before, now)) ring(instanceId);
    } catch (error) {
      log.debug({ kind, error: causeChain(error) }, "the look after an event failed");
    }
    await clock.sleep(EVENT_LOOK_MS_MIN, signal);
  }
}

/** Instances of which a copy came, went or is otherwise. */
export function changedInstances(
  before: readonly Live[],
  now: readonly Live[],
): ReadonlySet<string> {
  const nameOf = ({ key, handle }: Live) => `${key.instanceId}/${handle}`;
  const known = new Map(before.map((live) => [nameOf(live), live]));
  const changed = new Set<string>();
  for (const live of now) {
    const last = known.get(nameOf(live));
    known.delete(nameOf(live));
    if (!isDeepStrictEqual(last, live)) changed.add(live.key.instanceId);
  }
  for (const { key } of known.values()) changed.add(key.instanceId);
  return changed;
}
