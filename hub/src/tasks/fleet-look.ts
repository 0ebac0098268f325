/**
 * Looks now and then at what metrics are to say of the whole hub, so that a scrape never waits for the database and
 * a collector that asks often costs it nothing. What could not be looked at is unknown, never the last value.
 */
import type { Clock } from "@holdfast/shared/clock.ts";
import { causeChain } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import type { FleetFigures } from "../metrics.ts";
import { hubContext, taskContext } from "../store/context.ts";
import type { Database } from "../store/database.ts";
import * as events from "../store/events.ts";
import * as presence from "../store/presence.ts";
import { readWithContext } from "../store/tx.ts";
import * as vendors from "../store/vendors.ts";

export const LOOK_PAUSE_MS = 10_000;
/** An agent that is away for longer than this is absent. */
const ABSENT_MS = 600_000;

export type FleetLookDeps = Readonly<{
  database: Database;
  clock: Clock;
  log: Log;
  telemetry: Readonly<{ size(): Promise<Readonly<{ logBytes: number; sampleBytes: number }>> }>;
  /** Takes what was seen; undefined: the look failed. */
  seen(figures: FleetFigures | undefined): void;
}>;

/** Until the signal. Never throws. */
export async function runFleetLook(deps: FleetLookDeps, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      deps.seen(await look(deps));
    } catch (error) {
      deps.seen(undefined);
      deps.log.debug({ error: causeChain(error) }, "the look at the fleet failed");
    }
    await deps.clock.sleep(LOOK_PAUSE_MS, signal);
  }
}

/** Over all vendors. */
export async function look({ database, clock, telemetry }: FleetLookDeps): Promise<FleetFigures> {
  const all = await readWithContext(database, hubContext("fleet-look"), vendors.list);
  const now = clock.now();
  let [agents, agentsAbsent, eventsWaiting, oldestEventAgeMs] = [0, 0, 0, 0];
  for (const { id } of all) {
    const [backlog, counted] = await readWithContext(
      database,
      taskContext(id, "fleet-look"),
      async (tx) => [await events.backlog(tx), await presence.countAbsent(tx, ABSENT_MS)] as const,
    );
    const age = backlog.since === null ? 0 : now - backlog.since.getTime();
    oldestEventAgeMs = Math.max(oldestEventAgeMs, age);
    eventsWaiting += backlog.count;
    agents += counted.agents;
    agentsAbsent += counted.absent;
  }
  const { logBytes, sampleBytes } = await telemetry.size();
  return {
    ...{ agents, agentsAbsent, eventsWaiting, oldestEventAgeMs },
    ...{ telemetryLogBytes: logBytes, telemetrySampleBytes: sampleBytes },
  };
}
