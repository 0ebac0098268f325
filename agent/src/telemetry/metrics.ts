/**
 * The metrics of an instance, from what was measured anyway: a bounded set of names, one point of each for a window.
 * Pure but for the last values, which turn counters into rates.
 */
import type { DriverReading } from "../drivers/driver.ts";
import type { NewRecord } from "../metering/records.ts";
import type { VersionedStatus } from "../store/statuses.ts";
import type { WaitingPoint } from "./buffer.ts";

/** Counters whose last value is remembered. */
const COUNTERS_MAX = 20_000;

/** What the process driver counts, as a rate: steps of the counter for one unit a second. */
const RATES: Readonly<Record<string, Readonly<{ name: string; steps: number }>>> = {
  cpu_ms: { name: "cpu_cores", steps: 1_000 },
  memory_mib_s: { name: "memory_mib", steps: 1 },
};

type Last = Readonly<{ value: bigint; at: number }>;
type Counted = Readonly<{
  counter: string;
  instanceId: string;
  resource: string;
  name: string;
  steps: number;
  value: bigint;
  at: number;
}>;

export class MetricRates {
  readonly #last = new Map<string, Last>();

  /** Processor and memory of a resource, all its copies together. */
  ofReadings(readings: readonly DriverReading[]): readonly WaitingPoint[] {
    return this.#rates(
      readings.flatMap(({ key, source, counter, value, at }): Counted[] => {
        const rate = RATES[counter];
        if (rate === undefined) return [];
        const { instanceId, resourceId: resource } = key;
        const of = [instanceId, resource, source, counter].join("/");
        return [{ counter: of, instanceId, resource, ...rate, value, at }];
      }),
    );
  }

  /** What is billed, as it goes: steps of the meter a second, all seats and sources together. */
  ofUsage(records: readonly NewRecord[]): readonly WaitingPoint[] {
    return this.#rates(
      records.map(({ digest, series, value, windowEndMs }) => ({
        ...{ counter: digest, value, at: windowEndMs, steps: 1 },
        ...{ instanceId: series.instanceId, resource: series.resource },
        name: `usage_${series.meter}`,
      })),
    );
  }

  /** A counter that is seen for the first time has no rate yet. */
  #rates(counted: readonly Counted[]): readonly WaitingPoint[] {
    const sums = new Map<string, WaitingPoint>();
    for (const { counter, instanceId, resource, name, steps, value, at } of counted) {
      const last = this.#last.get(counter);
      this.#remember(counter, { value, at });
      if (last === undefined || at <= last.at || value < last.value) continue;
      const rate = Number(value - last.value) / steps / ((at - last.at) / 1_000);
      const key = [instanceId, resource, name].join("/");
      const before = sums.get(key)?.value ?? 0;
      const about = { instanceId, resource, name, isCounter: false };
      sums.set(key, { ...about, timeMs: at, value: before + rate });
    }
    return [...sums.values()];
  }

  #remember(counter: string, last: Last): void {
    // Put back at the end, so that the first is always the one that was quiet longest.
    this.#last.delete(counter);
    this.#last.set(counter, last);
    if (this.#last.size <= COUNTERS_MAX) return;
    const [oldest] = this.#last.keys();
    if (oldest !== undefined) this.#last.delete(oldest);
  }
}

/** How often each resource was started again. */
export function restartsOf(
  statuses: readonly VersionedStatus[],
  timeMs: number,
): readonly WaitingPoint[] {
  return statuses.flatMap(({ status }) =>
    status.resources.map(({ id, restarts }) => ({
      ...{ instanceId: status.instanceId, resource: id, name: "restarts" },
      ...{ isCounter: true, timeMs, value: Number(restarts) },
    })),
  );
}
