/**
 * Measures at the end of every window and writes the records before anybody is told. Input-free: each tick
 * looks for itself what is there to measure.
 */
import type { Clock } from "@holdfast/shared/clock.ts";
import { causeChain } from "@holdfast/shared/fault.ts";
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
  outbox: Readonly<{
    lastEnd(digest: string): number | undefined;
    append(records: readonly NewRecord[]): void;
    rollUp(now: number): void;
  }>;
}>;

export async function runSampler(deps: SamplerDeps, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const now = deps.clock.now();
    const next = windowStart(now, deps.windowMs) + deps.windowMs;
    await deps.clock.sleep(next - now, signal);
    if (signal.aborted) return;
    await sample(deps, next).catch((error: unknown) => {
      deps.log.warn({ error: causeChain(error) }, "could not measure this window");
    });
  }
}

/** One measurement at `boundary`. What fails for one source is left to the next window. */
export async function sample(deps: SamplerDeps, boundary: number): Promise<void> {
  const measuredAt = deps.clock.now();
  const [instances, readings] = await Promise.all([deps.instances(), deps.readings()]);
  const measured = await Promise.all(
    instances.map(async (instance) => [
      ...driverMeasurements(instance, readings, boundary),
      ...(await scrapeInstance(deps, instance, boundary)),
    ]),
  );
  const records = toRecords(measured.flat(), deps.outbox.lastEnd, deps.windowMs);
  deps.outbox.append(records);
  await deps.readingsKept(measuredAt);
  deps.outbox.rollUp(measuredAt);
}

async function scrapeInstance(
  deps: SamplerDeps,
  instance: SampledInstance,
  boundary: number,
): Promise<readonly Measurement[]> {
  const pages = new Map<string, Promise<string | undefined>>();
  const page = (port: number, path: string) => {
    const key = `${port} ${path}`;
    const known = pages.get(key);
    if (known !== undefined) return known;
    const body = scrape(port, path).catch((error: unknown) => {
      const { instanceId } = instance;
      deps.log.warn(
        { instanceId, error: causeChain(error) },
        "could not read a workload's metrics",
      );
      return undefined;
    });
    pages.set(key, body);
    return body;
  };
  const found: Measurement[] = [];
  for (const meter of instance.meters) {
    if (meter.source.case !== "scrape") continue;
    const { resource, port, path, metric } = meter.source.value;
    for (const copy of instance.copies.filter(({ resourceId }) => resourceId === resource)) {
      const number = portNumber(copy.outputs, port);
      const body = number === undefined ? undefined : await page(number, path);
      if (body === undefined) continue;
      try {
        found.push(...scrapeMeasurements(instance, meter, samplesOf(body, metric), boundary));
      } catch (error) {
        const { instanceId } = instance;
        deps.log.warn({ instanceId, metric, error: causeChain(error) }, "unusable metrics");
      }
    }
  }
  return found;
}

function portNumber(outputs: JsonObject, name: string): number | undefined {
  const ports = outputs["ports"];
  if (typeof ports !== "object" || ports === null || Array.isArray(ports)) return undefined;
  const port = (ports as JsonObject)[name];
  return typeof port === "number" ? port : undefined;
}
