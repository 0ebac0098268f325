/**
 * From what was measured to records: pure. Counters are cumulative, so a reading that is missing now is made
 * up for by the next one; a reading that would go back or overlap is left out for the same reason.
 */

import type { SeatEntitlement } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import type { Meter } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import { type SeriesIdentity, seriesDigest } from "@holdfast/shared/usage.ts";
import type { DriverReading } from "../drivers/driver.ts";
import type { Sample } from "./exposition.ts";

/** What of an instance is measured: its committed release's meters and its present seats. */
export type MeteredInstance = Readonly<{
  instanceId: string;
  meters: readonly Meter[];
  seats: readonly SeatEntitlement[];
}>;

export type Measurement = Readonly<{ series: SeriesIdentity; value: bigint; at: number }>;

export type NewRecord = Readonly<{
  series: SeriesIdentity;
  /** Hex of the series digest. */
  digest: string;
  windowStartMs: number;
  windowEndMs: number;
  value: bigint;
}>;

/** Start of the window that `now` lies in; windows are aligned to 1970 UTC. */
export function windowStart(now: number, windowMs: number): number {
  return Math.floor(now / windowMs) * windowMs;
}

/** Driver counters have no tenant of their own: the one seat there is, or the vendor's reserved one. */
export function driverMeasurements(
  instance: MeteredInstance,
  readings: readonly DriverReading[],
  boundary: number,
): readonly Measurement[] {
  const seatId = seatOfInstance(instance.seats);
  if (seatId === undefined) return [];
  return instance.meters.flatMap(({ name, source }) => {
    if (source.case !== "driver") return [];
    const { resource, counter } = source.value;
    return readings
      .filter(
        ({ key, counter: kept }) =>
          key.instanceId === instance.instanceId && key.resourceId === resource && kept === counter,
      )
      .map((reading) => ({
        series: {
          instanceId: instance.instanceId,
          resource,
          source: reading.source,
          meter: name,
          dimensions: {},
          seatId,
        },
        value: reading.value,
        at: reading.final ? reading.at : boundary,
      }));
  });
}

/** The workload names seat and source itself; a seat that the instance never had is not measured. */
export function scrapeMeasurements(
  instance: MeteredInstance,
  meter: Meter,
  samples: readonly Sample[],
  boundary: number,
): readonly Measurement[] {
  if (meter.source.case !== "scrape") return [];
  const { resource, seatLabel, sourceLabel } = meter.source.value;
  const seats = new Set(instance.seats.map(({ seatId }) => seatId));
  return samples.flatMap(({ labels, value }) => {
    const seatId = labels[seatLabel];
    const source = labels[sourceLabel];
    if (seatId === undefined || !seats.has(seatId)) return [];
    if (source === undefined || source === "") return [];
    const series = {
      instanceId: instance.instanceId,
      resource,
      source,
      meter: meter.name,
      dimensions: {},
      seatId,
    };
    return [{ series, value, at: boundary }];
  });
}

/**
 * One record per series. While two copies of a workload overlap both show the same durable counter, so the
 * larger one is the truth. `lastEnd` is the end of the series' last window, if it has one.
 */
export function toRecords(
  measurements: readonly Measurement[],
  lastEnd: (digest: string) => number | undefined,
  windowMs: number,
): readonly NewRecord[] {
  const bySeries = new Map<string, Measurement>();
  for (const each of measurements) {
    const digest = Buffer.from(seriesDigest(each.series)).toString("hex");
    const known = bySeries.get(digest);
    if (known === undefined || each.value > known.value) bySeries.set(digest, each);
  }
  return [...bySeries].flatMap(([digest, { series, value, at }]) => {
    const end = lastEnd(digest);
    if (end !== undefined && at <= end) return [];
    return [{ series, digest, windowStartMs: end ?? at - windowMs, windowEndMs: at, value }];
  });
}

function seatOfInstance(seats: readonly SeatEntitlement[]): string | undefined {
  const reserved = seats.find((seat) => seat.reserved);
  const [only, ...more] = seats;
  return reserved?.seatId ?? (more.length === 0 ? only?.seatId : undefined);
}
