/**
 * Measures at the end of every window and writes the records before anybody is told. Input-free: each tick
 * looks for itself what is there to measure.
 */
import type { Clock } from "@holdfast/shared/clock.ts";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import type { DriverReading, JsonObject } from "../drivers/driver.ts";
import { samplesOf } from "./exposition.ts";
import {
  driverMeasurements,
  type Measurement,
  type MeteredInstance,
  type NewRecord,
  scrapeMeasurements,
  toRecords,
  windowStart,
} from "./records.ts";
import { scrape } from "./scrape.ts";

export type SampledInstance = MeteredInstance &
  Readonly<{
    /** Running copies; a resource that is being replaced has two. */
    copies: readonly Readonly<{ resourceId: string; outputs: JsonObject }>[];
  }>;

export type SamplerDeps = Readonly<{
  clock: Clock;
  log: Log;
  windowMs: number;
  instances(): Promise<readonly SampledInstance[]>;
  readings(): Promise<readonly DriverReading[]>;
  /** Readings up to `at` are durable. */
  readingsKept(at: number): Promise<void>;
  /** Once per instance and window; `trouble` says what could not be read. */
  measured(instanceId: string, trouble: string | undefined): void;
  outbox: Readonly<{
    lastEnd(digest: string): number | undefined;
    append(records: readonly NewRecord[]): void;
    rollUp(now: number): void;
  }>;
}>;

/** One measurement at a time, so that no reading is written twice. */
export class Sampler {
  readonly #deps: SamplerDeps;
  #last: Promise<void> = Promise.resolve();

  constructor(deps: SamplerDeps) {
    this.#deps = deps;
  }

  /** At the end of each window, until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, windowMs, log } = this.#deps;
    while (!signal.aborted) {
      const now = clock.now();
      const next = windowStart(now, windowMs) + windowMs;
      await clock.sleep(next - now, signal);
      if (signal.aborted) return;
      await this.#inTurn(() => sample(this.#deps, next, () => true)).catch((error: unknown) => {
        log.warn({ error: causeChain(error) }, "could not measure this window");
      });
    }
  }

  /** Ahead of the window's end: one instance that is about to go or has just gone, and whatever has ended since. */
  async measure(instanceId: string): Promise<void> {
    await this.#inTurn(() => sample(this.#deps, this.#deps.clock.now(), (id) => id === instanceId));
  }

  async #inTurn(work: () => Promise<void>): Promise<void> {
    const mine = this.#last.then(work);
    this.#last = mine.catch(() => undefined);
    await mine;
  }
}

/**
 * One measurement at `boundary`, of instances that are not `asked` only the last readings of what has ended. What fails
 * for one source is left to the next window.
 */
async function sample(
  deps: SamplerDeps,
  boundary: number,
  asked: (instanceId: string) => boolean,
): Promise<void> {
  const measuredAt = deps.clock.now();
  const [instances, readings] = await Promise.all([deps.instances(), deps.readings()]);
  const last = readings.filter(({ final }) => final);
  const measured = await Promise.all(
    instances.map(async (instance) => {
      if (!asked(instance.instanceId)) return driverMeasurements(instance, last, boundary);
      const { found, trouble } = await scrapeInstance(instance, boundary);
      if (trouble !== undefined) {
        deps.log.warn({ instance: instance.instanceId, trouble }, "could not read a meter");
      }
      deps.measured(instance.instanceId, trouble);
      return [...driverMeasurements(instance, readings, boundary), ...found];
    }),
  );
  const records = toRecords(measured.flat(), deps.outbox.lastEnd, deps.windowMs);
  deps.outbox.append(records);
  await deps.readingsKept(measuredAt);
  deps.outbox.rollUp(measuredAt);
}

type Scraped = Readonly<{ found: readonly Measurement[]; trouble: string | undefined }>;

async function scrapeInstance(instance: SampledInstance, boundary: number): Promise<Scraped> {
  const pages = new Map<string, Promise<string>>();
  const page = (port: number, path: string) => {
    const key = `${port} ${path}`;
    const body = pages.get(key) ?? scrape(port, path);
    pages.set(key, body);
    return body;
  };
  const found: Measurement[] = [];
  const troubles: string[] = [];
  for (const meter of instance.meters) {
    if (meter.source.case !== "scrape") continue;
    const { resource, port, path, metric } = meter.source.value;
    const copies = instance.copies.filter(({ resourceId }) => resourceId === resource);
    const looks = await Promise.allSettled(
      copies.map(async ({ outputs }) => {
        const text = await page(portNumber(outputs, port), path);
        return scrapeMeasurements(instance, meter, samplesOf(text, metric), boundary);
      }),
    );
    const read = looks.flatMap((look) => (look.status === "fulfilled" ? [look.value] : []));
    found.push(...read.flat());
    // While one copy replaces another, one of them may be silent; the other one tells the same.
    if (read.length > 0) continue;
    const failed = looks.find((look) => look.status === "rejected");
    const why = failed === undefined ? `no copy of ${resource} runs` : causeChain(failed.reason);
    troubles.push(`${meter.name}: ${why}`);
  }
  return { found, trouble: troubles[0] };
}

function portNumber(outputs: JsonObject, name: string): number {
  const ports = outputs["ports"];
  const isObject = typeof ports === "object" && ports !== null && !Array.isArray(ports);
  const port = isObject ? (ports as JsonObject)[name] : undefined;
  if (typeof port === "number") return port;
  throw new Fault("FAILED_PRECONDITION", "PORT_UNKNOWN", `the copy has published no port ${name}`);
}
