/** The meters of a simulated agent: counters that grow at a steady pace, signed and sent by the agent's own stream. */
import {
  driverMeasurements,
  type MeteredInstance,
  type NewRecord,
  scrapeMeasurements,
  toRecords,
} from "@holdfast/agent/src/metering/records.ts";
import type { Clock, Random } from "@holdfast/shared/clock.ts";
import type { Instance } from "./instances.ts";
import type { MemoryOutbox } from "./usage-outbox.ts";

/** One life of what is counted: its counters begin with it, at 0. */
export type Life = Readonly<{ source: string; since: number; outbox: MemoryOutbox }>;

export type UsageDeps = Readonly<{
  /** The present one. */
  life(): Life;
  clock: Clock;
  random: Random;
  everyMs: number;
  instances(): Iterable<Instance>;
  /** Records were added. */
  recorded(records: readonly NewRecord[]): void;
}>;

/** Until the signal; the first window ends at a time of its own, so that a fleet does not report in step. */
export async function runUsage(deps: UsageDeps, signal: AbortSignal): Promise<void> {
  const { clock, random, everyMs } = deps;
  await clock.sleep(random() * everyMs, signal);
  while (!signal.aborted) {
    measure(deps);
    await clock.sleep(everyMs, signal);
  }
}

function measure({ life, clock, everyMs, instances, recorded }: UsageDeps): void {
  const { outbox, source, since } = life();
  const now = clock.now();
  const value = BigInt(Math.max(0, Math.floor((now - since) / 1_000)));
  const all: NewRecord[] = [];
  for (const instance of instances()) {
    const metered = meteredOf(instance);
    if (metered === undefined) continue;
    const measurements = metered.meters.flatMap((meter) => {
      if (meter.source.case === "scrape") {
        const { seatLabel, sourceLabel } = meter.source.value;
        const samples = metered.seats.map(({ seatId }) => {
          return { labels: { [seatLabel]: seatId, [sourceLabel]: source }, value };
        });
        return scrapeMeasurements(metered, meter, samples, now);
      }
      if (meter.source.case !== "driver") return [];
      const { resource: resourceId, counter } = meter.source.value;
      const key = { instanceId: instance.id, resourceId };
      const reading = { key, source, counter, value, final: false, at: now };
      return driverMeasurements({ ...metered, meters: [meter] }, [reading], now);
    });
    const records = toRecords(measurements, (digest) => outbox.lastEnd(digest), everyMs);
    outbox.append(records);
    all.push(...records);
    if (!instance.measured) {
      instance.measured = true;
      instance.changed();
    }
  }
  if (all.length > 0) recorded(all);
}

function meteredOf(instance: Instance): MeteredInstance | undefined {
  const { committed, entitlement, id: instanceId, isRunning } = instance;
  if (!isRunning || committed?.blueprint === undefined || entitlement === undefined) {
    return undefined;
  }
  const { meters } = committed.blueprint;
  return { instanceId, meters, seats: entitlement.entitlement.seats };
}
